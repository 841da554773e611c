"""The parent run's description: the front as a Markdown table and the commands that go on from it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from nasdet.study_summary import FrontMember, Summary

UNITS = {
    "latency_ms": "latency, ms",
    "params_m": "parameters, M",
    "gflops": "GFLOPs (multiply-adds)",
    "ap": "AP",
    "ap50": "AP50",
}
MAX_ROWS = 30


def study_note(summary: Summary, study_dir: Path, most: int) -> str:
    """Markdown for `mlflow.note.content` from a study's summary, of at most `most` characters: the table is shortened,
    never the commands."""
    trials, front = summary.trials.by_state(), summary.front
    head = f"Search of **{summary.space}** on **{summary.data}**, seed {summary.seed}."
    counts = ", ".join(f"{trials[k]} {k}" for k in ("complete", "stopped", "failed", "paused", "running") if trials[k])
    counts += f"; proposed but not trained: {trials['infeasible']} infeasible, {trials['duplicate']} duplicate"
    volume = f"{len(front)} on the front, hypervolume {summary.hypervolume:.4g} (reference {_point(summary)})"
    parts = [head, f"{summary.trials.total} trials: {counts}.", volume + ".", _commands(summary, study_dir)]
    room = most - len("\n\n".join([*parts, ""]))
    rows = next((n for n in range(MAX_ROWS, 0, -1) if len(_table(front, n)) <= room), 0)
    return "\n\n".join([*parts[:-1], _table(front, rows), parts[-1]])


def _point(summary: Summary) -> str:
    pairs = zip(summary.objectives, summary.reference_point, strict=True)
    return ", ".join(f"{o.name} {value:.4g}" for o, value in pairs)


def _table(front: Sequence[FrontMember], rows: int) -> str:
    if not front:
        return "No trial has been trained at the full budget yet."
    names = list(front[0].values)
    lines = ["| trial | " + " | ".join(UNITS.get(n, n) for n in names) + " |", "|---|" + "---:|" * len(names)]
    for member in front[:rows]:
        cells = [f"{v:.4g}" if (v := member.values.get(n)) is not None else "" for n in names]
        lines.append(f"| {member.trial} | " + " | ".join(cells) + " |")
    if len(front) > rows:
        lines.append(f"\n{len(front) - rows} more in front.json")
    return "\n".join(lines)


def next_commands(summary: Summary, study_dir: Path) -> list[tuple[str, str]]:
    """What can be done with the study, as (what it is for, command) with its real names."""
    study, data = shlex.quote(str(study_dir)), shlex.quote(summary.data)
    name = summary.study
    bundle, full = shlex.quote(f"{name}-knee"), shlex.quote(f"{name}-full")
    steps = [("go on, if it was interrupted", f"nasdet resume {study}")]
    if summary.front and summary.front[0].spec:
        steps += [
            ("take the knee of the front", f"nasdet export {study} --pick knee --out {bundle}"),
            ("train it in full", f"nasdet train {bundle} --data {data} --out {full}"),
            ("measure it", f"nasdet eval {full} --data {data}"),
        ]
    return [*steps, ("read the study as one page", f"nasdet analyze {study} --what report")]


def _commands(summary: Summary, study_dir: Path) -> str:
    lines = [command for _, command in next_commands(summary, study_dir)]
    return "Go on, export, train in full:\n\n```\n" + "\n".join(lines) + "\n```"
