"""`nasdet check`: what is in a search space, before anything is trained."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from nasdet.cli.options import complete_path

if TYPE_CHECKING:
    from rich.console import Console

_BARS = " ▁▂▃▄▅▆▇█"
ENOUGH = 10
"""Trials from which on a search has something to choose from."""


@click.command("check")
@click.argument("space", metavar="[SPACE]", required=False, shell_complete=complete_path)
@click.option("--samples", type=click.IntRange(1), default=200, show_default=True, help="Random candidates to look at.")
@click.option("--data", metavar="SRC", shell_complete=complete_path, help="Data set; left out, the space's own.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the samples.")
@click.option("--set", "overrides", metavar="KEY=VALUE", multiple=True, help="Change one value of the space.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def command(
    space: str | None, samples: int, data: str | None, seed: int, overrides: tuple[str, ...], as_json: bool
) -> None:
    """Sample architectures of SPACE and print their sizes, the rules that act and the time a search takes.

    Nothing is trained. SPACE is a YAML file or a bundled name; left out, the space that follows from the data.

    Example: nasdet check search_spaces/detnet.yaml --samples 100
    """
    from nasdet.api.search import prepare_space
    from nasdet.driver.check import check_space

    loaded = prepare_space(space, data, overrides=overrides)
    source = data or loaded.data.source
    info, boxes = None, None
    if source is not None:
        from nasdet.data import open_data
        from nasdet.data.narrow_boxes import TrainingBoxes

        stated = loaded.data
        dataset = open_data(source, seed=stated.seed, max_bad=stated.max_bad, tile=stated.tile)
        info, boxes = dataset.info, TrainingBoxes.of(dataset)
    result = check_space(loaded, info, samples, seed, boxes)
    click.echo(json.dumps(result)) if as_json else _print(result)


def _print(result: dict[str, Any]) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    names = ", ".join(f"{o['name']} ({o['direction']})" for o in result["objectives"])
    console.print(f"[bold]{result['space']}[/]: {result['parameters']} parameters, objectives {names}")
    images = f", {result['train_images']} training images" if result["train_images"] else ""
    console.print(f"data: {result['data']}{images}")
    _print_sizes(console, result)
    _print_infeasible(console, result)
    _print_rules(console, result)
    _print_too_narrow(console, result["too_narrow"])
    _print_time(console, result["time"])


def _print_sizes(console: Console, result: dict[str, Any]) -> None:
    from rich.table import Table

    if result["params_m"] is None:
        return
    quantiles = [float(q) for q in result["params_m"]["quantiles"]]
    table = Table("", *(_quantile_name(q) for q in quantiles), "smallest to largest", box=None)
    for key, title in (("params_m", "parameters, 1e6"), ("gflops", "multiply-adds, 1e9")):
        values = [f"{v:.3g}" for v in result[key]["quantiles"].values()]
        table.add_row(title, *values, histogram(result[key]["counts"]))
    console.print()
    console.print(table)


def _quantile_name(quantile: float) -> str:
    return {0.0: "least", 0.5: "median", 1.0: "most"}.get(quantile, f"{quantile:.0%}")


def histogram(counts: list[int]) -> str:
    """Counts as a row of bars, the largest one full."""
    top = max(counts)
    return "".join(_BARS[-(-c * (len(_BARS) - 1) // top)] for c in counts)


def _print_infeasible(console: Console, result: dict[str, Any]) -> None:
    infeasible = result["infeasible"]
    console.print(f"\ninfeasible: {infeasible['share']:.0%} of {result['samples']} samples")
    for reason, count in infeasible["reasons"].items():
        console.print(f"  {count:4d}  {reason}", markup=False)
    if any(c.startswith("latency_ms") for c in result["constraints"]):
        console.print("  constraints on latency_ms are checked during the search only")


def _print_rules(console: Console, result: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table("rule", "effect", "acted", "why (paper)", "for example", box=None)
    for rule in [r for r in result["rules"] if r["acted"]]:
        why = f"{rule['why']} ({rule['source']})"
        table.add_row(rule["name"], rule["effect"], f"{rule['share']:.0%}", why, rule["example"])
    console.print(f"\nrules that acted, with {result['workers']} worker(s) per trial")
    console.print(table)
    idle = [r["name"] for r in result["rules"] if r["on"] and not r["acted"]]
    off = [r["name"] for r in result["rules"] if not r["on"]]
    console.print(f"on, did not act: {', '.join(idle) or 'none'}")
    console.print(f"off (rules.off): {', '.join(off) or 'none'}")


def _print_too_narrow(console: Console, narrow: dict[str, Any] | None) -> None:
    if narrow and narrow["most"] >= 0.01:
        console.print(
            f"\ntraining boxes that no level can learn, narrower than half a cell: {narrow['least']:.0%} "
            f"({narrow['least_at']}) to {narrow['most']:.0%} ({narrow['most_at']}), median {narrow['median']:.0%}",
            soft_wrap=True,
        )


def _print_time(console: Console, estimate: dict[str, Any]) -> None:
    if estimate["seconds"] is not None:
        wanted, fits = estimate["trials"], estimate["trials_in_time"]
        trials = f" for {wanted} trials" if wanted and (fits is None or fits >= wanted) else ""
        console.print(f"\nestimated time: [bold]{_duration(estimate['seconds'])}[/]{trials}")
        if fits is not None:
            few = f"; a search wants {ENOUGH} and more: give it longer" if fits < min(ENOUGH, wanted or ENOUGH) else ""
            limit = _duration(estimate["time_limit"])
            console.print(f"the time limit of {limit} has room for about {fits} trial{'s' * (fits != 1)}{few}")
    console.print(f"({estimate['assumption']})", markup=False)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
