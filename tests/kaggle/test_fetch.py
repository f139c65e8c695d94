"""`fetch` against a storage that misbehaves: every byte is right, or an error says why not."""

import hashlib
import resource
import subprocess
import sys
import threading

import pytest

from dfdc_kit.errors import KaggleError, OutputError
from dfdc_kit.kaggle.download.fetch import MOST_DAMAGED, FetchRequest, StoppedError, Transport, fetch, map_threads
from dfdc_kit.kaggle.download.partial import Identity, Partial, file_digest, is_digest_of, published_digest
from dfdc_kit.kaggle.retry import RetryPolicy

CONTENT = bytes(range(256)) * 4000  # 1,024,000 bytes


class Notes:
    """A TransferProgress that records its calls."""

    def __init__(self):
        self.starts, self.sentences, self.count_bytes = [], [], 0

    def started(self, name, have_bytes, size_bytes):
        self.starts.append((have_bytes, size_bytes))

    def advanced(self, name, count_bytes):
        self.count_bytes += count_bytes

    def ended(self, name):
        pass

    def info(self, sentence):
        self.sentences.append(sentence)


@pytest.fixture
def notes():
    return Notes()


@pytest.fixture
def waits():
    return []


@pytest.fixture
def transport(notes, waits):
    return Transport(progress=notes, retry=RetryPolicy(sleep=waits.append), timeout_s=20)


@pytest.fixture
def wanted(kaggle_server, tmp_path):
    kaggle_server.world.files["a.mp4"] = CONTENT
    path = tmp_path / "data" / "test_videos" / "a.mp4"
    return FetchRequest(name="a.mp4", path=path, link=lambda: kaggle_server.world.sign("files/a.mp4"))


def left_beside(path):
    return [other.name for other in path.parent.iterdir() if other != path]


def ranges(server):
    return [seen.headers.get("Range") for seen in server.gets("a.mp4")]


def test_fetch_writes_the_complete_file(kaggle_server, wanted, transport, notes):
    fetched = fetch(wanted, transport)
    assert wanted.path.read_bytes() == CONTENT
    assert (fetched.size_bytes, fetched.transferred_bytes, fetched.verified) == (len(CONTENT), len(CONTENT), True)
    assert left_beside(wanted.path) == []
    assert notes.count_bytes == len(CONTENT)


def test_fetch_writes_an_empty_file(kaggle_server, wanted, transport):
    kaggle_server.world.files["a.mp4"] = b""
    fetch(wanted, transport)
    assert wanted.path.read_bytes() == b""
    assert left_beside(wanted.path) == []


def test_dropped_connection_is_resumed_at_its_byte(kaggle_server, wanted, transport, notes, waits):
    kaggle_server.fault("drop", at="a.mp4", after_bytes=100_000)
    kaggle_server.fault("drop", at="a.mp4", after_bytes=50_000)
    fetch(wanted, transport)
    assert wanted.path.read_bytes() == CONTENT
    assert ranges(kaggle_server) == [None, "bytes=100000-", "bytes=150000-"]
    assert notes.count_bytes == len(CONTENT)  # no byte twice
    assert len(waits) == 2


def test_drops_count_only_without_progress(kaggle_server, wanted, transport, waits):
    """40 drops with progress in between are survived; 6 without progress are not."""
    kaggle_server.fault("drop", at="a.mp4", after_bytes=20_000, times=40)
    fetch(wanted, transport)
    assert wanted.path.read_bytes() == CONTENT
    assert len(waits) == 40
    kaggle_server.world.files["a.mp4"] = CONTENT + b"!"
    kaggle_server.fault("drop", at="a.mp4", after_bytes=0, times=-1)
    with pytest.raises(KaggleError) as caught:
        fetch(wanted, transport)
    assert caught.value.reason == "broken-connection"
    assert len(waits) == 40 + 5


def test_next_process_resumes_the_part(kaggle_server, wanted, transport):
    kaggle_server.fault("drop", at="a.mp4", after_bytes=300_000)
    kaggle_server.fault("status", at="a.mp4", status=404)
    with pytest.raises(KaggleError):
        fetch(wanted, transport)
    assert not wanted.path.exists()
    assert fetch(wanted, transport).transferred_bytes == len(CONTENT) - 300_000
    assert wanted.path.read_bytes() == CONTENT
    assert kaggle_server.gets("a.mp4")[-1].headers["If-Range"] == kaggle_server.world.stored("files/a.mp4").etag


