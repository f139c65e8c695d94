"""The verdict on a run, from its observation and scoring alone; so a saved report can be judged again."""

import re
import signal as signals
from pathlib import Path

import msgspec
from msgspec import structs

from dfdc_kit.challenge import Challenge
from dfdc_kit.data.solution import read_solution_for
from dfdc_kit.errors import DataError
from dfdc_kit.files import file_sha256
from dfdc_kit.formatting import plural
from dfdc_kit.harness.log_parser import failure_reason, sentences, summarize_failure, syntax_error_place
from dfdc_kit.harness.not_reproducible import environment_cause, explained_modules, hidden_input
from dfdc_kit.profiles import Limits, Profile
from dfdc_kit.report.run_report import CSV, Judgement, Observation, RunReport, Scoring, load
from dfdc_kit.report.verdicts import MEANINGS, Verdict
from dfdc_kit.sandbox.base import Ending
from dfdc_kit.scoring.metric import load_metric
from dfdc_kit.scoring.score import Score, score_submission
from dfdc_kit.submission.packages import explain_removed, hosted_packages
from dfdc_kit.submission.validate import validate

GIB = 2**30
SIGKILL_CODE = 128 + signals.SIGKILL  # exit code of a shell or sandbox whose program was killed by SIGKILL
CRASHES = {signals.SIGSEGV, signals.SIGABRT, signals.SIGBUS, signals.SIGILL, signals.SIGFPE}
READING_SHARE = 0.05  # of the wall time; below it, the time between open and close says little about a video's cost
LIKELY_MEMORY_SHARE = 0.5  # of the memory limit; below it, a SIGKILL is unlikely to be about memory
EXAMPLE_FRAMES = 32  # per video: what winners of the challenge read
NO_INTERNET = re.compile(
    r"Could not find a version that satisfies|Temporary failure in name resolution|Name or service not known"
    r"|Network is unreachable|<urlopen error|Max retries exceeded|Could not resolve host|unable to resolve host",
    re.IGNORECASE,
)
FASTER = "Use fewer frames per video, larger batches, or a smaller model."
OWN_FILE = (
    "{name} is in the submission's folder, but the program starts in /kaggle/working: find it by "
    "Path(__file__).parent; for a module, put that folder on sys.path, with an absolute path."
)
MODULE_BESIDE = (
    "{name} is next to the file that was run, but a single .py or .ipynb file is run without the files beside it: "
    "submit the whole folder, with a submission.toml whose entry_point names the program."
)


def judge(observation: Observation, scoring: Scoring, challenge: Challenge, profile: Profile) -> Judgement:
    """The verdict on a run, with what Kaggle does not show: why, and what to do."""
    verdict = _verdict(observation, scoring)
    csv_name = challenge.submission.name
    why, fix = _explain(verdict, observation, scoring, csv_name, profile)
    may_be_ours = verdict is Verdict.NO_CSV or (
        verdict is Verdict.EXCEPTION and observation.outcome.ending is Ending.EXIT
    )
    cause = environment_cause(observation, challenge, profile) if may_be_ours else None
    if verdict is Verdict.SCORING_ERROR and not observation.reads:  # no video was found
        cause = hidden_input(observation)
    if cause:
        verdict, why, fix = Verdict.NOT_REPRODUCIBLE, sentences(cause.what, why), cause.fix
    return Judgement(verdict=verdict, kaggle=MEANINGS[verdict].kaggle, why=why, fix=fix)


BY_ENDING = {
    Ending.INTERRUPTED: Verdict.INTERRUPTED,
    Ending.WALL_TIME: Verdict.TIMEOUT,
    Ending.EARLY_STOP: Verdict.TIMEOUT,
    Ending.GPU_MEMORY: Verdict.EXCEPTION,  # hosted, CUDA would have raised its out-of-memory error
    Ending.MEMORY: Verdict.COMPUTE,
    Ending.OUTPUT: Verdict.COMPUTE,
    Ending.SCRATCH: Verdict.COMPUTE,
    Ending.PROCESSES: Verdict.COMPUTE,
    Ending.SIGNAL: Verdict.EXCEPTION,
}


