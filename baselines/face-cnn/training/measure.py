"""Evaluation of a training: losses on held-out videos, and the learning curves."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import common  # noqa: F401  (puts model/ on sys.path)
import numpy as np
from calibrate import (
    CLIPS,
    LN2,
    SHRINKAGES,
    Setting,
    choose,
    interval,
    losses,
    to_probability,
    too_few_originals,
    weights,
)

PARTS = 5  # of the held-out originals: the setting for one part is chosen on the others


def raw_loss(y: np.ndarray, logits: np.ndarray) -> float:
    """Class-balanced log loss of held-out logits (n,) before calibration; NaN with one class only."""
    if len(set(y.tolist())) < 2:
        return float("nan")
    return float(weights(y) @ losses(y, to_probability(logits, 1.0, CLIPS[-1])))


def shrunk_loss(y: np.ndarray, logits: np.ndarray) -> float:
    """Class-balanced log loss of held-out logits (n,) at the best shrinkage: how well they rank."""
    return min(float(weights(y) @ losses(y, to_probability(logits, shrinkage, CLIPS[-1]))) for shrinkage in SHRINKAGES)


def auc(y: np.ndarray, logits: np.ndarray) -> float:
    """Area under the ROC curve of logits (n,); NaN with one class only."""
    fake, real = logits[y == 1], logits[y == 0]
    if not len(fake) or not len(real):
        return float("nan")
    order = np.sort(real)
    below, up_to = np.searchsorted(order, fake, "left"), np.searchsorted(order, fake, "right")
    return float((below + up_to).sum() / 2 / len(fake) / len(real))


@dataclass(frozen=True)
class HeldOut:
    """All held-out videos: labels (n,) 1 = FAKE, logits (n,) after each evaluated step, originals (n,)."""

    y: np.ndarray
    logits: Mapping[int, np.ndarray]
    originals: np.ndarray

    def subset(self, rows: np.ndarray) -> "HeldOut":
        """The videos selected by the mask `rows` (n,)."""
        logits = {step: values[rows] for step, values in self.logits.items()}
        return HeldOut(self.y[rows], logits, self.originals[rows])

    def choose(self) -> Setting:
        """Step to stop after, shrinkage and clip (calibrate.py); steps are tried in the order of their shrunk loss."""
        steps = sorted(self.logits, key=lambda step: shrunk_loss(self.y, self.logits[step]))
        return choose({step: self.logits[step] for step in steps}, self.y, self.originals)


def held_out_report(held_out: HeldOut, seed: int) -> dict[str, object]:
    """Loss with its interval beside the constant's; the setting for each video is chosen without that video's part."""
    y, originals = held_out.y, held_out.originals
    p = np.full(len(y), np.nan)
    names = sorted(set(originals.tolist()))
    part_of = {name: n % PARTS for n, name in enumerate(names)}
    part = np.array([part_of[name] for name in originals.tolist()])
    for n in range(PARTS):
        here, rest = part == n, part != n
        if here.any() and rest.any():
            chosen = held_out.subset(rest).choose()
            p[here] = to_probability(held_out.logits[chosen.model][here], chosen.shrinkage, chosen.clip)
    known = np.isfinite(p)
    if len(set(y[known].tolist())) < 2:
        print("Too few originals to hold any out: the held-out loss is unknown.", flush=True)
        return {"videos": 0}
    y, p, originals = y[known], p[known], originals[known]
    loss = losses(y, p)
    low, high = interval(loss, y, originals, seed)
    return {
        "caution": too_few_originals(y, originals),
        "videos": len(y),
        "originals": len(set(originals.tolist())),
        "log_loss": float(weights(y) @ loss),
        "interval_95": [low, high],
        "constant": LN2,
        "auc": auc(y, p),
    }


def draw_curves(path: Path, histories: Mapping[str, list[dict]]) -> None:
    """Write a PNG: training and held-out loss by step, one colour for each training."""
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
