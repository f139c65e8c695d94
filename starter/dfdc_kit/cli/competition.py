"""`dfdc competition`: the rules of a competition, their check, and the board of judged submissions."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dfdc_kit.cli.console import JsonOption, out, plain, print_json, print_rows, say, shown, warn
from dfdc_kit.formatting import plural

if TYPE_CHECKING:
    from dfdc_kit.competition.board import Board, BoardRow
    from dfdc_kit.competition.check import CompetitionCheck
    from dfdc_kit.competition.rules import Competition

app = typer.Typer(
    help="Check a competition, and rank its submissions.",
    epilog="Example:  `dfdc competition show dfdc`  prints the rules of the Deepfake Detection Challenge.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

CompetitionArgument = Annotated[
    str, typer.Argument(metavar="COMPETITION", help="TOML file of a competition, or the name of a bundled one.")
]

SolutionOption = Annotated[
    Path, typer.Option("--solution", "-s", metavar="FILE", help="Ground truth with a column Usage: Public, Private.")
]
OriginalsOption = Annotated[
    Path | None,
    typer.Option("--originals", metavar="FILE", help="Labels that name originals, such as metadata.json."),
]
SeedOption = Annotated[int, typer.Option("--seed", metavar="N", help="Seed of the random draws.")]


@app.command("board")
def board(
    competition: CompetitionArgument,
    judging: Annotated[Path, typer.Option("--judging", metavar="DIR", help="Judging folder of `dfdc judge`.")],
    solution: SolutionOption,
    originals: OriginalsOption = None,
    private: Annotated[
        bool, typer.Option("--private", help="Show the private board, and add it to the site. For organizers.")
    ] = False,
    profile: Annotated[
        str, typer.Option("--profile", "-p", metavar="NAME", help="Only results of this runtime profile.")
    ] = "",
    site: Annotated[
        Path | None, typer.Option("--site", metavar="DIR", help="Write a static site: DIR/public, DIR/private.")
    ] = None,
    csv: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write the board as a CSV.")] = None,
    resamples: Annotated[
        int, typer.Option("--resamples", metavar="N", min=100, max=100_000, help="How often videos are drawn again.")
    ] = 1000,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Rank the judged submissions of a competition.

    One row a team: its rank with a 95 % interval, ties, and its chances of the
    first and of a medal place, from videos (or originals) drawn again. The
    public board is computed from the Public rows alone. The same results give
    the same bytes, whatever judged them.

    Examples:

        dfdc competition board dfdc --judging judging -s solution.csv
        dfdc competition board dfdc --judging judging -s solution.csv --site site
    """
    from dfdc_kit.competition.board import make_board, read_judged
    from dfdc_kit.competition.predictions import with_originals
    from dfdc_kit.competition.results import comparable, load_results
    from dfdc_kit.competition.rules import load
    from dfdc_kit.competition.site import to_csv, write_site
    from dfdc_kit.data.solution import read_solution
    from dfdc_kit.files import write_bytes
    from dfdc_kit.scoring.metric import load_metric

    rules, challenge = load(competition)
    metric = load_metric(challenge.metric_path)
    results = comparable(load_results(judging), profile, metric)
    ground_truth = read_solution(solution, challenge)
    ground_truth = with_originals(ground_truth, originals, challenge) if originals else ground_truth
    judged = read_judged(rules, challenge, judging, results, ground_truth, metric)
    parts = ("public", "private") if private else ("public",)
    boards = {part: make_board(judged, part, resamples, seed) for part in parts}  # type: ignore[arg-type]
    found = boards["private" if private else "public"]
    pages = [write_site(site, one, rules, judged, judging) for one in boards.values()] if site else []
    if csv:
        write_bytes(csv, to_csv(found))
    if as_json:
        return print_json(found)
    _show_board(found)
    for page in pages:
        out.print(f"wrote {plain(str(shown(page)))}", soft_wrap=True)
    return None