def _verdict(seen: Observation, scoring: Scoring) -> Verdict:
    if seen.outcome.ending in BY_ENDING:
        return BY_ENDING[seen.outcome.ending]
    if seen.outcome.exit_code != 0:
        return Verdict.EXCEPTION
    if seen.csv_status == "missing":
        return Verdict.NO_CSV
    if seen.validation is None or not seen.validation.valid or scoring.rejection:
        return Verdict.SCORING_ERROR
    if scoring.error:
        return Verdict.HARNESS_ERROR
    return Verdict.COMPLETE


def _explain(verdict: Verdict, seen: Observation, scoring: Scoring, csv_name: str, profile: Profile) -> tuple[str, str]:
    limits = profile.limits
    match verdict:
        case Verdict.COMPLETE:
            return _complete(seen)
        case Verdict.TIMEOUT:
            return _timeout(seen, limits)
        case Verdict.EXCEPTION:
            return _exception(seen, profile)
        case Verdict.COMPUTE:
            return _compute(seen, limits)
        case Verdict.NO_CSV:
            return _no_csv(seen, csv_name)
        case Verdict.SCORING_ERROR:
            return _scoring_error(seen, scoring, csv_name)
        case Verdict.NOT_REPRODUCIBLE:  # decided above
            return "", ""
        case Verdict.HARNESS_ERROR:
            return scoring.error, "Not the submission's fault. Fix this, then score the saved file: dfdc score"
        case Verdict.INTERRUPTED:
            time_s = seen.outcome.usage.wall_time_s
            return f"Stopped by you (Ctrl-C) after {time_s:.1f} s; not scored. {_progress(seen)}".rstrip(), ""


def _complete(seen: Observation) -> tuple[str, str]:
    if seen.changed_input:
        return f"Input files were changed: {', '.join(seen.changed_input[:3])}.", "Write to the working folder only."
    return "", ""


def _timeout(seen: Observation, limits: Limits) -> tuple[str, str]:
    time_s = seen.outcome.usage.wall_time_s
    if seen.early_stop_reason:
        return f"Stopped early, after {time_s:.1f} s. {seen.early_stop_reason}", FASTER
    why = f"Stopped at the time limit of {limits.wall_time_s:g} s, after {time_s:.1f} s. {_progress(seen)}"
    still_open = [read.name for read in seen.reads if read.closed_s is None]
    hung = f"Open when it was stopped: {', '.join(still_open[:3])}." if still_open else ""
    durations = sorted(((r.closed_s - r.opened_s, r.name) for r in seen.reads if r.closed_s is not None), reverse=True)
    if not durations:
        hint = "" if seen.reads else "No video was opened: see in the log what it does first."
        return why, sentences(hung, hint)
    slowest = f"Slowest: {', '.join(f'{name} {duration:.1f} s' for duration, name in durations[:3])}."
    is_cost = sum(duration for duration, _ in durations) > READING_SHARE * time_s
    return why, sentences(slowest if is_cost else "", hung, _needed_speed(seen.videos, len(durations)))


def _needed_speed(videos: int, read: int) -> str:
    factor = videos / read
    if factor <= 1:
        return ""
    frames = int(EXAMPLE_FRAMES / factor)
    fewer = f"for example {frames} frames per video instead of {EXAMPLE_FRAMES}" if frames else "far fewer frames"
    return (
        f"It must be {factor:.1f} times as fast to finish {videos:,} videos in time: {fewer}, larger batches, or a "
        "smaller model."
    )


def _exception(seen: Observation, profile: Profile) -> tuple[str, str]:
    outcome, limits = seen.outcome, profile.limits
    if outcome.ending is Ending.GPU_MEMORY:
        held = outcome.usage.gpu.peak_memory_bytes if outcome.usage.gpu else None
        why = f"Used {_size(held)} of one GPU's memory; the limit is {_size(limits.gpu_memory_bytes)}."
        return (
            sentences(why, _progress(seen)),
            "Hosted, CUDA would have raised an out-of-memory error. Use a smaller batch.",
        )
    if outcome.ending is Ending.SIGNAL:
        if outcome.signal == signals.SIGKILL:
            what = (
                f"Killed by signal 9 (SIGKILL), not sent by dfdc, or exited with {SIGKILL_CODE}, which means the same."
            )
            return sentences(what, _progress(seen)), _sigkill_reason(seen, limits)
        what = f"Killed by signal {outcome.signal} ({_signal_name(outcome.signal)}), not sent by dfdc."
        crashed = outcome.signal in CRASHES
        fix = "Crash in native code; the log may name the library." if crashed else "The program sent it to itself."
        return sentences(what, _progress(seen)), fix
    why = sentences(f"Exit code {outcome.exit_code}", summarize_failure(seen.last_output), _progress(seen))
    if outcome.exit_code == SIGKILL_CODE:
        return why, _sigkill_reason(seen, limits)
    return why, _exception_fix(seen, profile)


