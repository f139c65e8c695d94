"""What a submission did with each input of a trial: a prediction, a stated fallback, a silent default, a fault."""

import math
from collections import Counter

from dfdc_kit.formatting import plural
from dfdc_kit.harness.rehearsal.hard_inputs import ExpectedBehaviour, HardInput
from dfdc_kit.harness.rehearsal.record import ORDINARY, TOGETHER, InputOutcome, RehearsalFinding, Severity
from dfdc_kit.harness.rehearsal.trial import Trial, Video
from dfdc_kit.report.verdicts import MEANINGS, Verdict

SHOWN_LINES = 8  # of a traceback
OF_A_VERDICT = {
    Verdict.EXCEPTION: InputOutcome.EXCEPTION,
    Verdict.TIMEOUT: InputOutcome.HANG,
    Verdict.COMPUTE: InputOutcome.LIMIT,
    Verdict.NO_CSV: InputOutcome.NO_FILE,
}
COMPLETE, SCORING_ERROR = MEANINGS[Verdict.COMPLETE].kaggle, MEANINGS[Verdict.SCORING_ERROR].kaggle

EVERY_ROW = "Write one row for each row of sample_submission.csv, whatever its file is like."
NUMBERS = "Write a number from 0 to 1; nan comes from a mean over no frames, or a division by zero."
SPEAK = (
    "Write name and reason into fallbacks.csv (filename,reason) where you use a prior, and catch only the decoder's "
    "own error: a bug of yours would look the same."
)
STOP = "Bound the work on one file: a number of frames, one decoder thread, a worker process that can be ended."
OTHER_NAMES = (
    "Ordinary clips, under other names and in another number: read the names from the mounted sample_submission.csv, "
    "and nothing else from outside the submission's own folder."
)
WHOLE = "Look for what grows from video to video: memory, open files, threads, temporary files."


def faults(trial: Trial) -> set[str]:
    """Names whose row is missing or no number from 0 to 1, where the run itself came to a CSV."""
    if trial.report.judgement.verdict not in (Verdict.COMPLETE, Verdict.SCORING_ERROR):
        return set()
    return {name for name in trial.videos if not 0 <= trial.rows.get(name, math.nan) <= 1}


def is_readable(trial: Trial) -> bool:
    """Whether each input's own row tells what became of it."""
    return trial.valid or (bool(trial.rows) and bool(faults(trial)))


def silent_value(trial: Trial) -> float | None:
    """The label that most undecodable inputs got without a word; None if no input was treated so."""
    if trial.opens_nothing:
        return None
    values = [
        trial.rows[name]
        for name, video in trial.videos.items()
        if video.hard and not video.hard.decodable and name in trial.rows and name not in trial.fallbacks
    ]
    return Counter(values).most_common(1)[0][0] if values else None


def of_input(name: str, hard: HardInput, trial: Trial, silent: float | None, run: str) -> RehearsalFinding:
    """What became of one hard input in a readable trial."""
    label = trial.rows.get(name)
    deed = _deed(name, hard, trial, silent)
    lost = deed is InputOutcome.FALLBACK and hard.wanted is ExpectedBehaviour.PREDICTION
    fixes = {
        InputOutcome.MISSING: f"{EVERY_ROW} {hard.fix}",
        InputOutcome.INVALID: f"{NUMBERS} {hard.fix}",
        InputOutcome.SILENT: f"{SPEAK} {hard.fix}" if hard.decodable else SPEAK,
    }
    broken = deed in (InputOutcome.MISSING, InputOutcome.INVALID)
    severity = Severity.ERROR if broken else Severity.WARNING if lost or deed is InputOutcome.SILENT else Severity.OK
    return RehearsalFinding(
        code=hard.code,
        title=hard.title,
        name=name,
        deed=deed,
        severity=severity,
        prediction=None if label is None or math.isnan(label) else label,
        said=_said(name, deed, trial),
        kaggle=SCORING_ERROR if broken else COMPLETE,
        fix=fixes.get(deed, hard.fix if lost else ""),
        run=run,
    )


