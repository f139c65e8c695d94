"""Ways to do one step of face-stats, side by side: losses, their differences, processor time. For compare_*.py here.

A way is a context within which face-stats does the step so. Stills, statistics, regression (one fixed strength) and
folds are the same for all. Nothing is shrunk, so that the ways can be told apart; answers are clipped at 0.01.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from compare_rules import CLIP, STRENGTH, figures, test_set

# compare_rules has put the folder of face-stats on the path
from calibrate import interval, losses, shrink_and_clip, weights  # isort: skip
from train import fit, guesses, load, pick  # isort: skip
from training import folds  # isort: skip

ROUNDS = 3  # of reading everything; the least processor time counts


class Way(NamedTuple):
    """What one way to do it gives, and costs."""

    held_out: np.ndarray  # (n,) answers for training videos, their originals held out
    test: np.ndarray  # (n_test,) answers for test videos
    cpu_s: float  # a video


class Known(NamedTuple):
    """Labels and originals, equal for all ways; of the test videos, empty where the truth is not known."""

    y: np.ndarray
    originals: np.ndarray
    y_test: np.ndarray
    pairs: np.ndarray


def compare(ways: dict[str, Callable[[], AbstractContextManager]], folder: Path) -> str:
    """A table: a row a way, all in turn; each but the first is also subtracted from the first, video by video."""
    known, measured = None, {}
    for _ in range(ROUNDS):
        for name, within in ways.items():
            with within():
                truth, found = measure(folder)
            if known is not None and [*map(list, truth)] != [*map(list, known)]:
                raise SystemExit(f"{name}: other videos can be used than before, so the losses cannot be compared.")
            known = truth
            least = min(found.cpu_s, measured.get(name, found).cpu_s)
            measured[name] = found._replace(cpu_s=least)
    first = next(iter(measured.values()))
    head = [f"{len(known.y)} training videos, held out by original: log loss", "AUC", "more than the first"]
    if len(known.y_test):
        head += [f"{len(known.y_test)} test videos, other people: log loss", "AUC", "more than the first"]
    lines = [f"| way | {' | '.join(head)} | CPU s a video |", "|---" * (len(head) + 2) + "|"]
    for name, way in measured.items():
        cells = judged(way.held_out, first.held_out, known.y, known.originals)
        cells += judged(way.test, first.test, known.y_test, known.pairs) if len(known.y_test) else []
        lines.append(f"| {name} | {' | '.join(cells)} | {way.cpu_s:.2f} |")
    return "\n".join(lines)


def measure(folder: Path) -> tuple[Known, Way]:
    """Read, fit, answer: everything that face-stats does, in the way that is patched in."""
    started = time.process_time()
    x, y, originals = load(folder / "train_sample_videos")
    known = (folder / "solution/solution.csv").is_file()
    x_test, y_test, pairs = test_set(folder) if known else ([], y[:0], originals[:0])
    cpu_s = (time.process_time() - started) / (len(x) + len(x_test))
    p = np.full(len(y), np.nan)
    for seen, held in folds(y, originals):
        p[held] = answers(pick(x, held), fit(pick(x, seen), y[seen], STRENGTH))
    test = answers(x_test, fit(x, y, STRENGTH)) if known else np.zeros(0)
    return Known(y, originals, y_test, pairs), Way(p, test, cpu_s)


def answers(x: list[np.ndarray], fitted: dict) -> np.ndarray:
    """(n,) probabilities of FAKE, not shrunk."""
    return shrink_and_clip(guesses(x, fitted), 1.0, CLIP)


def judged(p: np.ndarray, first: np.ndarray, y: np.ndarray, originals: np.ndarray) -> list[str]:
    """Log loss and AUC, and how much more the loss is than that of the first way, with intervals."""
    more = losses(y, p) - losses(y, first)
    low, high = interval(more, y, originals, seed=0)
    difference = f"{weights(y) @ more:+.3f} ({low:+.3f} to {high:+.3f})" if more.any() else ""
    return [*figures(p, y, originals).split(" | "), difference]
