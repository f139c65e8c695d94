"""What the summary of a run says, as plain records; the terminal (cli/run.py) and the page (html.py) draw them."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from dfdc_kit.files import bundled
from dfdc_kit.formatting import format_bytes, format_time, join_names, plural
from dfdc_kit.report.run_report import (
    CSV,
    FALLBACKS,
    FILE,
    LOG,
    FitVerdict,
    MemoryGrowth,
    Noise,
    Projection,
    RunReport,
    TimeForecast,
)
from dfdc_kit.report.verdicts import Verdict
from dfdc_kit.scoring.intervals import COSTLIEST, FEWEST_TO_RANK
from dfdc_kit.scoring.score import CONSTANT, Uncertainty

NOISE_FACTOR = 1.1  # disturbances that change times by less are not mentioned
WIDE_FACTOR = 4.0  # a range wider than this is not printed: it says nothing that "rough" does not say
ENOUGH_VIDEOS = 50  # with fewer, a forecast is called rough

ANSWERS: dict[FitVerdict, str] = {"fits": "yes", "does not fit": "no", "cannot tell": "unclear"}

Level = Literal["", "warning", "error"]


class Figure(NamedTuple):
    """A measured quantity: a line of the terminal summary, a card of the page."""

    name: str
    value: str
    detail: str = ""


class Message(NamedTuple):
    """A sentence beside the figures."""

    name: str  # "why", "fix", "warning", "note"
    text: str
    level: Level = ""


class Summary(NamedTuple):
    """Everything that a summary says."""

    submission: str
    verdict: str
    complete: bool
    kaggle: str  # what Kaggle would have shown
    reasons: list[Message]  # why it failed, and what to do
    figures: list[Figure]
    fit: str  # whether the hidden test fits the time limit; empty: not known
    messages: list[Message]


def summarise(report: RunReport) -> Summary:
    """The summary of a run."""
    judgement = report.judgement
    reasons = [Message(name, text) for name, text in (("why", judgement.why), ("fix", judgement.fix)) if text]
    return Summary(
        submission=report.submission,
        verdict=judgement.verdict.value,
        complete=judgement.verdict is Verdict.COMPLETE,
        kaggle=f"Kaggle: {judgement.kaggle}" if judgement.kaggle else "Kaggle: no result",
        reasons=reasons,
        figures=[*_score(report), *_usage(report)],
        fit=fit_sentence(report.forecast) if report.forecast else "",
        messages=[*_warnings(report), *_notes(report)],
    )


def next_command(report: RunReport, folder: Path) -> str:
    """The command to type after the run whose files are in `folder`."""
    if report.judgement.verdict is Verdict.SCORING_ERROR and report.submission_csv_sha256:
        return f"dfdc validate {_quoted(folder / CSV)} --against {_quoted(Path(report.data_folder))}"
    if report.judgement.verdict is not Verdict.COMPLETE:
        return f"less {_quoted(folder / LOG)}"
    return f"dfdc open {_quoted(folder)}"


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


# ------------------------------------------------------------------------------------------------------------- figures


def _score(report: RunReport) -> Iterator[Figure]:
    score, partial = report.score, report.partial_score
    metric = report.challenge.metric.name
    if partial is not None:
        written = f"{partial.rows_written} of {plural(report.rows, 'row')} written"
        yield Figure("partial score", partial.displayed, f"{metric}; {written}, {partial.fill_value:g} in the others")
    if score is not None:
        parts = ", ".join(f"{name.lower()} {part.displayed}" for name, part in score.parts.items())
        against = _against_constant(score.value, report.constant_score, report.challenge.metric.lower_is_better)
        yield Figure(
            "score", score.displayed, "; ".join(filter(None, [f"{metric}, {against}" if against else metric, parts]))
        )
        if score.uncertainty is not None:
            yield Figure("interval", *uncertainty_texts(score.uncertainty))
    elif report.judgement.verdict is Verdict.COMPLETE:
        yield Figure("score", "unknown", "no ground truth; name it with --solution")


def _against_constant(value: float, constant: float | None, lower_is_better: bool) -> str:
    """The difference to the score of the same prediction for every video; empty if that is not known.

    >>> _against_constant(0.7136, 0.6931, True)
    '0.02050 worse than answering 0.5 everywhere'
    """
    if constant is None:
        return ""
    gain = constant - value if lower_is_better else value - constant
    if abs(gain) < 5e-6:
        return f"the same as answering {CONSTANT:g} everywhere"
    return f"{abs(gain):.5f} {'better' if gain > 0 else 'worse'} than answering {CONSTANT:g} everywhere"


def uncertainty_texts(uncertainty: Uncertainty) -> tuple[str, str]:
    """The 95 % interval of a score, and what else is known.

    For example "0.412 to 0.468" and "at 95 %, 323 originals; calibration error 0.034".
    """
    interval = uncertainty.interval
    text = "unknown" if interval is None else f"{interval.low:.3f} to {interval.high:.3f}"
    units = plural(uncertainty.clusters, uncertainty.clustered_by)
    return text, f"at 95 %, {units}; calibration error {uncertainty.calibration_error:.3f}"


def rank_warning(uncertainty: Uncertainty | None) -> str:
    """Why a score is no basis to rank submissions; empty if it may be."""
    if uncertainty is None:
        return ""
    if uncertainty.too_few_to_rank:
        units = plural(uncertainty.clusters, uncertainty.clustered_by)
        return f"Too few to rank anything: {units} ({FEWEST_TO_RANK} needed)."
    if uncertainty.dominating_share is not None:
        units = f"{COSTLIEST} of {plural(uncertainty.clusters, uncertainty.clustered_by)}"
        return f"{units} carry {uncertainty.dominating_share:.0%} of the loss: the interval may be too narrow."
    return ""


def _usage(report: RunReport) -> Iterator[Figure]:
    usage, limits = report.observation.outcome.usage, report.profile.limits
    complete = report.judgement.verdict is Verdict.COMPLETE
    detail = f"for {plural(report.rows, 'video')}" if complete else "not complete"
    yield Figure("time", format_time(usage.wall_time_s, 2), detail)
    peak = "unknown" if usage.peak_memory_bytes is None else format_bytes(usage.peak_memory_bytes)
    yield Figure("memory", peak, f"peak{_of(limits.memory_bytes)}")
    if usage.gpu is not None:
        cards = join_names(usage.gpu.cards)
        if not usage.gpu.samples:
            yield Figure("GPU", "unknown", f"the driver did not answer; {cards}")
            return
        busy = "" if usage.gpu.busy_share is None else f", {usage.gpu.busy_share:.0%} busy"
        yield Figure(
            "GPU", format_bytes(usage.gpu.peak_memory_bytes), f"peak{_of(limits.gpu_memory_bytes)}{busy}; {cards}"
        )


def _of(limit_bytes: int | None) -> str:
    return f" of {format_bytes(limit_bytes)}" if limit_bytes else ""


# ------------------------------------------------------------------------------------------------------------ forecast


def fit_sentence(forecast: TimeForecast) -> str:
    """Whether the first hidden test fits on the hosted machine, and its time here.

    For example "fits 9 h: yes, about 40 min for 4,000 videos". What was measured on few videos, or on smaller ones, has
    no verdict unless it is clear: "about 51 min for 4,000 videos like these (rough: only 16 videos), limit 9 h".
    """
    outlook, limit = forecast.outlooks[0], format_time(forecast.limit_s)
    rough = roughness(outlook.local, forecast.videos_measured)
    like_these = "" if forecast.size_ratio == 1 else " like these"
    time = f"about {format_time(outlook.local.median_s, 2)} for {plural(outlook.videos, 'video')}{like_these}"
    if rough:
        time = f"{time} ({rough})"
    if outlook.hosted_verdict == "cannot tell" and (rough or like_these):
        return f"{time}, limit {limit}"
    return f"fits {limit}: {ANSWERS[outlook.hosted_verdict]}, {time}"


def roughness(projection: Projection, videos_measured: int) -> str:
    """Why only the median of a projection is worth printing; empty if its range is."""
    few = 0 < videos_measured < ENOUGH_VIDEOS and projection.high_s != projection.low_s
    if not few and projection.high_s is not None and projection.high_s <= WIDE_FACTOR * projection.low_s:
        return ""
    return f"rough: only {plural(videos_measured, 'video')}" if few else "rough"


def verdict_text(verdict: FitVerdict, projection: Projection, videos_measured: int) -> str:
    """Whether a projection fits the limit; "rough" where it cannot tell because it is rough."""
    return "rough" if verdict == "cannot tell" and roughness(projection, videos_measured) else verdict


def time_range(projection: Projection, videos_measured: int) -> str:
    """A projection as text: "38 min to 45 min"; "about 6.9 h (rough: only 6 videos)" for a very wide range."""
    text = roughness(projection, videos_measured)
    if projection.high_s is None or text:
        return f"about {format_time(projection.median_s, 2)} ({text})"
    low, high = format_time(projection.low_s, 2), format_time(projection.high_s, 2)
    return f"about {low}" if low == high else f"{low} to {high}"


def time_risks(forecast: TimeForecast) -> list[str]:
    """A sentence for each hidden test that does not fit the time limit, here or on the hosted machine."""
    found = []
    for outlook in forecast.outlooks:
        for machine, projection, verdict in (
            ("on this machine", outlook.local, outlook.local_verdict),
            (f"on {forecast.profile}", outlook.hosted, outlook.hosted_verdict),
        ):
            if projection is not None and verdict == "does not fit":
                needs = f"{plural(outlook.videos, 'video')} take {time_range(projection, forecast.videos_measured)}"
                found.append(f"the {outlook.name} test may not finish in time: {needs} {machine}")
    return found


def forecast_basis(forecast: TimeForecast) -> list[str]:
    """What a forecast is based on, in sentences: costs, cores, cautions, constants with their sources."""
    busy = forecast.busy_cores
    cores = "CPU time unknown" if busy is None else f"{busy:.1f} of {plural(forecast.cores, 'core')} busy"
    videos = plural(forecast.videos_measured, "video")
    if forecast.cost_s is None or forecast.cost_spread_s is None:
        found = [f"{videos} measured; {cores}."]
    else:
        least, most = (format_time(time_s) for time_s in forecast.cost_spread_s)
        cost = f"{format_time(forecast.cost_s)} per video (90 % of them {least} to {most})"
        found = [f"{cost} after {format_time(forecast.startup_s)} of start-up, over {videos}; {cores}."]
    if forecast.hosted_refused:
        found.append(f"No estimate for {forecast.profile}: {forecast.hosted_refused}.")
    for outlook, (least_s, most_s) in zip(forecast.outlooks, forecast.hosted_decoding_s, strict=False):
        span = f"{format_time(least_s, 2)} to {format_time(most_s, 2)}"
        found.append(f"Decoding alone, every frame of {plural(outlook.videos, 'video')}: {span} on {forecast.profile}.")
    found += forecast.cautions
    found += [f"Assumed: {constant}" for constant in forecast.constants]
    return found


def hosted_reason(forecast: TimeForecast) -> str:
    """Why it is unclear whether the first hidden test fits on the hosted machine; empty if it is clear."""
    outlook = forecast.outlooks[0]
    if outlook.hosted_verdict != "cannot tell":
        return ""
    if forecast.hosted_refused:
        return f"Time on Kaggle unknown: {forecast.hosted_refused}."
    if forecast.hosted_ratio is None:
        return ""
    least, most = forecast.hosted_ratio
    slower, ratio = f"Kaggle's cores likely take {least:.2g} to {most:.2g} times as long", forecast.size_ratio
    if ratio != 1:
        other = f"{ratio:.2g} times larger" if ratio > 1 else f"{1 / ratio:.2g} times smaller"
        return f"{slower}, and test videos are about {other} than these. Details: {FILE}"
    if roughness(outlook.local, forecast.videos_measured):
        return f"{slower}. For a verdict, measure {ENOUGH_VIDEOS} videos. Details: {FILE}"
    return f"Here {time_range(outlook.local, forecast.videos_measured)}; {slower}. Details: {FILE}"


# ------------------------------------------------------------------------------------------------------------ messages


def noise_warning(noise: Noise) -> str:
    """How far other programs and uneven cores may have changed the times of a run; empty if hardly."""
    off = max(1 - 1 / noise.speedup, noise.slowdown - 1)
    if off < NOISE_FACTOR - 1:
        return ""
    return f"The machine was busy; timings may be off by about {100 * off:.0f} %."


def leak_warning(growth: MemoryGrowth | None, limit_bytes: int | None) -> str:
    """How fast memory grows, and when it would reach its limit; empty if it does not grow."""
    if growth is None or not growth.leaks:
        return ""
    text = f"Memory grows by {growth.low_bytes / 2**20:.2g} to {growth.high_bytes / 2**20:.2g} MiB per video"
    if not limit_bytes:
        return f"{text}."
    first, last = videos_until(growth, limit_bytes)
    return f"{text}; it reaches the limit between video {first:,} and {last:,}."


def videos_until(growth: MemoryGrowth, limit_bytes: int) -> tuple[int, int]:
    """The videos (earliest, latest) at which growing memory reaches `limit_bytes`."""
    room = max(0, limit_bytes - growth.last_bytes)
    return growth.videos + int(room / growth.high_bytes), growth.videos + int(room / growth.low_bytes)


def _warnings(report: RunReport) -> Iterator[Message]:
    seen, fallbacks = report.observation, report.observation.fallbacks
    if fallbacks.caution:
        yield Message("warning", fallbacks.caution, "error")
    yield from (Message("warning", text, "warning") for text in _warning_texts(report))
    open_limits = [limit.limit for limit in report.enforcement if limit.status.startswith("NOT")]
    if open_limits:
        yield Message("warning", f"Not enforced: {', '.join(open_limits)}. Details: {FILE}", "error")
    if not seen.reads_caveat and seen.reads and len(seen.reads) < report.rows:
        missing = report.rows - len(seen.reads)
        yield Message("warning", f"{missing} of {plural(report.rows, 'video')} never opened.", "warning")


def _warning_texts(report: RunReport) -> Iterator[str]:
    seen, fallbacks = report.observation, report.observation.fallbacks
    if fallbacks.error:
        yield f"{FALLBACKS} could not be read: {fallbacks.error}"
    elif fallbacks.count:
        reasons = ", ".join(f"{count} {reason}" for reason, count in fallbacks.by_reason.items())
        yield f"{fallbacks.count} of {plural(report.rows, 'video')} got a fallback prediction: {reasons}."
    for entry in report.loss_breakdown.entries if report.loss_breakdown else ():
        yield _loss_share(entry.what, entry.rows, entry.share, report.rows)
    for violation in seen.validation.violations if seen.validation else ():
        if violation.severity == "warning" and not (
            violation.code == "label-repeated" and report.loss_breakdown  # which says more
        ):
            yield violation.message
    if seen.unmounted_inputs:
        paths = join_names(f"/kaggle/input/{path}" for path in seen.unmounted_inputs)
        yield f"Not mounted, but attached, named or looked for: {paths}"
    yield from seen.staging_notes
    if report.unmet_requirements:
        yield f"Required packages missing or of another version: {', '.join(report.unmet_requirements)}"
    yield from report.manifest_problems
    if seen.outcome.left_running:
        yield f"{plural(seen.outcome.left_running, 'process', 'processes')} still running at the end; killed."
    if text := leak_warning(report.memory_growth, report.profile.limits.memory_bytes):
        yield text
    if text := noise_warning(seen.noise):
        yield text


def _loss_share(what: str, count: int, share: float, rows: int) -> str:
    """`All 16 predictions are 0.5.` or `9 of 16 predictions are 0.5: 61 % of the loss.`"""
    if what == "fallbacks":
        return f"The fallback predictions cause {100 * share:.0f} % of the loss."
    value = what.removeprefix("rows of exactly ")
    if count == rows:
        return f"All {rows:,} predictions are {value}."
    return f"{count:,} of {rows:,} predictions are {value}: {100 * share:.0f} % of the loss."


def _notes(report: RunReport) -> Iterator[Message]:
    if report.forecast and (text := hosted_reason(report.forecast)):
        yield Message("note", text)
    if report.environment_diffs:
        diffs = ", ".join(f"{diff.what} {diff.local} (hosted: {diff.hosted})" for diff in report.environment_diffs)
        yield Message("note", f"Differs from Kaggle: {diffs}. Details: {FILE}")
    if withheld := report.observation.withheld:
        yield Message("note", f"Withheld from the mounted training folder, as it is scored: {join_names(withheld)}")
    if Path(report.data_folder) == bundled("sample_data"):
        yield Message("note", "The bundled sample tests the pipeline; its score says nothing about a detector.")
    elif report.score and (text := rank_warning(report.score.uncertainty)):
        yield Message("note", text)