@pytest.mark.parametrize(("kind", "more"), [("wrong-range", [None]), ("ignore-range", [])])
def test_wrong_answer_to_a_range_request_is_not_appended(kaggle_server, wanted, transport, kind, more):
    kaggle_server.world.publishes = ()  # no digest would find it out
    kaggle_server.fault("drop", at="a.mp4", after_bytes=300_000)
    kaggle_server.fault(kind, at="a.mp4")
    fetch(wanted, transport)
    assert wanted.path.read_bytes() == CONTENT
    assert ranges(kaggle_server) == [None, "bytes=300000-", *more]


def test_file_that_changes_during_download_restarts(kaggle_server, wanted, transport, notes):
    other = CONTENT[::-1]

    def change():
        kaggle_server.world.files["a.mp4"] = other

    kaggle_server.fault("drop", at="a.mp4", after_bytes=300_000)
    kaggle_server.fault("call", at="a.mp4", before=change)
    fetch(wanted, transport)
    assert wanted.path.read_bytes() == other
    assert "changed on the server" in " ".join(notes.sentences)


def test_file_that_shrinks_during_download_restarts(kaggle_server, wanted, transport):
    kaggle_server.fault("drop", at="a.mp4", after_bytes=300_000)
    kaggle_server.fault("status", at="a.mp4", status=416)
    fetch(wanted, transport)
    assert wanted.path.read_bytes() == CONTENT


@pytest.mark.parametrize("published", [("crc32c",), ("md5",), ("crc32c", "md5")])
def test_flipped_bit_is_detected_and_fetched_again(kaggle_server, wanted, transport, notes, published):
    kaggle_server.world.publishes = published
    kaggle_server.fault("flip", at="a.mp4", after_bytes=777_777)
    fetch(wanted, transport)
    assert wanted.path.read_bytes() == CONTENT
    assert "damaged" in notes.sentences[0]


def test_damage_in_the_resumed_part_is_detected(kaggle_server, wanted, transport):
    """The digest covers the bytes of an earlier process, too."""
    kaggle_server.fault("drop", at="a.mp4", after_bytes=300_000)
    kaggle_server.fault("status", at="a.mp4", status=404)
    with pytest.raises(KaggleError):
        fetch(wanted, transport)
    part = Partial(wanted.path).part
    part.write_bytes(b"?" + part.read_bytes()[1:])
    fetch(wanted, transport)
    assert wanted.path.read_bytes() == CONTENT


def test_fetch_gives_up_when_every_copy_is_damaged(kaggle_server, wanted, transport):
    kaggle_server.fault("flip", at="a.mp4", after_bytes=5, times=-1)
    with pytest.raises(KaggleError) as caught:
        fetch(wanted, transport)
    assert caught.value.reason == "damaged"
    assert len(kaggle_server.gets("a.mp4")) == MOST_DAMAGED
    assert not wanted.path.exists()


def test_fetch_without_published_digest_is_not_verified(kaggle_server, wanted, transport):
    kaggle_server.world.publishes = ()
    assert not fetch(wanted, transport).verified
    assert wanted.path.read_bytes() == CONTENT


def test_digest_of_an_object_stored_compressed_is_ignored():
    headers = {"Content-Length": "9", "ETag": '"a"', "X-Goog-Hash": "crc32c=AAAAAA==", "Last-Modified": "yesterday"}
    assert Identity.of(headers).digest == "crc32c:00000000"
    assert Identity.of({**headers, "X-Goog-Stored-Content-Encoding": "identity"}).digest == "crc32c:00000000"
    assert Identity.of({**headers, "X-Goog-Stored-Content-Encoding": "gzip"}).digest == ""


def test_fetch_refuses_compressed_bytes(kaggle_server, wanted, transport):
    kaggle_server.world.content_encoding = "gzip"
    with pytest.raises(KaggleError, match="compressed bytes"):
        fetch(wanted, transport)
    assert not wanted.path.exists()
    assert {seen.headers["Accept-Encoding"] for seen in kaggle_server.gets("a.mp4")} == {"identity"}


def test_weak_etag_is_not_a_validator():
    assert Identity.of({"ETag": '"a"', "Last-Modified": "yesterday"}).validator == '"a"'
    assert Identity.of({"ETag": 'W/"a"', "Last-Modified": "yesterday"}).validator == "yesterday"
    assert Identity.of({"ETag": 'W/"a"'}).validator == ""


