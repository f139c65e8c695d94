"""Evaluation of a training: losses on held-out videos."""

from collections.abc import Mapping
from dataclasses import dataclass

import common  # noqa: F401  (puts model/ on sys.path)
import numpy as np
from calibrate import CLIPS, LN2, SHRINKAGES, Setting, choose, interval, losses, to_probability, too_few_originals
from calibrate import weights as class_weights

PARTS = 5  # of the held-out originals: the setting for one part is chosen on the others


def shrunk_loss(y: np.ndarray, logits: np.ndarray) -> float:
    """Class-balanced log loss of held-out logits (n,) at the best shrinkage: how well they rank."""
    return min(
        float(class_weights(y) @ losses(y, to_probability(logits, shrinkage, CLIPS[-1]))) for shrinkage in SHRINKAGES
    )


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
    """All held-out videos: labels (n,) 1 = FAKE, logits (n,) of each model, originals (n,)."""

    y: np.ndarray
    logits: Mapping[float, np.ndarray]  # by strength of the regression
    originals: np.ndarray

    def subset(self, rows: np.ndarray) -> "HeldOut":
        """The videos selected by the mask `rows` (n,)."""
        logits = {model: values[rows] for model, values in self.logits.items()}
        return HeldOut(self.y[rows], logits, self.originals[rows])

    def choose(self) -> Setting:
        """Strength, shrinkage and clip (calibrate.py); strengths are tried in the order of their shrunk loss."""
        models = sorted(self.logits, key=lambda model: shrunk_loss(self.y, self.logits[model]))
        return choose({model: self.logits[model] for model in models}, self.y, self.originals)


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
        "log_loss": float(class_weights(y) @ loss),
        "interval_95": [low, high],
        "constant": LN2,
        "auc": auc(y, p),
    }
