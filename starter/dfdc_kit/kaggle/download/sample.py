"""`dfdc download sample`: what the official client serves, as one archive or file by file."""

import fnmatch
import time
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from dfdc_kit.errors import DataError, UsageError, suggest
from dfdc_kit.files import check_room, free_bytes, why_unsafe
from dfdc_kit.kaggle.client import Kaggle
from dfdc_kit.kaggle.download.fetch import Fetched, FetchRequest, Watcher, Wire, fetch, map_threads
from dfdc_kit.kaggle.download.ingest import fetch_and_ingest, members, unpack, unpack_watched
from dfdc_kit.kaggle.download.manifest import Entry, Manifest
from dfdc_kit.kaggle.download.partial import Partial

PAGE = 200  # files; the most that Kaggle gives


class RemoteFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a competition: its name with folders, and its size where Kaggle says it."""

    name: str
    size_bytes: int


def list_files(kaggle: Kaggle, slug: str) -> list[RemoteFile]:
    """All files of the competition, page after page, sorted by name. Raises KaggleError."""
    found: dict[str, RemoteFile] = {}
    token = ""
    while True:
        page = kaggle.call("listing the files", lambda api: api.competition_list_files(slug, token, PAGE), slug=slug)  # noqa: B023
        for file in page.files:
            found[file.name] = RemoteFile(name=file.name, size_bytes=file.total_bytes)
        if not page.next_page_token or page.next_page_token == token:
            return sorted(found.values(), key=lambda file: file.name)
        token = page.next_page_token


def file_link(kaggle: Kaggle, slug: str, name: str) -> str:
    """A signed link to one file; it ends in `<name>.zip` where Kaggle packs it. Raises KaggleError."""
    from kagglesdk.competitions.types.competition_api_service import ApiDownloadDataFileRequest

    request = ApiDownloadDataFileRequest()
    request.competition_name, request.file_name = slug, name
    return _asked(kaggle, slug, f"asking for {name}", lambda calls: calls.download_data_file(request))


def bundle_link(kaggle: Kaggle, slug: str) -> str:
    """A signed link to the archive of all files. Raises KaggleError."""
    from kagglesdk.competitions.types.competition_api_service import ApiDownloadDataFilesRequest

    request = ApiDownloadDataFilesRequest()
    request.competition_name = slug
    return _asked(kaggle, slug, "asking for the archive", lambda calls: calls.download_data_files(request))


def _asked(kaggle: Kaggle, slug: str, doing: str, ask: Any) -> str:
    hint = (
        "Ended competitions do not serve every file this way. "
        f"Fetch it at https://www.kaggle.com/competitions/{slug}/data in a browser, then: dfdc data add FILE.zip"
    )
    return kaggle.call(doing, lambda api: _link(api, ask), slug=slug, not_found=hint)


def _link(api: Any, ask: Any) -> str:
    """Where the client is sent. It has begun to read there; that is closed, the bytes are fetched by our own engine."""
    with api.build_kaggle_client() as client:
        response = ask(client.competitions.competition_api_client)
        response.close()
        return str(response.url)


COMPARING = "comparing what is here"
FEW = 20  # files that are fetched one by one rather than in the archive of all
Why = Literal["good", "missing", "damaged", "unknown", "changed"]


class SampleStep(msgspec.Struct, frozen=True, kw_only=True):
    """One file of the competition, and how it stands here."""

    name: str
    size_bytes: int
    state: Why


class SamplePlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a download would do."""

    folder: Path
    slug: str
    steps: list[SampleStep]
    as_archive: bool
    have_bytes: int  # of what is to be fetched, from an interrupted download
    download_bytes: int
    needed_bytes: int  # of disk, at most
    free_bytes: int

    @property
    def missing(self) -> list[SampleStep]:
        """What is to be fetched."""
        return [step for step in self.steps if step.state != "good"]


class SampleDownloaded(msgspec.Struct, frozen=True, kw_only=True):
    """What a download did."""

    folder: Path
    kept: int  # files that were there and verified
    fetched: int
    refetched: int  # of these, files that were damaged or had changed
    unverified: int  # of these, files for which the server publishes no digest: only their size was compared
    transferred_bytes: int
    wall_time_s: float


def plan_sample(kaggle: Kaggle, slug: str, folder: Path, patterns: list[str], watcher: Watcher) -> SamplePlan:
    """Compare the competition's files with `folder`; `patterns` pick some by name. Raises KaggleError, UsageError.

    Files that are there are digested and compared with what was noted as they arrived.
    """
    listed = _picked(list_files(kaggle, slug), patterns)
    manifest = Manifest(folder)
    steps = []
    watcher.started(COMPARING, 0, sum(file.size_bytes for file in listed))
    for file in listed:
        state = _state(manifest, file.name, file.size_bytes)
        steps.append(SampleStep(name=file.name, size_bytes=file.size_bytes, state=state))
        watcher.advanced(COMPARING, file.size_bytes)
    watcher.ended(COMPARING)
    missing_bytes = sum(step.size_bytes for step in steps if step.state != "good")
    lacking = sum(step.state not in ("good", "unknown") for step in steps)  # the unknown need a digest, not a transfer
    is_here = archive_path(folder, slug).exists() and any(step.state != "good" for step in steps)
    as_archive = not patterns and (lacking > FEW or is_here)
    if as_archive:
        have, wanted_bytes = _have_bytes(archive_path(folder, slug)), sum(file.size_bytes for file in listed)
    else:
        paths = (folder / f"{step.name}{packed}" for step in steps if step.state != "good" for packed in ("", ".zip"))
        have = sum(Partial(path).have_bytes for path in paths)
        wanted_bytes = missing_bytes
    download_bytes = max(0, wanted_bytes - have)
    return SamplePlan(
        folder=folder,
        slug=slug,
        steps=steps,
        as_archive=as_archive,
        have_bytes=have,
        download_bytes=download_bytes,
        needed_bytes=download_bytes + (missing_bytes if as_archive else 0),
        free_bytes=free_bytes(folder),
    )


