"""Records as JSON: indented, as people read them; files written whole or not at all."""

from pathlib import Path

import msgspec

from dfdc_kit.resources import write_bytes


def to_json(record: object) -> bytes:
    """`record` (msgspec records, dicts, lists, numbers, paths) as one indented JSON document with a line end."""
    return msgspec.json.format(msgspec.json.encode(record, enc_hook=_path_as_text), indent=2) + b"\n"


def write_json(path: Path, record: object) -> None:
    """Write `record` to `path`, whole or not at all. Raises OutputFault."""
    write_bytes(path, to_json(record))


def _path_as_text(value: object) -> str:
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(f"{type(value).__name__} has no place in JSON")
