"""What is said about a training: losses on held-out videos, and the learning curves."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from calibrate import CLIPS, LN2, SHRINKAGES, Setting, choose, interval, losses, shrink_and_clip, weights

PARTS = 5  # into which held-out originals are dealt, so that no answer is counted that helped to choose


def raw_loss(y: np.ndarray, logits: np.ndarray) -> float:
    """Log loss of held-out log odds (n,), both classes weighing the same, before any calibration."""
    if len(set(y.tolist())) < 2:
        return float("nan")
    return float(weights(y) @ losses(y, shrink_and_clip(logits, 1.0, CLIPS[-1])))


def shrunk_loss(y: np.ndarray, logits: np.ndarray) -> float:
    """Log loss of held-out log odds (n,) at the shrinkage that suits them best: what they are worth for ranking."""
    return min(float(weights(y) @ losses(y, shrink_and_clip(logits, by, CLIPS[-1]))) for by in SHRINKAGES)


def auc(y: np.ndarray, logits: np.ndarray) -> float:
    """Share of (FAKE, REAL) pairs that the log odds (n,) rank rightly; half for a tie; NaN without such pairs."""
    fake, real = logits[y == 1], logits[y == 0]
    if not len(fake) or not len(real):
        return float("nan")
    order = np.sort(real)
    below, up_to = np.searchsorted(order, fake, "left"), np.searchsorted(order, fake, "right")
    return float((below + up_to).sum() / 2 / len(fake) / len(real))


@dataclass(frozen=True)
class Held:
    """All held-out videos: labels (n,) 1 = FAKE, log odds (n,) after each measured step, originals (n,)."""

    y: np.ndarray
    guesses: Mapping[int, np.ndarray]
    originals: np.ndarray

    def only(self, rows: np.ndarray) -> "Held":
        """Some of them."""
        return Held(self.y[rows], {step: logits[rows] for step, logits in self.guesses.items()}, self.originals[rows])

    def choose(self) -> Setting:
        """Step to stop after, shrinkage and clip, see calibrate.py; the step that can be shrunk to least loss first."""
        steps = sorted(self.guesses, key=lambda step: shrunk_loss(self.y, self.guesses[step]))
        return choose({step: self.guesses[step] for step in steps}, self.y, self.originals)


def held_out_report(held: Held, seed: int) -> dict[str, object]:
    """Loss with its interval beside the constant's; what is chosen is chosen without the video in question."""
    y, originals = held.y, held.originals
    p = np.full(len(y), np.nan)
    names = sorted(set(originals.tolist()))
    part_of = {name: n % PARTS for n, name in enumerate(names)}
    part = np.array([part_of[name] for name in originals.tolist()])
    for n in range(PARTS):
        here, rest = part == n, part != n
        if here.any() and rest.any():
            chosen = held.only(rest).choose()
            p[here] = shrink_and_clip(held.guesses[chosen.model][here], chosen.shrinkage, chosen.clip)
    known = np.isfinite(p)
    if len(set(y[known].tolist())) < 2:
        print("Too few originals to hold any out: the loss is unknown.", flush=True)
        return {"videos": 0}
    y, p, originals = y[known], p[known], originals[known]
    loss = losses(y, p)
    low, high = interval(loss, y, originals, seed)
    return {
        "videos": len(y),
        "originals": len(set(originals.tolist())),
        "log_loss": float(weights(y) @ loss),
        "interval_95": [low, high],
        "constant": LN2,
        "auc": auc(y, p),
    }


def draw_curves(path: Path, histories: Mapping[str, list[dict]]) -> None:
    """A PNG: training loss and held-out loss over the steps, a colour for each training."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    for name, history in histories.items():
        steps = [row["step"] for row in history]
        (line,) = axes.plot(steps, [row["loss"] for row in history], label=f"{name}, training crops")
        if history and "held_out_loss" in history[0]:
            held = [row["held_out_loss"] for row in history]
            axes.plot(steps, held, "--o", color=line.get_color(), label=f"{name}, held-out videos")
    axes.axhline(LN2, color="grey", linewidth=1, label="constant 0.5")
    axes.set(xlabel="step", ylabel="log loss", title="Held-out losses are before calibration")
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=120, format="png")
    plt.close(figure)
