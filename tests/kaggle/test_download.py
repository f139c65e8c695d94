"""`dfdc download sample`, as its user runs it, with the official client against a fake Kaggle."""

import hashlib
import json
import signal
import subprocess
import sys
import time

import pytest

from dfdc_kit.files import SPARE_BYTES
from dfdc_kit.kaggle.download.partial import Identity, Partial
from fake_kaggle import KEY, TOKEN

SECRETS = (KEY, TOKEN, "planted", "YWRhOn")
MANY = {f"test_videos/{n:03d}.mp4": bytes([n]) * (3000 + n) for n in range(30)}
FEW = {"sample_submission.csv": b"filename,label\n", "train_sample_videos/metadata.json": b"{}"}
DATA = "deepfake-detection-challenge"


@pytest.fixture
def competition(kaggle_server):
    kaggle_server.world.files = {**FEW, **MANY}
    return kaggle_server


def assert_all_there(folder, files):
    for name, content in files.items():
        assert (folder / name).read_bytes() == content
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert there == {*files, ".dfdc/files.jsonl", ".dfdc/lock"}


def test_download_fetches_one_archive_and_nothing_the_second_time(competition, dfdc, tmp_path):
    done = dfdc("download", "sample")
    assert (done.returncode, done.stderr) == (0, "")
    assert "32 fetched" in done.stdout
    assert_all_there(tmp_path / DATA, {**FEW, **MANY})
    assert len(competition.calls("DownloadDataFile")) == 0
    competition.requests.clear()
    assert "32 files kept and verified, 0 fetched" in dfdc("download", "sample").stdout
    assert [seen.call for seen in competition.requests] == ["ListDataFiles"]


def test_corrupt_file_of_the_same_size_is_fetched_again(competition, dfdc, tmp_path):
    """Kaggle's own client never replaces it: "found more recently modified local copy"."""
    dfdc("download", "sample")
    name = "test_videos/007.mp4"
    (tmp_path / DATA / name).write_bytes(b"?" * len(MANY[name]))
    competition.requests.clear()
    done = dfdc("download", "sample", "--json")
    assert json.loads(done.stdout)["refetched"] == 1
    assert_all_there(tmp_path / DATA, {**FEW, **MANY})
    assert [seen.json["fileName"] for seen in competition.calls("DownloadDataFile")] == [name]


def test_file_that_changed_on_kaggle_is_fetched_again(competition, dfdc, tmp_path):
    dfdc("download", "sample")
    competition.world.files["sample_submission.csv"] = b"filename,label\na.mp4,0\n"
    assert "1 fetched (1 damaged or changed)" in dfdc("download", "sample").stdout
    assert (tmp_path / DATA / "sample_submission.csv").read_bytes() == b"filename,label\na.mp4,0\n"


def test_outdated_kept_archive_is_completed_one_by_one(competition, dfdc, tmp_path):
    """The kept archive is outdated: files that changed since are fetched one by one."""
    assert dfdc("download", "sample", "--keep-zip").returncode == 0
    changed = {name: content + b"!" for name, content in MANY.items()}
    competition.world.files, competition.world.bundle = {**FEW, **changed}, None
    assert dfdc("download", "sample").returncode == 0
    assert_all_there(tmp_path / DATA, {**FEW, **changed})


def test_files_from_elsewhere_are_compared_not_fetched(competition, dfdc, tmp_path):
    for name, content in competition.world.files.items():
        (tmp_path / DATA / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / DATA / name).write_bytes(content)
    done = dfdc("download", "sample", "--json")
    assert json.loads(done.stdout)["transferred_bytes"] == 0
    assert "32 files kept and verified" in dfdc("download", "sample").stdout


def test_file_patterns_are_fetched_one_by_one(competition, dfdc, tmp_path):
    done = dfdc("download", "sample", "--file", "test_videos/00?.mp4", "--to", "here")
    assert done.returncode == 0
    assert_all_there(tmp_path / "here", {name: content for name, content in MANY.items() if "/00" in name})
    assert len(competition.calls("DownloadDataFiles")) == 0


def test_unknown_file_suggests_the_nearest(competition, dfdc):
    done = dfdc("download", "sample", "--file", "sample_submision.csv")
    assert done.returncode == 2
    assert "Did you mean 'sample_submission.csv'?" in done.stderr


def test_large_file_served_as_zip_is_unpacked(competition, dfdc, tmp_path):
    competition.world.zip_from_bytes = 3010
    done = dfdc("download", "sample", "--file", "test_videos/02?.mp4")
    assert done.returncode == 0, done.stderr
    assert_all_there(tmp_path / DATA, {name: content for name, content in MANY.items() if "/02" in name})


def test_download_dry_run_writes_nothing(competition, dfdc, tmp_path):
    done = dfdc("download", "sample", "--dry-run", "--json")
    plan = json.loads(done.stdout)
    assert len(plan["steps"]) == 32
    assert plan["as_archive"]
    assert plan["needed_bytes"] == 2 * plan["download_bytes"]
    assert not (tmp_path / DATA).exists()
    assert "32 files missing" in dfdc("download", "sample", "--dry-run").stdout


def test_archive_with_wrong_crc_is_fetched_again_without_published_digest(competition, dfdc, tmp_path):
    competition.world.publishes = ()
    competition.fault("flip", at="archive.zip", after_bytes=1000, skip=1)  # the first GET is the client's own
    done = dfdc("download", "sample")
    assert done.returncode == 0
    assert "is damaged" in done.stderr
    assert_all_there(tmp_path / DATA, {**FEW, **MANY})


def test_truncated_archive_is_fetched_again(competition, dfdc, tmp_path):
    competition.world.publishes = ()
    competition.fault("truncate", at="archive.zip", after_bytes=50_000, skip=1)
    done = dfdc("download", "sample")
    assert "not a complete zip" in done.stderr
    assert_all_there(tmp_path / DATA, {**FEW, **MANY})


