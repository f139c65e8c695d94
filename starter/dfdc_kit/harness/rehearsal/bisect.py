"""Find the hard input that makes a whole run fail: by its traceback, by what was open at a timeout, or by bisection."""

from collections.abc import Callable
from typing import NamedTuple

from dfdc_kit.harness.rehearsal.trial import Trial
from dfdc_kit.report.verdicts import Verdict

MAX_SUSPECTS = 3  # run alone before the rest is bisected

Attempt = Callable[[list[str]], Trial | None]  # runs these inputs among ordinary clips; None after too many runs


class Suspects(NamedTuple):
    """Codes of hard inputs that may have caused the failure, the likeliest first."""

    codes: list[str]
    certain: bool  # the log or the open files name exactly one


class FailingInput(NamedTuple):
    """A hard input on which a run fails, and that run."""

    code: str
    trial: Trial


def find_failing_input(trial: Trial, codes: list[str], attempt: Attempt) -> FailingInput | None:
    """The input of `codes` that makes a run fail on its own; None if no single one does, or runs are used up."""
    suspects = _suspects(trial)
    if suspects.certain:
        return FailingInput(suspects.codes[0], trial)
    for code in suspects.codes:
        alone = attempt([code])
        if alone is not None and not alone.shows_each_input:
            return FailingInput(code, alone)
    return _bisect([code for code in codes if code not in suspects.codes], attempt)


def _suspects(trial: Trial) -> Suspects:
    """The files named in the traceback, or still open at a timeout; then those that were opened last."""
    reads = trial.observation.reads
    if trial.report.judgement.verdict is Verdict.TIMEOUT:
        named, certain = [read.name for read in reads if read.closed_s is None], True
    else:
        lines, certain = trial.end_of_log()
        named = [name for name in trial.videos if any(name in line for line in lines)]
    codes = _codes(named, trial)
    if codes and len(named) == 1:
        return Suspects(codes, certain)
    last_opened = _codes([read.name for read in reversed(reads)], trial)
    return Suspects(list(dict.fromkeys([*codes, *last_opened]))[:MAX_SUSPECTS], certain=False)


def _bisect(codes: list[str], attempt: Attempt) -> FailingInput | None:
    """Halve a failing group until one input is left, and confirm that it fails."""
    while len(codes) > 1:
        half = codes[: len(codes) // 2]
        trial = attempt(half)
        if trial is None:
            return None
        codes = codes[len(half) :] if trial.shows_each_input else half
    trial = attempt(codes) if codes else None
    return None if trial is None or trial.shows_each_input else FailingInput(codes[0], trial)


def _codes(names: list[str], trial: Trial) -> list[str]:
    hard = (trial.videos[name].hard for name in names if name in trial.videos)
    return [one.code for one in hard if one is not None]
