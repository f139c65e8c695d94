"""`dfdc download parts` with a browser's cookies, and `dfdc data add` of archives that a browser saved."""

import errno
import fcntl
import json

import pytest

from dfdc_kit import challenge as challenges
from dfdc_kit.errors import UsageError
from dfdc_kit.kaggle.download.parts import parse_parts
from fake_kaggle.world import COOKIE, zipped

URL = "http://www.kaggle.fake/c/16880/datadownload/dfdc_train_part_{part:02d}.zip"
DATA = "deepfake-detection-challenge"
HEADER = "# Netscape HTTP Cookie File\n"


def part(number: int) -> dict[str, bytes]:
    folder = f"dfdc_train_part_{number}"
    videos = {f"{folder}/{name}.mp4": (name * 999).encode() * (number + 1) for name in "abc"}
    labels = {f"{name}.mp4": {"label": "REAL", "split": "train"} for name in "abc"}
    return {**videos, f"{folder}/metadata.json": json.dumps(labels).encode()}


def cookie(value: str = COOKIE, domain: str = ".kaggle.fake", expires: int = 0) -> str:
    return f"{HEADER}#HttpOnly_{domain}\tTRUE\t/\tFALSE\t{expires}\t.ASPXAUTH\t{value}\n"


@pytest.fixture
def server(kaggle_server, monkeypatch):
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY"):  # parts need none
        monkeypatch.delenv(name)
    for number in range(12):
        kaggle_server.world.parts[f"dfdc_train_part_{number:02d}.zip"] = zipped(part(number))
    return kaggle_server


@pytest.fixture
def fetch_parts(server, dfdc, tmp_path):
    (tmp_path / "cookies.txt").write_text(cookie())

    def call(numbers: str, *options: str):
        return dfdc("download", "parts", numbers, "--cookies", "cookies.txt", "--url", URL, *options)

    return call


def assert_parts(folder, numbers, kept=()):
    for number in numbers:
        for name, content in part(number).items():
            assert (folder / name).read_bytes() == content
    archives = {path.name for path in folder.iterdir() if path.suffix == ".zip"}
    assert archives == set(kept)
    assert not [path for path in folder.rglob("*.part*") if path.is_file()]


def test_challenge_defines_the_pattern_of_parts():
    challenge = challenges.load()
    assert challenge.parts
    assert challenge.parts.url.format(part=7).endswith("/dfdc_train_part_07.zip")
    assert challenge.parts.archive.format(part=7) == "dfdc_train_part_07.zip"
    assert challenge.data.train_parts.format(7) == "dfdc_train_part_7"


@pytest.mark.parametrize(
    ("text", "numbers"), [("0", [0]), ("0-3,17", [0, 1, 2, 3, 17]), ("49, 3-4,4", [3, 4, 49]), ("07", [7])]
)
def test_parse_parts_reads_numbers_and_ranges(text, numbers):
    assert parse_parts(text, 50) == numbers


@pytest.mark.parametrize("text", ["", "50", "a", "3-1", "-1", "1-", "0-50", "1;2", "²"])
def test_parse_parts_refuses_invalid_numbers(text):
    with pytest.raises(UsageError):
        parse_parts(text, 50)


def test_parts_are_fetched_unpacked_and_their_archives_removed(server, fetch_parts, tmp_path):
    done = fetch_parts("0-2,10")
    assert (done.returncode, done.stderr) == (0, "")
    assert "0 parts kept, 4 unpacked" in done.stdout
    assert_parts(tmp_path / DATA, [0, 1, 2, 10])
    server.requests.clear()
    assert "4 parts kept, 0 unpacked" in fetch_parts("0-2,10").stdout
    assert server.requests == []


def test_keep_zip_keeps_the_archive(fetch_parts, tmp_path):
    assert fetch_parts("7", "--keep-zip").returncode == 0
    assert_parts(tmp_path / DATA, [7], kept=["dfdc_train_part_07.zip"])


