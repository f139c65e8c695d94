"""Compare variants of face-stats: losses, their differences, CPU time. Used by compare_reading and compare_regions.

A variant is a context manager that patches one step of face-stats. Everything else is the same for all variants:
features, models, folds. Predictions are clipped at 0.01 but not shrunk, so that differences
show.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from compare_rules import CLIP, figures, test_set

# compare_rules has put the folder of face-stats on sys.path
from calibrate import interval, losses, to_probability, weights  # isort: skip
from train import fit, load, logits, pick  # isort: skip
from training import folds  # isort: skip

ROUNDS = 3  # of reading all videos; the least CPU time counts


class Variant(NamedTuple):
    """Predictions and cost of one variant."""

    held_out: np.ndarray  # (n,) predictions for training videos, their originals held out
    test: np.ndarray  # (n_test,) predictions for test videos
    cpu_s: float  # per video


class Videos(NamedTuple):
    """Labels and originals, equal for all variants; those of test videos are empty without a solution."""

    y: np.ndarray
    originals: np.ndarray
    y_test: np.ndarray
    pairs: np.ndarray


def compare(variants: dict[str, Callable[[], AbstractContextManager]], folder: Path) -> str:
    """A table with one row per variant; each is also compared with the first variant, video by video."""
    known, measured = None, {}
    for _ in range(ROUNDS):
        for name, patched in variants.items():
            with patched():
                videos, variant = measure(folder)
            if known is not None and [*map(list, videos)] != [*map(list, known)]:
                raise SystemExit(f"{name}: the usable videos differ, so the losses cannot be compared.")
            known = videos
            measured[name] = variant._replace(cpu_s=min(variant.cpu_s, measured.get(name, variant).cpu_s))
    first = next(iter(measured.values()))
    head = [f"{len(known.y)} training videos, held out by original: log loss", "AUC", "difference to the first"]
    if len(known.y_test):
        head += [f"{len(known.y_test)} test videos, other people: log loss", "AUC", "difference to the first"]
    lines = [f"| variant | {' | '.join(head)} | CPU s per video |", "|---" * (len(head) + 2) + "|"]
    for name, variant in measured.items():
        cells = row(variant.held_out, first.held_out, known.y, known.originals)
        cells += row(variant.test, first.test, known.y_test, known.pairs) if len(known.y_test) else []
        lines.append(f"| {name} | {' | '.join(cells)} | {variant.cpu_s:.2f} |")
    return "\n".join(lines)


def measure(folder: Path) -> tuple[Videos, Variant]:
    """Read all videos, fit and predict with the variant that is patched in."""
    started = time.process_time()
    x, y, originals = load(folder / "train_sample_videos")
    has_solution = (folder / "solution/solution.csv").is_file()
    x_test, y_test, pairs = test_set(folder) if has_solution else ([], y[:0], originals[:0])
    cpu_s = (time.process_time() - started) / (len(x) + len(x_test))
    p = np.full(len(y), np.nan)
    for train, held in folds(y, originals):
        p[held] = predict(pick(x, held), fit(pick(x, train), y[train]))
    test = predict(x_test, fit(x, y)) if has_solution else np.zeros(0)
    return Videos(y, originals, y_test, pairs), Variant(p, test, cpu_s)


def predict(x: list[np.ndarray], fitted: dict) -> np.ndarray:
    """(n,) FAKE probabilities, not shrunk."""
    return to_probability(logits(x, fitted), 1.0, CLIP)


def row(p: np.ndarray, first: np.ndarray, y: np.ndarray, originals: np.ndarray) -> list[str]:
    """Log loss, AUC, and the difference of the loss to that of the first variant, with intervals."""
    difference = losses(y, p) - losses(y, first)
    low, high = interval(difference, y, originals, seed=0)
    text = f"{weights(y) @ difference:+.3f} ({low:+.3f} to {high:+.3f})" if difference.any() else ""
    return [*figures(p, y, originals).split(" | "), text]
