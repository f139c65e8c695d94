"""A judging folder with made predictions: results as `dfdc judge` writes them, and a solution of 400 rows."""

import csv
import re
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import pytest

from dfdc_kit import profiles
from dfdc_kit.competition.plan import list_submissions, make_plan
from dfdc_kit.competition.results import PREDICTIONS, RESULT, RESULTS, JudgedSubmission
from dfdc_kit.competition.rules import judging_rules
from dfdc_kit.files import bundled, file_sha256

ROWS = 400


@dataclass
class Judging:
    """Writes results; predictions are the true log odds times `skill`, with noise."""

    folder: Path
    solution: Path
    ids: list[str]
    truth: np.ndarray
    header: tuple[str, str] = ("filename", "label")

    def predictions(self, skill: float, seed: int) -> np.ndarray:
        odds = skill * (2 * self.truth - 1.0) + np.random.default_rng(seed).normal(0, 1, len(self.truth))
        return 1 / (1 + np.exp(-odds))

    def add(self, team: str, values: np.ndarray | None, name: str = "", **changes: object) -> JudgedSubmission:
        key = re.sub(r"[^a-z0-9]+", "-", f"{team}-{name or team}".lower())
        folder = self.folder / RESULTS / key
        folder.mkdir(parents=True)
        if values is not None:
            write_csv(folder / PREDICTIONS, self.header, zip(self.ids, values.tolist(), strict=True))
        (folder / "report.html").write_text(f"report of {team}")
        facts = {
            "key": key,
            "team": team,
            "name": name or team,
            "baseline": False,
            "folder": f"/submissions/{key}",
            "submitted_at": "2020-01-01T00:00:00+00:00",
            "code_digest": key,
            "data_digest": "d" * 64,
            "profile": "kaggle-2020-gpu",
            "metric_digest": file_sha256(bundled("evaluate.py")),
            "verdict": "complete" if values is not None else "exception",
            "reason": "" if values is not None else "ValueError: no frames (main.py, line 3)",
            "score": 0.5 if values is not None else None,
            "wall_time_s": 12.5,
            "peak_memory_bytes": 10**8,
            "machine": "host-a",
            "engine": "local",
            "predictions": PREDICTIONS if values is not None else None,
            "report": "report.html",
        }
        result = JudgedSubmission(**(facts | changes))
        (folder / RESULT).write_bytes(msgspec.json.encode(result))
        return result


def write_csv(path: Path, header, rows) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def make_judging(folder: Path, rows: int = ROWS, header=("filename", "label"), usage: bool = True) -> Judging:
    random = np.random.default_rng(1)
    ids = [f"{i:05d}.mp4" for i in range(rows)]
    truth = random.permutation(np.arange(rows) % 2)
    part = np.where(random.random(rows) < 0.4, "Public", "Private")
    columns = (*header, "Usage") if usage else header
    table = zip(ids, truth.tolist(), part.tolist(), strict=True)
    solution = write_csv(folder / "solution.csv", columns, [row if usage else row[:2] for row in table])
    return Judging(folder / "judging", solution, ids, truth, header)


@pytest.fixture
def judging(tmp_path) -> Judging:
    return make_judging(tmp_path)


@pytest.fixture
def competition_folder():
    """`make_judging`, for a folder with other rows or columns."""
    return make_judging


HALF = """
import csv, os, time
from pathlib import Path
time.sleep({sleep})
sample = Path(os.environ["DFDC_INPUT_DIR"]) / "sample_submission.csv"
names = [row["filename"] for row in csv.DictReader(sample.open())]
with open("submission.csv", "w") as file:
    print("filename,label", *(f"{{name},{value}" for name in names), sep="\\n", file=file)
"""


@pytest.fixture
def submissions(tmp_path):
    """Write submissions `name=program`, each in a folder of its own; the folder of all. True: 0.5 for every row."""
    folder = tmp_path / "submissions"

    def write(*, sleep: float = 0, value: float = 0.5, **programs: str | bool):
        for name, program in programs.items():
            (folder / name).mkdir(parents=True, exist_ok=True)
            half = HALF.replace("{sleep}", str(sleep)).replace("{value}", str(value)).replace("{{", "{")
            (folder / name / "main.py").write_text(half if program is True else str(program))
        return folder

    return write


@pytest.fixture
def planned(tmp_path, sample):
    """Plan to judge the submissions of a folder on the bundled sample; the judging folder and the plan."""

    def plan(folder, judging=tmp_path / "judging", **changes):
        settings = {
            "data": sample,
            "solution": None,
            "challenge": judging_rules("", "", "").challenge,
            "profile_name": "unlimited",
            "profile": profiles.load("unlimited"),
        }
        return judging, make_plan(judging, list_submissions(folder), **{**settings, **changes})

    return plan
