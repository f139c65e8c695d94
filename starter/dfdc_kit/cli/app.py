"""All commands, in the groups that `dfdc --help` shows."""

import os
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from dfdc_kit import __version__
from dfdc_kit.cli import (
    audit,
    baselines,
    calibrate,
    calibrate_predictions,
    check,
    compare,
    competition,
    data,
    data_make,
    degrade,
    doctor,
    download,
    history,
    judge,
    leaderboard,
    new,
    open_report,
    parity,
    profiles,
    rehearse,
    rejudge,
    robustness,
    run,
    score,
    slices,
    submit,
    validate,
)


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


class Group(_PlainFlags, TyperGroup):
    """A group of commands."""


def click_exception() -> type[Exception]:
    """The base class of typer's usage errors, in typer's own click or in the package click, whichever it uses."""
    return next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


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


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dfdc {__version__}")
        raise typer.Exit


@app.callback()
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


PANELS: dict[str, dict[str, Any]] = {
    "Start here": {"run": run.run, "new": new.new, "baselines": baselines.baselines},
    "Check and score": {
        "check": check.check,
        "validate": validate.validate,
        "score": score.score,
        "compare": compare.compare,
        "slices": slices.slices,
        "calibrate-predictions": calibrate_predictions.calibrate_predictions,
        "rehearse": rehearse.rehearse,
        "robustness": robustness.robustness,
        "rejudge": rejudge.rejudge,
        "parity": parity.parity,
    },
    "Competition": {"judge": judge.judge},
    "Data": {"download": download.app, "data": data.data, "audit": audit.audit},
    "Competitions": {"competition": competition.app},
    "Kaggle": {"submit": submit.submit, "leaderboard": leaderboard.leaderboard},
    "This machine and past runs": {
        "doctor": doctor.doctor,
        "calibrate": calibrate.calibrate,
        "profiles": profiles.profiles,
        "history": history.history,
        "open": open_report.open_report,
    },
}
data.data.command("add")(data.add)
data.data.command("degrade")(degrade.degrade)
data.data.command("make")(data_make.make)
for _panel, _commands in PANELS.items():
    for _name, _command in _commands.items():
        if isinstance(_command, typer.Typer):
            for _sub in _command.registered_commands:
                _sub.cls = Command
            app.add_typer(_command, name=_name, cls=Group, rich_help_panel=_panel)
        else:
            app.command(_name, cls=Command, rich_help_panel=_panel)(_command)
app.command("judge-one", cls=Command, hidden=True)(judge.judge_one)
app.command("judge-again", cls=Command, hidden=True)(rejudge.rejudge)  # the name of `rejudge` before 0.1.0