def test_fetch_renews_an_expired_link(kaggle_server, wanted, transport, waits):
    kaggle_server.fault("drop", at="a.mp4", after_bytes=300_000)
    kaggle_server.fault("call", at="a.mp4", before=kaggle_server.world.expire_links)
    fetch(wanted, transport)
    assert wanted.path.read_bytes() == CONTENT
    assert ranges(kaggle_server) == [None, "bytes=300000-", "bytes=300000-"]
    assert len({seen.url for seen in kaggle_server.gets("a.mp4")}) == 2
    assert len(waits) == 1  # for the drop; a new link needs no waiting


def test_fetch_gives_up_when_every_new_link_is_refused(kaggle_server, wanted, transport):
    kaggle_server.fault("status", at="a.mp4", status=403, times=-1)
    with pytest.raises(KaggleError) as caught:
        fetch(wanted, transport)
    assert caught.value.reason == "expired-link"
    assert "Signature" not in str(caught.value)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_fetch_waits_as_long_as_retry_after_asks(kaggle_server, wanted, transport, waits, status):
    kaggle_server.fault("status", at="a.mp4", status=status, headers={"Retry-After": "3"}, times=2)
    fetch(wanted, transport)
    assert waits == [3, 3]


def test_fetch_resumes_after_a_timeout(kaggle_server, wanted, transport, waits):
    transport.timeout_s = 0.4
    hangs = [kaggle_server.fault("hang", at="a.mp4"), kaggle_server.fault("hang", at="a.mp4", after_bytes=123_456)]
    fetch(wanted, transport)
    assert wanted.path.read_bytes() == CONTENT
    assert [hang.met for hang in hangs] == [1, 1]
    assert "bytes=123456-" in ranges(kaggle_server)


def test_fetch_reconnects_when_the_rate_is_useless(kaggle_server, wanted, transport, waits):
    """200 bytes a second, one every few milliseconds: the connection never times out, and never ends."""
    transport.timeout_s = 0.4
    kaggle_server.fault("trickle", at="a.mp4", bytes_per_s=200)
    fetch(wanted, transport)
    assert wanted.path.read_bytes() == CONTENT
    assert len(waits) >= 1


def test_fetch_accepts_a_slow_server(kaggle_server, wanted, transport, waits):
    kaggle_server.world.bytes_per_s = 2_000_000
    fetch(wanted, transport)
    assert (wanted.path.read_bytes(), waits) == (CONTENT, [])


def test_local_file_with_the_right_digest_is_kept(kaggle_server, wanted, transport):
    wanted.path.parent.mkdir(parents=True)
    wanted.path.write_bytes(CONTENT)
    assert fetch(wanted, transport).transferred_bytes == 0
    assert left_beside(wanted.path) == []


def test_damaged_local_file_is_replaced(kaggle_server, wanted, transport):
    wanted.path.parent.mkdir(parents=True)
    wanted.path.write_bytes(CONTENT[:-1] + b"?")
    fetch(wanted, transport)
    assert wanted.path.read_bytes() == CONTENT


def test_part_without_identity_is_not_resumed(kaggle_server, wanted, transport):
    wanted.path.parent.mkdir(parents=True)
    Partial(wanted.path).part.write_bytes(b"?" * 1000)
    fetch(wanted, transport)
    assert wanted.path.read_bytes() == CONTENT


def test_fetch_refuses_a_web_page(kaggle_server, wanted, transport, tmp_path):
    page = FetchRequest(name="a.mp4", path=wanted.path, link=lambda: "http://www.kaggle.fake/account/login")
    with pytest.raises(KaggleError) as caught:
        fetch(page, transport)
    assert caught.value.reason == "page"
    assert not wanted.path.exists()


def test_stop_event_ends_the_fetch_and_keeps_the_part(kaggle_server, wanted, transport):
    transport.progress.advanced = lambda *_: transport.stop.set()
    with pytest.raises(StoppedError):
        fetch(wanted, transport)
    assert 0 < Partial(wanted.path).have_bytes <= len(CONTENT)


