"""Libraries that competitors use, where they are installed; a check of a missing one does nothing."""

import os
import tempfile
from pathlib import Path

from common import run_checks


def optional(check):
    def wrapped():
        try:
            check()
        except ImportError:
            return

    return wrapped


def double(number):
    return 2 * number


@optional
def check_joblib():
    from joblib import Memory, Parallel, delayed

    assert Parallel(n_jobs=2)(delayed(double)(number) for number in range(3)) == [0, 2, 4]
    assert Memory(tempfile.mkdtemp(), verbose=0).cache(double)(2) == 4


@optional
def check_psutil():
    import psutil

    assert psutil.virtual_memory().total
    assert psutil.cpu_count()
    assert psutil.disk_usage("/").total
    assert psutil.Process().memory_info().rss
    psutil.cpu_percent()
    psutil.boot_time()
    psutil.net_if_addrs()
    psutil.disk_partitions()


@optional
def check_matplotlib():
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    plt.plot([1, 2])
    plt.savefig("figure.png")
    assert Path(mpl.get_cachedir()).is_dir()


@optional
def check_pandas():
    import pandas

    pandas.DataFrame({"a": [1]}).to_csv("a.csv", index=False)
    assert pandas.read_csv("a.csv").a.tolist() == [1]


@optional
def check_numpy_memmap():
    import numpy

    numpy.memmap("a.npy", "float32", "w+", shape=(10,))[:] = 1
    assert numpy.linalg.inv(numpy.eye(50)).trace() == 50


@optional
def check_sklearn():
    from sklearn.linear_model import LogisticRegression

    LogisticRegression().fit([[0.0], [1.0]], [0, 1])


@optional
def check_pillow():
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("RGB", (32, 32))
    ImageDraw.Draw(image).text((1, 1), "a", font=ImageFont.load_default())
    image.save("a.png")


@optional
def check_cv2():
    import cv2
    import numpy

    cv2.setNumThreads(0)
    assert cv2.resize(numpy.zeros((8, 8, 3), "uint8"), (4, 4)).shape == (4, 4, 3)


@optional
def check_tqdm():
    from tqdm import tqdm

    assert list(tqdm(range(3))) == [0, 1, 2]


@optional
def check_filelock():
    import filelock

    with filelock.FileLock("file.lock"):
        assert os.path.exists("file.lock")


if __name__ == "__main__":
    run_checks(globals())
