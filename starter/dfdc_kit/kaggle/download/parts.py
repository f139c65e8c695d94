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
from dfdc_kit.files import check_room, free_bytes
from dfdc_kit.kaggle.download.fetch import FetchRequest, Wire, map_threads
from dfdc_kit.kaggle.download.ingest import IngestResult, fetch_and_ingest, ingest_archive
from dfdc_kit.kaggle.download.manifest import Entry, Manifest
from dfdc_kit.kaggle.download.partial import Partial
from dfdc_kit.kaggle.download.session import HOW, new_session
from dfdc_kit.kaggle.retry import retry_call

REDIRECTS = {301, 302, 303, 307, 308}


class PartStep(msgspec.Struct, frozen=True, kw_only=True):
    """One archive, and how it stands here."""

    part: int
    archive: str
    state: Literal["good", "missing", "interrupted", "archived", "damaged"]
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
    taken_in: list[IngestResult]
    transferred_bytes: int
    wall_time_s: float


def parse_parts(text: str, count: int) -> list[int]:
    """The part numbers that "0-3,17" names, sorted. Raises UsageError."""
    found: set[int] = set()
    for piece in text.split(","):
        first, dash, last = piece.strip().partition("-")
        if not first.isascii() or not first.isdigit() or (dash and not (last.isascii() and last.isdigit())):
            raise UsageError(f"{piece.strip()!r} names no part.", hint="Give numbers and ranges, as in: 0-3,17")
        span = range(int(first), int(last or first) + 1)
        if not span or span[-1] >= count:
            raise UsageError(f"There is no part {piece.strip()}.", hint=f"Parts are 0 to {count - 1}")
        found.update(span)
    return sorted(found)


def parts_of(challenge: Challenge) -> Parts:
    """The challenge's parts. Raises UsageError if it has none."""
    if challenge.parts is None:
        raise UsageError(f"{challenge.title} has no parts.", hint="dfdc download sample")
    return challenge.parts


def plan_parts(
    challenge: Challenge, folder: Path, numbers: list[int], *, jobs: int, url: str = "", deep: bool = False
) -> PartsPlan:
    """Compare the parts `numbers` with `folder`; with `deep`, digest every file. `url` overrides the pattern.

    The disk must hold what is unpacked and, beside it, one archive for each of `jobs`. Before the server has said how
    large they are, parts count with their average; those of another `url` count nothing.
    """
    parts = parts_of(challenge)
    manifest = Manifest(folder)
    files: dict[str, list[Entry]] = {}
    for entry in manifest.entries.values():
        files.setdefault(entry.archive, []).append(entry)
    steps = [_step(parts, folder, manifest, part, files, deep) for part in numbers]
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


def download_parts(
    challenge: Challenge, plan: PartsPlan, wire: Wire, cookies: CookieJar, *, jobs: int, keep_zip: bool
) -> PartsDownloaded:
    """Fetch, unpack and remove archive after archive, `jobs` at once. Raises KaggleError, OutputError, DataError.

    The caller holds the folder (`lock_folder`).
    """
    started_s = time.monotonic()
    check_room(plan.folder, plan.needed_bytes)
    wire = replace(wire, session=lambda: new_session(cookies))  # the jar keeps cookies from other hosts
    if not keep_zip:  # of parts whose process was killed between unpacking and this
        for step in plan.steps:
            if step.state == "good":
                (plan.folder / step.archive).unlink(missing_ok=True)
    done = map_threads(lambda step: _one(challenge, plan, wire, step, keep_zip), plan.missing, jobs, wire.stop)
    return PartsDownloaded(
        folder=plan.folder,
        kept=len(plan.steps) - len(plan.missing),
        taken_in=[taken for taken, _ in done],
        transferred_bytes=sum(transferred for _, transferred in done),
        wall_time_s=time.monotonic() - started_s,
    )


def _one(challenge: Challenge, plan: PartsPlan, wire: Wire, step: PartStep, keep_zip: bool) -> tuple[IngestResult, int]:
    """Fetch one archive and take it in; the bytes transferred, too."""
    path = plan.folder / step.archive
    url = plan.url.format(part=step.part)
    wanted = FetchRequest(name=step.archive, path=path, link=lambda: _link(url, step.archive, wire))

    def take(digest: str) -> IngestResult:
        return ingest_archive(
            path, plan.folder, challenge, wire.watcher, keep_zip=keep_zip, holds=step.archive, digest=digest
        )

    return fetch_and_ingest(wanted, wire, take)


def _link(url: str, archive: str, wire: Wire) -> str:
    """Where Kaggle sends a signed-in browser for `archive`: a signed link to the storage."""
    return retry_call(f"asking for {archive}", lambda: _asked(url, archive, wire), wire.patience)


def _asked(url: str, archive: str, wire: Wire) -> str:
    with (
        wire.session() as session,
        session.get(url, allow_redirects=False, stream=True, timeout=wire.timeout_s) as response,
    ):
        status, where = response.status_code, urljoin(url, response.headers.get("Location", ""))
        if status in REDIRECTS and "/login" not in urlsplit(where).path:
            return where
        if status == 200 and not response.headers.get("Content-Type", "").startswith("text/html"):
            return url
        if status in (200, 401, 403, *REDIRECTS):
            message = f"Kaggle does not take these cookies for {archive}: expired, or the rules are not accepted."
            raise KaggleError(message, hint=HOW, reason="bad-cookies")
        if status == 404:
            message = f"Kaggle has no {archive} at {urlsplit(url).hostname}{urlsplit(url).path} (404)."
            hint = "Find the link on the competition's data page, and give its pattern: --url"
            raise KaggleError(message, hint=hint, reason="not-found")
        response.raise_for_status()
    raise KaggleError(f"Kaggle's answer for {archive} leads nowhere.", hint="Try later", reason="server")


def _step(
    parts: Parts, folder: Path, manifest: Manifest, part: int, files: dict[str, list[Entry]], deep: bool
) -> PartStep:
    archive = parts.archive.format(part=part)
    path, entry = folder / archive, manifest.entries.get(archive)
    partial = Partial(path)
    have = path.stat().st_size if path.exists() else partial.have_bytes
    state: Literal["good", "missing", "interrupted", "archived", "damaged"]
    if entry and entry.files:
        good = all(manifest.state(file.name, deep=deep) == "good" for file in files.get(archive, []))
        state = "good" if good else "damaged"
    else:
        state = "archived" if path.exists() else "interrupted" if have else "missing"
    return PartStep(part=part, archive=archive, state=state, have_bytes=have)
