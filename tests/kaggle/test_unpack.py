"""Unsafe archives are refused before a byte is written; damaged ones leave no incomplete file."""

import stat
import struct
import zipfile

import pytest

from dfdc_kit.errors import DataError, OutputError
from dfdc_kit.kaggle.download.ingest import DamagedArchiveError, members, unpack
from dfdc_kit.kaggle.download.manifest import Manifest

VIDEO = bytes(range(256)) * 100


def archive(path, files, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in files.items():
            file.writestr(name if isinstance(name, zipfile.ZipInfo) else zipfile.ZipInfo(name), content, method)
    return path


def linked(name, mode=stat.S_IFLNK | 0o777):
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, mode << 16
    return info


def everything_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_unpack_keeps_folders(tmp_path):
    zip_path = archive(tmp_path / "a.zip", {"test_videos/a.mp4": VIDEO, "train/metadata.json": b"{}", "empty/": b""})
    entries = unpack(zip_path, tmp_path / "out")
    assert (tmp_path / "out" / "test_videos" / "a.mp4").read_bytes() == VIDEO
    assert [entry.name for entry in entries] == ["test_videos/a.mp4", "train/metadata.json"]
    assert zip_path.exists()


def test_unpack_takes_backslashes_of_windows_for_folders(tmp_path):
    content = {"part_7\\": b"", "part_7\\a.mp4": VIDEO, "part_7\\x\\metadata.json": b"{}", "__MACOSX\\b": b"x"}
    entries = unpack(archive(tmp_path / "a.zip", content), tmp_path / "out")
    assert (tmp_path / "out" / "part_7" / "a.mp4").read_bytes() == VIDEO
    assert [entry.name for entry in entries] == ["part_7/a.mp4", "part_7/x/metadata.json"]


def test_archive_with_one_name_in_both_spellings_is_refused(tmp_path):
    with pytest.raises(DataError, match="twice"):
        unpack(archive(tmp_path / "a.zip", {"a/b.mp4": VIDEO, "a\\b.mp4": b"other"}), tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../escaped.mp4", "leaves the folder"),
        ("a/../../escaped.mp4", "leaves the folder"),
        ("/tmp/escaped.mp4", "absolute"),
        ("C:escaped.mp4", "absolute"),
        ("..\\escaped.mp4", "leaves the folder"),
        ("a\\..\\..\\escaped.mp4", "leaves the folder"),
        ("\\\\server\\escaped.mp4", "absolute"),
        ("C:\\escaped.mp4", "absolute"),
        (".dfdc\\files.jsonl", "reserved for this kit"),
        ("a/./escaped.mp4", "not normalized"),
        ("a//escaped.mp4", "not normalized"),
        ("a\x1b[2Jb.mp4", "control"),
        (".", "without letters"),
        (".dfdc/files.jsonl", "reserved for this kit"),
        (linked("escaped.mp4"), "a link"),
        (linked("pipe", stat.S_IFIFO | 0o644), "a link or a device"),
        (linked("device", stat.S_IFCHR | 0o644), "a link or a device"),
    ],
)
def test_archive_with_unsafe_names_is_refused_before_unpacking(tmp_path, name, why):
    zip_path = archive(tmp_path / "a.zip", {"good.mp4": VIDEO, name: b"/etc/passwd"})
    with pytest.raises(DataError, match=why) as caught:
        unpack(zip_path, tmp_path / "out")
    assert not isinstance(caught.value, DamagedArchiveError)
    assert not (tmp_path / "out").exists()
    assert everything_in(tmp_path) == ["a.zip"]


def test_archive_with_a_zero_byte_in_a_name_is_refused(tmp_path):
    """`zipfile` truncates such names; the archive still has the full one."""
    zip_path = archive(tmp_path / "a.zip", {"other.mp4": VIDEO, "good.mp4!.exe": b"x"})
    zip_path.write_bytes(zip_path.read_bytes().replace(b"good.mp4!", b"good.mp4\0"))
    with pytest.raises(DataError, match="control"):
        unpack(zip_path, tmp_path / "out")


