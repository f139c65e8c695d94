"""Where Kaggle credentials come from, in the client's own order. Their values are read only to blank them out."""

import json
import os
import re
import sys
from pathlib import Path
from typing import Literal

import msgspec

KEYS_PAGE = "https://www.kaggle.com/settings/api"
HOW = f"Make a token at {KEYS_PAGE}, save it as ~/.kaggle/access_token, and: chmod 600 ~/.kaggle/access_token"


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """One place where credentials lie. It does not hold them."""

    kind: Literal["token", "key", "login"]
    place: str  # as the user would name it, e.g. "the variable KAGGLE_API_TOKEN"
    mend: str  # the command that takes it away


def sources() -> list[Source]:
    """All places where credentials lie, in the order in which the client tries them; empty if there are none."""
    found = []
    for name in ("KAGGLE_API_V1_TOKEN", "KAGGLE_API_TOKEN"):
        if os.environ.get(name):
            found.append(Source(kind="token", place=f"the variable {name}", mend=f"unset {name}"))
    for name in ("access_token", "access_token.txt"):
        if _text(_home() / name):
            found.append(Source(kind="token", place=f"~/.kaggle/{name}", mend=f"rm ~/.kaggle/{name}"))
    if os.environ.get("KAGGLE_USERNAME") and os.environ.get("KAGGLE_KEY"):
        place = "the variables KAGGLE_USERNAME and KAGGLE_KEY"
        found.append(Source(kind="key", place=place, mend="unset KAGGLE_USERNAME KAGGLE_KEY"))
    path = _key_file()
    if "key" in _record(path):
        found.append(Source(kind="key", place=str(path), mend=f"rm {path}"))
    if _record(_home() / "credentials.json").get("refresh_token"):
        found.append(Source(kind="login", place="~/.kaggle/credentials.json", mend="kaggle auth revoke"))
    return found


def redacted(text: str) -> str:
    """`text` without secrets: known credentials, what follows Bearer or Basic, and the query of every link."""
    for secret in sorted(_secrets(), key=len, reverse=True):
        text = text.replace(secret, "***")
    text = re.sub(r"\b(Bearer|Basic) +\S+", r"\1 ***", text)
    return re.sub(r"(?<=\S)\?[^\s\"'<>)]*[=&%][^\s\"'<>)]*", "?***", text)


def _secrets() -> set[str]:
    found = {os.environ.get(name, "") for name in ("KAGGLE_API_TOKEN", "KAGGLE_KEY", "KAGGLE_TOKEN")}
    found |= {_text(_home() / name) for name in ("access_token", "access_token.txt")}
    token_file = os.environ.get("KAGGLE_API_V1_TOKEN", "")
    found |= {_text(Path(token_file))} if token_file else set()
    for path in (_key_file(), _home() / "kaggle.json", _home() / "credentials.json"):
        record = _record(path)
        found |= {str(record.get(name, "")) for name in ("key", "token", "refresh_token", "access_token")}
    return {secret for secret in found if len(secret) >= 6}


def _home() -> Path:
    return Path.home() / ".kaggle"


def _key_file() -> Path:
    """Where the client looks for kaggle.json; its own rule, read from its source."""
    if folder := os.environ.get("KAGGLE_CONFIG_DIR"):
        return Path(folder) / "kaggle.json"
    if sys.platform.startswith("linux") and not _home().exists():
        return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "kaggle" / "kaggle.json"
    return _home() / "kaggle.json"


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _record(path: Path) -> dict[str, object]:
    try:
        record = json.loads(_text(path) or "{}")
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}