def test_full_disk_is_reported_and_the_part_is_kept(kaggle_server, wanted, transport):
    """Simulated by a limit on the size of files, which also fails the write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        with pytest.raises(OutputError) as caught:
            fetch(wanted, transport)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "a.mp4" in str(caught.value)
    assert Partial(wanted.path).have_bytes == 200_000
    assert fetch(wanted, transport).transferred_bytes == len(CONTENT) - 200_000
    assert wanted.path.read_bytes() == CONTENT


def test_fetch_refuses_a_file_larger_than_the_free_space(kaggle_server, wanted, transport, monkeypatch):
    monkeypatch.setattr("dfdc_kit.files.free_bytes", lambda _: len(CONTENT))
    with pytest.raises(OutputError, match="are free"):
        fetch(wanted, transport)
    assert left_beside(wanted.path) == []


def test_fetch_shows_and_writes_no_secret(kaggle_server, wanted, transport, notes, tmp_path):
    kaggle_server.fault("drop", at="a.mp4", after_bytes=1000)
    kaggle_server.fault("status", at="a.mp4", status=404)
    with pytest.raises(KaggleError) as caught:
        fetch(wanted, transport)
    said = " ".join([*notes.sentences, str(caught.value), caught.value.hint])
    files = b"".join(path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file())
    assert "planted" not in said
    assert b"planted" not in files.replace(CONTENT[:1000], b"")


def test_map_threads_stops_at_the_first_error():
    stop, seen = threading.Event(), []

    def work(number):
        seen.append(number)
        if number == 3:
            raise KaggleError("three")
        assert number < 3 or stop.wait(10)

    assert map_threads(lambda number: number * 2, range(20), 4, threading.Event()) == [n * 2 for n in range(20)]
    with pytest.raises(KaggleError, match="three"):
        map_threads(work, range(1000), 2, stop)
    assert stop.is_set()
    assert len(seen) <= 5


MEASURED = """
import resource, sys
from pathlib import Path
from dfdc_kit.kaggle.download.partial import file_digest, is_digest_of, published_digest
from dfdc_kit.kaggle.download.fetch import FetchRequest, Transport, fetch

class NoProgress:
    started = advanced = ended = info = lambda *_: None

wanted = FetchRequest(name="x", path=Path(sys.argv[2]), link=lambda: sys.argv[1])
fetch(wanted, Transport(progress=NoProgress()))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10)
"""


def test_memory_does_not_grow_with_the_file(kaggle_server, tmp_path):
    """Peak memory of two processes, for files of 8 and of 160 MiB: the blocks in flight, not the file."""
    peaks_bytes = []
    for size_bytes in (8 << 20, 160 << 20):
        with (tmp_path / f"{size_bytes}").open("wb") as file:
            file.truncate(size_bytes)
        kaggle_server.world.files["large.bin"] = tmp_path / f"{size_bytes}"
        command = [sys.executable, "-c", MEASURED, kaggle_server.world.sign("files/large.bin"), tmp_path / "out.bin"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert (tmp_path / "out.bin").stat().st_size == size_bytes
        peaks_bytes.append(int(done.stdout))
    assert peaks_bytes[1] - peaks_bytes[0] < 16 << 20


def test_fetch_uses_md5_without_crc32c(kaggle_server, wanted, transport, monkeypatch):
    monkeypatch.setattr("dfdc_kit.kaggle.download.partial._crc32c", lambda: None)
    kaggle_server.fault("flip", at="a.mp4", after_bytes=777_777)
    fetched = fetch(wanted, transport)
    assert wanted.path.read_bytes() == CONTENT
    assert fetched.digest == f"md5:{hashlib.md5(CONTENT).hexdigest()}"
    with pytest.raises(KaggleError, match="google-crc32c is missing"):
        is_digest_of("crc32c:00000000", wanted.path)


def test_digests_match_published_check_values(tmp_path):
    (tmp_path / "a").write_bytes(b"123456789")
    assert file_digest(tmp_path / "a", "crc32c") == "crc32c:e3069283"  # RFC 3720's check value
    assert file_digest(tmp_path / "a", "md5") == "md5:25f9e794323b453885f5181f1b624d0b"
    assert published_digest("crc32c=4waSgw==, md5=JfnnlDI7RTiF9RgfG2JNCw==") == "crc32c:e3069283"
    assert published_digest("md5=JfnnlDI7RTiF9RgfG2JNCw==") == "md5:25f9e794323b453885f5181f1b624d0b"
    assert published_digest("") == ""
