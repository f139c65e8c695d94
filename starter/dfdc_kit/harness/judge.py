"""The judge: from an observation to a verdict, and nothing else, so that a saved report can be judged again."""

import signal as signals

from dfdc_kit.formatting import plural
from dfdc_kit.harness.log_parser import failure_reason
from dfdc_kit.profiles import Limits
from dfdc_kit.report.run_report import Judgement, Observation
from dfdc_kit.report.verdicts import MEANINGS, Verdict
from dfdc_kit.sandbox.base import Ending

GIB = 2**30
TELLING = 0.05  # of the wall time: durations of less say little about where the time went
SIGKILL_CODE = 128 + signals.SIGKILL  # how a shell, and a sandbox whose first process is not the program, tell of it
MODULE_MISSING = (
    "Install that package where dfdc runs; submission.toml names those it needs: packages. A single .py or .ipynb "
    "file brings nothing else: if it is a file of yours, submit the folder that holds both, with a submission.toml "
    "that names the program: entry_point."
)
MUCH = 0.5  # of the memory limit: below, a death by SIGKILL says nothing about memory
CRASHES = {signals.SIGSEGV, signals.SIGABRT, signals.SIGBUS, signals.SIGILL, signals.SIGFPE}
EXAMPLE_FRAMES = 32  # a video: what winners of the challenge looked at


def judge(observation: Observation, limits: Limits) -> Judgement:
    """The verdict on what was observed, with what Kaggle would have hidden: why, and what to do."""
    verdict = _verdict(observation)
    why, fix = _REASONS[verdict](observation, limits)
    return Judgement(verdict=verdict, kaggle=MEANINGS[verdict].kaggle, why=why, fix=fix)


def _verdict(seen: Observation) -> Verdict:
    ending = seen.outcome.ending
    by_ending = {
        Ending.INTERRUPTED: Verdict.INTERRUPTED,
        Ending.WALL_TIME: Verdict.TIMEOUT,
        Ending.HOPELESS: Verdict.TIMEOUT,
        Ending.GPU_MEMORY: Verdict.EXCEPTION,  # there it would have been CUDA's out-of-memory error
        Ending.MEMORY: Verdict.COMPUTE,
        Ending.OUTPUT: Verdict.COMPUTE,
        Ending.SCRATCH: Verdict.COMPUTE,
        Ending.PROCESSES: Verdict.COMPUTE,
        Ending.SIGNAL: Verdict.EXCEPTION,
    }
    if ending in by_ending:
        return by_ending[ending]
    if seen.outcome.exit_code != 0:
        return Verdict.EXCEPTION
    if seen.csv == "missing":
        return Verdict.NO_CSV
    if seen.validation is None or not seen.validation.valid or seen.refused:
        return Verdict.SCORING_ERROR
    if seen.harness_fault:
        return Verdict.HARNESS_FAULT
    return Verdict.COMPLETE


def _complete(seen: Observation, limits: Limits) -> tuple[str, str]:
    if seen.changed_input:
        return f"It changed its input: {', '.join(seen.changed_input[:3])}.", "Write to the working folder only."
    return "", ""


def _timeout(seen: Observation, limits: Limits) -> tuple[str, str]:
    time_s = seen.outcome.usage.wall_time_s
    if seen.hopeless:
        return (
            f"Stopped early, after {time_s:.1f} s. {seen.hopeless}",
            "Fewer frames a video, larger batches, or a smaller model.",
        )
    why = f"Stopped after {time_s:.1f} s; the limit is {limits.wall_time_s:g} s. {_progress(seen)}"
    durations = sorted(((r.closed_s - r.opened_s, r.name) for r in seen.reads if r.closed_s is not None), reverse=True)
    if not durations:
        hint = "" if seen.reads else "No video was opened: look at what it does first, in the log."
        return why, _sentences(_open_ones(seen), hint)
    slowest = ", ".join(f"{name} {duration:.1f} s" for duration, name in durations[:3])
    telling = sum(duration for duration, _ in durations) > TELLING * time_s  # else it reads a file at once, then works
    return why, _sentences(
        f"Slowest: {slowest}." if telling else "", _open_ones(seen), _would_have_fitted(seen.videos, len(durations))
    )


def _would_have_fitted(videos: int, read: int) -> str:
    factor = videos / read
    if factor <= 1:
        return ""
    frames = int(EXAMPLE_FRAMES / factor)
    fewer = (
        f"for example {frames} frames a video in place of {EXAMPLE_FRAMES}" if frames else "far fewer frames a video"
    )
    needed = f"To end these {videos:,} videos in time, it must be {factor:.1f} times as fast"
    return f"{needed}: {fewer}, a larger batch, or a smaller model."


def _open_ones(seen: Observation) -> str:
    hung = [read.name for read in seen.reads if read.closed_s is None]
    return f"Open when it was stopped: {', '.join(hung[:3])}." if hung else ""


