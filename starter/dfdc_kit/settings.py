"""Strict reading of TOML settings into typed records: unknown keys are errors that name the nearest known one."""

import codecs
import re
from pathlib import Path
from typing import TypeVar

import msgspec

from dfdc_kit.errors import DataError, DataMissingError, suggest

Record = TypeVar("Record")


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of every record that is read from a settings file."""


def read_toml(path: Path, kind: type[Record]) -> Record:
    """Read `path` as a record of type `kind`. Raises DataMissingError or DataError, naming file, key and what fits."""
    try:
        content = path.read_bytes().removeprefix(codecs.BOM_UTF8)  # which editors on Windows write
    except OSError as error:
        raise DataMissingError(f"Cannot read {path}: {error.strerror}.") from error
    try:
        return msgspec.toml.decode(content, type=kind)
    except msgspec.DecodeError as error:  # ValidationError is one, too
        raise DataError(f"{path}: {error}", hint=_nearest(str(error), kind)) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text (byte {error.start}).") from error


def _nearest(message: str, kind: type) -> str:
    """What fits in place of an unknown key, an unknown choice, or a date of another form."""
    if "Expected `date" in message:
        return "Write the day without quotes and time, such as 2020-03-31."
    found = re.search(r"(unknown field `|enum value ')(.*?)[`'](?: - at `\$\.?(.*?)`)?$", message)
    if not found:
        return ""
    *above, last = re.sub(r"\[.*?\]", "", found[3] or "").split(".")
    if found[1].startswith("enum"):
        choices = _choices(_field_types(_owner(kind, above)).get(last))
        return suggest(found[2], choices, label="Choices")
    known = [field.encode_name for field in msgspec.structs.fields(_owner(kind, [*above, last]))]
    return suggest(found[2], known, label="Known keys")


def _owner(kind: type, steps: list[str]) -> type:
    """The record type that a path of keys leads to, from `kind`."""
    for step in steps:
        kind = _record_in(_field_types(kind).get(step)) or kind
    return kind


def _field_types(kind: type) -> dict[str, object]:
    return {field.name: field.type for field in msgspec.structs.fields(kind)}


def _choices(kind: object) -> list[str]:
    """The texts of the literal type inside `kind`."""
    inner = getattr(kind, "__args__", ())
    return [one for one in inner if isinstance(one, str)] or [one for part in inner for one in _choices(part)]


def _record_in(kind: object) -> type | None:
    """The record type inside `kind`, which may be a list, tuple, dict or union of one."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind
    return next((found for inner in getattr(kind, "__args__", ()) if (found := _record_in(inner))), None)