def test_interrupted_part_is_resumed(server, fetch_parts, tmp_path):
    server.fault("drop", at="parts/dfdc_train_part_03.zip", after_bytes=5000)
    server.fault("status", at="parts/dfdc_train_part_03.zip", status=404)
    assert fetch_parts("3").returncode == 5
    assert "interrupted, 4.9 KiB here" in fetch_parts("3", "--dry-run").stdout
    assert fetch_parts("3").returncode == 0
    assert server.gets("parts/dfdc_train_part_03.zip")[-1].headers["Range"] == "bytes=5000-"
    assert_parts(tmp_path / DATA, [3])


def test_expired_link_of_a_part_is_renewed(server, fetch_parts, tmp_path):
    server.fault("drop", at="parts/dfdc_train_part_03.zip", after_bytes=5000)
    server.fault("call", at="parts/dfdc_train_part_03.zip", before=server.world.expire_links)
    assert fetch_parts("3").returncode == 0
    assert_parts(tmp_path / DATA, [3])
    assert len(server.gets("/datadownload/")) == 2


def test_missing_or_damaged_part_is_fetched_again(server, fetch_parts, tmp_path):
    fetch_parts("0-1")
    (tmp_path / DATA / "dfdc_train_part_1" / "a.mp4").unlink()
    assert "damaged" in fetch_parts("0-1", "--dry-run").stdout
    assert fetch_parts("0-1").returncode == 0
    (tmp_path / DATA / "dfdc_train_part_0" / "b.mp4").write_bytes(b"?" * len(part(0)["dfdc_train_part_0/b.mp4"]))
    assert "2 parts kept" in fetch_parts("0-1").stdout  # by size only
    assert "1 part kept, 1 unpacked" in fetch_parts("0-1", "--check").stdout
    assert_parts(tmp_path / DATA, [0, 1])


def test_part_with_wrong_crc_is_fetched_again_without_published_digest(server, fetch_parts, tmp_path):
    server.world.publishes = ()
    server.fault("flip", at="parts/dfdc_train_part_03.zip", after_bytes=1000)
    done = fetch_parts("3")
    assert done.returncode == 0
    assert "is damaged" in done.stderr
    assert_parts(tmp_path / DATA, [3])


def test_archive_of_another_part_is_refused(server, fetch_parts, tmp_path):
    server.world.parts["dfdc_train_part_03.zip"] = zipped(part(4))
    done = fetch_parts("3")
    assert done.returncode == 3
    assert "contains dfdc_train_part_04.zip, expected dfdc_train_part_03.zip" in done.stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (cookie("planted-expired-session"), "expired, or the rules are not accepted"),
        (cookie(expires=1_000_000_000), "no valid cookie for www.kaggle.fake"),
        (cookie(domain=".other.fake"), "no valid cookie for www.kaggle.fake"),
        ('[{"name": "session", "value": "planted-json"}]', "not a cookie file in Netscape format"),
        (HEADER + "planted nonsense\n", "not a cookie file in Netscape format"),
        (HEADER, "0 cookies in all"),
    ],
)
def test_invalid_cookies_are_reported(fetch_parts, tmp_path, content, said):
    (tmp_path / "cookies.txt").write_text(content)
    done = fetch_parts("3")
    assert done.returncode >= 3
    assert said in done.stderr
    assert "cookies.txt extension" in done.stderr
    assert "planted" not in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_parts_without_cookies_is_a_usage_error(server, dfdc):
    done = dfdc("download", "parts", "0")
    assert done.returncode == 2
    assert "--cookies cookies.txt" in done.stderr
    assert dfdc("download", "parts", "0", "--cookies", "none.txt").returncode == 3


def test_cookies_are_sent_to_kaggle_only(server, fetch_parts):
    fetch_parts("3")
    assert [bool(seen.headers.get("Cookie")) for seen in server.gets()] == [True, False]


def test_download_shows_and_writes_no_secret(server, fetch_parts, tmp_path):
    server.fault("drop", at="parts/dfdc_train_part_03.zip", after_bytes=5000)
    server.fault("status", at="parts/dfdc_train_part_03.zip", status=500, message=f"echo {COOKIE}", times=2)
    server.fault("status", at="parts/dfdc_train_part_03.zip", status=404, message=f"echo {COOKIE}")
    runs = [fetch_parts("3"), fetch_parts("3", "--json")]
    assert [done.returncode for done in runs] == [5, 0]
    assert "planted" not in "".join(done.stdout + done.stderr for done in runs)
    for path in (tmp_path / DATA).rglob("*"):
        assert not path.is_file() or b"planted" not in path.read_bytes()


