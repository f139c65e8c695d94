"""Write the reference pages that are made from the code:  python docs/generate.py  (a test holds them in step)."""

import html
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from dfdc_kit.errors import ERRORS, KitError
from dfdc_kit.report.verdicts import MEANINGS
from dfdc_kit.submission.validate import reference as submission_rules

REFERENCE = Path(__file__).parent / "reference"
MADE = "<!-- made by docs/generate.py: change the code, not this page -->\n\n"


def cli() -> str:
    """Every command with its options, by typer's own documentation maker."""
    command = [
        sys.executable,
        "-m",
        "typer",
        "dfdc_kit.cli.app",
        "utils",
        "docs",
        "--name",
        "dfdc",
        "--title",
        "Commands",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return MADE + html.unescape(done.stdout).strip() + f"\n\n<!-- typer {metadata.version('typer')} -->\n"


def outcomes() -> str:
    """Verdicts and errors: each with its stable code, its exit code and its meaning."""
    lines = ["# Verdicts and errors\n", "## Verdicts\n", "How a run is judged. The code stands in `run.json`.\n"]
    lines += ["| code | Kaggle shows | meaning | exit code |", "| --- | --- | --- | --- |"]
    for verdict, said in MEANINGS.items():
        lines.append(f"| `{verdict.value}` | {said.kaggle or '-'} | {said.meaning} | {said.exit_code} |")
    lines += ["\n## Errors\n", "What a command says when it cannot do its work: `error[code]: what happened`, then the"]
    lines += ["next step. Exit code 1 is the submission's fault, 2 wrong usage, 3 and up the machine's or ours.\n"]
    lines += ["| code | meaning | exit code |", "| --- | --- | --- |"]
    for error in (KitError, *ERRORS):
        lines.append(f"| `{error.code}` | {(error.__doc__ or '').splitlines()[0]} | {error.exit_code} |")
    return MADE + "\n".join(lines) + "\n"


PAGES = {"cli.md": cli, "outcomes.md": outcomes, "submission-rules.md": submission_rules}


def main() -> None:
    """Write every page."""
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page(), "utf-8")
        sys.stdout.write(f"wrote {REFERENCE / name}\n")


if __name__ == "__main__":
    main()
