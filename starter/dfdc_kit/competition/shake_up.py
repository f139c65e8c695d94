"""What to expect when the public board gives way to the private one, and what probing the public board reveals.

Both are simulations, seeded: they say what would happen in competitions like this one.
"""

import math
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from dfdc_kit.competition.ranking import DIGITS
from dfdc_kit.errors import UsageError
from dfdc_kit.scoring.intervals import PAIRED_SD, SLOW_RESAMPLES, resampled_ranks
from dfdc_kit.scoring.metric import RowScorer

Floats = npt.NDArray[np.float64]
TEAMS = 100  # of a simulated field
SPREAD = 0.02  # standard deviation of true log losses: the top 100 of the DFDC were 0.428 to 0.506
MOST_LOGIT = 34.0  # of a prediction; beyond it log loss is clipped
SCORE_SIMULATIONS = 500  # where each score is computed anew
LUCK = 2.8  # standard deviations: the best of about 200 random changes


class ShakeUp(msgspec.Struct, frozen=True, kw_only=True):
    """How ranks change from the public to the private rows, over simulated competitions."""

    teams: int
    public_videos: int
    private_videos: int
    source: str  # "predictions" or "model"
    paired_sd: float  # of the difference of two teams' losses of one video
    rank_correlation: float  # Spearman's, mean
    public_winner_wins: float  # how often the public winner is the private winner, 0 to 1
    public_winner_rank: tuple[int, int, int]  # private rank of the public winner: 2.5 %, median, 97.5 %
    places_moved: tuple[int, int]  # by a team: median and 97.5 %


class Probing(msgspec.Struct, frozen=True, kw_only=True):
    """What one team learns of the public labels by submitting for that purpose only."""

    shown: str  # "plain" or "ladder"
    submissions: int
    public_videos: int
    displayed_step: float  # the smallest difference that is shown
    labels_for_each_submission: int
    labels_known: int
    public_loss: float  # of the best submission that uses what was learned; 0.693 at the start
    private_loss: float  # of 0.5: nothing is learned of other videos


def shake_up_of_losses(losses: Floats, public: int, private: int, simulations: int, seed: int) -> ShakeUp:
    """From real losses (n_rows, n_teams), 2 teams at least: public and private rows are drawn anew each time."""
    teams = losses.shape[1]
    if teams < 2:
        raise UsageError(f"{teams} submission with a score: a shake-up needs two.", hint="Without --judging: a model.")
    random = np.random.default_rng(seed)
    draws = []
    for rows in (public, private):
        counts = random.multinomial(rows, np.full(len(losses), 1 / len(losses)), simulations)
        draws.append(counts @ losses / rows)
    pairs = np.triu_indices(teams, 1)
    spread = np.cov(losses.T)
    variance = (np.diag(spread)[:, None] + np.diag(spread)[None, :] - 2 * spread)[pairs]
    return _summary(draws[0], draws[1], public, private, "predictions", float(np.sqrt(np.median(variance))))


def shake_up_of_scores(scorer: RowScorer, sign: int, public: int, private: int, seed: int) -> ShakeUp:
    """As `shake_up_of_losses`, where the score is no mean over rows; sign: -1 where higher is better.

    Raises UsageError for fewer than two teams, MetricError where the metric fails on rows drawn again.
    """
    random, rows = np.random.default_rng(seed), scorer.rows
    simulations = SCORE_SIMULATIONS if scorer.is_fast else SLOW_RESAMPLES
    draws = [
        sign * np.array([scorer(random.integers(0, rows, size)) for _ in range(simulations)])
        for size in (public, private)
    ]
    teams = draws[0].shape[1]
    if teams < 2:
        raise UsageError(f"{teams} submission with a score: a shake-up needs two.")
    first, second = np.triu_indices(teams, 1)
    spread = (draws[0][:, first] - draws[0][:, second]).std(axis=0) * math.sqrt(public)
    return _summary(draws[0], draws[1], public, private, "predictions", float(np.median(spread)))


def shake_up_of_model(public: int, private: int, simulations: int, seed: int) -> ShakeUp:
    """From a model: 100 teams whose true losses spread by 0.02, and paired losses with the usual deviation of 0.45."""
    random = np.random.default_rng(seed)
    true = random.normal(0, SPREAD, (simulations, TEAMS))
    own = PAIRED_SD / math.sqrt(2)  # of one team's losses around the field's
    draws = [true + random.normal(0, own / math.sqrt(rows), true.shape) for rows in (public, private)]
    return _summary(draws[0], draws[1], public, private, "model", PAIRED_SD)


