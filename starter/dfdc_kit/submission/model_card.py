"""The card of a bundled baseline: what it was trained on, what that measured, and what its README says."""

import json
from pathlib import Path
from typing import Any

import msgspec

from dfdc_kit.errors import DataError, UsageError, suggest
from dfdc_kit.submission.code import SubmissionSettings, baselines

MODELS = ("model.json", "model/model.json", "prior.json")  # where baselines keep model and provenance


class ModelCard(msgspec.Struct, frozen=True, kw_only=True):
    """One baseline."""

    name: str
    settings: SubmissionSettings
    folder: Path
    readme: str  # Markdown
    made_with: dict[str, Any]  # command, data, machine, versions; empty for a baseline without a model
    held_out: dict[str, Any]  # loss, interval and counts on originals that were not trained on; empty if unknown
    shrinkage: float | None  # of the logits: 1 unchanged, 0 always 0.5
    clip: float | None  # predictions stay between clip and 1 - clip


def model_card(name: str) -> ModelCard:
    """The card of the bundled baseline `name`. Raises UsageError for an unknown name, DataError for a broken model."""
    known = baselines()
    if name not in known:
        raise UsageError(f"Unknown baseline {name!r}.", hint=suggest(name, known, label="Baselines"))
    folder = known[name].folder
    file = next((folder / model for model in MODELS if (folder / model).is_file()), None)
    try:
        model = json.loads(file.read_text(encoding="utf-8")) if file else {}
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read: {error}.", hint="Install the kit again.") from error
    readme = folder / "README.md"
    return ModelCard(
        name=name,
        settings=known[name].settings,
        folder=folder,
        readme=readme.read_text(encoding="utf-8") if readme.is_file() else "",
        made_with=model.get("made_with", {}),
        held_out=model.get("held_out", {}),
        shrinkage=model.get("shrinkage"),
        clip=model.get("clip"),
    )
