"""`dfdc download parts`: the full training set, archive by archive, with the cookies of a browser."""

import time
from dataclasses import replace
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Literal
from urllib.parse import urljoin, urlsplit

import msgspec

from dfdc_kit.challenge import Challenge, Parts
from dfdc_kit.errors import KaggleError, UsageError
from dfdc_kit.files import check_free_space, free_bytes
from dfdc_kit.kaggle.download.fetch import FetchRequest, Transport, map_threads
from dfdc_kit.kaggle.download.ingest import IngestResult, fetch_and_ingest, incomplete, ingest_archive
from dfdc_kit.kaggle.download.manifest import Entry, Manifest
from dfdc_kit.kaggle.download.partial import Partial
from dfdc_kit.kaggle.download.session import COOKIES_HINT, new_session
from dfdc_kit.kaggle.retry import retry_call

PartState = Literal["good", "missing", "interrupted", "archived", "damaged", "incomplete"]
REDIRECTS = {301, 302, 303, 307, 308}


class PartStep(msgspec.Struct, frozen=True, kw_only=True):
    """One archive, and its state here."""

    part: int
    archive: str
    state: PartState
    have_bytes: int


class PartsPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a download would do; its sizes are estimates."""

    folder: Path
    url: str
    steps: list[PartStep]
    download_bytes: int
    needed_bytes: int
    free_bytes: int

    @property
    def missing(self) -> list[PartStep]:
        """What is to be fetched or unpacked."""
        return [step for step in self.steps if step.state != "good"]


class PartsDownloaded(msgspec.Struct, frozen=True, kw_only=True):
    """What a download did."""

    folder: Path
    kept: int
    unpacked: list[IngestResult]
    transferred_bytes: int
    wall_time_s: float


def parse_parts(text: str, count: int) -> list[int]:
    """The part numbers in "0-3,17", sorted. Raises UsageError."""
    found: set[int] = set()
    for piece in text.split(","):
        first, dash, last = piece.strip().partition("-")
        if not first.isascii() or not first.isdigit() or (dash and not (last.isascii() and last.isdigit())):
            raise UsageError(f"{piece.strip()!r} is not a part number.", hint="Pass numbers and ranges, as in: 0-3,17")
        span = range(int(first), int(last or first) + 1)
        if not span or span[-1] >= count:
            raise UsageError(f"No such part: {piece.strip()}.", hint=f"Parts are 0 to {count - 1}.")
        found.update(span)
    return sorted(found)


def parts_of(challenge: Challenge) -> Parts:
    """The challenge's parts. Raises UsageError if it has none."""
    if challenge.parts is None:
        raise UsageError(f"{challenge.title} has no parts.", command="dfdc download sample")
    return challenge.parts


def plan_parts(
    challenge: Challenge, folder: Path, numbers: list[int], *, jobs: int, url: str = "", deep: bool = False
) -> PartsPlan:
    """Compare the parts `numbers` with `folder`; with `deep`, digest every file. `url` overrides the pattern.

    The disk needs space for what is unpacked and for one archive for each of `jobs`. Before the server has said how
    large they are, parts count with their average size; those of another `url` count nothing.
    """
    parts = parts_of(challenge)
    manifest = Manifest(folder)
    files: dict[str, list[Entry]] = {}
    for entry in manifest.entries.values():
        files.setdefault(entry.archive, []).append(entry)
    steps = [_step(challenge, folder, manifest, part, files, deep) for part in numbers]
    left = [step for step in steps if step.state != "good"]
    have_bytes = sum(step.have_bytes for step in left)
    average_bytes = 0 if url else parts.total_bytes // challenge.sizes.train_parts
    beside_bytes = 0 if url else parts.largest_bytes * min(jobs, len(left))
    return PartsPlan(
        folder=folder,
        url=url or parts.url,
        steps=steps,
        download_bytes=max(0, average_bytes * sum(step.state != "archived" for step in left) - have_bytes),
        needed_bytes=max(0, average_bytes * len(left) + beside_bytes - have_bytes),
        free_bytes=free_bytes(folder),
    )


