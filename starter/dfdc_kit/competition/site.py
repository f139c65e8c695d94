"""The files of a board: CSV, JSON, and a static site that needs no network and no script to be read."""

import base64
import csv
import hashlib
import io
import re
from pathlib import Path

import msgspec

from dfdc_kit.competition.board import Board, BoardRow, Judged
from dfdc_kit.competition.results import RESULTS
from dfdc_kit.competition.rules import Competition
from dfdc_kit.files import to_json, why_unsafe, write_bytes
from dfdc_kit.formatting import plural
from dfdc_kit.report.html import template

TEMPLATE = Path(__file__).with_name("board.html")
SCRIPT = Path(__file__).with_name("board.js")
MANIFEST = "files.txt"  # of the site: what a later board replaces or removes
FIELDS = [field.name for field in msgspec.structs.fields(BoardRow)]


def to_csv(board: Board) -> bytes:
    """The rows of the board as a CSV with a header; empty where a row has no value."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(FIELDS)
    for row in board.rows:
        table.writerow(["" if (value := getattr(row, name)) is None else _safe_cell(value) for name in FIELDS])
    return text.getvalue().encode("utf-8", "backslashreplace")


def _safe_cell(value: object) -> object:
    """A text that a spreadsheet would take for a formula gets an apostrophe in front: teams choose their names."""
    is_formula = isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{value}" if is_formula and not re.fullmatch(r"-\d+(\.\d+)?", str(value)) else value


def write_site(folder: Path, board: Board, rules: Competition, judged: Judged, judging: Path) -> Path:
    """Write `folder`/<part>/ with index.html, board.csv, board.json and a page of each submission; returns the index.

    On a private board the page of a submission is the report of its run, which shows scores and labels of all rows; on
    a public one it is made from the board alone. Pages of submissions that are not on the board any more are removed.
    Raises OutputError.
    """
    site = folder / board.part
    before = _read_manifest(site)
    pages = {row.key: _page_of(site, row, board, judged, judging) for row in board.rows}
    write_bytes(site / "board.csv", to_csv(board))
    write_bytes(site / "board.json", to_json(board))
    index = site / "index.html"
    write_bytes(index, render(board, rules, pages))
    files = ["board.csv", "board.json", "index.html", *sorted(pages.values())]
    for name in before - set(files):
        (site / name).unlink(missing_ok=True)
    write_bytes(site / MANIFEST, "".join(f"{name}\n" for name in files).encode())
    return index


def _read_manifest(site: Path) -> set[str]:
    """The files of an earlier board in `site`, by their names; nothing else is ever removed."""
    path = site / MANIFEST
    names = path.read_text("utf-8").splitlines() if path.is_file() else []
    return {name for name in names if not why_unsafe(name)}


def render(board: Board, rules: Competition, pages: dict[str, str]) -> bytes:
    """The page of the board; pages: the address of each row's own page, by key."""
    ranks = [row.rank_high for row in board.rows if row.rank_high]
    script = SCRIPT.read_text("utf-8")
    return _render("board", board=board, rules=rules, pages=pages, places=max(ranks, default=1), script=script)


def _page_of(site: Path, row: BoardRow, board: Board, judged: Judged, judging: Path) -> str:
    """Write the page of one submission; its address relative to the site."""
    address = f"submissions/{row.key}.html"
    result = next(one for one in [*judged.scored, *(one for one, _ in judged.unscored)] if one.key == row.key)
    report = judging / RESULTS / result.key / (result.report or "")
    if board.part == "private" and result.report and report.is_file():
        write_bytes(site / address, report.read_bytes())
    else:
        write_bytes(site / address, _render("submission", board=board, row=row, result=result, script=""))
    return address


def _render(kind: str, *, script: str, **values: object) -> bytes:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    text = template(TEMPLATE, count=plural, percent=percent).render(
        kind=kind, script=script, policy=f"'sha256-{digest}'" if script else "'none'", **values
    )
    return text.encode("utf-8", "backslashreplace")


def percent(share: float | None) -> str:
    """A share as a whole percentage; those that are neither 0 nor 1 never look as if they were.

    >>> [percent(share) for share in (0.0, 0.002, 0.5, 0.998, 1.0)]
    ['0 %', '< 1 %', '50 %', '> 99 %', '100 %']
    """
    if share is None:
        return ""
    if 0 < share < 0.005:
        return "< 1 %"
    return "> 99 %" if 0.995 <= share < 1 else f"{100 * share:.0f} %"
