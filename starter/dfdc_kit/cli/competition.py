"""`dfdc competition`: the rules of a competition, their check, and the board of judged submissions."""

from typing import TYPE_CHECKING, Annotated

import typer

from dfdc_kit.cli.console import JsonOption, out, plain, print_json, print_rows

if TYPE_CHECKING:
    from dfdc_kit.competition.rules import Competition

app = typer.Typer(
    help="Run a competition: its rules, their check, and the board.",
    epilog="Example:  `dfdc competition show dfdc`  prints the rules of the Deepfake Detection Challenge.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

CompetitionArgument = Annotated[
    str, typer.Argument(metavar="COMPETITION", help="TOML file of a competition, or the name of a bundled one.")
]


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