def _show_board(board: "Board") -> None:
    from rich.table import Table

    better = "lower is better" if board.lower_is_better else "higher is better"
    out.print(f"[bold]{plain(board.title)}[/], {board.part} board")
    out.print(f"{plural(board.teams, 'team')}, {plural(board.videos, 'video')}, {plain(board.metric)} ({better})\n")
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for name in ("rank", "95 %", "team", "score", "95 %", "first", "medal", "tied"):
        table.add_column(name, justify="left" if name == "team" else "right", overflow="fold", no_wrap=name != "team")
    for row in board.rows:
        table.add_row(*_cells(row), style="dim" if row.status == "baseline" else "")
    out.print(table)
    for row in board.rows:
        if row.reason:
            say(f"{plain(row.team)}, {plain(row.submission)}: {row.status}: {plain(row.reason)}", 2)
    for found in board.similar:
        say(f"[yellow]evidence, not a verdict:[/] {plain('; '.join(found.submissions))}: {found.evidence}")
    for note in board.notes:
        say(f"[dim]{plain(note)}[/]")


def _cells(row: "BoardRow") -> tuple[str, ...]:
    from dfdc_kit.competition.site import percent

    name = row.team if row.team == row.submission else f"{row.team}: {row.submission}"
    between = " to " if row.score_low.startswith("-") else "-"
    score = f"{row.score_low}{between}{row.score_high}" if row.score else ""
    if row.rank is None:
        status = {"baseline": "base", "disqualified": "disq.", "not scored": "none"}.get(row.status, "")
        return status, "", plain(name), row.score, score, "", "", ""
    tied = f"{row.tied_from}-{row.tied_to}" if row.tied_from != row.tied_to else ""
    ranks = f"{row.rank_low}-{row.rank_high}"
    return str(row.rank), ranks, plain(name), row.score, score, percent(row.p_first), percent(row.p_medal), tied