def test_archive_left_by_a_killed_process_is_removed(fetch_parts, tmp_path):
    assert fetch_parts("0", "--keep-zip").returncode == 0
    assert fetch_parts("0", "--keep-zip").returncode == 0
    assert_parts(tmp_path / DATA, [0], kept=["dfdc_train_part_00.zip"])
    assert fetch_parts("0").returncode == 0
    assert_parts(tmp_path / DATA, [0])


def test_part_served_without_redirect_is_fetched(server, fetch_parts, tmp_path):
    server.world.parts_directly = True
    server.fault("drop", at="dfdc_train_part_03.zip", after_bytes=2000, skip=1)
    assert fetch_parts("3").returncode == 0
    assert_parts(tmp_path / DATA, [3])
    assert server.gets()[-1].headers["Range"] == "bytes=2000-"


def test_part_missing_on_kaggle_is_reported(server, fetch_parts):
    done = fetch_parts("40")
    assert done.returncode == 5
    assert "no dfdc_train_part_40.zip" in done.stderr


def test_data_add_identifies_archives_by_their_content(server, dfdc, tmp_path):
    downloads = tmp_path / "Downloads"
    downloads.mkdir()
    (downloads / "dfdc_train_part_07 (1).zip").write_bytes(zipped(part(7)))
    (downloads / "8.zip").write_bytes(zipped(part(8)))
    done = dfdc("data", "add", *downloads.iterdir(), "--json")
    assert {taken["name"] for taken in json.loads(done.stdout)} == {
        "dfdc_train_part_07.zip",
        "dfdc_train_part_08.zip",
    }
    assert_parts(tmp_path / DATA, [7, 8])
    assert list(downloads.iterdir()) == []
    assert "good" in dfdc("download", "parts", "7-8", "--dry-run").stdout


def test_verify_reports_downloaded_files_that_are_missing(server, dfdc, tmp_path):
    (tmp_path / "a.zip").write_bytes(zipped(part(7)))
    dfdc("data", "add", "a.zip")
    (tmp_path / DATA / "dfdc_train_part_7" / "a.mp4").unlink()
    for folder in (DATA, f"{DATA}/dfdc_train_part_7"):
        problems = json.loads(dfdc("data", "verify", folder, "--json").stdout)["problems"]
        assert "it was downloaded, but is missing now" in [problem["reason"] for problem in problems]


