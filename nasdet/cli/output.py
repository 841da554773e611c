"""What commands print about a study: one JSON object on standard output for `--json`, else a table and the commands
that may follow."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

    from nasdet.study_summary import FrontMember, Moments, Summary

SHOWN = {"ap": "AP", "ap50": "AP50", "latency_ms": "ms", "params_m": "M params", "gflops": "GMACs"}
"""Columns of the front: value -> heading."""
FILE_WIDTH = 120
"""Characters in a line where no terminal says how many fit."""


def print_json(value: dict[str, Any]) -> None:
    """One JSON object on stdout; NaN and infinity become null."""
    click.echo(json.dumps(_finite(value), indent=1))


def print_study(summary: Summary, as_json: bool, *, found: Sequence[str] = (), **more: Any) -> None:
    """The summary of a study, as JSON with the keys `more` added, or as the front with what was found, in sentences,
    and what to do next."""
    if as_json:
        print_json({**summary.to_json(), **more})
        return
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False, width=None if sys.stdout.isatty() else FILE_WIDTH)
    counts = ", ".join(f"{n} {state}" for state, n in summary.trials.by_state().items() if n)
    console.print(f"[bold]{escape(summary.study)}[/bold]: {summary.trials.total} trials trained ({counts})")
    if not summary.front:
        console.print("no trial was trained in full: no front yet", end="")
        console.print("" if _all_failed(summary) else " (more --time-limit or fewer --max-epochs help)")
        _print_failure(console, summary)
        return
    _print_front(console, summary)
    console.print(f"hypervolume {summary.hypervolume:.4g} to reference point {_point(summary)}")
    for line in (*doubts(summary), *found):
        console.print(escape(line), soft_wrap=True)
    _print_failure(console, summary)
    folder = escape(shlex.quote(summary.folder))
    steps = [f"ui {folder}", f"export {folder} --pick best --out best"]
    if _is_of_function(summary):
        steps[1] = f"pareto {folder} --plot front.html"
    for head, step in zip(("next:", "     "), steps, strict=True):
        console.print(f"{head} nasdet {step}", soft_wrap=True)


def _print_front(console: Console, summary: Summary) -> None:
    """The front's values, and of each member what a reader tells it by."""
    from rich.box import SIMPLE
    from rich.table import Table

    of_function = _is_of_function(summary)
    known = SHOWN if not of_function else {o.name: o.name for o in summary.objectives}
    names = [n for n in known if n in summary.front[0].values]
    title = "Pareto front (full budget)" if of_function else "Pareto front (full budget, validation split)"
    table = Table(title=title, title_justify="left", box=SIMPLE)
    headings = [h for n in names for h in (known[n], *(["90%"] if _in_doubt(n, summary) else []))]
    for name in ("trial", *headings, *(["parameters"] if of_function else ["norm", "batch", "lr"])):
        is_text = name in ("trial", "norm", "parameters")
        table.add_column(name, justify="left" if is_text else "right", no_wrap=name != "parameters")
    for member in summary.front:
        values = [cell for n in names for cell in _cells(n, member.values, summary)]
        table.add_row(member.trial, *values, *_told_apart(member))
    console.print(table)


def _told_apart(member: FrontMember) -> list[str]:
    """Norm, batch and rate of a detector; of a function its parameters."""
    from rich.markup import escape

    spec, recipe = member.spec, member.recipe
    if spec is None or recipe is None:
        shown = [f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in member.params.items()]
        return [escape(" ".join(shown))]
    return [spec["norm"]["kind"], str(recipe["batch_size"]), f"{recipe['base_lr']:.1e}"]


def _is_of_function(summary: Summary) -> bool:
    return any(member.spec is None for member in summary.front)


def _all_failed(summary: Summary) -> bool:
    return 0 < summary.trials.failed == summary.trials.total


def _print_failure(console: Console, summary: Summary) -> None:
    """Why the newest failed trial failed."""
    from rich.markup import escape

    if failure := summary.last_failure:
        console.print(escape(f"{failure.trial} failed: {failure.reason}"), soft_wrap=True)


def doubts(summary: Summary) -> list[str]:
    """What is not known of a front's order, what its repeats gave, and how random search did; a line each."""
    lines = []
    if pairs := summary.indistinct:
        named = ", ".join(f"{' over '.join(p.trials)} ({p.chance:.0%} sure)" for p in pairs)
        lines.append(f"cannot be told apart in {SHOWN.get(pairs[0].objective, '')} on these images: {named}")
    for member in summary.front:
        if repeats := member.repeats:
            figures = [f"{SHOWN[n]} {_moments(repeats.figures[n])}" for n in ("ap", "ap50") if n in repeats.figures]
            seeds = ", ".join(map(str, repeats.seeds))
            lines.append(f"{member.trial} trained again: {', '.join(figures)} (seeds {seeds})")
    if baseline := summary.baseline:
        budgets = f"{baseline.epochs} epochs, the search {baseline.search_epochs}"
        lines.append(f"random search with the same budget: hypervolume {baseline.hypervolume:.4g} ({budgets})")
    return lines


def _moments(value: Moments) -> str:
    spread = "" if value.std is None else f" ± {value.std:.3f}"
    return f"{value.mean:.3f}{spread}"


def _in_doubt(name: str, summary: Summary) -> bool:
    """Whether a column of the front has intervals to be shown beside it: those of the first such objective."""
    known = [o.name for o in summary.objectives if f"{o.name}_low" in summary.front[0].values]
    return known[:1] == [name]


def _cells(name: str, values: dict[str, float], summary: Summary) -> list[str]:
    cells = [f"{values[name]:.3g}"]
    if _in_doubt(name, summary):
        low, high = values.get(f"{name}_low"), values.get(f"{name}_high")
        cells.append("" if low is None or high is None else f"{low:.2f}-{high:.2f}")
    return cells


def _point(summary: Summary) -> str:
    pairs = zip(summary.objectives, summary.reference_point, strict=False)
    return ", ".join(f"{o.name} {v:.4g}" for o, v in pairs)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value
