"""What a judging folder judges: which submissions, on which data, under which profile, by which metric.

The organizer lists submissions: a folder with one in each sub-folder, or a CSV file. `JUDGING/plan.json` is all that a
worker on any machine reads. A submission's key is a digest of everything that its result depends on, and the name of
its result folder: what changes gets a new key and is judged, what does not is not.
"""

import csv
import hashlib
import io
import os
import stat
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path

import msgspec

from dfdc_kit import __version__
from dfdc_kit.challenge import Challenge
from dfdc_kit.data.dataset import Dataset, find_dataset
from dfdc_kit.data.solution import read_solution_for
from dfdc_kit.errors import DataError, DataMissingError, SubmissionError, UsageError
from dfdc_kit.files import file_sha256, write_json
from dfdc_kit.harness.preflight import required_rows
from dfdc_kit.profiles import Profile
from dfdc_kit.submission.code import RUNNABLE, CodeSubmission, files_sha256, read_code_submission
from dfdc_kit.submission.external_data import AttachedInput

COLUMNS, OPTIONAL_COLUMNS = ("team", "name", "folder"), ("submitted_at", "baseline")
TRUE, FALSE = {"1", "true", "yes"}, {"", "0", "false", "no"}


class ListedSubmission(msgspec.Struct, frozen=True, kw_only=True):
    """One submission to judge, as the organizer lists it."""

    team: str
    name: str
    folder: Path  # or a .py or .ipynb file
    submitted_at: str | None = None
    baseline: bool = False


def list_submissions(path: Path) -> list[ListedSubmission]:
    """The submissions in a folder, one in each sub-folder, or those of a list: a CSV file with team, name and folder.

    A list may also have the columns submitted_at (ISO 8601) and baseline (yes or no); its folders are relative to it.
    Raises UsageError or DataError.
    """
    if not path.exists():
        raise UsageError(f"File or folder not found: {path}", hint="Expected: a folder of submissions, or a list.")
    listed = _in_folder(path) if path.is_dir() else _in_list(path)
    for one in listed:
        if not (one.team + one.name).isprintable():
            hint = "Rename it: names are shown on boards and in terminals."
            raise DataError(f"{path}: the name {one.team + '/' + one.name!r} has a control character.", hint=hint)
    if not listed:
        raise UsageError(f"{path} contains no submission.", hint="Expected: one sub-folder for each submission.")
    twice = [pair for pair, count in Counter((one.team, one.name) for one in listed).items() if count > 1]
    if twice:
        raise DataError(f"{path} lists a team's submission twice: {' / '.join(twice[0])}", hint="Give each its name.")
    return listed


def list_all(path: Path | None, baselines: Iterable[Path], baseline_names: Iterable[str]) -> list[ListedSubmission]:
    """The submissions in `path`, and the programs `baselines`; a baseline is also what has one of `baseline_names`.

    Raises UsageError or DataError.
    """
    listed = list_submissions(path) if path is not None else []
    for program in baselines:
        found = read_code_submission(program)
        folder = found.folder / found.program if found.alone else found.folder
        listed.append(ListedSubmission(team="baseline", name=found.name, folder=folder, baseline=True))
    if not listed:
        raise UsageError("Nothing to judge.", hint="Name a folder of submissions, or a list: dfdc judge FOLDER")
    names = set(baseline_names)
    return [msgspec.structs.replace(one, baseline=one.baseline or one.name in names) for one in listed]


def _in_folder(path: Path) -> list[ListedSubmission]:
    found = []
    for one in sorted(path.iterdir()):
        if not one.name.startswith((".", "__")) and (one.is_dir() or one.suffix == RUNNABLE[1]):
            name = one.name if one.is_dir() else one.stem
            found.append(ListedSubmission(team=name, name=name, folder=one.absolute()))
    return found


def _in_list(path: Path) -> list[ListedSubmission]:
    try:
        rows = csv.DictReader(io.StringIO(path.read_text("utf-8-sig")))
        header = list(rows.fieldnames or [])
        lines = [(rows.line_num, row) for row in rows]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a list of submissions: {error}") from error
    hint = f"Expected columns: {','.join(COLUMNS)}; optional: {','.join(OPTIONAL_COLUMNS)}"
    unknown = [name for name in header if name not in (*COLUMNS, *OPTIONAL_COLUMNS)]
    if unknown or not set(COLUMNS) <= set(header):
        seen = ", ".join(header) or "nothing"
        raise DataError(f"{path}: the header is {seen}.", hint=hint)
    found, faults = [], []
    for number, row in lines:
        values = {name: (value or "").strip() for name, value in row.items() if name is not None}
        folder = path.parent.absolute() / values["folder"]
        if fault := "more values than columns" if None in row else _list_fault(values, folder):
            faults.append(f"line {number}: {fault}")
            continue
        found.append(
            ListedSubmission(
                team=values["team"],
                name=values["name"],
                folder=folder,
                submitted_at=values.get("submitted_at") or None,
                baseline=values.get("baseline", "").lower() in TRUE,
            )
        )
    if faults:
        raise DataError(f"{path} is not a valid list of submissions:", hint=hint, faults=faults)
    return found