def _step(
    challenge: Challenge, folder: Path, manifest: Manifest, part: int, files: dict[str, list[Entry]], deep: bool
) -> PartStep:
    archive = parts_of(challenge).archive.format(part=part)
    path, entry = folder / archive, manifest.entries.get(archive)
    have = path.stat().st_size if path.exists() else Partial(path).have_bytes
    state: PartState
    if entry and entry.files:
        good = all(manifest.state(file.name, deep=deep) == "good" for file in files.get(archive, []))
        lacks = good and incomplete(folder / challenge.data.train_parts.format(part), challenge)
        state = "incomplete" if lacks else "good" if good else "damaged"
    else:
        state = "archived" if path.exists() else "interrupted" if have else "missing"
    return PartStep(part=part, archive=archive, state=state, have_bytes=have)


def download_parts(
    challenge: Challenge, plan: PartsPlan, transport: Transport, cookies: CookieJar, *, jobs: int, keep_zip: bool
) -> PartsDownloaded:
    """Fetch, unpack and remove archive after archive, `jobs` at once. Raises KaggleError, OutputError, DataError.

    The caller holds the folder's lock (`lock_folder`).
    """
    started_s = time.monotonic()
    check_free_space(plan.folder, plan.needed_bytes)
    transport = replace(transport, session=lambda: new_session(cookies))  # the jar keeps cookies from other hosts
    if not keep_zip:  # left by a process that was killed after unpacking
        for step in plan.steps:
            if step.state == "good":
                (plan.folder / step.archive).unlink(missing_ok=True)
    results = map_threads(
        lambda step: _download_part(challenge, plan, transport, step, keep_zip), plan.missing, jobs, transport.stop
    )
    return PartsDownloaded(
        folder=plan.folder,
        kept=len(plan.steps) - len(plan.missing),
        unpacked=[unpacked for unpacked, _ in results],
        transferred_bytes=sum(transferred for _, transferred in results),
        wall_time_s=time.monotonic() - started_s,
    )


def _download_part(
    challenge: Challenge, plan: PartsPlan, transport: Transport, step: PartStep, keep_zip: bool
) -> tuple[IngestResult, int]:
    """Fetch one archive and unpack it; the bytes transferred, too."""
    path = plan.folder / step.archive
    url = plan.url.format(part=step.part)
    request = FetchRequest(name=step.archive, path=path, link=lambda: _link(url, step.archive, transport))

    def ingest(digest: str) -> IngestResult:
        return ingest_archive(
            path,
            plan.folder,
            challenge,
            transport.progress,
            keep_zip=keep_zip,
            expected=step.archive,
            digest=digest,
        )

    return fetch_and_ingest(request, transport, ingest)


def _link(url: str, archive: str, transport: Transport) -> str:
    """Where Kaggle redirects a signed-in browser for `archive`: a signed link to the storage."""
    return retry_call(f"asking for {archive}", lambda: _redirect(url, archive, transport), transport.retry)


def _redirect(url: str, archive: str, transport: Transport) -> str:
    with (
        transport.session() as session,
        session.get(url, allow_redirects=False, stream=True, timeout=transport.timeout_s) as response,
    ):
        status, target = response.status_code, urljoin(url, response.headers.get("Location", ""))
        if status in REDIRECTS and "/login" not in urlsplit(target).path:
            return target
        if status == 200 and not response.headers.get("Content-Type", "").startswith("text/html"):
            return url
        if status in (200, 401, 403, *REDIRECTS):
            message = f"Kaggle rejects these cookies for {archive}: they are expired, or the rules are not accepted."
            raise KaggleError(message, hint=COOKIES_HINT, reason="bad-cookies")
        if status == 404:
            message = f"Kaggle has no {archive} at {urlsplit(url).hostname}{urlsplit(url).path} (404)."
            hint = "Find the link on the competition's data page, and pass its pattern: --url"
            raise KaggleError(message, hint=hint, reason="not-found")
        response.raise_for_status()
    message = f"Unexpected answer for {archive} (status {status}), expected a redirect to the storage."
    raise KaggleError(message, hint="Try later.", reason="server")
