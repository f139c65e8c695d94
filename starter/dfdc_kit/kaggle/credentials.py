"""Where Kaggle credentials are, in the client's own order. Their values are read only to redact them from output."""

import codecs
import json
import os
import re
import sys
from pathlib import Path
from typing import Literal

import msgspec

KEYS_PAGE = "https://www.kaggle.com/settings/api"
SIGN_IN_HINT = f"Make a token at {KEYS_PAGE}, save it as ~/.kaggle/access_token, and: chmod 600 ~/.kaggle/access_token"


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """One place with credentials. It does not hold their values."""

    kind: Literal["token", "key", "login"]
    place: str  # as the user would name it, e.g. "the variable KAGGLE_API_TOKEN"
    remove: str  # the command that removes it
    fault: str = ""  # why the file cannot be used, as in "is not valid JSON (cut off?)"; empty: it can


def sources() -> list[Source]:
    """All places with credentials, in the order in which the client tries them; empty if there are none."""
    found = []
    for name in ("KAGGLE_API_V1_TOKEN", "KAGGLE_API_TOKEN"):
        if os.environ.get(name):
            found.append(Source(kind="token", place=f"the variable {name}", remove=f"unset {name}"))
    for name in ("access_token", "access_token.txt"):
        text, fault = _read(_home() / name)
        if text or fault:
            found.append(Source(kind="token", place=f"~/.kaggle/{name}", remove=f"rm ~/.kaggle/{name}", fault=fault))
    if os.environ.get("KAGGLE_USERNAME") and os.environ.get("KAGGLE_KEY"):
        place = "the variables KAGGLE_USERNAME and KAGGLE_KEY"
        found.append(Source(kind="key", place=place, remove="unset KAGGLE_USERNAME KAGGLE_KEY"))
    path = _key_file()
    record, fault = _record(path)
    if record or fault:
        fault = fault or ("" if record.get("key") else 'has no "key"')
        found.append(Source(kind="key", place=str(path), remove=f"rm {path}", fault=fault))
    record, fault = _record(_home() / "credentials.json")
    if record.get("refresh_token") or fault:
        place = "~/.kaggle/credentials.json"
        found.append(Source(kind="login", place=place, remove="kaggle auth revoke", fault=fault))
    return found


def redacted(text: str) -> str:
    """`text` without secrets: known credentials, what follows Bearer or Basic, and the query of every link."""
    for secret in sorted(_secrets(), key=len, reverse=True):
        text = text.replace(secret, "***")
    text = re.sub(r"\b(Bearer|Basic) +\S+", r"\1 ***", text)
    return re.sub(r"(?<=\S)\?[^\s\"'<>)]*[=&%][^\s\"'<>)]*", "?***", text)


def _secrets() -> set[str]:
    found = {os.environ.get(name, "") for name in ("KAGGLE_API_TOKEN", "KAGGLE_KEY", "KAGGLE_TOKEN")}
    found |= {_read(_home() / name)[0] for name in ("access_token", "access_token.txt")}
    token_file = os.environ.get("KAGGLE_API_V1_TOKEN", "")
    found |= {_read(Path(token_file))[0]} if token_file else set()
    for path in (_key_file(), _home() / "kaggle.json", _home() / "credentials.json"):
        record, _ = _record(path)
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


def _read(path: Path) -> tuple[str, str]:
    """A file's text, and why the client cannot use it, else empty; two empty strings if there is no such file."""
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return "", ""
    except OSError as error:
        return "", f"cannot be read: {error.strerror}"
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in content:
        return content.decode("utf-16", "ignore").strip("\ufeff\0\r\n "), "is UTF-16 text; expected UTF-8"
    if content.startswith(codecs.BOM_UTF8):
        return content.decode("utf-8-sig", "ignore").strip(), "starts with a byte order mark; expected plain UTF-8"
    try:
        return content.decode().strip(), ""
    except UnicodeDecodeError:
        return "", "is not UTF-8 text"


def _record(path: Path) -> tuple[dict[str, object], str]:
    """A JSON file's content, and why the client cannot use it; as `_read`."""
    text, fault = _read(path)
    try:
        record = json.loads(text or "{}")
    except ValueError:
        return {}, fault or "is not valid JSON (cut off?)"
    return (record, fault) if isinstance(record, dict) else ({}, fault or "is not a JSON object")