def _summary(on_public: Floats, on_private: Floats, public: int, private: int, source: str, sd: float) -> ShakeUp:
    before, after = (resampled_ranks(np.round(losses, DIGITS))[0] for losses in (on_public, on_private))
    winner = before.argmin(axis=1)
    private_rank = after[np.arange(len(after)), winner]
    low, median, high = np.quantile(private_rank, [0.025, 0.5, 0.975], method="inverted_cdf").astype(int).tolist()
    moved = np.quantile(np.abs(after - before), [0.5, 0.975], method="inverted_cdf").astype(int).tolist()
    correlations = [_correlation(one, other) for one, other in zip(before, after, strict=True)]
    return ShakeUp(
        teams=before.shape[1],
        public_videos=public,
        private_videos=private,
        source=source,
        paired_sd=round(sd, 4),
        rank_correlation=round(float(np.mean(correlations)), 4),
        public_winner_wins=round(float((private_rank == 1).mean()), 4),
        public_winner_rank=(low, median, high),
        places_moved=(moved[0], moved[1]),
    )


def _correlation(one: npt.NDArray[np.int64], other: npt.NDArray[np.int64]) -> float:
    """Spearman's correlation of ranks; 0 where all ranks are equal."""
    if one.std() == 0 or other.std() == 0:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])


# -------------------------------------------------------------------------------------------------------------- probing


@dataclass(frozen=True, slots=True)
class Scoreboard:
    """What a probing team sees: the log loss of its submission on hidden labels (n,), as displayed.

    decimals: shown, truncated; step: the Ladder's, None for a plain board.
    """

    labels: npt.NDArray[np.int64]
    decimals: int
    step: float | None = None

    def loss(self, logits: Floats) -> float:
        """The exact log loss of predictions given as log odds (n,)."""
        return float(np.logaddexp(0, np.where(self.labels == 1, -logits, logits)).mean())

    def shown(self, logits: Floats, best: float) -> float:
        """What is displayed for a submission of a team whose best displayed loss is `best` (infinite for the first)."""
        loss = self.loss(logits)
        if self.step is None:
            return float(math.floor(loss * 10**self.decimals + 1e-9) / 10**self.decimals)
        return round(loss / self.step) * self.step if loss < best - self.step else best


def probe_plain(board: Scoreboard, submissions: int) -> tuple[Floats, int, int]:
    """Log odds (n,) after an attack that reads several labels from each loss; labels read each time, and in all.

    All videos are predicted at 0.5 but for k: their log odds are powers of two of the smallest visible one, so that
    every combination of their labels shows another loss. The loss of label 0 exceeds that of label 1 by the log odds.
    """
    rows, unit = len(board.labels), 10.0**-board.decimals
    smallest = 2 * unit * rows
    each = int(math.log2(MOST_LOGIT / smallest)) + 1 if smallest <= MOST_LOGIT else 0
    known = np.zeros(rows)
    done = 0
    for start in range(0, min(rows, each * submissions), each or 1):
        chosen = np.arange(start, min(start + each, rows))
        logits = np.zeros(rows)
        logits[chosen] = smallest * 2.0 ** np.arange(len(chosen))
        least = np.full(rows, math.log(2))
        least[chosen] = np.logaddexp(0, -logits[chosen])  # the loss if all chosen labels were 1
        code = round((board.shown(logits, math.inf) + unit / 2 - least.mean()) * rows / smallest)
        zeros = (code >> np.arange(len(chosen))) & 1
        known[chosen] = np.where(zeros, -MOST_LOGIT, MOST_LOGIT)
        done += len(chosen)
    return known, each, done


def probe_random(board: Scoreboard, submissions: int, seed: int) -> Floats:
    """Log odds (n,) after an attack that works without small differences: random changes, kept if shown as better.

    The size of the changes is the one whose best case, by chance, gains most.
    """
    random = np.random.default_rng(seed)
    size = 2 * LUCK / math.sqrt(len(board.labels))
    logits = np.zeros(len(board.labels))
    best = board.shown(logits, math.inf)
    for _ in range(submissions - 1):
        tried = logits + size * random.choice([-1.0, 1.0], len(logits))
        shown = board.shown(tried, best)
        if shown < best:
            logits, best = tried, shown
    return logits


def probing(public: int, submissions: int, decimals: int, step: float, seed: int) -> list[Probing]:
    """What a team learns of `public` labels, half of them 1, with all its submissions: plain, and with the Ladder."""
    labels = np.random.default_rng(seed).permutation(np.arange(public) % 2)
    plain, ladder = Scoreboard(labels, decimals), Scoreboard(labels, decimals, step)
    known, each, labels_known = probe_plain(plain, submissions)
    guessed = probe_random(ladder, submissions, seed)
    fixed: dict[str, Any] = {"submissions": submissions, "public_videos": public, "private_loss": round(math.log(2), 5)}
    return [
        Probing(
            shown="plain",
            displayed_step=10.0**-decimals,
            labels_for_each_submission=each,
            labels_known=labels_known if each else 0,
            public_loss=round(plain.loss(known), 5),
            **fixed,
        ),
        Probing(
            shown="ladder",
            displayed_step=step,
            labels_for_each_submission=0,
            labels_known=0,
            public_loss=round(ladder.loss(guessed), 5),
            **fixed,
        ),
    ]
