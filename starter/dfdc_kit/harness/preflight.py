"""All checks before a run, and the inputs that they read."""

import csv
import io
from dataclasses import replace
from importlib import util
from pathlib import Path
from typing import NamedTuple

from dfdc_kit.challenge import Challenge
from dfdc_kit.data.dataset import Dataset
from dfdc_kit.data.solution import Solution, labels_in_order, read_solution_for
from dfdc_kit.errors import DataError, SandboxError, SubmissionError, UsageError
from dfdc_kit.files import shown_name
from dfdc_kit.harness.forecast.calibration import Calibration, hosted_calibration, local_calibration
from dfdc_kit.harness.request import RunRequest
from dfdc_kit.sandbox.visible_paths import program_roots
from dfdc_kit.scoring.metric import LoadedMetric, load_metric
from dfdc_kit.submission.code import RUNS
from dfdc_kit.submission.expected_rows import ExpectedRows
from dfdc_kit.submission.external_data import KIND_FOLDERS
from dfdc_kit.submission.program_runner import OtherLanguageError, needs_ipython, read_cells


class RunInputs(NamedTuple):
    """Everything that a run reads beside its request."""

    metric: LoadedMetric
    expected: ExpectedRows  # the required rows, with their labels where known
    sample: bytes  # the sample submission that the submission gets to read
    solution: Solution | None
    local_calibration: Calibration | None  # written by `dfdc calibrate`
    hosted_calibration: Calibration | None  # written by the calibration notebook on the hosted machine


def preflight(request: RunRequest, runs: Path) -> RunInputs:
    """Check that the run can start and that its files fit each other. Raises KitError if not; nothing is written."""
    _check_names(request)
    _check_hidden_files(request, runs)
    _check_submission_folder(request, runs)
    _check_attached_inputs(request, runs)
    _check_notebook(request)
    metric = load_metric(request.challenge.metric_path)
    expected, sample = required_rows(request.dataset, request.challenge)
    solution = None
    if request.dataset.solution is not None:
        solution = read_solution_for(request.dataset.solution, request.challenge, expected.ids)
        expected = replace(expected, labels=labels_in_order(solution, expected.ids))
    return RunInputs(metric, expected, sample, solution, local_calibration(), hosted_calibration())


def _check_names(request: RunRequest) -> None:
    """The names of the videos are row ids, which are text."""
    for video in request.dataset.videos:
        if shown_name(video.name) != video.name:
            raise DataError(
                f"{video.parent}: the name of {shown_name(video.name)} contains bytes that are not UTF-8.",
                hint="Rename the file.",
            )


def _check_hidden_files(request: RunRequest, runs: Path) -> None:
    """Labels and earlier reports must be hidden from a submission: not possible for a folder of system programs."""
    for what, path in (("Data folder", request.dataset.folder), ("Folder of runs", runs)):
        if path.resolve() in {root.resolve() for root in program_roots()}:
            raise UsageError(
                f"{what} {path} also contains the programs of the system or of Python, which a submission may read.",
                hint="Move it to a folder of its own.",
            )


def _check_submission_folder(request: RunRequest, runs: Path) -> None:
    """A submission gets its whole folder: labels and reports must not be in it."""
    folder, data = request.submission.folder, request.dataset
    if request.submission.alone:
        return
    for what, path in (("Data folder", data.folder), ("Solution", data.solution), ("Folder of runs", runs)):
        real = None if path is None else path.resolve()
        if real is not None and real.is_relative_to(folder) and not real.is_relative_to(folder / RUNS):  # left out
            raise UsageError(
                f"{what} {path} is in the submission's folder {folder}, so the submission could read it.",
                hint="Move the submission to a folder of its own, or the data out of it.",
            )


def _check_attached_inputs(request: RunRequest, runs: Path) -> None:
    """What is attached is mounted as it is: labels and reports must not be in it, nor names that Kaggle uses."""
    data, names = request.dataset, {request.challenge.slug, "competitions", *KIND_FOLDERS}
    for attached in request.submission.settings.inputs:
        if attached.name.split("/")[0] in names:
            raise UsageError(
                f"{attached.slug} cannot be attached: /kaggle/input/{attached.name} is Kaggle's own.",
                hint="Use the slug of the data set.",
            )
        folder = attached.folder(request.submission.folder)
        for what, path in (("Data folder", data.folder), ("Solution", data.solution), ("Folder of runs", runs)):
            real = None if path is None else path.resolve()
            if folder is None or real is None:
                continue
            if real.is_relative_to(folder) or (what == "Data folder" and folder.is_relative_to(real)):
                raise UsageError(
                    f"{what} {path} and the attached input {folder} overlap, so the submission could read labels.",
                    hint="Attach a folder outside the data, or copy what the submission needs to one of its own.",
                )


def _check_notebook(request: RunRequest) -> None:
    entry = request.submission.folder / request.submission.program
    try:
        if entry.suffix == ".ipynb":
            read_cells(entry)
    except OtherLanguageError as error:
        raise SandboxError(str(error), hint="Kaggle runs R, too: submit it there without a run here.") from error
    except ValueError as error:
        raise SubmissionError(str(error), hint="Save it again with Jupyter: File > Download as notebook.") from error
    if needs_ipython(entry) and util.find_spec("IPython") is None:
        raise SandboxError(
            f"{entry.name} is a notebook or has notebook syntax, and IPython is not installed here.",
            hint="Install it, with the widgets of Kaggle's notebooks:",
            command="pip install 'dfdc-starter-kit[notebook]'",
        )


def required_rows(dataset: Dataset, challenge: Challenge) -> tuple[ExpectedRows, bytes]:
    """The rows a submission must have, and the sample submission: the data's own, or one made from the video names."""
    columns, sample = challenge.submission, dataset.sample_submission
    if sample is not None:
        return ExpectedRows.from_sample(sample, challenge), sample.read_bytes()
    names = [video.name for video in dataset.videos]
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow((columns.row_id, columns.label))
    table.writerows((name, 0) for name in names)  # an integer, as in the official one
    return ExpectedRows.from_names(names, str(dataset.folder)), text.getvalue().encode()
