"""`dfdc judge`: judge many submissions on this machine, a Dask cluster or Slurm."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dfdc_kit.cli.console import (
    BackendOption,
    InputOption,
    JsonOption,
    ProfileOption,
    RequireOption,
    err,
    out,
    plain,
    print_json,
    print_next,
    print_rows,
    typed,
    wanted,
    warn,
)
from dfdc_kit.formatting import plural

if TYPE_CHECKING:
    from dfdc_kit.competition.judge_many import JudgingReport, Progress, TaskStatus
    from dfdc_kit.competition.ledger import LedgerEntry


def judge(
    submissions: Annotated[
        Path | None,
        typer.Argument(
            metavar="FOLDER_OR_LIST",
            help="Folder with a sub-folder per submission, or a CSV with team, name, folder.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", "-d", metavar="DIR", help="Data to judge on; default: the bundled sample."),
    ] = None,
    solution: Annotated[
        Path | None, typer.Option("--solution", "-s", metavar="PATH", help="Ground truth, if it is not in DIR.")
    ] = None,
    judging: Annotated[Path, typer.Option("--out", "-o", metavar="JUDGING", help="Folder of the results.")] = Path(
        "judging"
    ),
    baseline: Annotated[
        list[Path] | None,
        typer.Option("--baseline", metavar="PATH", help="Judge this one as well, as a baseline; can be repeated."),
    ] = None,
    competition: Annotated[
        str, typer.Option("--competition", "-c", metavar="NAME", help="Rules: a name or a competition.toml.")
    ] = "",
    phase: Annotated[
        str, typer.Option("--phase", metavar="KIND", help="Phase of the rules whose profile counts.")
    ] = "public",
    profile: ProfileOption = "",
    on: Annotated[str, typer.Option("--on", metavar="ENGINE", help="local, dask or slurm.")] = "local",
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, metavar="N", help="Submissions judged at the same time.")
    ] = None,
    memory: Annotated[
        str, typer.Option("--memory", metavar="SIZE", help="Memory of all local workers together, e.g. 24GiB.")
    ] = "",
    dask_address: Annotated[
        str, typer.Option("--dask-address", metavar="URL", help="Dask scheduler; default: a cluster on this machine.")
    ] = "",
    slurm: Annotated[
        list[str] | None,
        typer.Option("--slurm", metavar="KEY=VALUE", help="Option of sbatch, e.g. partition=gpu; can be repeated."),
    ] = None,
    retries: Annotated[
        int, typer.Option("--retries", min=0, metavar="N", help="Further attempts after a fault of a machine.")
    ] = 2,
    rerun: Annotated[
        list[str] | None,
        typer.Option("--rerun", metavar="NAME", help="Judge this judged submission again; can be repeated."),
    ] = None,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for the ledger of reruns.")] = "",
    replace: Annotated[bool, typer.Option("--replace", help="Count the result of the rerun from now on.")] = False,
    status: Annotated[
        Path | None, typer.Option("--status", metavar="JUDGING", help="Show the state of each submission.")
    ] = None,
    backend: BackendOption = "",
    require: RequireOption = "",
    inputs: InputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Judge many submissions under one runtime profile.

    Each result is one folder in JUDGING/results. Killed or stopped at any
    moment, the same command goes on; what is judged is not judged again.
    Exit code 3: some could not be judged, which is not their fault.

    Examples:

        dfdc judge submissions --data test --solution solution.csv
        dfdc judge list.csv --data test --on slurm --slurm partition=gpu
        dfdc judge --status judging
        dfdc judge --out judging --rerun team-a --reason "disk was full"
    """
    from dfdc_kit.competition.engines import EngineOptions
    from dfdc_kit.competition.judge_many import JudgingCommand, read_status
    from dfdc_kit.competition.plan import list_all, make_plan
    from dfdc_kit.competition.rules import judging_rules
    from dfdc_kit.files import bundled
    from dfdc_kit.submission.external_data import parse_input_options

    if status is not None:
        rows = read_status(status)
        return print_json(rows) if as_json else _show_status(rows)
    options = EngineOptions(
        workers=workers,
        memory_bytes=_parse_size(memory),
        dask_address=dask_address,
        slurm=_pairs(slurm or []),
    )
    with _progress() as on_progress:
        command = JudgingCommand(judging, on, options, retries, on_progress, warn)
        if rerun:
            report = command.rerun(rerun, reason, replace=replace)
        else:
            rules = judging_rules(competition, phase, profile)
            plan = partial(
                make_plan,
                judging,
                list_all(submissions, baseline or [], rules.baselines),
                data=data or bundled("sample_data"),
                solution=solution,
                challenge=rules.challenge,
                profile_name=rules.profile_name,
                profile=rules.profile,
                backend=backend,
                require=wanted(require),
                inputs=parse_input_options(inputs or []),
            )
            report = command.judge(plan)
    return _end(report, as_json=as_json)


