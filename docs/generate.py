"""Write the reference pages that are made from the code:  python docs/generate.py  (a test compares them)."""

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from dfdc_kit.cli.app import PANELS, build_app
from dfdc_kit.errors import ERRORS, KitError
from dfdc_kit.report.verdicts import MEANINGS
from dfdc_kit.submission.validate import reference as submission_rules

REFERENCE = Path(__file__).parent / "reference"
MADE = "<!-- made by docs/generate.py: change the code, not this page -->\n\n"


def cli() -> str:
    """Every command with its arguments and options, in the order of `dfdc --help`."""
    commands = get_command(build_app()).commands  # type: ignore[attr-defined]
    lines = ["# Commands\n", "| command | what it does |", "| --- | --- |"]
    lines += [f"| `dfdc {name}` | {_summary(commands[name])} |" for panel in PANELS.values() for name in panel]
    for panel in PANELS.values():
        for name in panel:
            lines += _section(f"dfdc {name}", commands[name])
    return MADE + "\n".join(lines) + "\n"


def _summary(command: Any) -> str:
    return inspect.cleandoc(command.help).split("\n\n")[0].replace("\n", " ")


def _section(name: str, command: Any) -> Iterator[str]:
    """The heading, help text and parameters of a command; of a group, those of its commands, too."""
    yield f"\n{'#' * name.count(' ')}# `{name}`\n\n{inspect.cleandoc(command.help)}"
    parameters = [line for parameter in command.params if (line := _parameter(parameter))]
    if parameters:
        yield "\n| argument or option | |\n| --- | --- |\n" + "\n".join(parameters)
    for sub_name, sub_command in getattr(command, "commands", {}).items():
        if sub_command.hidden:
            continue
        yield from _section(f"{name} {sub_name}", sub_command)


def _parameter(parameter: Any) -> str:
    if getattr(parameter, "hidden", False):
        return ""
    if parameter.param_type_name == "argument":
        words = parameter.metavar or parameter.name.upper()
    else:
        words = ", ".join([*parameter.opts, *parameter.secondary_opts])
        words += "" if parameter.is_flag else f" {parameter.metavar or parameter.name.upper()}"
    default = parameter.default
    has_default = default not in (None, "", ()) and not isinstance(default, bool) and not callable(default)
    note = f" Default: {getattr(default, 'value', default)}" if has_default and not parameter.required else ""
    return f"| `{words}` | {parameter.help}{note} |"


def outcomes() -> str:
    """Verdicts and errors: each with its stable code, its exit code and its meaning."""
    lines = ["# Verdicts and errors\n", "## Verdicts\n", "How a run is judged. `run.json` has the code.\n"]
    lines += ["| code | Kaggle shows | meaning | exit code |", "| --- | --- | --- | --- |"]
    for verdict, said in MEANINGS.items():
        lines.append(f"| `{verdict.value}` | {said.kaggle or '-'} | {said.meaning} | {said.exit_code} |")
    lines += ["\n## Errors\n", "What a command prints when it cannot do its work: `error[code]: what happened`, then"]
    lines += ["`hint:` and, where there is one, the command to type `next:`. Exit code 1: the submission is at fault;"]
    lines += ["2: wrong usage; 3 and up: this machine or the kit.\n"]
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
