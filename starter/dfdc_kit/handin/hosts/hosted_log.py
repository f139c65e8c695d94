"""The log of a hosted run: Kaggle gives it as JSON, one record a piece of output."""

import msgspec


class Piece(msgspec.Struct, frozen=True):
    """Some output of the run; other fields are not needed."""

    data: str = ""


def log_text(raw: str) -> str:
    """What the run printed, as text; what is no JSON is passed on as it is."""
    try:
        return "".join(piece.data for piece in msgspec.json.decode(raw, type=list[Piece]))
    except msgspec.DecodeError:
        return raw
