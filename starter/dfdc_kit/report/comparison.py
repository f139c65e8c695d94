"""The rows and the page of a comparison of submissions."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dfdc_kit.challenge import Challenge
from dfdc_kit.errors import DataError, UsageError
from dfdc_kit.files import write_bytes
from dfdc_kit.formatting import join_names, plural
from dfdc_kit.report.history import find_run
from dfdc_kit.report.html import template
from dfdc_kit.report.run_report import CSV, load
from dfdc_kit.report.run_report import FILE as RUN_REPORT
from dfdc_kit.report.scored_submission import ScoredSubmission, read_scored_submission
from dfdc_kit.scoring.compare import RESAMPLED, Comparison, Losses, Scorer, compare
from dfdc_kit.scoring.intervals import RESAMPLES, SLOW_RESAMPLES, Interval
from dfdc_kit.scoring.metric import RowScorer, array_losses, displayed, load_metric
from dfdc_kit.scoring.score import CONSTANT

PAGE = "comparison.html"
TEMPLATE = Path(__file__).with_name("comparison.html")
MOST_PLOTTED = 45  # pairs; of more, those with the best submission
SHOWN_TIES = 5
NEGLIGIBLE = 1e-9  # a span of rounding errors only
MOST = 40  # submissions; all pairs are tested


def compare_submissions(
    submissions: Sequence[str], solution: Path | None, runs: Path, challenge: Challenge
) -> tuple[Comparison, list[str]]:
    """Compare CSVs and runs on the rows that all of them have; notes say what was left out or is odd.

    Raises UsageError for fewer than two or too many, SubmissionError for an invalid file, DataError where they have no
    row in common or different labels.
    """
    if not 2 <= len(submissions) <= MOST:
        hint = "For one: `dfdc score`." if len(submissions) < 2 else "For many: `dfdc competition board`."
        raise UsageError(f"Seen {plural(len(submissions), 'submission')}, expected 2 to {MOST}.", hint=hint)
    solution = solution or _solution_of_runs(submissions, runs)
    scored = [read_scored_submission(what, solution, runs, challenge) for what in submissions]
    common = set(scored[0].names).intersection(*(one.names for one in scored[1:]))
    names = [name for name in scored[0].names if name in common]
    if not names:
        raise DataError(
            "These submissions have no row in common.",
            hint=f"They have {join_names(plural(len(one.names), 'row') for one in scored)}.",
        )
    rows = [[at[name] for name in names] for at in ({n: i for i, n in enumerate(one.names)} for one in scored)]
    first, own = scored[0], rows[0]
    labels = first.labels[own]
    clusters = [first.originals[i] for i in own] if first.has_originals else None
    metric = load_metric(challenge.metric_path)
    predictions = np.stack([one.predicted[at] for one, at in zip(scored, rows, strict=True)], axis=1)
    constant = np.full(len(names), CONSTANT)
    losses = [one.losses[at] for one, at in zip(scored, rows, strict=True) if one.losses is not None]
    scoring: Losses | Scorer
    columns = (challenge.submission.row_id, challenge.submission.label)
    if len(losses) == len(scored):
        scoring = Losses(np.stack(losses, axis=1), array_losses(metric, labels, constant, columns))
    else:
        scorer = RowScorer(metric, labels, np.column_stack([predictions, constant]), columns)
        resamples = RESAMPLES if scorer.is_fast else SLOW_RESAMPLES
        scoring = Scorer(scorer, challenge.metric.lower_is_better, resamples)
    short_names = _short_names(submissions, scored)
    found = compare(short_names, labels, predictions, scoring, clusters=clusters, blend=metric.is_official)
    return found, [*_row_notes(scored, names), *_pair_notes(found)]


def _solution_of_runs(submissions: Sequence[str], runs: Path) -> Path | None:
    """The solution of the first run among them: one for all, so that labels cannot differ; None if there is no run."""
    for what in submissions:
        path = Path(what)
        if path.suffix.lower() != ".csv" and (own := load(find_run(runs, what, CSV) / RUN_REPORT).solution):
            return Path(own)
    return None


def _short_names(submissions: Sequence[str], scored: Sequence[ScoredSubmission]) -> list[str]:
    """File names without suffix and names of run folders; with the parent folder, then a number, where two agree."""
    paths = [
        one.csv.with_suffix("") if Path(what) == one.csv else one.csv.resolve().parent
        for what, one in zip(submissions, scored, strict=True)
    ]
    names = [path.name for path in paths]
    names = [str(path) if names.count(path.name) > 1 else path.name for path in paths]
    return [f"{name} ({names[:i].count(name) + 1})" if names.count(name) > 1 else name for i, name in enumerate(names)]


def _row_notes(scored: Sequence[ScoredSubmission], names: Sequence[str]) -> list[str]:
    most = max(len(one.names) for one in scored)
    if most == len(names):
        return []
    return [f"Compared on the {plural(len(names), 'row')} that all have; some have up to {most:,}."]


def _pair_notes(found: Comparison) -> list[str]:
    same = [f"{pair.better} and {pair.worse}" for pair in found.pairs if pair.identical]
    return [f"Identical predictions: {join_names(same)}."] if same else []


# --------------------------------------------------------------------------------------------------------- words, page


def advice(found: Comparison, challenge: Challenge) -> list[str]:
    """What to conclude, in sentences: ties, the smallest difference, blends, finals."""
    numbers = {one.name: f"#{at}" for at, one in enumerate(found.submissions, 1)}
    groups = [f"{numbers[group[0]]} to {numbers[group[-1]]}" for group in found.ties]
    ties = f"Ties, no difference shown at the 5 % level: {join_names(groups, SHOWN_TIES)}"
    lines = [ties if groups else "No ties: all differ."]
    if found.smallest_difference:
        lines.append(
            f"Smallest difference these {found.clusters:,} {found.clustered_by}s show: {found.smallest_difference:.4f}"
            " (80 % power)"
        )
    if found.blends:
        best = found.blends.best
        members = "all" if len(best.members) == len(numbers) else " ".join(numbers[name] for name in best.members)
        score = displayed(best.score, challenge.metric.displayed_decimals)
        lines.append(f"Best blend here: {best.method} of {members}, {score} ({best.gain:+z.5f}, optimistic)")
        lines.append(f"Gain of blending, both chosen on other {found.clustered_by}s: {gain_text(found)}")
    for final in found.finals[:1]:
        chosen = " and ".join(numbers[name] for name in final.names)
        lines.append(f"Select as final: {chosen}; one of them is the best in {final.p_best:.0%} of resamples")
    return lines


def gain_text(found: Comparison) -> str:
    """The honest gain of blending with its interval, and whether it is one."""
    if found.blends is None:
        return "unknown"
    interval = found.blends.interval
    if interval is None:
        return f"{found.blends.gain:+z.4f}"
    sure = "" if interval.low > 0 else "; a loss" if interval.high < 0 else "; not certain"
    return f"{found.blends.gain:+z.4f} ({interval.low:+z.4f} to {interval.high:+z.4f}{sure})"


def write(found: Comparison, notes: Sequence[str], challenge: Challenge, path: Path) -> None:
    """Write the page to `path`, in one step. Raises OutputError."""
    write_bytes(path, render(found, notes, challenge).encode("utf-8", "backslashreplace"))


def render(found: Comparison, notes: Sequence[str], challenge: Challenge) -> str:
    """The page as HTML text: one file without scripts or external resources; names are escaped."""
    submissions = found.submissions
    constant = submissions[0].score - submissions[0].constant_difference
    return template(TEMPLATE).render(
        found=found,
        notes=notes,
        challenge=challenge,
        advice=advice(found, challenge),
        decimals=challenge.metric.displayed_decimals,
        plotted=found.pairs if len(found.pairs) <= MOST_PLOTTED else found.pairs[: len(submissions) - 1],
        number={one.name: at for at, one in enumerate(submissions, 1)},
        scores=Axis.of([*(end for one in submissions for end in _ends(one.score, one.interval)), constant]),
        differences=Axis.of([0.0, *(value for pair in found.pairs for value in _ends(pair.difference, pair.interval))]),
        constant=constant,
        resampled=found.test == RESAMPLED,
        lower=challenge.metric.lower_is_better,
        pair_of={(pair.better, pair.worse): pair for pair in found.pairs},
        gain=gain_text(found),
    )


def _ends(value: float, interval: Interval | None) -> list[float]:
    return [value] if interval is None else [value, interval.low, interval.high]


class Axis:
    """A linear axis with round ticks; positions are percent of its width."""

    def __init__(self, low: float, high: float) -> None:
        span = high - low if high - low > NEGLIGIBLE else 1.0
        power = 10.0 ** np.floor(np.log10(span))
        step = next(power * times for times in (0.2, 0.5, 1, 2, 5) if span / (power * times) <= 5)
        first, last = int(np.floor(low / step)), int(np.ceil(high / step))
        self.digits = max(0, int(-np.floor(np.log10(step) + 1e-9)))
        self.ticks = [round(i * step, 12) for i in range(first, max(last, first + 1) + 1)]

    @classmethod
    def of(cls, values: Sequence[float]) -> "Axis":
        """The axis that shows all `values`."""
        return cls(min(values), max(values))

    def at(self, value: float) -> float:
        """The position of `value`, 0 to 100."""
        return float(round(100 * (value - self.ticks[0]) / (self.ticks[-1] - self.ticks[0]), 2))

    def text(self, tick: float) -> str:
        """A tick's label."""
        return f"{tick:.{self.digits}f}"
