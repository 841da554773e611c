"""`nasdet status`."""

from __future__ import annotations

import dataclasses
import shlex
from typing import TYPE_CHECKING, Any

import click

from nasdet.cli.options import complete_path

if TYPE_CHECKING:
    from nasdet.search import StudyStore


@click.command("status")
@click.argument("study", required=False, metavar="[STUDY]", shell_complete=complete_path)
@click.option("--profile", is_flag=True, help="Also where the time went.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def command(study: str | None, profile: bool, as_json: bool) -> None:
    """Where STUDY (a folder or a name; left out: the newest) stands, also while it runs.

    \b
    Example:
      nasdet status --profile
    """
    from nasdet.cli.output import print_study
    from nasdet.search import open_study, summarise
    from nasdet.search.records.baseline import lacks_baseline
    from nasdet.search.records.owner import owner_of

    store = open_study(study)
    owner = owner_of(store.dir)
    more: dict[str, Any] = {"owner": dataclasses.asdict(owner) if owner else None}
    seconds = _profile(store) if profile else {}
    if profile:
        more["profile"] = seconds
    print_study(summarise(store), as_json, **more)
    if not as_json:
        if owner is not None:
            click.echo(f"running: {owner}")
        elif not store.config.finished or lacks_baseline(store):
            click.echo(f"not running; go on with: {shlex.join(['nasdet', 'resume', str(store.dir)])}")
        for name, value in seconds.items():
            click.echo(f"{name.replace('_', ' '):<32} {value:.2f}")


def _profile(store: StudyStore) -> dict[str, float]:
    """Seconds of the whole study by what they were spent on; group start by its phases; how the last run used its
    groups."""
    records = store.records()
    wall = store.config.wall_seconds
    train = sum(r.train_seconds for r in records)
    overhead = sum(r.overhead_seconds for r in records)
    starts = store.config.group_starts
    phases: dict[str, float] = {}
    if starts:
        first = starts[0]
        phases = {
            "group_start_seconds": first.ready - first.created,
            "group_start_processes": first.entered - first.created,
            "group_start_imports": first.imported - first.entered,
            "group_start_data": first.ready - first.imported,
        }
    if use := store.config.group_use:
        phases |= {"groups": use.groups, "groups_busy_share": use.busy_share, "group_starts": use.started}
    return {"wall_seconds": wall, "train_seconds": train, "overhead_seconds": overhead, **phases}
