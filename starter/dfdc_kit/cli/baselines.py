"""`dfdc new` and `dfdc baselines`: start a submission; list, show and check the bundled baselines."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dfdc_kit.cli.console import JsonOption, err, out, plain, print_json, print_next, print_rows, say, typed
from dfdc_kit.formatting import plural

if TYPE_CHECKING:
    from dfdc_kit.harness.baselines import ModelCard

RELATIVE_LINK = re.compile(r"\[([^\]]*)\]\((?!https?:)[^)]*\)")  # Markdown; leads nowhere on a terminal


def baselines(
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="Show this baseline's model card: data, held-out loss, limits.")
    ] = "",
    check: Annotated[
        bool, typer.Option("--check", help="Run each on the bundled sample; compare with its expected predictions.")
    ] = False,
    record: Annotated[
        bool,
        typer.Option("--record", help="For maintainers: store today's predictions as the expected ones."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List, show or check the bundled baselines.

    Examples:

        dfdc baselines
        dfdc baselines frame-stats
        dfdc baselines --check
    """
    if record:
        return _record()
    if check:
        return _check(as_json)
    if name:
        from dfdc_kit.harness.baselines import model_card

        card = model_card(name)
        return print_json(card) if as_json else _show_card(card)
    from rich.table import Table

    from dfdc_kit.submission.code import baselines as bundled

    found = bundled()
    if as_json:
        return print_json({name: submission.settings for name, submission in found.items()})
    table = Table("baseline", "what it does", "needs", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name, submission in found.items():
        needs = [*submission.settings.packages, *(["GPU"] if submission.settings.gpu else [])]
        table.add_row(name, submission.settings.description, ", ".join(needs) or "Python only")
    out.print(table)
    out.print("\n  next: dfdc run baselines/frame-stats", soft_wrap=True)
    return None


def _show_card(card: "ModelCard") -> None:
    from rich.markdown import Markdown

    data, held_out = card.made_with.get("data") or card.made_with, card.held_out
    rows = [("needs", ", ".join(card.settings.packages) or "Python only", "")]
    if "videos" in data:
        rows.append(("trained on", f"{plural(data['videos'], 'video')}, {data.get('fake', 0):,} FAKE", ""))
    if "command" in card.made_with:
        machine = card.made_with.get("machine")
        rows.append(("command", card.made_with["command"] + (f" ({machine})" if machine else ""), ""))
    if "log_loss" in held_out:
        low, high = held_out["interval_95"]
        loss = f"log loss {held_out['log_loss']:.4f} (95 % interval {low:.4f} to {high:.4f})"
        count = plural(held_out.get("n", held_out.get("videos", 0)), "video")
        originals = plural(held_out["originals"], "original")
        rows.append(("held out", f"{loss} on {count} of {originals}; their people may have been trained on", ""))
        rows.append(("constant", f"log loss {held_out['constant']:.4f} on the same videos", ""))
    if card.clip is not None:
        rows.append(("predictions", f"stay between {card.clip:g} and {1 - card.clip:g}", ""))
    say(f"[bold]{plain(card.name)}[/]: {plain(card.settings.description)}")
    print_rows(rows)
    text = RELATIVE_LINK.sub(r"\1", card.readme.split("\n", 1)[-1])  # without its title
    out.print("\n".join(map(plain, text.splitlines())) if out.soft_wrap else Markdown(text))
    print_next(f"dfdc run {typed(card.folder)}")


def _record() -> None:
    from dfdc_kit.harness.baselines import record_baselines

    for path in record_baselines():
        out.print(f"wrote {path}", soft_wrap=True)


def _check(as_json: bool) -> None:
    from rich.table import Table

    from dfdc_kit.harness.baselines import check_baselines

    with err.status("Running the baselines on the sample ..."):
        checks = check_baselines()
    if as_json:
        print_json(checks)
    else:
        table = Table(
            "baseline", "verdict", "largest shift", "tolerance", box=None, pad_edge=False, padding=(0, 2, 0, 0)
        )
        for one in checks:
            verdict = "[green]as expected[/]" if one.as_expected else "[red]SHIFTED[/]"
            verdict = verdict if one.checked else "[yellow]not checked[/]"
            shift = "-" if one.largest_shift is None else f"{one.largest_shift:.2g} ({one.where})"
            table.add_row(one.name, verdict, shift, f"{one.tolerance:g}")
        out.print(table)
        for one in checks:
            if not one.as_expected:
                out.print(f"{one.name}: {one.why}", soft_wrap=True)
    if not all(one.as_expected for one in checks if one.checked):
        raise typer.Exit(1)


def new(
    name: Annotated[Path, typer.Argument(metavar="NAME", help="Folder to create; its name is the submission's name.")],
    source: Annotated[
        str,
        typer.Option("--from", metavar="BASELINE", help="Start from this bundled baseline instead of the template."),
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Create a code submission that runs as it is.

    Examples:

        dfdc new my-detector
        dfdc new my-detector --from frame-stats
    """
    from dfdc_kit.submission.code import start

    written = start(name, source)
    if as_json:
        return print_json({"folder": name, "files": written})
    out.print(f"created [bold]{plain(str(name))}/[/]: {', '.join(written)}", soft_wrap=True)
    out.print(f"  next: dfdc run {plain(typed(name))}", soft_wrap=True)
    return None
