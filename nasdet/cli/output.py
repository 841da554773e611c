"""What commands print about a study. One decision: `--json` puts one JSON object on stdout; without it, the table and
the next commands to run."""

from __future__ import annotations

import json
from typing import Any

import click

SHOWN = {"ap": "AP", "ap50": "AP50", "latency_ms": "ms", "params_m": "M params", "gflops": "GMACs"}
"""Columns of the front: value -> heading."""


def print_json(value: dict[str, Any]) -> None:
    """One JSON object on stdout; NaN and infinity become null."""
    click.echo(json.dumps(_finite(value), indent=1))


def print_study(summary: dict[str, Any], as_json: bool) -> None:
    """The summary of a study, as JSON or as the front with what to do next."""
    if as_json:
        print_json(summary)
        return
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    counts = ", ".join(f"{n} {state}" for state, n in summary["trials"].items() if n and state != "total")
    console.print(f"[bold]{escape(summary['study'])}[/bold]: {summary['trials']['total']} trials trained ({counts})")
    if not summary["front"]:
        console.print("no trial was trained in full yet: no front (more --time-limit or fewer --max-epochs help)")
        return
    names = [n for n in SHOWN if n in summary["front"][0]["values"]]
    table = Table(title="Pareto front (full budget, validation split)", title_justify="left", box=SIMPLE)
    for name in ("trial", *(SHOWN[n] for n in names), "norm", "batch", "lr"):
        table.add_column(name, justify="left" if name in ("trial", "norm") else "right", no_wrap=True)
    for member in summary["front"]:
        values = [f"{member['values'][n]:.3g}" for n in names]
        spec, recipe = member["spec"], member["recipe"]
        shape = [spec["norm"]["kind"], str(recipe["batch_size"]), f"{recipe['base_lr']:.1e}"] if spec else ["", "", ""]
        table.add_row(member["trial"], *values, *shape)
    console.print(table)
    console.print(f"hypervolume {summary['hypervolume']:.4g} to reference point {_point(summary)}")
    folder = escape(summary["folder"])
    console.print(f"next: nasdet ui {folder}", soft_wrap=True)
    console.print(f"      nasdet export {folder} --pick best --out best", soft_wrap=True)


def _point(summary: dict[str, Any]) -> str:
    pairs = zip(summary["objectives"], summary["reference_point"], strict=False)
    return ", ".join(f"{o['name']} {v:.4g}" for o, v in pairs)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value
