"""Changes its own program."""

from pathlib import Path

from common import attempt, write

attempt("source", lambda: (Path(__file__).chmod(0o666), Path(__file__).open("r+b")))  # noqa: SIM115
attempt("new", lambda: Path(__file__).with_name("new.py").write_text("x"))
write()
