"""Which input made a whole run fail: named by the traceback, left open by a hang, or found by trying."""

from collections.abc import Callable
from typing import NamedTuple

from dfdc_kit.harness.rehearsal.findings import is_readable
from dfdc_kit.harness.rehearsal.trial import Trial
from dfdc_kit.report.verdicts import Verdict

GUESSES = 3


class Guess(NamedTuple):
    """Codes of hard inputs that may be to blame, the likeliest first."""

    codes: list[str]
    certain: bool  # there is one, and what was seen names it and nothing else


class CrashingInput(NamedTuple):
    """The input to blame, and the run that shows it."""

    code: str
    trial: Trial


def guess(trial: Trial) -> Guess:
    """Whom the traceback names; else what was open when a hanging run was stopped; else what was opened last."""
    reads = trial.seen.reads
    lines, is_traceback = trial.end_of_log()
    named = [name for name in trial.videos if any(name in line for line in lines)]
    if trial.report.judgement.verdict is Verdict.TIMEOUT:
        suspects, sure = [read.name for read in reads if read.closed_s is None], True
    else:
        suspects, sure = named, is_traceback
    codes = _codes(suspects, trial)
    if codes and len(suspects) == 1:
        return Guess(codes, certain=sure)
    last = _codes([read.name for read in reversed(reads)], trial)
    return Guess(list(dict.fromkeys([*codes, *last]))[:GUESSES], certain=False)


def find(trial: Trial, codes: list[str], attempt: Callable[[list[str]], Trial | None]) -> CrashingInput | None:
    """The one input of `codes` that makes a run fail; None if no single one does, or no more attempts are to be had.

    `attempt(codes)` runs these inputs among ordinary clips; None when there were too many attempts already.
    """
    guessed = guess(trial)
    if guessed.certain:
        return CrashingInput(guessed.codes[0], trial)
    for code in guessed.codes:
        seen = attempt([code])
        if seen is not None and not is_readable(seen):
            return CrashingInput(code, seen)
    return _narrow([code for code in codes if code not in guessed.codes], attempt)


def _narrow(codes: list[str], attempt: Callable[[list[str]], Trial | None]) -> CrashingInput | None:
    """Halve a failing group until one is left, and see that one fail."""
    while len(codes) > 1:
        half = codes[: len(codes) // 2]
        seen = attempt(half)
        if seen is None:
            return None
        codes = codes[len(half) :] if is_readable(seen) else half
    seen = attempt(codes) if codes else None
    return None if seen is None or is_readable(seen) else CrashingInput(codes[0], seen)


def _codes(names: list[str], trial: Trial) -> list[str]:
    hard = (trial.videos[name].hard for name in names if name in trial.videos)
    return [one.code for one in hard if one is not None]
