"""The state of the fake Kaggle: files, links, accounts, submissions, notebooks, datasets, a leaderboard."""

import gzip
import hashlib
import io
import itertools
import tarfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import google_crc32c

SLUG = "deepfake-detection-challenge"
USER, KEY = "ada", "planted-key-5f1c9e"  # tests look for these strings where they must not be
TOKEN = "planted-token-KGAT-77ab"
COOKIE = "planted-cookie-CfDJ8"
STORAGE = "http://storage.fake"
Content = bytes | Path


@dataclass
class Stored:
    """One object of the storage: bytes, or a file for what is too large for them."""

    content: Content
    md5: bytes = b""
    crc32c: bytes = b""
    etag: str = ""

    def __post_init__(self) -> None:
        md5, crc32c = hashlib.md5(), google_crc32c.Checksum()
        with io.BytesIO(self.content) if isinstance(self.content, bytes) else self.content.open("rb") as file:
            while block := file.read(1 << 20):
                md5.update(block)
                crc32c.update(block)
        self.md5, self.crc32c = md5.digest(), crc32c.digest()
        self.etag = self.etag or f'"{self.md5.hex()}"'

    @property
    def size(self) -> int:
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size


@dataclass
class World:
    """The state of the fake Kaggle. Tests set it, requests change it."""

    slug: str = SLUG
    files: dict[str, Content] = field(default_factory=dict)  # the competition's files by name
    bundle: Content | None = None  # what DownloadDataFiles serves; None: a zip of `files`
    parts: dict[str, Content] = field(default_factory=dict)  # what only a browser's cookies open
    zip_from_bytes: int = 1 << 62  # single files of this size and more arrive as <name>.zip
    accounts: dict[str, str] = field(default_factory=lambda: {USER: KEY})
    tokens: dict[str, str] = field(default_factory=lambda: {TOKEN: USER})  # token -> user
    cookies: set[str] = field(default_factory=lambda: {COOKIE})
    parts_directly: bool = False  # parts come from the website itself, without a signed link
    rules_accepted: bool = True
    listed: bool = True  # whether single files can be downloaded at all: no, in some ended competitions
    page_limit: int = 200  # files a page at most
    publishes: tuple[str, ...] = ("crc32c", "md5")  # digests in X-Goog-Hash
    content_encoding: str = ""  # as a middleman would set it
    clock_offset_s: float = 0.0  # of the Date header
    latency_s: float = 0.0  # before each answer
    bytes_per_s: float = 0.0  # of each connection's body; 0: as fast as it goes
    links: dict[str, str] = field(default_factory=dict)  # signature -> object name
    objects: dict[str, Stored] = field(default_factory=dict)  # made when first asked for
    upload_names: dict[str, str] = field(default_factory=dict)  # token -> file name
    uploads: dict[str, bytearray] = field(default_factory=dict)  # token -> bytes received
    submissions: list[dict[str, Any]] = field(default_factory=list)  # newest first
    score: Callable[[bytes], str] = lambda _: "0.50000"
    polls_until_scored: int = 1
    daily_limit: int = 2
    leaderboard: list[dict[str, Any]] = field(default_factory=list)
    kernels: dict[str, list[dict[str, Any]]] = field(default_factory=dict)  # "owner/slug" -> versions
    kernel_statuses: list[str] = field(default_factory=lambda: ["QUEUED", "RUNNING", "COMPLETE"])
    kernel_failure: str = ""
    kernel_outputs: dict[str, bytes] = field(default_factory=dict)
    kernel_log: str = '[{"stream_name":"stdout","time":0.1,"data":"done\\n"}]'
    datasets: dict[str, list[dict[str, Any]]] = field(default_factory=dict)  # "owner/slug" -> versions
    dataset_statuses: list[str] = field(default_factory=lambda: ["READY"])  # one a poll; the last stays
    models: dict[str, Content] = field(default_factory=dict)  # "owner/model.tar.gz"
    polls_until_version: int = 0  # how often a data set still shows its older version after an upload
    numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def stored(self, name: str) -> Stored | None:
        """The object `name`: "archive.zip", "files/<name>" or "files/<name>.zip", "parts/<name>", "outputs/<name>"."""
        content = self._content(name)
        if content is None:
            return None
        known = self.objects.get(name)
        if known is None or known.content is not content:
            self.objects[name] = known = Stored(content)
        return known

    def _content(self, name: str) -> Content | None:
        if name == "archive.zip":
            if self.bundle is None:
                self.bundle = zipped(self.files)
            return self.bundle
        folder, _, rest = name.partition("/")
        if folder == "datasets":
            held = self.objects.get(name)  # the same bytes as before: a download may be resumed
            return held.content if held else zipped(self.mounted(rest.removesuffix("/archive.zip")))
        if folder == "zipped":
            held = self.objects.get(name)
            return held.content if held else zipped({Path(rest).stem: self.files[rest.removesuffix(".zip")]})
        return {"files": self.files, "parts": self.parts, "outputs": self.kernel_outputs, "models": self.models}[
            folder
        ].get(rest)

    def mounted(self, ref: str) -> dict[str, bytes]:
        """The files of a dataset's newest version, by name, as Kaggle mounts them: archives are unpacked."""
        found: dict[str, bytes] = {}
        for file in self.datasets[ref][-1]["files"]:
            found |= as_mounted(self.upload_names[file["token"]], bytes(self.uploads[file["token"]]))
        return found

    def sign(self, name: str) -> str:
        """A new signed link to the object `name`."""
        signature = f"planted-signature-{next(self.numbers)}"
        self.links[signature] = name
        return f"{STORAGE}/{name}?X-Goog-Expires=3600&X-Goog-Signature={signature}"

    def expire_links(self) -> None:
        """Expire every link given so far."""
        self.links.clear()

    def user_of(self, authorization: str) -> str | None:
        """Who sends this Authorization header; None if nobody we know."""
        import base64

        kind, _, value = authorization.partition(" ")
        if kind == "Bearer":
            return self.tokens.get(value)
        if kind == "Basic":
            user, _, key = base64.b64decode(value).decode().partition(":")
            return user if self.accounts.get(user) == key else None
        return None


def zipped(files: dict[str, Content]) -> bytes:
    """A zip of `files`, stored and not compressed, as videos are."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content if isinstance(content, bytes) else content.read_bytes())
    return memory.getvalue()


def as_mounted(name: str, content: bytes) -> dict[str, bytes]:
    """What Kaggle makes of an uploaded file: archives become folders, compressed files lose their suffix."""
    memory = io.BytesIO(content)
    stem = name.split(".")[0]
    if name.endswith(".zip"):
        with zipfile.ZipFile(memory) as archive:
            return {f"{stem}/{one}": archive.read(one) for one in archive.namelist() if not one.endswith("/")}
    if name.endswith((".tar", ".tar.gz", ".tgz")):
        with tarfile.open(fileobj=memory) as archive:
            files = [member for member in archive.getmembers() if member.isfile()]
            return {f"{stem}/{one.name}": archive.extractfile(one).read() for one in files}
    if name.endswith(".gz"):
        return {name.removesuffix(".gz"): gzip.decompress(content)}
    return {name: content}


def now() -> str:
    """The time as Kaggle writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