def _said(name: str, deed: InputOutcome, trial: Trial) -> str:
    if deed is InputOutcome.FALLBACK:
        return trial.fallbacks[name]
    if deed is InputOutcome.SILENT and (fault := trial.report.observation.fallbacks.fault):
        return f"fallbacks.csv not understood: {fault}"
    return "opens no video" if deed is InputOutcome.ROW and trial.opens_nothing else ""


def _deed(name: str, hard: HardInput, trial: Trial, silent: float | None) -> InputOutcome:
    if name not in trial.rows:
        return InputOutcome.MISSING
    if name in faults(trial):
        return InputOutcome.INVALID
    if name in trial.fallbacks:
        return InputOutcome.FALLBACK
    if trial.opens_nothing or (hard.decodable and trial.rows[name] != silent):
        return InputOutcome.ROW
    return InputOutcome.SILENT


def of_ordinary(trial: Trial, run: str) -> RehearsalFinding:
    """What became of ordinary clips under other names and in another number."""
    count, title = len(trial.videos), f"{plural(len(trial.videos), 'ordinary clip')}, other names"
    if not trial.valid:
        return _failed(ORDINARY, title, trial, f"{trial.report.judgement.fix} {OTHER_NAMES}".strip(), run)
    lost = trial.fallbacks.keys() & trial.videos.keys()
    if not lost:
        return _fine(title, run)
    reasons = ", ".join(sorted({trial.fallbacks[name] for name in lost}))
    return RehearsalFinding(
        code=ORDINARY,
        title=title,
        deed=InputOutcome.FALLBACK,
        severity=Severity.WARNING,
        said=f"{len(lost)} of {count}: {reasons}",
        kaggle=COMPLETE,
        fix="These are sound clips: find out why they are not read.",
        run=run,
    )


def with_silent_default(finding: RehearsalFinding, trial: Trial, silent: float | None) -> RehearsalFinding:
    """The finding on ordinary clips, once it is known what undecodable files silently get."""
    same = [name for name in trial.videos if silent is not None and trial.rows.get(name) == silent]
    if finding.severity is not Severity.OK or not same:
        return finding
    return RehearsalFinding(
        code=ORDINARY,
        title=finding.title,
        deed=InputOutcome.SILENT,
        severity=Severity.WARNING,
        prediction=silent,
        said=f"{len(same)} of {len(trial.videos)} have the very number that unreadable files get",
        kaggle=COMPLETE,
        fix=f"Perhaps no clip is read at all, and an exception is swallowed. {SPEAK}",
        run=finding.run,
    )


def of_culprit(video: Video, name: str, trial: Trial, run: str) -> RehearsalFinding:
    """What became of a hard input on which a whole run failed."""
    hard = video.hard
    if hard is None:
        raise ValueError("an ordinary clip is no hard input")
    fix = f"{STOP} {hard.fix}" if trial.report.judgement.verdict is Verdict.TIMEOUT else hard.fix
    return _failed(hard.code, hard.title, trial, fix, run, name)


def of_all_together(trial: Trial, run: str) -> RehearsalFinding:
    """A failure of the whole that could not be tied to one input."""
    return _failed(TOGETHER, "all inputs together", trial, f"{trial.report.judgement.fix} {WHOLE}".strip(), run)


def untried(hard: HardInput) -> RehearsalFinding:
    """An input about which nothing was found out."""
    return RehearsalFinding(code=hard.code, title=hard.title, deed=InputOutcome.UNTRIED, severity=Severity.UNKNOWN)


def _fine(title: str, run: str) -> RehearsalFinding:
    return RehearsalFinding(
        code=ORDINARY, title=title, deed=InputOutcome.ROW, severity=Severity.OK, kaggle=COMPLETE, run=run
    )


def _failed(code: str, title: str, trial: Trial, fix: str, run: str, name: str = "") -> RehearsalFinding:
    judgement = trial.report.judgement
    lines = trial.end_of_log()[0]
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return RehearsalFinding(
        code=code,
        title=title,
        name=name,
        deed=OF_A_VERDICT.get(judgement.verdict, InputOutcome.INVALID),
        severity=Severity.ERROR,
        said=last if judgement.verdict is Verdict.EXCEPTION else judgement.why,
        evidence=lines[-SHOWN_LINES:],
        kaggle=judgement.kaggle,
        fix=fix,
        run=run,
    )
