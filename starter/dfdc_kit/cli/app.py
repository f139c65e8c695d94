"""All commands, in the groups that `dfdc --help` shows. A command's module is imported only where it is needed."""

import os
from functools import cache
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from dfdc_kit import __version__
from dfdc_kit.cli.console import err


class _PlainFlags:
    """Shows flags without the type `<bool>` in help pages."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The parameters of a command, with nothing to show as the type of a flag."""
        parameters: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for parameter in parameters:
            if getattr(parameter, "is_flag", False):
                parameter.metavar = ""
        return parameters


class Command(_PlainFlags, TyperCommand):
    """A command of `dfdc`."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; one that is stopped, also while it asks, says so in one line and exits with 130."""
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, EOFError, typer.Abort):
            err.print("Stopped.")
            raise typer.Exit(130) from None


class Group(_PlainFlags, TyperGroup):
    """A group of commands."""


def click_exception() -> type[Exception]:
    """The base class of typer's usage errors, in typer's own click or in the package click, whichever it uses."""
    return next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dfdc {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    challenge: Annotated[
        str,
        typer.Option(
            "--challenge", metavar="NAME", help="Another challenge's name or TOML file; also: DFDC_CHALLENGE."
        ),
    ] = "",
) -> None:
    del version  # its callback has printed it
    if challenge:
        os.environ["DFDC_CHALLENGE"] = challenge  # which `challenge.load` reads, here and in child processes


# Panel of `dfdc --help` -> command -> module.function
PANELS: dict[str, dict[str, str]] = {
    "Start here": {"run": "run.run", "new": "baselines.new", "baselines": "baselines.baselines"},
    "Check and score": {
        "check": "check.check",
        "validate": "validate.validate",
        "score": "score.score",
        "compare": "compare.compare",
        "slices": "score.slices",
        "calibrate-predictions": "calibrate_predictions.calibrate_predictions",
        "rehearse": "rehearse.rehearse",
        "robustness": "robustness.robustness",
        "rejudge": "history.rejudge",
        "parity": "parity.parity",
    },
    "Data": {"download": "download.app", "data": "data.data", "audit": "audit.audit"},
    "Competitions": {"judge": "judge.judge", "competition": "competition.app"},
    "Kaggle": {"submit": "submit.submit", "leaderboard": "leaderboard.leaderboard"},
    "This machine and past runs": {
        "doctor": "environments.doctor",
        "calibrate": "environments.calibrate",
        "profiles": "environments.profiles",
        "history": "history.history",
        "open": "history.open_report",
    },
}
HIDDEN = {
    "judge-again": "history.rejudge",  # the name of `rejudge` before 0.1.0
}


def app_for(arguments: list[str]) -> typer.Typer:
    """The command line for these arguments: with one command where they begin with its name, else with all."""
    known = {name for commands in (*PANELS.values(), HIDDEN) for name in commands}
    return build_app(arguments[0] if arguments and arguments[0] in known else "")


@cache
def build_app(only: str = "") -> typer.Typer:
    """The command line `dfdc` with all commands, or with `only` one, which starts faster."""
    app = typer.Typer(
        cls=Group,
        name="dfdc",
        help="Score your submission locally, under Kaggle's limits, before you use one of two daily submissions.",
        epilog="First time here?  `dfdc run baselines/frame-stats`  scores a baseline on the bundled sample.",
        rich_markup_mode="rich",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    for panel, commands in (*PANELS.items(), ("", HIDDEN)):
        for name, place in commands.items():
            if only in ("", name):
                _add(app, name, place, panel)
    return app


def _add(app: typer.Typer, name: str, place: str, panel: str) -> None:
    """Add the command or group of commands at `place`, as in PANELS; without a panel it is hidden."""
    module, attribute = place.split(".")
    command = getattr(import_module(f"dfdc_kit.cli.{module}"), attribute)
    if isinstance(command, typer.Typer):
        for sub in command.registered_commands:
            sub.cls = Command
        app.add_typer(command, name=name, cls=Group, rich_help_panel=panel)
    else:
        app.command(name, cls=Command, rich_help_panel=panel or None, hidden=not panel)(command)