def test_data_add_keeps_a_truncated_archive(server, dfdc, tmp_path):
    content = zipped(part(7))
    (tmp_path / "a.zip").write_bytes(content[: len(content) // 2])
    done = dfdc("data", "add", "a.zip")
    assert done.returncode == 3
    assert "not a complete zip archive" in done.stderr
    assert (tmp_path / "a.zip").exists()


def test_data_add_refuses_an_archive_of_something_else(server, dfdc, tmp_path):
    (tmp_path / "a.zip").write_bytes(zipped({"holiday/a.mp4": b"x"}))
    done = dfdc("data", "add", "a.zip")
    assert done.returncode == 3
    assert "it contains holiday, expected a folder such as test_videos or dfdc_train_part_7" in done.stderr
    assert not (tmp_path / DATA / "holiday").exists()


def test_data_add_unpacks_the_sample_archive(server, dfdc, tmp_path):
    (tmp_path / "a.zip").write_bytes(zipped({"test_videos/a.mp4": b"x", "sample_submission.csv": b"filename,label\n"}))
    assert dfdc("data", "add", "a.zip", "--keep-zip").returncode == 0
    assert (tmp_path / DATA / "test_videos" / "a.mp4").read_bytes() == b"x"
    assert (tmp_path / "a.zip").exists()


def lacking(number: int) -> dict[str, bytes]:
    files = part(number)
    del files[f"dfdc_train_part_{number}/b.mp4"]
    return files


def no_metadata(number: int) -> dict[str, bytes]:
    return {name: content for name, content in part(number).items() if name.endswith(".mp4")}


@pytest.mark.parametrize(
    ("files", "said"),
    [(lacking(7), "lacks 1 video listed in its metadata.json: b.mp4"), (no_metadata(7), "has no metadata.json")],
)
def test_data_add_keeps_an_incomplete_archive(server, dfdc, tmp_path, files, said):
    (tmp_path / "a.zip").write_bytes(zipped(files))
    done = dfdc("data", "add", "a.zip")
    assert (done.returncode, said in done.stderr) == (3, True)
    assert (tmp_path / "a.zip").exists()
    assert "good" not in dfdc("download", "parts", "7", "--dry-run").stdout
    (tmp_path / "b.zip").write_bytes(zipped(part(7)))  # a complete one
    assert dfdc("data", "add", "b.zip").returncode == 0
    assert "good" in dfdc("download", "parts", "7", "--dry-run").stdout
    assert dfdc("data", "verify", DATA + "/dfdc_train_part_7", "--json").stdout.count('"missing"') == 0


def test_download_keeps_an_incomplete_part(server, fetch_parts, tmp_path):
    server.world.parts["dfdc_train_part_03.zip"] = zipped(lacking(3))
    done = fetch_parts("3-4")
    assert (done.returncode, "dfdc_train_part_3 lacks 1 video" in done.stderr) == (3, True)
    assert (tmp_path / DATA / "dfdc_train_part_03.zip").exists()
    assert_parts(tmp_path / DATA, [4], kept=["dfdc_train_part_03.zip"])
    assert "dfdc_train_part_03.zip  archived" in fetch_parts("3", "--dry-run").stdout


def test_part_whose_video_and_record_are_gone_is_incomplete(server, fetch_parts, tmp_path):
    """An older version recorded such a part as good."""
    assert fetch_parts("3").returncode == 0
    record = tmp_path / DATA / ".dfdc" / "files.jsonl"
    record.write_text("".join(line for line in record.read_text().splitlines(True) if "b.mp4" not in line))
    (tmp_path / DATA / "dfdc_train_part_3" / "b.mp4").unlink()
    assert "dfdc_train_part_03.zip  incomplete" in fetch_parts("3", "--dry-run").stdout
    assert fetch_parts("3").returncode == 0
    assert_parts(tmp_path / DATA, [3])


def test_data_add_unpacks_a_doubled_folder_and_leaves_out_what_macos_adds(server, dfdc, tmp_path):
    doubled = {f"dfdc_train_part_7/{name}": content for name, content in part(7).items()}
    (tmp_path / "a.zip").write_bytes(zipped({**doubled, "__MACOSX/._dfdc_train_part_7": b"x"}))
    assert dfdc("data", "add", "a.zip").returncode == 0
    assert_parts(tmp_path / DATA, [7])
    assert not (tmp_path / "a.zip").exists()


def test_archive_in_a_read_only_folder_is_reported_as_kept(server, dfdc, tmp_path, monkeypatch):
    from dfdc_kit.kaggle.download import ingest

    (tmp_path / "a.zip").write_bytes(zipped(part(7)))
    monkeypatch.setattr(type(tmp_path), "unlink", _refuse(type(tmp_path).unlink, "a.zip"))
    done = dfdc("data", "add", "a.zip")
    assert (done.returncode, "a.zip kept" in done.stdout) == (0, True)
    assert ingest.incomplete(tmp_path / DATA / "dfdc_train_part_7", challenges.load()) == ""


def _refuse(unlink, name):
    def refusing(self, missing_ok=False):
        if self.name == name:
            raise PermissionError(13, "Permission denied", str(self))
        unlink(self, missing_ok=missing_ok)

    return refusing


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_file_system_without_locks_is_reported_and_the_work_continues(server, dfdc, tmp_path, monkeypatch, number):
    def no_locks(*_):
        raise OSError(number, "no locks")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    (tmp_path / "a.zip").write_bytes(zipped(part(7)))
    done = dfdc("data", "add", "a.zip")
    assert done.returncode == 0, done.stderr
    assert "is on a file system without locks" in done.stderr
    assert_parts(tmp_path / DATA, [7])