def test_unpack_replaces_symlinks(tmp_path):
    outside = tmp_path / "outside"
    outside.write_text("precious")
    (tmp_path / "out").mkdir()
    for name in ("a.mp4", ".a.mp4.part"):
        (tmp_path / "out" / name).symlink_to(outside)
    unpack(archive(tmp_path / "a.zip", {"a.mp4": VIDEO}), tmp_path / "out")
    assert outside.read_text() == "precious"
    assert (tmp_path / "out" / "a.mp4").read_bytes() == VIDEO
    assert not (tmp_path / "out" / "a.mp4").is_symlink()


def test_zip_bomb_is_refused_before_unpacking(tmp_path):
    zip_path = archive(tmp_path / "a.zip", {"a.mp4": bytes(100 << 20)}, zipfile.ZIP_DEFLATED)
    assert zip_path.stat().st_size < 1 << 20
    with pytest.raises(DataError, match="would become"):
        unpack(zip_path, tmp_path / "out")


def test_archive_with_many_large_files_is_refused_by_their_sum(tmp_path):
    """The sum of the listed sizes counts."""
    zip_path = archive(tmp_path / "a.zip", {f"{n:04d}": bytes(1 << 20) for n in range(60)}, zipfile.ZIP_DEFLATED)
    with pytest.raises(DataError, match="would become"):
        unpack(zip_path, tmp_path / "out")


def test_archive_with_a_wrong_listed_size_is_damaged(tmp_path):
    """10 MB that say they are 10 bytes: reading ends at the listed size, and the CRC does not fit."""
    zip_path = archive(tmp_path / "a.zip", {"a.mp4": bytes(10 << 20)}, zipfile.ZIP_DEFLATED)
    content = zip_path.read_bytes()
    zip_path.write_bytes(content.replace(struct.pack("<L", 10 << 20), struct.pack("<L", 10)))
    with pytest.raises(DamagedArchiveError, match=r"a\.mp4 is damaged"):
        unpack(zip_path, tmp_path / "out")
    assert everything_in(tmp_path / "out") == []


