"""All commands, in the groups that `dfdc --help` shows."""

from typing import Annotated

import typer

from dfdc_kit import __version__
from dfdc_kit.cli import (
    audit,
    baselines,
    calibrate,
    data,
    doctor,
    download,
    history,
    leaderboard,
    new,
    parity,
    profiles,
    rehearse,
    rejudge,
    run,
    score,
    submit,
    validate,
)

app = typer.Typer(
    name="dfdc",
    help="Starter kit and evaluation harness of the Deepfake Detection Challenge.",
    epilog="First time here?  `dfdc run baselines/frame-stats`  scores a baseline on the bundled sample.",
    rich_markup_mode="rich",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

START, DATA, JUDGE, KAGGLE, LOOK = "Start here", "Data", "Check and score", "Kaggle", "Look around"


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dfdc {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


app.command("run", rich_help_panel=START)(run.run)
app.command("new", rich_help_panel=START)(new.new)
app.command("baselines", rich_help_panel=START)(baselines.baselines)
app.add_typer(download.app, name="download", rich_help_panel=DATA)
data.data.command("add")(data.add)
app.add_typer(data.data, name="data", rich_help_panel=DATA)
app.command("audit", rich_help_panel=DATA)(audit.audit)
app.command("validate", rich_help_panel=JUDGE)(validate.validate)
app.command("score", rich_help_panel=JUDGE)(score.score)
app.command("rehearse", rich_help_panel=JUDGE)(rehearse.rehearse)
app.command("judge-again", rich_help_panel=JUDGE)(rejudge.judge_again)
app.command("parity", rich_help_panel=JUDGE)(parity.parity)
app.command("submit", rich_help_panel=KAGGLE)(submit.submit)
app.command("leaderboard", rich_help_panel=KAGGLE)(leaderboard.leaderboard)
app.command("doctor", rich_help_panel=LOOK)(doctor.doctor)
app.command("calibrate", rich_help_panel=LOOK)(calibrate.calibrate)
app.command("history", rich_help_panel=LOOK)(history.history)
app.command("profiles", rich_help_panel=LOOK)(profiles.profiles)
