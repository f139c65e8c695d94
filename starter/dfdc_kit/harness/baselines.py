"""The bundled baselines: their model cards, and whether they still predict on the sample what was recorded.

A library update once moved all 400 predictions of a winning model below 0.5, unnoticed until it was scored.
"""

import csv
import json
import platform
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import msgspec

from dfdc_kit import challenge as challenges
from dfdc_kit import profiles
from dfdc_kit.data.dataset import Dataset, find_dataset
from dfdc_kit.errors import DataError, DataMissingError, UsageError, suggest
from dfdc_kit.files import bundled, write_json
from dfdc_kit.harness.request import NullListener, RunRequest
from dfdc_kit.harness.run import run
from dfdc_kit.report.run_report import CSV
from dfdc_kit.report.verdicts import Verdict
from dfdc_kit.sandbox import choose
from dfdc_kit.submission.code import CodeSubmission, SubmissionSettings, baselines, files_sha256
from dfdc_kit.submission.packages import NOT_INSTALLED, distributions

FILE = "expected.json"


class ExpectedPredictions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A baseline's expected.json: its predictions on the sample, and the library versions they were made with."""

    sample: str
    sample_sha256: str
    tolerance: float
    made_with: dict[str, str]
    predictions: dict[str, float]


class BaselineCheck(msgspec.Struct, frozen=True, kw_only=True):
    """A baseline's predictions on this machine compared with the expected ones."""

    name: str
    as_expected: bool
    checked: bool  # False if a package that it needs is not installed
    largest_shift: float | None  # of one prediction; None if there is nothing to compare
    where: str  # the video with the largest shift
    tolerance: float
    why: str
    made_with: dict[str, str]
    here: dict[str, str]


def installed_version(package: str) -> str:
    """The installed version of a distribution or of Python, or NOT_INSTALLED."""
    if package == "python":
        return platform.python_version()
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return NOT_INSTALLED


def check_baselines(
    submissions: dict[str, CodeSubmission] | None = None, version: Callable[[str], str] = installed_version
) -> list[BaselineCheck]:
    """Run baselines (all bundled ones by default) on the bundled sample and compare their predictions.

    `version` maps a distribution to its installed version, or to NOT_INSTALLED. Raises DataError if the sample's
    videos are not those of the recorded predictions.
    """
    sample, digest = _sample()
    found = []
    for name, submission in (baselines() if submissions is None else submissions).items():
        expected = read_expected(submission.folder / FILE)
        if digest != expected.sample_sha256:
            raise DataError(
                f"The sample's test videos are not those that the predictions of {name} were recorded on.",
                hint="If you changed them, record the predictions again; if not, reinstall the kit.",
                command="dfdc baselines --record",
            )
        wanted = distributions(submission.settings.packages)
        missing = [package for package in wanted if version(package) == NOT_INSTALLED]
        result = _BaselineResult(name, expected, {package: version(package) for package in expected.made_with})
        if missing:
            found.append(result.check(f"not checked: {', '.join(missing)} not installed", checked=False))
        else:
            found.append(result.compare(*_predictions(submission, sample)))
    return found


def record_baselines(tolerance: float = 1e-6) -> list[Path]:
    """Write each bundled baseline's predictions on this machine to its expected.json; returns the files written.

    A baseline that already has expected predictions keeps its tolerance; a new one gets `tolerance`. Raises DataError
    if a baseline does not run.
    """
    sample, digest = _sample()
    written = []
    for name, submission in baselines().items():
        predictions, fault = _predictions(submission, sample)
        if predictions is None:
            raise DataError(f"Cannot record the baseline {name}: {fault}")
        path = submission.folder / FILE
        packages = ["python", *distributions(submission.settings.packages)]
        expected = ExpectedPredictions(
            sample="test_videos of sample_data",
            sample_sha256=digest,
            tolerance=read_expected(path).tolerance if path.exists() else tolerance,
            made_with={package: installed_version(package) for package in packages},
            predictions=predictions,
        )
        write_json(path, expected)
        written.append(path)
    return written


