"""`dfdc download parts` with a browser's cookies, and `dfdc data add` of what a browser fetched."""

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
    return {**videos, f"{folder}/metadata.json": b"{}"}


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
def fetch_parts(server, dfdc_here, tmp_path):
    (tmp_path / "cookies.txt").write_text(cookie())

    def call(numbers: str, *options: str):
        return dfdc_here("download", "parts", numbers, "--cookies", "cookies.txt", "--url", URL, *options)

    return call


def assert_parts(folder, numbers, kept=()):
    for number in numbers:
        for name, content in part(number).items():
            assert (folder / name).read_bytes() == content
    archives = {path.name for path in folder.iterdir() if path.suffix == ".zip"}
    assert archives == set(kept)
    assert not [path for path in folder.rglob("*.part*") if path.is_file()]


def test_the_real_pattern_lies_in_the_challenge():
    challenge = challenges.load()
    assert challenge.parts
    assert challenge.parts.url.format(part=7).endswith("/dfdc_train_part_07.zip")
    assert challenge.parts.archive.format(part=7) == "dfdc_train_part_07.zip"
    assert challenge.data.train_parts.format(7) == "dfdc_train_part_7"


@pytest.mark.parametrize(
    ("text", "numbers"), [("0", [0]), ("0-3,17", [0, 1, 2, 3, 17]), ("49, 3-4,4", [3, 4, 49]), ("07", [7])]
)
def test_numbers_and_ranges(text, numbers):
    assert parse_parts(text, 50) == numbers


@pytest.mark.parametrize("text", ["", "50", "a", "3-1", "-1", "1-", "0-50", "1;2", "²"])
def test_numbers_that_name_no_part(text):
    with pytest.raises(UsageError):
        parse_parts(text, 50)


def test_parts_arrive_are_unpacked_and_the_archives_go(server, fetch_parts, tmp_path):
    done = fetch_parts("0-2,10")
    assert (done.returncode, done.stderr) == (0, "")
    assert "0 parts kept, 4 unpacked" in done.stdout
    assert_parts(tmp_path / DATA, [0, 1, 2, 10])
    server.requests.clear()
    assert "4 parts kept, 0 unpacked" in fetch_parts("0-2,10").stdout
    assert server.requests == []


def test_the_archive_is_kept_on_request(fetch_parts, tmp_path):
    assert fetch_parts("7", "--keep-zip").returncode == 0
    assert_parts(tmp_path / DATA, [7], kept=["dfdc_train_part_07.zip"])


def test_an_interrupted_part_goes_on(server, fetch_parts, tmp_path):
    server.fault("drop", at="parts/dfdc_train_part_03.zip", after_bytes=5000)
    server.fault("status", at="parts/dfdc_train_part_03.zip", status=404)
    assert fetch_parts("3").returncode == 5
    assert "interrupted, 4.9 KiB here" in fetch_parts("3", "--dry-run").stdout
    assert fetch_parts("3").returncode == 0
    assert server.gets("parts/dfdc_train_part_03.zip")[-1].headers["Range"] == "bytes=5000-"
    assert_parts(tmp_path / DATA, [3])


def test_a_link_that_expires_in_the_middle_is_asked_for_again(server, fetch_parts, tmp_path):
    server.fault("drop", at="parts/dfdc_train_part_03.zip", after_bytes=5000)
    server.fault("call", at="parts/dfdc_train_part_03.zip", before=server.world.expire_links)
    assert fetch_parts("3").returncode == 0
    assert_parts(tmp_path / DATA, [3])
    assert len(server.gets("/datadownload/")) == 2


def test_a_part_that_is_gone_or_damaged_is_fetched_anew(server, fetch_parts, tmp_path):
    fetch_parts("0-1")
    (tmp_path / DATA / "dfdc_train_part_1" / "a.mp4").unlink()
    assert "damaged" in fetch_parts("0-1", "--dry-run").stdout
    assert fetch_parts("0-1").returncode == 0
    (tmp_path / DATA / "dfdc_train_part_0" / "b.mp4").write_bytes(b"?" * len(part(0)["dfdc_train_part_0/b.mp4"]))
    assert "2 parts kept" in fetch_parts("0-1").stdout  # by size only
    assert "1 part kept, 1 unpacked" in fetch_parts("0-1", "--check").stdout
    assert_parts(tmp_path / DATA, [0, 1])


def test_a_damaged_archive_is_found_without_a_digest(server, fetch_parts, tmp_path):
    server.world.publishes = ()
    server.fault("flip", at="parts/dfdc_train_part_03.zip", after_bytes=1000)
    done = fetch_parts("3")
    assert done.returncode == 0
    assert "is damaged" in done.stderr
    assert_parts(tmp_path / DATA, [3])


def test_another_part_under_the_wanted_name_is_refused(server, fetch_parts, tmp_path):
    server.world.parts["dfdc_train_part_03.zip"] = zipped(part(4))
    done = fetch_parts("3")
    assert done.returncode == 3
    assert "holds dfdc_train_part_04.zip, expected dfdc_train_part_03.zip" in done.stderr


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
def test_cookies_that_do_not_work(fetch_parts, tmp_path, content, said):
    (tmp_path / "cookies.txt").write_text(content)
    done = fetch_parts("3")
    assert done.returncode >= 3
    assert said in done.stderr
    assert "cookies.txt extension" in done.stderr
    assert "planted" not in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_no_cookies_at_all(server, dfdc_here):
    done = dfdc_here("download", "parts", "0")
    assert done.returncode == 2
    assert "--cookies cookies.txt" in done.stderr
    assert dfdc_here("download", "parts", "0", "--cookies", "none.txt").returncode == 3


