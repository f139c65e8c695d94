"""Files, links, locks, temporary files, archives, devices."""

import fcntl
import filecmp
import glob
import gzip
import json
import mmap
import os
import pickle
import shutil
import sqlite3
import stat
import tarfile
import tempfile
import zipfile
from pathlib import Path

from common import run_checks


def check_tempfile_named():
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("x")
        file.flush()
        assert Path(file.name).read_text() == "x"


def check_tempfile_unlinked():
    with tempfile.TemporaryFile() as file:
        file.write(b"x")
        file.seek(0)
        assert file.read() == b"x"


def check_tempfile_directory():
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "a").write_text("x")
    assert not Path(folder).exists()


def check_tempfile_in_dev_shm():
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as file:
        file.write(b"x")


def check_tempfile_spooled():
    with tempfile.SpooledTemporaryFile(max_size=2) as file:
        file.write(b"xxxx")


def check_symbolic_link():
    Path("target").write_text("x")
    Path("link").symlink_to("target")
    assert Path("link").read_text() == "x"
    assert Path("link").resolve() == Path("target").resolve()


def check_hard_link():
    Path("one").write_text("x")
    os.link("one", "two")
    assert Path("two").stat().st_nlink == 2


def check_chmod():
    Path("script.sh").write_text("#!/bin/sh\nexit 3\n")
    Path("script.sh").chmod(0o755)
    assert os.access("script.sh", os.X_OK)
    assert os.waitstatus_to_exitcode(os.system("./script.sh")) == 3


def check_umask():
    before = os.umask(0o077)
    Path("private").write_text("x")
    os.umask(before)
    assert stat.S_IMODE(Path("private").stat().st_mode) == 0o600


def check_utime():
    Path("old").write_text("x")
    os.utime("old", (1e9, 1e9))
    assert Path("old").stat().st_mtime == 1e9


def check_rename_over_an_existing_file():
    Path("new").write_text("new")
    Path("current").write_text("current")
    Path("new").replace("current")
    assert Path("current").read_text() == "new"


def check_copytree_and_rmtree():
    Path("tree/deep").mkdir(parents=True)
    Path("tree/deep/file").write_text("x")
    shutil.copytree("tree", "copy")
    assert filecmp.cmp("tree/deep/file", "copy/deep/file")
    shutil.rmtree("copy")
    assert not Path("copy").exists()


def check_glob_and_walk():
    Path("many").mkdir()
    for number in range(5):
        Path(f"many/{number}.txt").touch()
    assert len(glob.glob("many/*.txt")) == 5
    assert sum(len(files) for _, _, files in os.walk("many")) == 5


def check_flock():
    with Path("lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(file, fcntl.LOCK_UN)


def check_posix_lock():
    with Path("lock2").open("w") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)


def check_mmap_of_a_file():
    Path("mapped").write_bytes(bytes(8192))
    with Path("mapped").open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        memory[:2] = b"ab"
    assert Path("mapped").read_bytes()[:2] == b"ab"


def check_mmap_anonymous():
    with mmap.mmap(-1, 4096) as memory:
        memory.write(b"x")


def check_sqlite():
    with sqlite3.connect("data.db") as database:
        database.execute("create table t (a)")
        database.execute("insert into t values (1)")
    with sqlite3.connect("data.db") as database:
        database.execute("pragma journal_mode=wal")
        assert database.execute("select a from t").fetchall() == [(1,)]


def check_zip():
    with zipfile.ZipFile("a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("folder/a.txt", "x")
    with zipfile.ZipFile("a.zip") as archive:
        archive.extractall("unzipped")
    assert Path("unzipped/folder/a.txt").read_text() == "x"


def check_tar():
    Path("packed").mkdir()
    Path("packed/a").write_text("x")
    with tarfile.open("a.tar.gz", "w:gz") as archive:
        archive.add("packed")
    with tarfile.open("a.tar.gz") as archive:
        archive.extractall("untarred")
    assert Path("untarred/packed/a").read_text() == "x"


def check_gzip_json_pickle():
    with gzip.open("a.json.gz", "wt") as file:
        json.dump({"a": 1}, file)
    with gzip.open("a.json.gz", "rt") as file:
        assert json.load(file) == {"a": 1}
    assert pickle.loads(pickle.dumps({"a": (1, 2)})) == {"a": (1, 2)}


def check_dev_null():
    Path("/dev/null").write_text("x")
    assert Path("/dev/null").read_text() == ""


def check_dev_urandom():
    with open("/dev/urandom", "rb") as file:
        assert len(file.read(16)) == 16


def check_dev_zero_and_full():
    with open("/dev/zero", "rb") as file:
        assert file.read(2) == b"\0\0"
    try:
        with open("/dev/full", "w") as file:
            file.write("x")
    except OSError:
        return
    raise AssertionError("/dev/full took a byte")


def check_dev_stdout_and_fd():
    assert os.path.exists("/dev/fd/1")
    with open("/dev/stdout", "w") as file:
        file.write("written to /dev/stdout\n")


def check_sparse_file():
    with Path("sparse").open("wb") as file:
        file.truncate(1 << 30)
    assert Path("sparse").stat().st_size == 1 << 30
    Path("sparse").unlink()


def check_fifo():
    os.mkfifo("fifo")
    if os.fork() == 0:
        Path("fifo").write_text("x")
        os._exit(0)
    assert Path("fifo").read_text() == "x"
    os.wait()
    Path("fifo").unlink()


def check_disk_usage():
    assert shutil.disk_usage(".").free > 0
    assert os.statvfs("/tmp").f_bavail > 0


def check_unicode_file_names():
    Path("Wählbar 视频.txt").write_text("ü")
    assert any("视频" in name for name in os.listdir("."))


def check_relative_path_to_the_input():
    assert os.listdir("../input")


run_checks(globals())