def _sample() -> tuple[Dataset, str]:
    sample = find_dataset(bundled("sample_data"), challenges.load(challenges.BUNDLED))
    return sample, files_sha256(sample.videos[0].parent, sample.videos)


def _predictions(submission: CodeSubmission, sample: Dataset) -> tuple[dict[str, float] | None, str]:
    """A baseline's predictions on this machine, or None and why it does not run."""
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


class _BaselineResult(NamedTuple):
    name: str
    expected: ExpectedPredictions
    here: dict[str, str]  # distribution -> version installed

    def compare(self, predictions: dict[str, float] | None, fault: str) -> BaselineCheck:
        expected = self.expected
        if predictions is None:
            return self.check(f"does not run on this machine: {fault}")
        if predictions.keys() != expected.predictions.keys():
            return self.check("predicts other videos than the recorded ones")
        shifts = {video: abs(predictions[video] - value) for video, value in expected.predictions.items()}
        where = max(shifts, key=lambda video: shifts[video])
        if shifts[where] <= expected.tolerance:
            return self.check("", where, shifts[where])
        pairs = [(package, version, self.here[package]) for package, version in expected.made_with.items()]
        changed = ", ".join(f"{package} {then} -> {now}" for package, then, now in pairs if then != now)
        count = sum(not shift <= expected.tolerance for shift in shifts.values())
        why = f"{count} of {len(shifts)} predictions shifted; changed versions: {changed or 'none of its packages'}"
        return self.check(why, where, shifts[where])

    def check(
        self, why: str, where: str = "", largest_shift: float | None = None, *, checked: bool = True
    ) -> BaselineCheck:
        return BaselineCheck(
            name=self.name,
            as_expected=not why,
            checked=checked,
            largest_shift=largest_shift,
            where=where,
            tolerance=self.expected.tolerance,
            why=why,
            made_with=self.expected.made_with,
            here=self.here,
        )


def read_expected(path: Path) -> ExpectedPredictions:
    """Read an expected.json. Raises DataMissingError or DataError."""
    if not path.is_file():
        raise DataMissingError(f"{path} is missing: the baseline has no recorded predictions.")
    try:
        return msgspec.json.decode(path.read_bytes(), type=ExpectedPredictions)
    except msgspec.DecodeError as error:
        raise DataError(f"{path}: {error}") from error


MODELS = ("model.json", "model/model.json", "prior.json")  # where baselines keep model and provenance


class ModelCard(msgspec.Struct, frozen=True, kw_only=True):
    """One baseline."""

    name: str
    settings: SubmissionSettings
    folder: Path
    readme: str  # Markdown
    made_with: dict[str, Any]  # command, data, machine, versions; empty for a baseline without a model
    held_out: dict[str, Any]  # loss, interval and counts on originals that were not trained on; empty if unknown
    shrinkage: float | None  # of the logits: 1 unchanged, 0 always 0.5
    clip: float | None  # predictions stay between clip and 1 - clip


def model_card(name: str) -> ModelCard:
    """The card of the bundled baseline `name`. Raises UsageError for an unknown name, DataError for a broken model."""
    known = baselines()
    if name not in known:
        raise UsageError(f"Unknown baseline {name!r}.", hint=suggest(name, known, label="Baselines"))
    folder = known[name].folder
    file = next((folder / model for model in MODELS if (folder / model).is_file()), None)
    try:
        model = json.loads(file.read_text(encoding="utf-8")) if file else {}
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read: {error}.", hint="Install the kit again.") from error
    readme = folder / "README.md"
    return ModelCard(
        name=name,
        settings=known[name].settings,
        folder=folder,
        readme=readme.read_text(encoding="utf-8") if readme.is_file() else "",
        made_with=model.get("made_with", {}),
        held_out=model.get("held_out", {}),
        shrinkage=model.get("shrinkage"),
        clip=model.get("clip"),
    )
