"""Make the results table of baselines/README.md from run reports:  python docs/results.py runs/*/run.json [--write].

One row per run of `dfdc run`: log loss with a 95 % interval, AUC, time, memory, fallbacks, date. The interval resamples
pairs of a REAL video and the FAKE one made from it, as listed in sample_data/provenance/clips.csv; other videos singly.
Runs over training videos are refused: they do not show what was learned.
"""

import argparse
import csv
import json
import math
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from dfdc_kit import challenge as challenges
from dfdc_kit.data.solution import read_solution
from dfdc_kit.report.run_report import CSV, RunReport, load
from dfdc_kit.report.verdicts import Verdict

ROOT = Path(__file__).resolve().parents[1]
PAIRS = ROOT / "sample_data/provenance/clips.csv"
PAGE = ROOT / "baselines/README.md"
BEGIN, END = "<!-- results: made by docs/results.py -->\n", "<!-- end of results -->\n"
RESAMPLES = 10_000
CLIP = 1e-15
GIB = 2**30
BUSY_SHARE = 0.1  # of all cores used by other programs; above it the time is marked
HEAD = (
    "| baseline | log loss (95 % interval) | AUC | videos | s per video | CPU s per video | peak memory | fallbacks | "
    "date |\n|---|---|---|---|---|---|---|---|---|\n"
)


def scores(report: RunReport, folder: Path) -> tuple[float, float, float, float]:
    """Log loss, both ends of its interval, and AUC of the run whose files are in `folder`."""
    solution = read_solution(Path(report.solution), challenges.load())
    labels = dict(zip((row.decode() for row in solution.ids.tolist()), solution.labels.tolist(), strict=True))
    with (folder / CSV).open(newline="", encoding="utf-8") as file:
        rows = [(row["filename"], float(row["label"])) for row in csv.DictReader(file)]
    y = np.array([labels[name] for name, _ in rows])
    p = np.clip([prediction for _, prediction in rows], CLIP, 1 - CLIP)
    loss = -np.log(np.where(y == 1, p, 1 - p))  # (n,)
    if report.score is None or not math.isclose(loss.mean(), report.score.value, rel_tol=1e-9):
        raise SystemExit(f"{folder}: its files do not give the score of its report.")
    low, high = interval(loss, groups([name for name, _ in rows]))
    return float(loss.mean()), low, high, float(roc_auc_score(y, p))


def groups(names: list[str]) -> np.ndarray:
    """(n,) group numbers: that of the video's pair if it is known, else one of its own."""
    with PAIRS.open(newline="", encoding="utf-8") as file:
        pair_of = {row["filename"]: row["original"] or row["filename"] for row in csv.DictReader(file)}
    return np.unique([pair_of.get(name, name) for name in names], return_inverse=True)[1]


def interval(loss: np.ndarray, group: np.ndarray) -> tuple[float, float]:
    """95 % bootstrap interval of the mean loss (n,), resampling groups."""
    sums, counts = np.bincount(group, loss), np.bincount(group)
    n = len(sums)
    drawn = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), RESAMPLES)  # (RESAMPLES, n_groups)
    low, high = np.quantile(drawn @ sums / (drawn @ counts), (0.025, 0.975))
    return float(low), float(high)


def refuse_training(report: RunReport, path: Path, folder: Path) -> None:
    """Exit with a message if the run is not complete, or uses a training video of its data folder."""
    if report.judgement.verdict is not Verdict.COMPLETE or report.score is None:
        raise SystemExit(f"{path}: {report.judgement.verdict.value}, no score. Only complete, scored runs have a row.")
    metadata = Path(report.data_folder) / "train_sample_videos/metadata.json"
    trained = set(json.loads(metadata.read_text(encoding="utf-8"))) if metadata.is_file() else set()
    with (folder / CSV).open(newline="", encoding="utf-8") as file:
        seen = {row["filename"] for row in csv.DictReader(file)} & trained
    if seen:
        raise SystemExit(
            f"{path}: {len(seen)} of its videos are training videos, such as {min(seen)}. Score other videos."
        )


def row(report: RunReport, folder: Path) -> str:
    """One row of the table."""
    value, low, high, auc = scores(report, folder)
    observation = report.observation
    usage = observation.outcome.usage
    others = observation.noise.other_programs_share or 0.0
    busy = f" (busy: {others:.0%})" if others > BUSY_SHARE else ""
    cells = (
        f"`{report.submission}`",
        f"{value:.4f} ({low:.4f} to {high:.4f})",
        f"{auc:.2f}",
        str(report.rows),
        f"{report.seconds_per_video:.2f}{busy}",
        "unknown" if usage.cpu_time_s is None else f"{usage.cpu_time_s / report.rows:.2f}",
        "unknown" if usage.peak_memory_bytes is None else f"{usage.peak_memory_bytes / GIB:.2f} GiB",
        str(observation.fallbacks.count),
        report.started[:10],
    )
    return f"| {' | '.join(cells)} |\n"


def kernel(system: str) -> str:
    """System and kernel version of `platform.platform()`: "Linux 6.18.44"."""
    return " ".join(system.split("-")[:2])


def machines(reports: list[RunReport]) -> str:
    """The machines and package versions of the runs."""
    hardware = {
        f"{r.machine.cpu_cores} cores, {r.machine.memory_bytes / GIB:.0f} GiB, {kernel(r.machine.system)}"
        for r in reports
    }
    versions = {name: number for r in reports for name, number in sorted(r.machine.packages.items())}
    python = sorted({r.machine.python for r in reports})
    listed = ", ".join(f"{name} {number}" for name, number in sorted(versions.items()))
    return f"Machine: {'; '.join(sorted(hardware))}. Python {', '.join(python)}; {listed}.\n"


def main() -> None:
    """Print the table, or write it into baselines/README.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "reports", nargs="+", type=Path, help="run.json files; of several for one baseline the last is used"
    )
    parser.add_argument("--write", action="store_true", help=f"write the table into {PAGE.relative_to(ROOT)}")
    args = parser.parse_args()
    latest: dict[str, tuple[RunReport, Path]] = {}
    for path in args.reports:
        report, folder = load(path), path if path.is_dir() else path.parent
        refuse_training(report, path, folder)
        if report.submission not in latest or latest[report.submission][0].started <= report.started:
            latest[report.submission] = report, folder
    scored = sorted(latest.values(), key=lambda pair: -pair[0].score.value if pair[0].score else 0.0)
    table = HEAD + "".join(row(*pair) for pair in scored) + "\n" + machines([report for report, _ in scored])
    if not args.write:
        print(table, end="")
        return
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}{table}{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
