"""`dfdc download inputs` and attached inputs of `dfdc submit`, with the real client against a fake Kaggle."""

import gzip
import io
import json
import tarfile

import pytest

from dfdc_kit import challenge as challenges
from dfdc_kit.errors import SubmissionError
from dfdc_kit.kaggle.submit.request import submit_request
from dfdc_kit.submission.code import read_code_submission

SETTINGS = """
name = "trial"
[[inputs]]
slug = "bob/weights"
licence = "MIT"
url = "https://www.kaggle.com/datasets/bob/weights"
[[inputs]]
slug = "bob/features"
kind = "notebook"
licence = "MIT"
url = "https://www.kaggle.com/code/bob/features"
[[inputs]]
slug = "bob/net/pytorch/small/1"
kind = "model"
licence = "MIT"
url = "https://www.kaggle.com/models/bob/net"
"""


@pytest.fixture
def attaching(code_submission, kaggle_server, tmp_path, monkeypatch):
    """A submission that attaches one input of each kind, and a Kaggle that has them."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    world = kaggle_server.world
    for name, content in (("model.bin", b"weights"), ("more.zip", _zip()), ("table.csv.gz", gzip.compress(b"a,b"))):
        token = f"bob-{name}"
        world.uploads[token], world.upload_names[token] = bytearray(content), name
    files = [{"token": token} for token in world.uploads]
    world.datasets["bob/weights"] = [{"files": files, "_polls": 0}]
    world.kernels["bob/features"] = [{"_statuses": ["COMPLETE"]}]
    world.kernel_outputs = {f"features-{n}.csv": b"x" for n in range(30)}
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w:gz") as archive:
        info = tarfile.TarInfo("net.pt")
        info.size = 3
        archive.addfile(info, io.BytesIO(b"net"))
    world.models["bob/net.tar.gz"] = memory.getvalue()
    folder = code_submission("pass")
    (folder / "submission.toml").write_text(SETTINGS)
    return folder


def _zip() -> bytes:
    from fake_kaggle.world import zipped

    return zipped({"deep/a.txt": b"a"})


def test_inputs_are_downloaded_to_the_cache_and_kept_the_second_time(attaching, dfdc, kaggle_server, tmp_path):
    done = dfdc("download", "inputs", attaching, "--json")
    assert done.returncode == 0, done.stderr
    cache = tmp_path / "cache" / "dfdc" / "inputs"
    assert [one["fetched"] for one in json.loads(done.stdout)] == [True, True, True]
    assert (cache / "datasets/bob/weights/model.bin").read_bytes() == b"weights"
    assert (cache / "datasets/bob/weights/more/deep/a.txt").read_bytes() == b"a"  # unpacked by Kaggle
    assert (cache / "datasets/bob/weights/table.csv").read_bytes() == b"a,b"
    assert len(list((cache / "notebooks/bob/features").iterdir())) == 30
    assert (cache / "models/bob/net/pytorch/small/1/net.pt").read_bytes() == b"net"
    left = [path.name for path in cache.rglob("*") if path.name.startswith(".")]
    assert left == [".lock"]
    kaggle_server.requests.clear()
    again = dfdc("download", "inputs", attaching)
    assert again.stdout.count("here already") == 3
    assert kaggle_server.gets() == []
    settings = read_code_submission(attaching).settings
    assert all(one.folder(attaching) for one in settings.inputs)


def test_input_with_a_missing_path_is_downloaded_there(attaching, dfdc):
    text = SETTINGS.partition('[[inputs]]\nslug = "bob/features')[0]
    (attaching / "submission.toml").write_text(text + 'path = "../weights"\n')
    assert dfdc("download", "inputs", attaching).returncode == 0
    assert (attaching.parent / "weights" / "model.bin").read_bytes() == b"weights"


def test_interrupted_input_leaves_no_folder_and_is_resumed(attaching, dfdc, kaggle_server, tmp_path):
    text = SETTINGS.partition('[[inputs]]\nslug = "bob/features')[0]
    (attaching / "submission.toml").write_text(text)
    kaggle_server.fault("drop", at="archive.zip", after_bytes=100, skip=1)  # the first GET is the client's own
    kaggle_server.fault("status", at="archive.zip", status=404, skip=1)
    assert dfdc("download", "inputs", attaching).returncode == 5
    folder = tmp_path / "cache/dfdc/inputs/datasets/bob/weights"
    assert not folder.exists()
    assert dfdc("download", "inputs", attaching).returncode == 0
    assert (folder / "model.bin").read_bytes() == b"weights"
    assert kaggle_server.gets("archive.zip")[-1].headers["Range"] == "bytes=100-"


def test_missing_dataset_is_reported(attaching, dfdc, kaggle_server):
    kaggle_server.world.datasets.clear()
    done = dfdc("download", "inputs", attaching)
    assert done.returncode == 5
    assert "bob/weights" in done.stderr


def test_input_without_owner_cannot_be_downloaded_or_submitted(attaching, dfdc):
    (attaching / "submission.toml").write_text(SETTINGS.replace("bob/weights", "weights", 1))
    done = dfdc("download", "inputs", attaching)
    assert (done.returncode, "without an owner" in done.stderr) == (1, True)
    with pytest.raises(SubmissionError, match="input 'weights' has no owner"):
        submit_request(read_code_submission(attaching), challenges.load())


def test_submit_attaches_the_inputs(attaching):
    bundle = submit_request(read_code_submission(attaching), challenges.load()).bundle
    metadata = bundle.kernel_metadata("ada")
    assert metadata["dataset_sources"] == ["ada/dfdc-trial-files", "bob/weights"]
    assert metadata["kernel_sources"] == ["bob/features"]
    assert metadata["model_sources"] == ["bob/net/pytorch/small/1"]


def test_submission_without_inputs_downloads_nothing(code_submission, dfdc, kaggle_server):
    done = dfdc("download", "inputs", code_submission("pass"))
    assert (done.returncode, "trial attaches nothing" in done.stdout) == (0, True)