def test_files_missing_in_the_archive_are_fetched_one_by_one(competition, dfdc, tmp_path):
    from fake_kaggle.world import zipped

    competition.world.bundle = zipped(MANY)
    assert dfdc("download", "sample").returncode == 0
    assert_all_there(tmp_path / DATA, {**FEW, **MANY})
    assert len(competition.calls("DownloadDataFile")) == 2


def test_unsafe_remote_file_names_are_refused(competition, dfdc, tmp_path):
    competition.world.files["../escaped.txt"] = b"x"
    done = dfdc("download", "sample")
    assert done.returncode == 3
    assert "leaves the folder" in done.stderr
    assert not (tmp_path / "escaped.txt").exists()


def test_download_continues_after_429_and_dropped_connections(competition, dfdc, tmp_path):
    competition.fault("status", at="ListDataFiles", status=429, headers={"Retry-After": "0"})
    competition.fault("drop", at="archive.zip", after_bytes=40_000, skip=1)
    done = dfdc("download", "sample")
    assert done.returncode == 0
    assert "Attempt 2 of 6" in done.stderr
    assert_all_there(tmp_path / DATA, {**FEW, **MANY})
    assert competition.gets("archive.zip")[-1].headers["Range"] == "bytes=40000-"


def test_download_reports_unaccepted_rules(competition, dfdc):
    competition.world.rules_accepted = False
    done = dfdc("download", "sample")
    assert done.returncode == 5
    assert "error[kaggle-error]: The competition's rules are not accepted yet (403)" in done.stderr
    assert "/rules" in done.stderr


def test_second_download_into_the_same_folder_is_refused(competition, dfdc, tmp_path):
    from dfdc_kit.files import lock_folder

    with lock_folder(tmp_path / DATA, print):
        done = dfdc("download", "sample")
    assert done.returncode == 2
    assert "Another download into deepfake-detection-challenge is running" in done.stderr
    assert dfdc("download", "sample").returncode == 0


def test_a_folder_that_cannot_be_written(competition, dfdc, tmp_path):
    (tmp_path / DATA).write_text("a file")
    done = dfdc("download", "sample")
    assert done.returncode == 4
    assert "--to DIR" in done.stderr


def test_download_resumes_after_ctrl_c(competition, dfdc, tmp_path):
    competition.world.bytes_per_s = 40_000
    command = [sys.executable, "-m", "dfdc_kit", "download", "sample"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    part = tmp_path / DATA / f".{DATA}.zip.part"
    deadline_s = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline_s:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert said == "Stopped. What has arrived is kept; run the same command again to continue.\n"
    competition.world.bytes_per_s = 0
    assert dfdc("download", "sample").returncode == 0
    assert "Range" in competition.gets("archive.zip")[-1].headers
    assert_all_there(tmp_path / DATA, {**FEW, **MANY})


def test_bytes_already_here_need_no_space(competition, dfdc, tmp_path, monkeypatch):
    """Half of a file that fills most of the disk has arrived: the other half fits."""
    content = bytes(1_000_000)
    competition.world.files = {**FEW, "test_videos/a.mp4": content}
    part = Partial(tmp_path / DATA / "test_videos/a.mp4")
    part.path.parent.mkdir(parents=True)
    tag = f'"{hashlib.md5(content).hexdigest()}"'  # as the storage makes them
    part.begin(Identity(size_bytes=len(content), validator=tag, digest=""))
    with part.appending() as append:
        append(content[:600_000])
    monkeypatch.setattr("dfdc_kit.files.free_bytes", lambda _: SPARE_BYTES + 500_000)
    plan = dfdc("download", "sample", "--dry-run").stdout
    assert "586 KiB more are here from an interrupted download" in plan
    assert dfdc("download", "sample").returncode == 0
    assert_all_there(tmp_path / DATA, competition.world.files)
    assert competition.gets("test_videos/a.mp4")[-1].headers["Range"] == "bytes=600000-"


@pytest.mark.parametrize("token", [False, True])
def test_download_shows_and_writes_no_secret(competition, dfdc_process, tmp_path, monkeypatch, token):
    if token:
        monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
        monkeypatch.delenv("KAGGLE_KEY")
    mine = TOKEN if token else KEY
    said = {"message": f"you sent {mine} as Bearer {mine}", "headers": {"Retry-After": "0"}}
    competition.fault("status", at="ListDataFiles", status=500, times=-1, **said)
    runs = [dfdc_process("download", "sample", VERBOSE="1")]
    competition.faults.clear()
    competition.fault("drop", at="archive.zip", after_bytes=30_000, times=2)
    competition.fault("status", at="archive.zip", status=404, message="http://x/?X-Goog-Signature=planted")
    runs += [dfdc_process("download", "sample", VERBOSE="1"), dfdc_process("download", "sample", "--json")]
    assert [done.returncode for done in runs] == [5, 5, 0]
    said = "".join(done.stdout + done.stderr for done in runs)
    assert not [secret for secret in SECRETS if secret in said]
    for path in (tmp_path / DATA).rglob("*"):
        assert not path.is_file() or b"planted" not in path.read_bytes()


def test_transfers_send_no_credentials_to_the_storage(competition, dfdc, tmp_path):
    (tmp_path / "home" / ".netrc").write_text("machine storage.fake login ada password planted-netrc\n")
    dfdc("download", "sample")
    ours = [seen for seen in competition.requests if seen.headers["User-Agent"].startswith("dfdc-starter-kit/")]
    assert [seen.method for seen in ours] == ["GET"]
    assert "Authorization" not in ours[0].headers