def test_unpack_refuses_more_than_the_free_space(tmp_path, monkeypatch):
    monkeypatch.setattr("dfdc_kit.files.free_bytes", lambda _: 1000)
    with pytest.raises(OutputError, match="are free"):
        unpack(archive(tmp_path / "a.zip", {"a.mp4": VIDEO}), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_unpack_leaves_no_file_when_a_bit_is_flipped(tmp_path):
    zip_path = archive(tmp_path / "a.zip", {"a.mp4": VIDEO, "b.mp4": VIDEO})
    content = bytearray(zip_path.read_bytes())
    content[len(content) // 4] ^= 1
    zip_path.write_bytes(content)
    with pytest.raises(DamagedArchiveError, match=r"a\.mp4 is damaged"):
        unpack(zip_path, tmp_path / "out")
    assert everything_in(tmp_path / "out") == []


@pytest.mark.parametrize("keep", [0.3, 0.9, 0.999])
def test_truncated_archive_is_damaged(tmp_path, keep):
    zip_path = archive(tmp_path / "a.zip", {"a.mp4": VIDEO})
    content = zip_path.read_bytes()
    zip_path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(DamagedArchiveError, match="not a complete zip"):
        unpack(zip_path, tmp_path / "out")


def test_web_page_saved_as_zip_is_damaged(tmp_path):
    (tmp_path / "a.zip").write_text("<!DOCTYPE html>")
    with pytest.raises(DamagedArchiveError, match="not a complete zip"):
        members(tmp_path / "a.zip")


def test_encrypted_archive_is_refused(tmp_path):
    zip_path = archive(tmp_path / "a.zip", {"a.mp4": VIDEO})
    content = bytearray(zip_path.read_bytes())
    at = content.index(b"PK\x01\x02")
    content[at + 8] |= 1
    zip_path.write_bytes(content)
    with pytest.raises(DataError, match="encrypted"):
        unpack(zip_path, tmp_path / "out")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_archive_with_a_duplicate_name_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("a.mp4", b"1")
        file.writestr("a.mp4", b"2")
    with pytest.raises(DataError, match="twice"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


def test_archive_with_a_file_and_a_folder_of_one_name_is_refused(tmp_path):
    with pytest.raises(DataError, match="both a file and a folder"):
        unpack(archive(tmp_path / "a.zip", {"a": b"1", "a/b": b"2"}), tmp_path / "out")


def test_unpack_keeps_good_files_and_replaces_damaged_ones(tmp_path):
    zip_path = archive(tmp_path / "a.zip", {"a.mp4": VIDEO, "b.mp4": VIDEO})
    unpack(zip_path, tmp_path / "out")
    kept, damaged = tmp_path / "out" / "a.mp4", tmp_path / "out" / "b.mp4"
    before = kept.stat().st_ino
    damaged.write_bytes(VIDEO[:-1] + b"?")
    unpack(zip_path, tmp_path / "out")
    assert kept.stat().st_ino == before
    assert damaged.read_bytes() == VIDEO


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "out").write_text("a file, not a folder")
    with pytest.raises(OutputError):
        unpack(archive(tmp_path / "a.zip", {"a.mp4": VIDEO}), tmp_path / "out")


def test_manifest_ignores_a_truncated_line(tmp_path):
    unpacked = unpack(archive(tmp_path / "a.zip", {"a.mp4": VIDEO, "b.mp4": VIDEO}), tmp_path)
    Manifest(tmp_path).add(*unpacked)
    path = tmp_path / ".dfdc" / "files.jsonl"
    path.write_bytes(path.read_bytes()[:-5])
    manifest = Manifest(tmp_path)
    assert [manifest.state(name) for name in ("a.mp4", "b.mp4", "c.mp4")] == ["good", "unknown", "missing"]
    manifest.add(unpacked[1])
    (tmp_path / "a.mp4").write_bytes(VIDEO[:-1] + b"?")
    manifest = Manifest(tmp_path)
    assert [manifest.state(name) for name in ("a.mp4", "b.mp4")] == ["damaged", "good"]


@pytest.mark.parametrize(("method", "name"), [(9, "Deflate64"), (93, "Zstandard"), (98, "method 98")])
def test_unsupported_compression_is_not_called_damage(tmp_path, method, name):
    zip_path = archive(tmp_path / "a.zip", {"a.mp4": VIDEO})
    content = bytearray(zip_path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        at = content.index(signature) + offset
        content[at : at + 2] = struct.pack("<H", method)
    zip_path.write_bytes(content)
    with pytest.raises(DataError, match=f"compressed with {name}, which Python cannot unpack") as caught:
        unpack(zip_path, tmp_path / "out")
    assert not isinstance(caught.value, DamagedArchiveError)
    assert "not damaged" in caught.value.hint
    assert not (tmp_path / "out").exists()


def test_files_that_macos_adds_are_left_out(tmp_path):
    names = ("part/a.mp4", "part/.DS_Store", "__MACOSX/part/._a.mp4", "__MACOSX/._part")
    unpack(archive(tmp_path / "a.zip", dict.fromkeys(names, VIDEO)), tmp_path / "out")
    assert everything_in(tmp_path / "out") == ["part", "part/a.mp4"]


def test_doubled_top_folder_is_unpacked_as_one_on_request(tmp_path):
    zip_path = archive(tmp_path / "a.zip", {"part/part/a.mp4": VIDEO, "part/part/b.json": b"{}"})
    unpack(zip_path, tmp_path / "once", undouble=True)
    assert everything_in(tmp_path / "once") == ["part", "part/a.mp4", "part/b.json"]
    unpack(zip_path, tmp_path / "as-is")
    assert "part/part/a.mp4" in everything_in(tmp_path / "as-is")


@pytest.mark.parametrize(
    ("content", "seen"),
    [
        (b"<!DOCTYPE html>", "an HTML page"),
        (b"Rar!\x1a\x07", "a RAR archive"),
        (b"a".ljust(257, b"\0") + b"ustar", "a tar archive"),
        (b"\x1f\x8b\x08", "a gzip file"),
    ],
)
def test_other_kind_of_file_with_the_name_of_a_zip_is_named(content, seen, tmp_path):
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(DamagedArchiveError, match=seen):
        members(tmp_path / "a.zip")


def test_last_part_of_a_split_archive_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "whole.zip", "w") as archive:
        archive.writestr("a/b.mp4", b"x" * 1000)
    (tmp_path / "last.zip").write_bytes((tmp_path / "whole.zip").read_bytes()[500:])
    with pytest.raises(DamagedArchiveError, match="part of a split archive"):
        members(tmp_path / "last.zip")