@contextmanager
def _progress() -> Iterator[Callable[["Progress"], None]]:
    """Shows how many are judged, and once each why jobs of a cluster wait."""
    from dfdc_kit.cli.progress import counting

    shown: set[str] = set()
    with counting("Judged") as update:

        def show(progress: "Progress") -> None:
            update(progress.judged, progress.total)
            for reason in {*progress.queued.values()} - shown:
                shown.add(reason)
                jobs = sum(one == reason for one in progress.queued.values())
                err.print(f"{plural(jobs, 'job')} in the queue: {plain(reason)}", soft_wrap=True)

        yield show


def _end(report: "JudgingReport", *, as_json: bool) -> None:
    """Print what was judged and what was not. Exit code 3 if some were not."""
    if as_json:
        print_json(report)
    elif report.reruns:
        for entry in report.reruns:
            _show_drift(entry)
    elif report.results or not report.not_judged:
        scored = sum(one.score is not None for one in report.results)
        total, folder = len(report.names), plain(str(report.judging))
        out.print(f"{len(report.results)} of {total} judged, {scored} with a score, in {folder}", soft_wrap=True)
    for outcome in report.not_judged:
        warn(f"{plain(report.names[outcome.task])} has no result ({outcome.kind}): {plain(outcome.message)}")
    if report.not_judged:
        err.print("  hint: Not the submissions' fault. The same command judges what is left.", soft_wrap=True)
        raise typer.Exit(3)
    if not as_json:
        print_next(f"dfdc judge --status {typed(report.judging)}")


def _show_drift(entry: "LedgerEntry") -> None:
    from dfdc_kit.scoring.metric import displayed

    drift = entry.drift
    rows = [("verdict", f"{entry.first_verdict} on {entry.first_machine}, now {entry.verdict} on {entry.machine}", "")]
    if drift.largest is not None:
        rows.append(("predictions", f"{drift.rows} differ, by at most {drift.largest:.3g}", ""))
    if entry.first_score is not None and entry.score is not None:
        rows.append(("score", f"{displayed(entry.first_score)}, now {displayed(entry.score)} ({drift.score:+.3g})", ""))
    if drift.rank_before is not None:
        rows.append(("rank", f"{drift.rank_before}, with the rerun's score {drift.rank_after}", ""))
    rows.append(("counts", "the rerun" if entry.replaced else "the first result", ""))
    out.print(f"[bold]{plain(entry.team)}/{plain(entry.name)}[/] judged again: {plain(entry.why)}", soft_wrap=True)
    print_rows(rows)


def _show_status(rows: "list[TaskStatus]") -> None:
    from collections import Counter

    counts = Counter(row.state for row in rows)
    out.print(", ".join(f"{count} {state}" for state, count in counts.items()) or "nothing planned")
    styles = {"judged": "", "fault": "red", "changed": "yellow"}
    print_rows(
        [(f"{row.team}/{row.name}", f"{row.state} {row.detail}".strip(), styles.get(row.state, "")) for row in rows]
    )


def _pairs(options: list[str]) -> dict[str, str]:
    from dfdc_kit.errors import UsageError

    found = {}
    for option in options:
        key, equals, value = option.partition("=")
        if not (key and equals):
            raise UsageError(f"--slurm {option}: expected KEY=VALUE.", hint="For example: --slurm partition=gpu")
        found[key.replace("-", "_")] = value
    return found


def _parse_size(text: str) -> int | None:
    import re

    from dfdc_kit.errors import UsageError

    if not text:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?", text.strip(), re.IGNORECASE)
    if not found:
        raise UsageError(f"--memory {text}: not a size.", hint="For example: --memory 24GiB")
    power = " KMGT".index(found[2].upper() or " ")
    return int(float(found[1]) * (1024 if found[3] else 1000) ** power)