def _list_fault(values: dict[str, str], folder: Path) -> str:
    """What is wrong with a line of a list; empty if nothing is."""
    if missing := [name for name in COLUMNS if not values[name]]:
        return f"no value for {', '.join(missing)}"
    if not folder.exists():
        return f"folder not found: {folder}"
    if (mark := values.get("baseline", "").lower()) not in TRUE | FALSE:
        return f"baseline: seen {mark!r}, expected yes or no"
    when = values.get("submitted_at", "")
    try:
        datetime.fromisoformat(when or "2020-01-01")
    except ValueError:
        return f"submitted_at: seen {when!r}, expected ISO 8601, such as 2020-03-31T23:59:00+00:00"
    return ""


# ----------------------------------------------------------------------------------------------- from here on: the plan

SCHEMA = 1
FILE = "plan.json"


class PlannedSubmission(ListedSubmission, frozen=True, kw_only=True):
    """A listed submission with its digest, and its key: that of team, name, code, data, profile and metric."""

    key: str
    code_digest: str


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that judging one of `submissions` needs to know. Digests are SHA-256, in hexadecimal."""

    schema: int = SCHEMA
    kit_version: str
    submissions: list[PlannedSubmission]
    data: Path
    solution: Path | None
    videos_digest: str
    data_digest: str  # of videos, sample submission and solution
    data_state: str  # of their names, sizes and modification times: while it is the same, so is the digest
    challenge: Challenge
    metric_digest: str
    profile_name: str
    profile: Profile
    backend: str = ""  # empty: the best that works
    require: list[str] = []  # limits that must be enforced
    inputs: dict[str, Path] = {}  # folders of attached inputs on these machines, by slug

    def dataset(self) -> Dataset:
        """The data to judge on. Raises DataMissingError."""
        return find_dataset(self.data, self.challenge, self.solution)

    def find(self, key: str) -> PlannedSubmission:
        """The submission with this key. Raises UsageError."""
        found = next((one for one in self.submissions if one.key == key), None)
        if found is None:
            raise UsageError(f"No submission with the key {key!r} is planned.", hint="Its code may have changed since.")
        return found


def load_plan(judging: Path) -> Plan:
    """Read `judging`/plan.json. Raises DataMissingError or DataError."""
    path = judging / FILE
    if not path.is_file():
        raise DataMissingError(
            f"{judging} is not a judging folder: {FILE} is missing.", hint="Start with `dfdc judge`."
        )
    try:
        plan = msgspec.json.decode(path.read_bytes(), type=Plan, dec_hook=_path)
    except msgspec.MsgspecError as error:
        raise DataError(f"{path} is damaged: {error}", hint="Remove it and run `dfdc judge` again.") from error
    if plan.schema != SCHEMA:
        raise DataError(f"{path} has schema {plan.schema}; this version of dfdc reads {SCHEMA}.", hint="Upgrade.")
    return plan


def _path(kind: type, value: object) -> object:
    if kind is Path:
        return Path(str(value))
    raise NotImplementedError(kind)


def make_plan(
    judging: Path,
    listed: list[ListedSubmission],
    *,
    data: Path,
    solution: Path | None,
    challenge: Challenge,
    profile_name: str,
    profile: Profile,
    backend: str = "",
    require: Iterable[str] = (),
    inputs: Mapping[str, Path] | None = None,
) -> Plan:
    """Digest everything and write `judging`/plan.json. Raises KitError; UsageError if `judging` is of other data."""
    dataset = find_dataset(data, challenge, solution)
    if dataset.solution is not None:  # before any submission fails because of it
        read_solution_for(dataset.solution, challenge, required_rows(dataset, challenge)[0].ids)
    before = load_plan(judging) if (judging / FILE).is_file() else None
    state = data_state(dataset)
    if before is not None and before.data_state == state:
        videos, everything = before.videos_digest, before.data_digest
    else:
        videos, everything = data_digests(dataset)
    inputs = {slug: folder.absolute() for slug, folder in (inputs or {}).items()}
    metric_digest = file_sha256(challenge.metric_path)
    plan = Plan(
        kit_version=__version__,
        submissions=[],
        data=dataset.folder,
        solution=dataset.solution.absolute() if dataset.solution else None,
        videos_digest=videos,
        data_digest=everything,
        data_state=state,
        challenge=challenge,
        metric_digest=metric_digest,
        profile_name=profile_name,
        profile=profile,
        backend=backend,
        require=list(require),
        inputs=inputs,
    )
    if before is not None:
        _check_comparable(judging, before, plan)
    common = [everything, hashlib.sha256(msgspec.json.encode(profile)).hexdigest(), metric_digest]
    planned = [_planned(one, common, inputs) for one in listed]
    plan = msgspec.structs.replace(plan, submissions=planned)
    write_json(judging / FILE, plan)
    return plan


def _planned(one: ListedSubmission, common: list[str], inputs: Mapping[str, Path]) -> PlannedSubmission:
    code = code_digest(one.folder, inputs)
    key = hashlib.sha256(msgspec.json.encode([one.team, one.name, code, *common])).hexdigest()[:24]
    return PlannedSubmission(**msgspec.structs.asdict(one), key=key, code_digest=code)


def _check_comparable(judging: Path, before: Plan, now: Plan) -> None:
    """Results in one folder are ranked together: they must come from the same data, profile and metric."""
    differing = {
        "data": before.data_digest != now.data_digest,
        "profile": before.profile != now.profile,
        "metric": before.metric_digest != now.metric_digest,
        "challenge": before.challenge.slug != now.challenge.slug,
    }
    if names := [name for name, differs in differing.items() if differs]:
        raise UsageError(
            f"{judging} contains results of another {' and '.join(names)}, which cannot be ranked with these.",
            hint="Choose another folder: --out DIR",
        )


def data_state(dataset: Dataset) -> str:
    """A digest of names, sizes and modification times: changes when the data changes, and costs no reading."""
    digest = hashlib.sha256()
    for path in _data_files(dataset):
        state = path.stat()
        digest.update(f"{path.name}\0{state.st_size}\0{state.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def data_digests(dataset: Dataset) -> tuple[str, str]:
    """The digest of the videos, and that of videos, sample submission and solution."""
    videos = files_sha256(dataset.videos[0].parent, dataset.videos)
    rest = [file_sha256(path) for path in _data_files(dataset)[len(dataset.videos) :]]
    return videos, hashlib.sha256("\n".join([videos, *rest]).encode()).hexdigest()


def _data_files(dataset: Dataset) -> list[Path]:
    more = [path for path in (dataset.sample_submission, dataset.solution) if path is not None]
    return [*dataset.videos, *(path for path in more if path.is_file())]


def read_confined(folder: Path, inputs: Mapping[str, Path]) -> CodeSubmission:
    """The submission in `folder`; what it attaches from outside its folder counts only if it is one of `inputs`.

    Else its own submission.toml could name any folder of this machine. Raises SubmissionError or UsageError.
    """
    submission = read_code_submission(folder, inputs)
    ours = {path.resolve() for path in inputs.values()}

    def confined(one: AttachedInput) -> AttachedInput:
        found = one.folder(submission.folder)
        allowed = not one.path or found is None or found in ours or found.is_relative_to(submission.folder)
        return one if allowed else msgspec.structs.replace(one, path="")

    settings = submission.settings
    settings = msgspec.structs.replace(settings, inputs=tuple(map(confined, settings.inputs)))
    return msgspec.structs.replace(submission, settings=settings)


def code_digest(folder: Path, inputs: Mapping[str, Path]) -> str:
    """The submission's own digest; for a folder that is no valid submission, one of whatever is in it."""
    try:
        return read_confined(folder, inputs).sha256()
    except (SubmissionError, UsageError):
        return _tree_digest(folder)


def _tree_digest(folder: Path) -> str:
    """Names, kinds and contents below `folder`; links and devices are not followed."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")) if folder.is_dir() else [folder]:
        mode = path.lstat().st_mode
        content = file_sha256(path) if stat.S_ISREG(mode) else str(path.readlink()) if stat.S_ISLNK(mode) else ""
        digest.update(f"{os.fsencode(path.name)!r}\0{stat.S_IFMT(mode)}\0{content!a}\n".encode())
    return digest.hexdigest()