def _exception_fix(seen: Observation, profile: Profile) -> str:
    """What to do about the exception that a program ended with."""
    exception, last_line = failure_reason(seen.last_output)
    hosted = hosted_packages(profile)
    text = "\n".join(seen.last_output)
    if required := re.search(r"error: the following arguments are required: (.*)", text):
        return f'Give it the arguments, in submission.toml: entry_point = "PROGRAM.py {required[1]} ..."'
    if "unrecognized arguments: -f" in text:
        return "In a notebook, sys.argv has the arguments of the kernel: use parse_args([]) or parse_known_args()."
    if not exception:
        return "No traceback; see the end of log.txt."
    if seen.own_file:
        return OWN_FILE.format(name=seen.own_file)
    if seen.module_beside:
        return MODULE_BESIDE.format(name=seen.module_beside)
    offline = NO_INTERNET.search(text) is not None
    if seen.missing_modules:
        found = explained_modules(seen, hosted)
        first = "There is no internet in the rerun." if offline else ""
        return " ".join([first, *(f"{one.sentence} {one.command}".rstrip() for one in found)]).strip()
    if offline:
        return "There is no internet in the rerun: attach data as a data set, packages as wheels in a folder wheels/."
    if place := syntax_error_place(seen.last_output):
        return f"{place} is not valid Python for the version here: correct it."
    if removed := explain_removed(exception, seen.package_versions, [hosted] if hosted else []):
        return removed.sentence
    if "/kaggle/input" in exception and ("Read-only" in exception or "PermissionError" in exception):
        return "Input is read-only, on Kaggle too: write to the current directory, /kaggle/temp or /tmp."
    if re.search(r"Read-only file system: '[^/]|(?:Read-only|PermissionError).*/kaggle/src/", exception):
        return "It writes into a folder that is read-only: write to /kaggle/working, where it starts."
    if "Non-UTF-8 code" in exception or ("codec can't decode" in exception and "SyntaxError" in exception):
        return "Save the program as UTF-8."
    if last_line:
        return "See the end of log.txt: the traceback, and the output after it."
    return "The traceback is at the end of log.txt."


def _sigkill_reason(seen: Observation, limits: Limits) -> str:
    usage, limit = seen.outcome.usage, limits.memory_bytes
    if usage.killed_for_memory:
        return f"Out of memory: the kernel killed {plural(usage.killed_for_memory, 'process', 'processes')} of it."
    peak = f"Peak memory: {_size(usage.peak_memory_bytes)}"
    inside = f"Killed from inside, or exited with {SIGKILL_CODE} itself."
    if limit is None or usage.peak_memory_bytes is None:
        return f"{inside} {peak}."
    peak = f"{peak} of {_size(limit)}"
    if usage.peak_memory_bytes > LIKELY_MEMORY_SHARE * limit:
        return f"Possibly out of memory. {peak}. Else killed from inside, or exited with {SIGKILL_CODE} itself."
    return f"{inside} {peak}: probably not the reason."


def _compute(seen: Observation, limits: Limits) -> tuple[str, str]:
    usage, ending = seen.outcome.usage, seen.outcome.ending
    if ending is Ending.OUTPUT:
        why = f"Wrote {_size(usage.output_bytes)} to the working folder; the limit is {_size(limits.output_bytes)}."
        return why, "Keep fewer files in the working folder."
    if ending is Ending.SCRATCH:
        return f"Temporary files exceeded the limit of {_size(limits.scratch_bytes)}.", "Delete them as you go."
    if ending is Ending.PROCESSES:
        why = f"Ran more than {limits.processes} processes and threads at the same time."
        return sentences(why, _progress(seen)), "Start a fixed number of workers, and wait for them."
    why = f"Used {_size(usage.peak_memory_bytes)} of memory; the limit is {_size(limits.memory_bytes)}."
    return sentences(why, _progress(seen)), "Hold fewer frames in memory, or use a smaller batch."