def download_sample(kaggle: Kaggle, plan: SamplePlan, wire: Wire, *, jobs: int, keep_zip: bool) -> SampleDownloaded:
    """Carry out `plan`. Raises KaggleError, OutputError, DataError; a second call goes on where this one stopped.

    The caller holds the folder (`lock_folder`).
    """
    started_s = time.monotonic()
    check_room(plan.folder, plan.needed_bytes)
    manifest = Manifest(plan.folder)
    left, transferred, unverified = plan.missing, 0, 0
    if plan.as_archive:
        transferred = _by_archive(kaggle, plan, wire, manifest)
        left = [step for step in left if _state(manifest, step.name, step.size_bytes, deep=False) != "good"]
    for fetched in map_threads(lambda step: _by_itself(kaggle, plan, wire, manifest, step), left, jobs, wire.stop):
        transferred += fetched.transferred_bytes
        unverified += not fetched.verified
    if not keep_zip:  # here, not before: a process may have been killed between unpacking and this
        archive_path(plan.folder, plan.slug).unlink(missing_ok=True)
    return SampleDownloaded(
        folder=plan.folder,
        kept=len(plan.steps) - len(plan.missing),
        fetched=len(plan.missing),
        refetched=sum(step.state in ("damaged", "changed") for step in plan.missing),
        unverified=unverified,
        transferred_bytes=transferred,
        wall_time_s=time.monotonic() - started_s,
    )


def archive_path(folder: Path, slug: str) -> Path:
    """Where the archive of all files lies until it is unpacked."""
    return folder / f"{slug}.zip"


def _by_archive(kaggle: Kaggle, plan: SamplePlan, wire: Wire, manifest: Manifest) -> int:
    """Fetch the archive of all files and unpack it; the bytes transferred."""
    path = archive_path(plan.folder, plan.slug)
    wanted = FetchRequest(name=path.name, path=path, link=lambda: bundle_link(kaggle, plan.slug))
    entries, transferred_bytes = fetch_and_ingest(
        wanted, wire, lambda _: unpack_watched(path, plan.folder, wire.watcher, path.name)
    )
    manifest.add(*entries)
    return transferred_bytes


def _by_itself(kaggle: Kaggle, plan: SamplePlan, wire: Wire, manifest: Manifest, step: SampleStep) -> Fetched:
    """Fetch one file; Kaggle packs large ones, which shows in the link."""
    links = [file_link(kaggle, plan.slug, step.name)]
    packed = urlsplit(links[0]).path.endswith(".zip") and not step.name.endswith(".zip")
    path = plan.folder / (f"{step.name}.zip" if packed else step.name)
    wanted = FetchRequest(
        name=step.name, path=path, link=lambda: links.pop() if links else file_link(kaggle, plan.slug, step.name)
    )
    fetched = fetch(wanted, wire)
    entry = Entry(name=step.name, size_bytes=fetched.size_bytes, digest=fetched.digest)
    if packed:
        entry = _unwrapped(path, step.name)
    manifest.add(entry)
    return fetched


def _unwrapped(path: Path, name: str) -> Entry:
    """The file that `path` packs, unpacked beside it; the archive is removed."""
    file_name = name.rpartition("/")[2]
    packed = [member.filename for member in members(path)]
    if packed != [file_name]:
        raise DataError(f"{path} holds {', '.join(packed[:3])}, not {file_name} alone.", hint=f"rm {path}")
    entry = unpack(path, path.parent)[0]
    path.unlink()
    return Entry(name=name, size_bytes=entry.size_bytes, digest=entry.digest)


def _picked(files: list[RemoteFile], patterns: list[str]) -> list[RemoteFile]:
    for file in files:
        if fault := why_unsafe(file.name):
            raise DataError(f"Kaggle lists {file.name!r}, {fault}; nothing was fetched.", hint="Report it, please")
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(file.name, pattern) for file in files):
            hint = suggest(pattern, (file.name for file in files), label="Files")
            command = "dfdc download sample --dry-run --json"
            raise UsageError(f"The competition has no file {pattern!r}.", hint=hint, command=command)
    return [file for file in files if not patterns or any(fnmatch.fnmatchcase(file.name, one) for one in patterns)]


def _state(manifest: Manifest, name: str, size_bytes: int, *, deep: bool = True) -> Why:
    """How the file `name` stands, of which Kaggle says that it has `size_bytes` (0: it does not say)."""
    entry = manifest.entries.get(name)
    if entry and size_bytes and entry.size_bytes != size_bytes:
        return "changed"
    return manifest.state(name, deep=deep)


def _have_bytes(path: Path) -> int:
    if path.exists():
        return path.stat().st_size
    return Partial(path).have_bytes