def test_cookies_go_to_kaggle_only(server, fetch_parts):
    fetch_parts("3")
    assert [bool(seen.headers.get("Cookie")) for seen in server.gets()] == [True, False]


def test_no_secret_in_any_output_or_file(server, fetch_parts, tmp_path):
    server.fault("drop", at="parts/dfdc_train_part_03.zip", after_bytes=5000)
    server.fault("status", at="parts/dfdc_train_part_03.zip", status=500, message=f"echo {COOKIE}", times=2)
    server.fault("status", at="parts/dfdc_train_part_03.zip", status=404, message=f"echo {COOKIE}")
    runs = [fetch_parts("3"), fetch_parts("3", "--json")]
    assert [done.returncode for done in runs] == [5, 0]
    assert "planted" not in "".join(done.stdout + done.stderr for done in runs)
    for path in (tmp_path / DATA).rglob("*"):
        assert not path.is_file() or b"planted" not in path.read_bytes()


def test_an_archive_that_a_killed_process_left_behind_is_removed(fetch_parts, tmp_path):
    assert fetch_parts("0", "--keep-zip").returncode == 0
    assert fetch_parts("0", "--keep-zip").returncode == 0
    assert_parts(tmp_path / DATA, [0], kept=["dfdc_train_part_00.zip"])
    assert fetch_parts("0").returncode == 0
    assert_parts(tmp_path / DATA, [0])


def test_a_part_that_the_website_serves_itself(server, fetch_parts, tmp_path):
    server.world.parts_directly = True
    server.fault("drop", at="dfdc_train_part_03.zip", after_bytes=2000, skip=1)
    assert fetch_parts("3").returncode == 0
    assert_parts(tmp_path / DATA, [3])
    assert server.gets()[-1].headers["Range"] == "bytes=2000-"


def test_a_part_that_kaggle_does_not_have(server, fetch_parts):
    done = fetch_parts("40")
    assert done.returncode == 5
    assert "no dfdc_train_part_40.zip" in done.stderr


def test_what_a_browser_fetched_is_taken_in_whatever_its_name(server, dfdc_here, tmp_path):
    downloads = tmp_path / "Downloads"
    downloads.mkdir()
    (downloads / "dfdc_train_part_07 (1).zip").write_bytes(zipped(part(7)))
    (downloads / "8.zip").write_bytes(zipped(part(8)))
    done = dfdc_here("data", "add", *downloads.iterdir(), "--json")
    assert {taken["name"] for taken in json.loads(done.stdout)} == {
        "dfdc_train_part_07.zip",
        "dfdc_train_part_08.zip",
    }
    assert_parts(tmp_path / DATA, [7, 8])
    assert list(downloads.iterdir()) == []
    assert "good" in dfdc_here("download", "parts", "7-8", "--dry-run").stdout


def test_what_was_downloaded_and_is_gone_is_found_by_verify(server, dfdc_here, tmp_path):
    (tmp_path / "a.zip").write_bytes(zipped(part(7)))
    dfdc_here("data", "add", "a.zip")
    (tmp_path / DATA / "dfdc_train_part_7" / "a.mp4").unlink()
    for folder in (DATA, f"{DATA}/dfdc_train_part_7"):
        problems = json.loads(dfdc_here("data", "verify", folder, "--json").stdout)["problems"]
        assert [problem["reason"] for problem in problems if problem["code"] == "missing"] == [
            "it was downloaded, and is not there"
        ]


def test_an_archive_that_is_cut_off_stays_where_it_is(server, dfdc_here, tmp_path):
    content = zipped(part(7))
    (tmp_path / "a.zip").write_bytes(content[: len(content) // 2])
    done = dfdc_here("data", "add", "a.zip")
    assert done.returncode == 3
    assert "not a complete zip archive" in done.stderr
    assert (tmp_path / "a.zip").exists()


def test_an_archive_of_something_else_is_refused(server, dfdc_here, tmp_path):
    (tmp_path / "a.zip").write_bytes(zipped({"holiday/a.mp4": b"x"}))
    done = dfdc_here("data", "add", "a.zip")
    assert done.returncode == 3
    assert "it holds holiday, expected a folder such as test_videos or dfdc_train_part_7" in done.stderr
    assert not (tmp_path / DATA / "holiday").exists()


def test_the_bundle_from_the_browser_is_taken_in(server, dfdc_here, tmp_path):
    (tmp_path / "a.zip").write_bytes(zipped({"test_videos/a.mp4": b"x", "sample_submission.csv": b"filename,label\n"}))
    assert dfdc_here("data", "add", "a.zip", "--keep-zip").returncode == 0
    assert (tmp_path / DATA / "test_videos" / "a.mp4").read_bytes() == b"x"
    assert (tmp_path / "a.zip").exists()