def _no_csv(seen: Observation, csv_name: str) -> tuple[str, str]:
    why = f"Exited 0 without writing {csv_name}."
    if killed := seen.outcome.usage.killed_for_memory:
        why = f"{why} Out of memory: the kernel killed {plural(killed, 'process', 'processes')} of it."
        return why, "Hold fewer frames in memory, or use fewer workers."
    if seen.other_csv_files:
        why = f"{why} Found instead: {', '.join(seen.other_csv_files)}."
        return why, f"Kaggle takes only /kaggle/working/{csv_name}: that name, in the current directory."
    return why, f"Write {csv_name} to the current directory."


def _scoring_error(seen: Observation, scoring: Scoring, csv_name: str) -> tuple[str, str]:
    if scoring.rejection:
        return f"The metric rejected it: {scoring.rejection}", "Fix what the metric names."
    if seen.validation is None:
        return f"{csv_name} is {seen.csv_status}.", "Write a regular file to the current directory."
    errors = [violation for violation in seen.validation.violations if violation.severity == "error"]
    fixes = dict.fromkeys(error.fix for error in errors[:3])
    return "; ".join(error.message for error in errors[:3]), " ".join(fixes)


def _progress(seen: Observation) -> str:
    if not seen.reads:
        return "" if seen.reads_caveat else "No video had been opened."
    done = sum(read.closed_s is not None for read in seen.reads)
    return f"{done} of {plural(seen.videos, 'video')} had been read; last opened: {seen.reads[-1].name}."


def _size(size_bytes: int | None) -> str:
    return "an unknown amount" if size_bytes is None else f"{size_bytes / GIB:.2f} GiB"


def _signal_name(number: int | None) -> str:
    try:
        return signals.Signals(number or 0).name
    except ValueError:
        return "unknown"


class Rejudgement(msgspec.Struct, frozen=True, kw_only=True):
    """The second judgement of a run."""

    run_id: str
    judgement: Judgement
    score: Score | None
    differences: list[str]  # "verdict", "score"; empty: identical, bit for bit
    not_repeated: str  # what could not be repeated here, and why; empty if nothing


def rejudge(folder: Path) -> Rejudgement:
    """Judge the run in `folder` again. Raises DataError if its CSV or its metric has changed since the run."""
    report = load(folder)
    folder = folder if folder.is_dir() else folder.parent
    csv = folder / CSV
    _check_unchanged(csv, report.submission_csv_sha256)
    judgement = judge(report.observation, report.scoring, report.challenge, report.profile)
    differences = [] if judgement.verdict is report.judgement.verdict else ["verdict"]  # wording may have improved
    score, not_repeated = None, ""
    if judgement.verdict is Verdict.COMPLETE and report.solution:
        if Path(report.solution).exists():
            score = _score_again(report, csv)
            differences += [] if _is_same(score, report.score) else ["score"]
        else:
            not_repeated = f"the score, because the solution is missing: {report.solution}"
    return Rejudgement(
        run_id=report.run_id, judgement=judgement, score=score, differences=differences, not_repeated=not_repeated
    )


def _is_same(score: Score, before: Score | None) -> bool:
    """Whether two scores are equal in all that the earlier report has: older versions did not keep the curves."""
    if before is not None and before.curves is None:
        score = msgspec.structs.replace(score, secondary=before.secondary, curves=None)
    return score == before


def _score_again(report: RunReport, csv: Path) -> Score:
    metric = load_metric(report.challenge.metric_path)
    _check_unchanged(metric.path, report.metric_sha256)
    _, table = validate(csv, report.challenge)
    if table is None:
        raise DataError(f"{csv} is not valid, but the report says that it was.", hint="The report was changed.")
    solution = read_solution_for(Path(report.solution), report.challenge, table.ids)
    score = score_submission(metric, solution, table, report.challenge)
    estimated = report.score.uncertainty if report.score else None  # from random draws: its last digits may differ
    return structs.replace(score, uncertainty=estimated)


def _check_unchanged(path: Path, sha256: str) -> None:
    seen = file_sha256(path)
    if seen != sha256:
        raise DataError(
            f"{path} has changed since the run: sha256 {seen or 'of no file'}, recorded {sha256 or 'none'}.",
            hint="Run the submission again.",
        )
