"""What a submission did with each input of a trial, as findings with their severity and fix."""

import math
from collections import Counter

from dfdc_kit.formatting import plural
from dfdc_kit.harness.rehearsal.hard_inputs import ExpectedBehaviour, HardInput, Reader
from dfdc_kit.harness.rehearsal.record import ORDINARY, TOGETHER, InputOutcome, RehearsalFinding, RehearsalSeverity
from dfdc_kit.harness.rehearsal.trial import Trial, TrialVideo
from dfdc_kit.report.verdicts import MEANINGS, Verdict

MAX_LOG_LINES = 16  # of a traceback
OUTCOME_OF = {
    Verdict.EXCEPTION: InputOutcome.EXCEPTION,
    Verdict.TIMEOUT: InputOutcome.TIMEOUT,
    Verdict.COMPUTE: InputOutcome.LIMIT,
    Verdict.NO_CSV: InputOutcome.NO_FILE,
    Verdict.NOT_REPRODUCIBLE: InputOutcome.UNTESTED,
    Verdict.HARNESS_ERROR: InputOutcome.UNTESTED,
}
COMPLETE, SCORING_ERROR = MEANINGS[Verdict.COMPLETE].kaggle, MEANINGS[Verdict.SCORING_ERROR].kaggle

EVERY_ROW = "Write one row for each row of sample_submission.csv, whatever is in the file."
NUMBERS = "Write a number from 0 to 1; NaN comes from a mean over no frames, or a division by zero."
LIST_FALLBACKS = (
    "List each fallback prediction in fallbacks.csv (filename,reason), and catch only the reader's own error: "
    "a bug in your code would look the same."
)
BOUND_WORK = "Bound the work on one file: a number of frames, one decoder thread, a worker process with a timeout."
OTHER_NAMES = "Read names and number of rows from the mounted sample_submission.csv: both differ in the hidden rerun."
GROWTH = "Look for what grows from video to video: memory, open files, threads, temporary files."


def silent_fallback_value(trial: Trial) -> float | None:
    """The label that most undecodable inputs got without an entry in fallbacks.csv; None if there are none such."""
    if trial.opens_no_video:
        return None
    labels = [
        trial.rows[name]
        for name, video in trial.videos.items()
        if video.hard and not video.hard.decodable and name in trial.rows and name not in trial.fallbacks
    ]
    return Counter(labels).most_common(1)[0][0] if labels else None


def of_input(
    name: str, hard: HardInput, trial: Trial, silent_value: float | None, readers: list[Reader]
) -> RehearsalFinding:
    """One hard input of a trial that shows each input."""
    label = trial.rows.get(name)
    outcome = _outcome(name, hard, trial, silent_value)
    needless = outcome is InputOutcome.FALLBACK and hard.expected is ExpectedBehaviour.PREDICTION
    broken = outcome in (InputOutcome.MISSING_ROW, InputOutcome.INVALID_ROW)
    silent = outcome is InputOutcome.SILENT_FALLBACK
    severity, fix = RehearsalSeverity.OK, ""
    if broken:
        severity = _failure_severity(hard)
        fix = f"{EVERY_ROW if outcome is InputOutcome.MISSING_ROW else NUMBERS} {hard.fix_for(readers)}"
    elif needless or silent:
        severity = RehearsalSeverity.WARNING
        fix = " ".join([*([LIST_FALLBACKS] if silent else []), *([hard.fix_for(readers)] if hard.decodable else [])])
    return RehearsalFinding(
        code=hard.code,
        title=hard.title,
        name=name,
        outcome=outcome,
        severity=severity,
        prediction=None if label is None or math.isnan(label) else label,
        detail=_detail(name, outcome, trial),
        kaggle=SCORING_ERROR if broken else COMPLETE,
        fix=fix,
        run=trial.run,
    )


def _outcome(name: str, hard: HardInput, trial: Trial, silent_value: float | None) -> InputOutcome:
    if name not in trial.rows:
        return InputOutcome.MISSING_ROW
    if name in trial.faulty_rows:
        return InputOutcome.INVALID_ROW
    if name in trial.fallbacks:
        return InputOutcome.FALLBACK
    if trial.opens_no_video or (hard.decodable and trial.rows[name] != silent_value):
        return InputOutcome.PREDICTION
    return InputOutcome.SILENT_FALLBACK


