"""Whether the bundled baselines still predict on the bundled sample what they predicted when they were made.

A library update once put all 400 predictions of a winning model below 0.5; nobody noticed until the score came.
"""

import csv
import platform
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from dfdc_kit import challenge as challenges
from dfdc_kit import profiles
from dfdc_kit.data.dataset import Dataset, find_dataset
from dfdc_kit.errors import DataError, DataMissingError
from dfdc_kit.files import bundled, write_json
from dfdc_kit.harness.request import NullListener, RunRequest
from dfdc_kit.harness.run import run
from dfdc_kit.report.run_report import CSV
from dfdc_kit.report.verdicts import Verdict
from dfdc_kit.sandbox import choose
from dfdc_kit.submission.code import CodeSubmission, baselines, files_sha256
from dfdc_kit.submission.packages import NOT_INSTALLED, distributions

FILE = "expected.json"


class Expected(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a baseline predicted on the sample, and with what."""

    sample: str
    sample_sha256: str
    tolerance: float
    made_with: dict[str, str]
    predictions: dict[str, float]


class BaselineCheck(msgspec.Struct, frozen=True, kw_only=True):
    """A baseline's predictions here against the expected ones."""

    name: str
    as_expected: bool
    checked: bool  # False where a package that it needs is not installed: nothing is known then
    largest_shift: float | None  # of one prediction; None where there are no two to compare
    where: str  # the video with the largest shift
    tolerance: float
    why: str
    made_with: dict[str, str]
    here: dict[str, str]


def check_baselines() -> list[BaselineCheck]:
    """Run every bundled baseline on the bundled sample and compare. Raises DataError if the sample is another one."""
    sample, digest = _sample()
    found = []
    for name, submission in baselines().items():
        expected = read_expected(submission.folder / FILE)
        if digest != expected.sample_sha256:
            raise DataError(
                f"The sample's test videos are not those that {name} was recorded on.",
                hint="If you changed them, record anew: dfdc baselines --record. If not, install the kit again.",
            )
        wanted = distributions(submission.settings.packages)
        missing = [package for package in wanted if _version(package) == NOT_INSTALLED]
        if missing:
            found.append(_unchecked(name, expected, missing))
        else:
            found.append(_compare(name, expected, *_predictions(submission, sample)))
    return found


def record_baselines(tolerance: float = 1e-6) -> list[Path]:
    """Write each bundled baseline's predictions here as the expected ones; the files written.

    A baseline that has expected predictions keeps its tolerance; a new one gets `tolerance`.
    """
    sample, digest = _sample()
    written = []
    for name, submission in baselines().items():
        predictions, fault = _predictions(submission, sample)
        if predictions is None:
            raise DataError(f"The baseline {name} cannot be recorded: {fault}")
        path = submission.folder / FILE
        packages = ["python", *distributions(submission.settings.packages)]
        expected = Expected(
            sample="test_videos of sample_data",
            sample_sha256=digest,
            tolerance=read_expected(path).tolerance if path.exists() else tolerance,
            made_with={package: _version(package) for package in packages},
            predictions=predictions,
        )
        write_json(path, expected)
        written.append(path)
    return written


def _sample() -> tuple[Dataset, str]:
    sample = find_dataset(bundled("sample_data"), challenges.load(challenges.BUNDLED))
    return sample, files_sha256(sample.videos[0].parent, sample.videos)


def _predictions(submission: CodeSubmission, sample: Dataset) -> tuple[dict[str, float] | None, str]:
    """What a baseline predicts here, or why it does not run."""
    request = RunRequest(
        submission=submission,
        dataset=sample,
        challenge=challenges.load(challenges.BUNDLED),
        profile_name=profiles.DEFAULT,
        profile=profiles.load(),
    )
    with TemporaryDirectory(prefix="dfdc-baseline-") as folder:
        report = run(request, choose(), Path(folder), NullListener())
        if report.judgement.verdict is not Verdict.COMPLETE:
            return None, f"{report.judgement.kaggle}. {report.judgement.why}"
        with (Path(folder) / report.run_id / CSV).open(newline="") as file:
            return {row["filename"]: float(row["label"]) for row in csv.DictReader(file)}, ""


def _compare(name: str, expected: Expected, predictions: dict[str, float] | None, fault: str) -> BaselineCheck:
    here = {package: _version(package) for package in expected.made_with}
    if predictions is None:
        return _drift(name, expected, here, None, f"it does not run here: {fault}")
    if predictions.keys() != expected.predictions.keys():
        return _drift(name, expected, here, None, "it predicts other videos than the recorded ones")
    shifts = {video: abs(predictions[video] - value) for video, value in expected.predictions.items()}
    where = max(shifts, key=lambda video: shifts[video])
    if shifts[where] <= expected.tolerance:
        return _drift(name, expected, here, (where, shifts[where]), "")
    pairs = [(package, version, here[package]) for package, version in expected.made_with.items()]
    changed = ", ".join(f"{package} {then} -> {now}" for package, then, now in pairs if then != now)
    count = sum(not shift <= expected.tolerance for shift in shifts.values())
    why = f"{count} of {len(shifts)} predictions shifted; changed since: {changed or 'none of the packages it names'}"
    return _drift(name, expected, here, (where, shifts[where]), why)


def _unchecked(name: str, expected: Expected, missing: list[str]) -> BaselineCheck:
    here = {package: _version(package) for package in expected.made_with}
    drift = _drift(name, expected, here, None, f"not checked: {', '.join(missing)} not installed")
    return msgspec.structs.replace(drift, checked=False)


def _drift(
    name: str, expected: Expected, here: dict[str, str], largest: tuple[str, float] | None, why: str
) -> BaselineCheck:
    return BaselineCheck(
        name=name,
        as_expected=not why,
        checked=True,
        largest_shift=largest[1] if largest else None,
        where=largest[0] if largest else "",
        tolerance=expected.tolerance,
        why=why,
        made_with=expected.made_with,
        here=here,
    )


def read_expected(path: Path) -> Expected:
    """Read an expected.json. Raises DataMissingError or DataError."""
    if not path.is_file():
        raise DataMissingError(f"There is no {path}: the baseline has no recorded predictions.")
    try:
        return msgspec.json.decode(path.read_bytes(), type=Expected)
    except msgspec.DecodeError as error:
        raise DataError(f"{path}: {error}") from error


def _version(package: str) -> str:
    if package == "python":
        return platform.python_version()
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return NOT_INSTALLED