def _exception(seen: Observation, limits: Limits) -> tuple[str, str]:
    outcome = seen.outcome
    if outcome.ending is Ending.GPU_MEMORY:
        held = outcome.usage.gpu.peak_memory_bytes if outcome.usage.gpu else None
        why = f"It took {_size(held)} of one graphics card; the limit is {_size(limits.gpu_memory_bytes)}."
        return f"{why} {_progress(seen)}", "There CUDA would have raised its out-of-memory error: use a smaller batch."
    if outcome.ending is Ending.SIGNAL:
        if outcome.signal == signals.SIGKILL:
            why = f"Killed by signal 9 (SIGKILL), not by us, or ended with {SIGKILL_CODE}, which means the same."
            return f"{why} {_progress(seen)}", _who_killed_it(seen, limits)
        what = f"Killed by signal {outcome.signal} ({_signal_name(outcome.signal)}), not by us."
        if outcome.signal in CRASHES:
            return f"{what} {_progress(seen)}", "A crash in native code; the log may name the library."
        return f"{what} {_progress(seen)}", "It ended itself so, or one of its own programs did."
    words = failure_reason(seen.last_output)
    why = _sentences(f"Exit code {outcome.exit_code}.", _error(seen.last_output), _progress(seen))
    if outcome.exit_code == SIGKILL_CODE:
        return why, _who_killed_it(seen, limits)
    if words.raised and words.said:
        return why, "Look at the end of the log: the error, and what it said after that."
    if words.raised.startswith("ModuleNotFoundError"):
        return why, MODULE_MISSING
    if words.raised:
        return why, "The traceback stands at the end of the log."
    return why, "It left no traceback: look what it does last."


def _who_killed_it(seen: Observation, limits: Limits) -> str:
    usage, most = seen.outcome.usage, limits.memory_bytes
    if usage.killed_for_memory:
        return f"The kernel ended {usage.killed_for_memory} of its processes for want of memory."
    peak = f"the peak seen was {_size(usage.peak_memory_bytes)}"
    if most is None or usage.peak_memory_bytes is None:
        return f"Something inside killed it, or it chose that code itself; of memory, {peak}."
    peak = f"{peak} of {_size(most)}"
    if usage.peak_memory_bytes > MUCH * most:
        return (
            f"Too much memory is one possible reason: {peak}. Else something inside killed it, or it chose that code."
        )
    return f"Something inside killed it, or it chose that code itself; memory is not the likely reason: {peak}."


def _error(lines: list[str]) -> str:
    """The reason, from the last lines of a log: what was raised, and what was said after it, which may be a part of its
    message. Empty if all are.
    """
    raised, said = failure_reason(lines)
    return _sentences(raised, f"It said last: {said}").removesuffix(".") if raised and said else raised or said


def _compute(seen: Observation, limits: Limits) -> tuple[str, str]:
    usage = seen.outcome.usage
    if seen.outcome.ending is Ending.OUTPUT:
        why = f"It wrote {_size(usage.output_bytes)}; the limit is {_size(limits.output_bytes)}."
        return why, "Keep fewer files in the working folder."
    if seen.outcome.ending is Ending.SCRATCH:
        why = f"Its temporary files passed the limit of {_size(limits.scratch_bytes)}."
        return why, "Remove temporary files as you go."
    if seen.outcome.ending is Ending.PROCESSES:
        why = f"It ran more than {limits.processes} processes and threads at once. {_progress(seen)}"
        return why, "Start a fixed number of workers, and wait for them."
    why = f"It took {_size(usage.peak_memory_bytes)}; the limit is {_size(limits.memory_bytes)}. {_progress(seen)}"
    return why, "Hold fewer frames at a time, or a smaller batch."


def _no_csv(seen: Observation, limits: Limits) -> tuple[str, str]:
    if killed := seen.outcome.usage.killed_for_memory:
        why = f"The program ended well without one. The kernel ended {killed} of its processes for want of memory."
        return why, "Hold fewer frames at a time, or use fewer workers."
    return "The program ended well without one.", "Write submission.csv into the current directory."


def _scoring_error(seen: Observation, limits: Limits) -> tuple[str, str]:
    if seen.refused:
        return f"The metric refused it: {seen.refused}", "Mend what the metric names."
    if seen.validation is None:
        return f"submission.csv is {seen.csv}.", "Write an ordinary file into the current directory."
    errors = [violation for violation in seen.validation.violations if violation.severity == "error"]
    return "; ".join(error.message for error in errors[:3]), "All rules and rows: dfdc validate on the saved file."


def _harness_fault(seen: Observation, limits: Limits) -> tuple[str, str]:
    return seen.harness_fault, "The submission is not to blame. Mend this, then score the saved file: dfdc score."


def _interrupted(seen: Observation, limits: Limits) -> tuple[str, str]:
    return f"Stopped by whoever started it, after {seen.outcome.usage.wall_time_s:.1f} s. {_progress(seen)}", ""


_REASONS = {
    Verdict.COMPLETE: _complete,
    Verdict.TIMEOUT: _timeout,
    Verdict.EXCEPTION: _exception,
    Verdict.COMPUTE: _compute,
    Verdict.NO_CSV: _no_csv,
    Verdict.SCORING_ERROR: _scoring_error,
    Verdict.HARNESS_FAULT: _harness_fault,
    Verdict.INTERRUPTED: _interrupted,
}


def _progress(seen: Observation) -> str:
    if not seen.reads:
        return "" if seen.reads_caveat else "No video had been opened."
    done = sum(read.closed_s is not None for read in seen.reads)
    return f"{done} of {plural(seen.videos, 'video')} had been read; the last one opened was {seen.reads[-1].name}."


def _sentences(*parts: str) -> str:
    """Those that are not empty, each with an end."""
    return " ".join(part if part.endswith((".", "!", "?")) else f"{part}." for part in parts if part)


def _size(size_bytes: int | None) -> str:
    return "an unknown amount" if size_bytes is None else f"{size_bytes / GIB:.2f} GiB"


def _signal_name(number: int | None) -> str:
    try:
        return signals.Signals(number or 0).name
    except ValueError:
        return "unknown"
