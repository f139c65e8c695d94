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
    """For an unknown key: the known keys that look most like it."""
    found = re.search(r"unknown field `(.*?)`(?: - at `\$\.?(.*?)`)?", message)
    if not found:
        return ""
    owner: type = kind
    for step in (found.group(2) or "").split("."):
        name = re.sub(r"\[.*", "", step)
        types = {field.name: field.type for field in msgspec.structs.fields(owner)} if name else {}
        owner = _record_in(types.get(name)) or owner
    known = [field.encode_name for field in msgspec.structs.fields(owner)]
    return suggest(found.group(1), known, label="Known keys")


def _record_in(kind: object) -> type | None:
    """The record type inside `kind`, which may be a list, tuple, dict or union of one."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind
    return next((found for inner in getattr(kind, "__args__", ()) if (found := _record_in(inner))), None)
