"""`dfdc download sample`: what the official client serves, as one archive or file by file."""

import fnmatch
import time
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from dfdc_kit.errors import DataError, UsageError, suggest
from dfdc_kit.files import check_free_space, free_bytes, why_unsafe
from dfdc_kit.kaggle.client import Kaggle
from dfdc_kit.kaggle.download.fetch import Fetched, FetchRequest, TransferProgress, Transport, fetch, map_threads
from dfdc_kit.kaggle.download.ingest import fetch_and_ingest, members, unpack, unpack_with_progress
from dfdc_kit.kaggle.download.manifest import Entry, Manifest
from dfdc_kit.kaggle.download.partial import Partial

PAGE_SIZE = 200  # files; the most that Kaggle returns
COMPARING = "comparing local files"
FEW = 20  # files that are fetched one by one rather than in the archive of all
FileState = Literal["good", "missing", "damaged", "unknown", "changed"]


class RemoteFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a competition: its name with folders, and its size; 0: Kaggle does not say."""

    name: str
    size_bytes: int


class SampleStep(msgspec.Struct, frozen=True, kw_only=True):
    """One file of the competition, and its state here."""

    name: str
    size_bytes: int
    state: FileState


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
    kept: int  # files that were here and verified
    fetched: int
    refetched: int  # of these, files that were damaged or had changed
    unverified: int  # of these, files for which the server publishes no digest: only their size was compared
    transferred_bytes: int
    wall_time_s: float


def list_files(kaggle: Kaggle, slug: str) -> list[RemoteFile]:
    """All files of the competition, page after page, sorted by name. Raises KaggleError."""
    found: dict[str, RemoteFile] = {}
    token = ""
    while True:
        page = kaggle.call("listing the files", lambda api: _page(api, slug, token), slug=slug)  # noqa: B023
        for file in page.files:
            found[file.name] = RemoteFile(name=file.name, size_bytes=file.total_bytes)
        if not page.next_page_token or page.next_page_token == token:
            return sorted(found.values(), key=lambda file: file.name)
        token = page.next_page_token


def _page(api: Any, slug: str, token: str) -> Any:
    return api.competition_list_files(slug, token, PAGE_SIZE)


def file_link(kaggle: Kaggle, slug: str, name: str) -> str:
    """A signed link to one file; it ends in `<name>.zip` if Kaggle packs it. Raises KaggleError."""
    from kagglesdk.competitions.types.competition_api_service import ApiDownloadDataFileRequest

    request = ApiDownloadDataFileRequest()
    request.competition_name, request.file_name = slug, name
    return _link(kaggle, slug, f"asking for {name}", lambda calls: calls.download_data_file(request))


def bundle_link(kaggle: Kaggle, slug: str) -> str:
    """A signed link to the archive of all files. Raises KaggleError."""
    from kagglesdk.competitions.types.competition_api_service import ApiDownloadDataFilesRequest

    request = ApiDownloadDataFilesRequest()
    request.competition_name = slug
    return _link(kaggle, slug, "asking for the archive", lambda calls: calls.download_data_files(request))


def _link(kaggle: Kaggle, slug: str, doing: str, ask: Any) -> str:
    """Where the client is redirected. It has begun to read there; that is closed, `fetch` downloads the bytes."""

    def redirect(api: Any) -> str:
        with api.build_kaggle_client() as client:
            response = ask(client.competitions.competition_api_client)
            response.close()
            return str(response.url)

    page = f"https://www.kaggle.com/competitions/{slug}/data"
    hint = f"Kaggle's API does not serve it. Download it at {page} in a browser, then: dfdc data add FILE.zip"
    return kaggle.call(doing, redirect, slug=slug, not_found=hint)


def plan_sample(kaggle: Kaggle, slug: str, folder: Path, patterns: list[str], progress: TransferProgress) -> SamplePlan:
    """Compare the competition's files with `folder`; `patterns` select some by name. Raises KaggleError, UsageError.

    Local files are compared with the digests that were recorded when they arrived.
    """
    listed = _selected(list_files(kaggle, slug), patterns)
    manifest = Manifest(folder)
    steps = []
    progress.started(COMPARING, 0, sum(file.size_bytes for file in listed))
    for file in listed:
        state = _state(manifest, file.name, file.size_bytes)
        steps.append(SampleStep(name=file.name, size_bytes=file.size_bytes, state=state))
        progress.advanced(COMPARING, file.size_bytes)
    progress.ended(COMPARING)
    missing_bytes = sum(step.size_bytes for step in steps if step.state != "good")
    lacking = sum(step.state not in ("good", "unknown") for step in steps)  # the unknown need a digest, not a transfer
    archive = archive_path(folder, slug)
    is_here = archive.exists() and any(step.state != "good" for step in steps)
    as_archive = not patterns and (lacking > FEW or is_here)
    if as_archive:
        have = archive.stat().st_size if archive.exists() else Partial(archive).have_bytes
        wanted_bytes = sum(file.size_bytes for file in listed)
    else:
        paths = (folder / f"{step.name}{suffix}" for step in steps if step.state != "good" for suffix in ("", ".zip"))
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


def download_sample(
    kaggle: Kaggle, plan: SamplePlan, transport: Transport, *, jobs: int, keep_zip: bool
) -> SampleDownloaded:
    """Carry out `plan`. Raises KaggleError, OutputError, DataError; a second call continues where this one stopped.

    The caller holds the folder's lock (`lock_folder`).
    """
    started_s = time.monotonic()
    check_free_space(plan.folder, plan.needed_bytes)
    manifest = Manifest(plan.folder)
    left, transferred, unverified = plan.missing, 0, 0
    if plan.as_archive:
        transferred = _fetch_archive(kaggle, plan, transport, manifest)
        left = [step for step in left if _state(manifest, step.name, step.size_bytes, deep=False) != "good"]
    for fetched in map_threads(
        lambda step: _fetch_file(kaggle, plan, transport, manifest, step), left, jobs, transport.stop
    ):
        transferred += fetched.transferred_bytes
        unverified += not fetched.verified
    if not keep_zip:  # at the end, as a process may have been killed between unpacking and this
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
    """The archive of all files, until it is unpacked."""
    return folder / f"{slug}.zip"


def _fetch_archive(kaggle: Kaggle, plan: SamplePlan, transport: Transport, manifest: Manifest) -> int:
    """Fetch the archive of all files and unpack it; the bytes transferred."""
    path = archive_path(plan.folder, plan.slug)
    request = FetchRequest(name=path.name, path=path, link=lambda: bundle_link(kaggle, plan.slug))
    entries, transferred_bytes = fetch_and_ingest(
        request, transport, lambda _: unpack_with_progress(path, plan.folder, transport.progress, path.name)
    )
    manifest.add(*entries)
    return transferred_bytes


def _fetch_file(
    kaggle: Kaggle, plan: SamplePlan, transport: Transport, manifest: Manifest, step: SampleStep
) -> Fetched:
    """Fetch one file; Kaggle packs large ones, which shows in the link."""
    links = [file_link(kaggle, plan.slug, step.name)]
    packed = urlsplit(links[0]).path.endswith(".zip") and not step.name.endswith(".zip")
    path = plan.folder / (f"{step.name}.zip" if packed else step.name)
    request = FetchRequest(
        name=step.name, path=path, link=lambda: links.pop() if links else file_link(kaggle, plan.slug, step.name)
    )
    fetched = fetch(request, transport)
    entry = Entry(name=step.name, size_bytes=fetched.size_bytes, digest=fetched.digest)
    if packed:
        entry = _unpack_single(path, step.name)
    manifest.add(entry)
    return fetched


def _unpack_single(path: Path, name: str) -> Entry:
    """Unpack the one file in `path` beside it; the archive is removed."""
    file_name = name.rpartition("/")[2]
    packed = [member.filename for member in members(path)]
    if packed != [file_name]:
        raise DataError(f"{path} contains {', '.join(packed[:3])}, expected only {file_name}.", command=f"rm {path}")
    entry = unpack(path, path.parent)[0]
    path.unlink()
    return Entry(name=name, size_bytes=entry.size_bytes, digest=entry.digest)


def _selected(files: list[RemoteFile], patterns: list[str]) -> list[RemoteFile]:
    for file in files:
        if problem := why_unsafe(file.name):
            raise DataError(f"Kaggle lists {file.name!r}, {problem}; nothing was fetched.", hint="Please report it.")
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(file.name, pattern) for file in files):
            hint = suggest(pattern, (file.name for file in files), label="Files")
            command = "dfdc download sample --dry-run --json"
            raise UsageError(f"The competition has no file {pattern!r}.", hint=hint, command=command)
    return [file for file in files if not patterns or any(fnmatch.fnmatchcase(file.name, one) for one in patterns)]


def _state(manifest: Manifest, name: str, size_bytes: int, *, deep: bool = True) -> FileState:
    """The state of the local file `name`, which has `size_bytes` on Kaggle (0: unknown)."""
    entry = manifest.entries.get(name)
    if entry and size_bytes and entry.size_bytes != size_bytes:
        return "changed"
    return manifest.state(name, deep=deep)
