"""`dfdc judge`: judge many submissions on this machine, a Dask cluster or Slurm; `dfdc judge-one`, its worker."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    print_rows,
    typed,
    wanted,
    warn,
)
from dfdc_kit.formatting import plural

if TYPE_CHECKING:
    from dfdc_kit.competition.engines import EngineOptions
    from dfdc_kit.competition.judge import TaskOutcome
    from dfdc_kit.competition.judge_many import Progress
    from dfdc_kit.competition.ledger import LedgerEntry
    from dfdc_kit.competition.plan import Plan


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
    from dfdc_kit.errors import UsageError

    if status is not None:
        _show_status(status, as_json=as_json)
        return
    options = EngineOptions(
        workers=workers, memory_bytes=_parse_size(memory), dask_address=dask_address, slurm=_pairs(slurm or [])
    )
    settings = _Judging(judging, on, options, retries, as_json=as_json)
    if rerun:
        settings.rerun(rerun, reason, replace=replace)
        return
    if submissions is None and not baseline:
        raise UsageError("Nothing to judge.", hint="Name a folder of submissions, or a list: dfdc judge FOLDER")
    from msgspec import structs

    from dfdc_kit.competition.plan import make_plan
    from dfdc_kit.competition.rules import judging_rules
    from dfdc_kit.competition.submission_list import ListedSubmission, list_submissions
    from dfdc_kit.files import bundled
    from dfdc_kit.submission.code import read_code_submission
    from dfdc_kit.submission.external_data import parse_input_options

    listed = list_submissions(submissions) if submissions is not None else []
    for path in baseline or []:
        found = read_code_submission(path)
        folder = found.folder / found.program if found.alone else found.folder
        listed.append(ListedSubmission(team="baseline", name=found.name, folder=folder, baseline=True))
    rules = judging_rules(competition, phase, profile)
    listed = [structs.replace(one, baseline=one.baseline or one.name in rules.baselines) for one in listed]
    settings.judge(
        lambda: make_plan(
            judging,
            listed,
            data=data or bundled("sample_data"),
            solution=solution,
            challenge=rules.challenge,
            profile_name=rules.profile_name,
            profile=rules.profile,
            backend=backend,
            require=wanted(require),
            inputs=parse_input_options(inputs or []),
        )
    )


class _Judging:
    """One call of the command on a judging folder."""

    def __init__(self, judging: Path, on: str, options: "EngineOptions", retries: int, *, as_json: bool) -> None:
        from dfdc_kit.competition.engines import ENGINES
        from dfdc_kit.errors import UsageError, suggest

        if on not in ENGINES:
            raise UsageError(f"Unknown engine {on!r}.", hint=suggest(on, ENGINES, label="Engines"))
        self._judging, self._engine, self._options = judging, ENGINES[on], options
        self._retries, self._as_json = retries, as_json

    def judge(self, make_plan: Any) -> None:
        from dfdc_kit.competition.judge_many import match_results_to_plan

        with self._locked():
            plan = make_plan()
            given_up = self._run(plan, [one.key for one in plan.submissions])
            results = match_results_to_plan(self._judging, plan)
        if self._as_json:
            print_json({"judging": self._judging, "results": results, "not_judged": given_up})
        else:
            scored = sum(one.score is not None for one in results)
            total, folder = len(plan.submissions), plain(str(self._judging))
            out.print(f"{len(results)} of {total} judged, {scored} with a score, in {folder}", soft_wrap=True)
        self._end(given_up, {one.key: f"{one.team}/{one.name}" for one in plan.submissions})

    def rerun(self, names: list[str], reason: str, *, replace: bool) -> None:
        from dfdc_kit.competition import ledger
        from dfdc_kit.competition.plan import load_plan
        from dfdc_kit.errors import UsageError

        if not reason.strip():
            raise UsageError(
                "A rerun needs a reason, which the ledger keeps.", hint='Say why: --reason "disk was full"'
            )
        plan = load_plan(self._judging)
        with self._locked():
            tasks = ledger.rerun_tasks(self._judging, plan, names)
            given_up = self._run(plan, tasks)
            failed = {one.task for one in given_up}
            lower = plan.challenge.metric.lower_is_better
            entries = [
                ledger.enter_rerun(self._judging, task, reason, lower_is_better=lower, replace=replace)
                for task in tasks
                if task not in failed
            ]
        if self._as_json:
            print_json({"judging": self._judging, "reruns": entries, "not_judged": given_up})
        else:
            for entry in entries:
                _show_drift(entry)
        self._end(given_up, dict(zip(tasks, names, strict=True)))

    def _locked(self) -> Any:
        from dfdc_kit.files import hold_lock

        return hold_lock(self._judging / "lock", f"Another `dfdc judge` works on {self._judging}", "--out", warn)

    def _run(self, plan: "Plan", tasks: list[str]) -> "list[TaskOutcome]":
        from dfdc_kit.cli.progress import counting
        from dfdc_kit.competition.judge_many import Coordinator

        with self._engine(self._judging.absolute(), plan, self._options) as engine, counting("Judged") as update:
            coordinator = Coordinator(self._judging.absolute(), engine, self._retries)
            shown: set[str] = set()

            def show(progress: "Progress") -> None:
                update(progress.judged, progress.total)
                for reason in {*progress.queued.values()} - shown:
                    shown.add(reason)
                    jobs = sum(one == reason for one in progress.queued.values())
                    err.print(f"{plural(jobs, 'job')} in the queue: {plain(reason)}", soft_wrap=True)

            return coordinator.judge_all(tasks, show)

    def _end(self, given_up: "list[TaskOutcome]", names: dict[str, str]) -> None:
        for outcome in given_up:
            warn(f"{plain(names[outcome.task])} has no result ({outcome.kind}): {plain(outcome.message)}")
        if given_up:
            err.print("  hint: Not the submissions' fault. The same command judges what is left.", soft_wrap=True)
            raise typer.Exit(3)
        if not self._as_json:
            out.print(f"  next: dfdc judge --status {typed(self._judging)}", soft_wrap=True)


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


def _show_status(judging: Path, *, as_json: bool) -> None:
    from collections import Counter

    from dfdc_kit.competition.judge_many import status

    rows = status(judging)
    if as_json:
        print_json(rows)
        return
    counts = Counter(row.state for row in rows)
    out.print(", ".join(f"{count} {state}" for state, count in counts.items()) or "nothing planned")
    styles = {"judged": "", "fault": "red", "changed": "yellow"}
    print_rows([(f"{row.team}/{row.name}", f"{row.state} {row.detail}", styles.get(row.state, "")) for row in rows])


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


def judge_one(
    judging: Annotated[Path, typer.Argument(metavar="JUDGING", help="Folder of the results, with plan.json.")],
    tasks: Annotated[
        list[str] | None, typer.Argument(metavar="KEY", help="Keys to judge; default: read from standard input.")
    ] = None,
    engine: Annotated[str, typer.Option("--engine", metavar="NAME", help="Recorded in the result.")] = "command",
    cores: Annotated[str, typer.Option("--cores", metavar="LIST", help="Cores to use, e.g. 0,1.")] = "",
    stop_with_stdin: Annotated[
        bool, typer.Option("--stop-with-stdin", help="Stop as for Ctrl-C when standard input ends.")
    ] = False,
) -> None:
    """Judge single submissions of a judging folder: what every engine starts, and any other batch system can.

    Prints one line of JSON for each. Exit code 0: each has a result; 3: some have none.
    """
    from dfdc_kit.competition.worker import main

    options = ["--engine", engine, "--cores", cores, *(["--stop-with-stdin"] if stop_with_stdin else [])]
    raise typer.Exit(main([str(judging), *(tasks or []), *options]))