def _detail(name: str, outcome: InputOutcome, trial: Trial) -> str:
    if outcome is InputOutcome.FALLBACK:
        return trial.fallbacks[name]
    if outcome is InputOutcome.SILENT_FALLBACK and (fault := trial.observation.fallbacks.error):
        return f"fallbacks.csv cannot be read: {fault}"
    return ""


def _failure_severity(hard: HardInput) -> RehearsalSeverity:
    return RehearsalSeverity.WARNING if hard.hypothetical else RehearsalSeverity.ERROR


def of_ordinary(trial: Trial, silent_value: float | None = None) -> RehearsalFinding:
    """The ordinary clips under new names; `silent_value` is what undecodable files got, once that is known."""
    count, title = len(trial.videos), f"{plural(len(trial.videos), 'ordinary clip')}, new names"
    if not trial.valid:
        names = "" if trial.failed_here else OTHER_NAMES
        return _failed(ORDINARY, title, trial, f"{trial.report.judgement.fix} {names}".strip())
    listed = trial.fallbacks.keys() & trial.videos.keys()
    silent = [name for name in trial.videos if silent_value is not None and trial.rows.get(name) == silent_value]
    outcome, severity, detail, fix = InputOutcome.PREDICTION, RehearsalSeverity.OK, "", ""
    if listed:
        outcome, severity = InputOutcome.FALLBACK, RehearsalSeverity.WARNING
        detail = f"{len(listed)} of {count}: {', '.join(sorted({trial.fallbacks[name] for name in listed}))}"
        fix = "These clips are intact: find out why they cannot be read."
    elif silent:
        outcome, severity = InputOutcome.SILENT_FALLBACK, RehearsalSeverity.WARNING
        detail = f"{len(silent)} of {count} have the same label as unreadable files"
        fix = f"Perhaps no clip is read at all, and an exception is swallowed. {LIST_FALLBACKS}"
    return RehearsalFinding(
        code=ORDINARY,
        title=title,
        outcome=outcome,
        severity=severity,
        prediction=silent_value if outcome is InputOutcome.SILENT_FALLBACK else None,
        detail=detail,
        kaggle=COMPLETE,
        fix=fix,
        run=trial.run,
    )


def of_failing_input(video: TrialVideo, trial: Trial, readers: list[Reader]) -> RehearsalFinding:
    """A hard input on which the whole run failed."""
    hard = video.hard
    if hard is None:
        raise ValueError("an ordinary clip is not a hard input")
    name = next(name for name, one in trial.videos.items() if one == video)
    advice = hard.fix_for(readers)
    fix = f"{BOUND_WORK} {advice}" if trial.report.judgement.verdict is Verdict.TIMEOUT else advice
    return _failed(hard.code, hard.title, trial, fix, name, _failure_severity(hard))


def of_all_together(trial: Trial) -> RehearsalFinding:
    """A failure that no single input causes."""
    return _failed(TOGETHER, "all inputs together", trial, f"{trial.report.judgement.fix} {GROWTH}".strip())


def untested(hard: HardInput) -> RehearsalFinding:
    """An input about which earlier failures left nothing to observe."""
    return RehearsalFinding(
        code=hard.code, title=hard.title, outcome=InputOutcome.UNTESTED, severity=RehearsalSeverity.UNKNOWN
    )


def _failed(
    code: str,
    title: str,
    trial: Trial,
    fix: str,
    name: str = "",
    severity: RehearsalSeverity = RehearsalSeverity.ERROR,
) -> RehearsalFinding:
    judgement = trial.report.judgement
    outcome = OUTCOME_OF.get(judgement.verdict, InputOutcome.INVALID_ROW)
    lines = trial.end_of_log()[0]
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return RehearsalFinding(
        code=code,
        title=title,
        name=name,
        outcome=outcome,
        severity=RehearsalSeverity.UNKNOWN if outcome is InputOutcome.UNTESTED else severity,
        detail=last if judgement.verdict is Verdict.EXCEPTION else judgement.why,
        log_lines=lines[-MAX_LOG_LINES:],
        kaggle=judgement.kaggle,
        fix=fix,
        run=trial.run,
    )
