"""A broken solution is blamed on the participant."""
# ruff: noqa: F821

from pathlib import Path

exec((Path(__file__).parent / "sound.py").read_text())


def check_solution(solution):
    if not solution["label"].isin([0, 1]).all():
        raise ParticipantVisibleError("labels")