@app.command("check")
def check(
    competition: CompetitionArgument,
    solution: SolutionOption,
    originals: OriginalsOption = None,
    split: Annotated[
        Path | None, typer.Option("--split", metavar="FILE", help="Write the solution with a new column Usage.")
    ] = None,
    judging: Annotated[
        Path | None, typer.Option("--judging", metavar="DIR", help="Simulate from the predictions of this folder.")
    ] = None,
    predictions: Annotated[
        list[Path] | None,
        typer.Option("--predictions", metavar="CSV", help="Simulate from these predictions; repeat it."),
    ] = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Check a competition's rules and solution before it starts.

    Rules that are missing, originals in both the Public and the Private rows,
    the difference between two teams that these rows can show, how far ranks will
    move from the public to the private board, and how many public labels a team
    could read from its scores. Exit code 3: there is an error.

    Examples:

        dfdc competition check dfdc -s solution.csv
        dfdc competition check my.toml -s solution.csv --originals metadata.json
        dfdc competition check my.toml -s labels.csv --split solution.csv
    """
    from dfdc_kit.competition.check import check_competition, solution_csv, split_solution
    from dfdc_kit.competition.predictions import read_predictions, with_originals
    from dfdc_kit.competition.results import comparable, load_results, prediction_file
    from dfdc_kit.competition.rules import load
    from dfdc_kit.data.solution import read_solution
    from dfdc_kit.files import write_bytes
    from dfdc_kit.scoring.metric import load_metric

    rules, challenge = load(competition)
    ground_truth = read_solution(solution, challenge)
    ground_truth = with_originals(ground_truth, originals, challenge) if originals else ground_truth
    if split:
        ground_truth = split_solution(ground_truth, rules.scores.public_fraction, seed)
        write_bytes(split, solution_csv(ground_truth))
    metric = load_metric(challenge.metric_path)
    files = [(str(path), path) for path in predictions or []]
    if judging:
        results = comparable(load_results(judging), metric=metric)
        files += [(one.key, path) for one in results if (path := prediction_file(judging, one))]
    read = None
    if files:
        read, left_out = read_predictions(files, ground_truth, metric, challenge)
        for index, reason in left_out.items():
            warn(f"{files[index][0]}: {reason}")
    found = check_competition(rules, challenge, ground_truth, read, seed)
    if as_json:
        print_json(found)
    else:
        _show_check(found, split)
    if any(finding.level == "error" for finding in found.findings):
        raise typer.Exit(3)


def _show_check(found: "CompetitionCheck", split: Path | None) -> None:
    for finding in found.findings:
        color = "red" if finding.level == "error" else "yellow"
        say(f"[{color}]{finding.level}:[/] {plain(finding.what)}")
    if not found.findings:
        out.print("Rules and solution: OK")
    rows = [("rows", f"{found.public_videos:,} Public, {found.private_videos:,} Private", "")]
    if found.public_difference and found.private_difference:
        text = f"{found.public_difference:.4f} on Public, {found.private_difference:.4f} on Private rows, 80 % power"
        rows.append(("differences", f"between two teams that can be shown: {text}", ""))
    if shake := found.shake_up:
        low, median, high = shake.public_winner_rank
        source = "your predictions" if shake.source == "predictions" else "a model of close teams"
        rows += [
            ("shake-up", f"{plural(shake.teams, 'team')}, from {source}, paired SD {shake.paired_sd:.2f}", ""),
            (
                "",
                f"the public winner wins {shake.public_winner_wins:.0%} of times; private rank {low} to {high},"
                f" median {median}",
                "",
            ),
            ("", f"a team moves {shake.places_moved[0]} places (median), 97.5 % at most {shake.places_moved[1]}", ""),
        ]
    for probe in found.probing:
        if probe.shown == "plain":
            text = (
                f"{probe.submissions} submissions read {probe.labels_known:,} of {probe.public_videos:,} public labels"
                f" ({probe.labels_for_each_submission} each): public loss {probe.public_loss:.3f} instead of 0.693"
            )
        else:
            text = f"with the Ladder, step {probe.displayed_step:.4f}: public loss {probe.public_loss:.3f}"
        rows.append(("probing" if probe.shown == "plain" else "", text, ""))
    if not found.probing:
        rows.append(("probing", "simulated only for log loss with a public phase", ""))
    print_rows(rows)
    if split:
        out.print(f"wrote {plain(str(shown(split)))}", soft_wrap=True)


@app.command("show")
def show(competition: CompetitionArgument = "dfdc", as_json: JsonOption = False) -> None:
    """Show the rules of a competition.

    Phases, quota, finals, ties, prizes and eligibility, as its TOML file states
    them. An unknown key in the file is an error.

    Examples:

        dfdc competition show dfdc
        dfdc competition show my-competition.toml --json
    """
    from dfdc_kit.competition.rules import load

    rules, challenge = load(competition)
    if as_json:
        return print_json(rules)
    out.print(f"[bold]{plain(rules.title)}[/]")
    better = "lower is better" if challenge.metric.lower_is_better else "higher is better"
    decimals = challenge.metric.displayed_decimals
    return print_rows([("metric", f"{rules.metric}, {better}, shown with {decimals} decimals", ""), *_rule_rows(rules)])


def _rule_rows(rules: "Competition") -> list[tuple[str, str, str]]:
    rows = [
        (phase.name if len(phase.name) < 20 else phase.kind, f"{phase.start} to {phase.end}, {phase.profile}", "")
        for phase in rules.phases
    ]
    failed = "failed ones count" if rules.quota.failed_ones_count else "failed ones do not count"
    rows.append(("quota", f"{rules.quota.daily} a day; {failed}", ""))
    rows.append(("finals", f"{rules.finals.count} for each team, {rules.finals.rule}", ""))
    rows.append(("equal scores", {"shared": "share a rank", "earliest": "earlier first"}[rules.scores.ties], ""))
    if rules.prizes:
        prizes = ", ".join(f"{prize.place}. ${prize.amount_usd:,}" for prize in rules.prizes)
        rows.append(("prizes", prizes, ""))
    terms = rules.eligibility
    code = f"open, {terms.code_licence}" if terms.code_licence else "open"
    rows.append(("code", code if terms.open_code else "need not be published", ""))
    external = terms.external_data_licence or "allowed"
    if terms.external_data_disclosed_by:
        external += f"; disclosed by {terms.external_data_disclosed_by}"
    rows.append(("external data", external if terms.external_data else "not allowed", ""))
    if terms.consent:
        rows.append(("consent", terms.consent, ""))
    if rules.baselines:
        rows.append(("baselines", ", ".join(rules.baselines), ""))
    rows += [("disqualified", f"{one.team}: {one.reason}", "red") for one in rules.disqualified]
    return [*rows, ("source", f"{rules.source}; {rules.as_of}", "")]
