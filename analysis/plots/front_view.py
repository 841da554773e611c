"""What the pictures of a front show. The still and the interactive picture are both drawn from one `FrontView`, so that
they cannot differ."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from nasdet.evaluation.bootstrap import HIGH, LOW
from nasdet.pareto import Direction, FrontStep, as_costs, front, knee, non_dominated
from nasdet.study_summary import Summary
from nasdet.trial import TrialRecord

LABELS = {
    "ap": "AP (IoU 0.50:0.95, validation)",
    "ap50": "AP50 (validation)",
    "ap75": "AP75 (validation)",
    "latency_ms": "latency of one image (ms)",
    "params_m": "parameters (millions)",
    "gflops": "GFLOPs of one image (1e9 multiply-adds)",
}
SHOWN_VALUES = 5
"""Values of a part of a detector that its line shows."""
UNITS = {"latency_ms": " ms", "params_m": " M", "gflops": " GFLOPs"}


@dataclasses.dataclass(frozen=True)
class Axis:
    """One objective as an axis."""

    name: str
    direction: Direction

    @property
    def label(self) -> str:
        """Name, unit and which way is better."""
        better = "higher" if self.direction == "max" else "lower"
        return f"{LABELS.get(self.name, self.name)}, {better} is better"


@dataclasses.dataclass(frozen=True)
class FrontView:
    """A study ready to be drawn."""

    summary: Summary
    axes: tuple[Axis, ...]
    front: tuple[TrialRecord, ...]
    dominated: tuple[TrialRecord, ...]
    """Complete, and dominated."""
    low_budget: tuple[TrialRecord, ...]
    """Stopped, paused or running: measured below the full budget."""
    history: tuple[FrontStep, ...]

    @classmethod
    def of(cls, summary: Summary, records: Sequence[TrialRecord], history: Sequence[FrontStep]) -> FrontView:
        """Group the records of a study as the picture shows them."""
        axes = tuple(Axis(o.name, o.direction) for o in summary.objectives)
        measured = [r for r in records if all(np.isfinite(r.values.get(a.name, np.nan)) for a in axes)]
        members = front(measured, axes)
        on = {r.trial for r in members}
        dominated = tuple(r for r in measured if r.state == "complete" and r.trial not in on)
        low = tuple(r for r in measured if r.state in ("stopped", "paused", "running"))
        return cls(summary, axes, tuple(members), dominated, low, tuple(history))

    @property
    def title(self) -> str:
        """One line: what was searched."""
        return f"{self.summary.study}: {self.summary.space} on {self.summary.data}"

    @property
    def subtitle(self) -> str:
        """One line: budget, counts, hypervolume."""
        s, full = self.summary, max((r.epochs for r in (*self.front, *self.dominated)), default=0)
        counts = [f"{s.trials.total} trials", f"{s.trials.complete} at the full budget of {full} epochs"]
        counts += [f"{n} {k}" for k in ("stopped", "paused", "failed") if (n := s.trials.by_state()[k])]
        counts += [f"{len(self.front)} on the front", f"hypervolume {s.hypervolume:.4g}", f"seed {s.seed}"]
        return " · ".join(counts)

    def pairs(self) -> list[tuple[Axis, Axis]]:
        """Pairs of objectives to show against each other, (x, y); the first pair is the default."""
        if len(self.axes) == 1:
            return [(Axis("number", "min"), self.axes[0])]
        return [_across(a, b) for a, b in combinations(self.axes, 2)]

    def interval(self, record: TrialRecord, axis: Axis) -> tuple[float, float] | None:
        """Confidence interval of a trial's value; None where none was computed."""
        low, high = (record.values.get(axis.name + end, np.nan) for end in (LOW, HIGH))
        return (low, high) if np.isfinite(low) and np.isfinite(high) else None

    def unclear(self) -> set[str]:
        """Members of the front that cannot be told apart from a neighbour (`nasdet.search.records.summary`)."""
        return {trial for pair in self.summary.indistinct for trial in pair.trials}

    def marked(self, x: Axis, y: Axis) -> dict[str, str]:
        """Labels of the members of the front that stand out in a pair of axes, by trial."""
        if not self.front:
            return {}
        names: dict[str, list[str]] = {}
        for axis in (y, x):
            costs = as_costs([[value(r, axis)] for r in self.front], [axis.direction])
            names.setdefault(self.front[int(costs.argmin())].trial, []).append(_superlative(axis))
        if len(self.axes) > 1:
            table = [[value(r, a) for a in self.axes] for r in self.front]
            middle = self.front[knee(table, [a.direction for a in self.axes])]
            names.setdefault(middle.trial, []).append("knee")
        return {trial: f"{trial}: {', '.join(words)}" for trial, words in names.items()}


def value(record: TrialRecord, axis: Axis) -> float:
    """Position of a trial on an axis; the axis "number" is the order of the trials."""
    return float(record.number if axis.name == "number" else record.values[axis.name])


def interval_reach(record: TrialRecord, axis: Axis) -> tuple[float, float]:
    """How far the interval of a trial's value reaches below and above it; 0 where none is known."""
    known = record.values.get(axis.name, 0.0)
    low, high = (record.values.get(axis.name + end, known) for end in (LOW, HIGH))
    return max(0.0, known - low), max(0.0, high - known)


def staircase(records: Sequence[TrialRecord], x: Axis, y: Axis) -> tuple[list[float], list[float]]:
    """Corners of the front in two objectives, from left to right; dominated points lie behind the steps."""
    if not records:
        return [], []
    table = np.array([[value(r, x), value(r, y)] for r in records])
    table = table[non_dominated(table, [x.direction, y.direction])]
    table = np.unique(table, axis=0)
    if x.direction == "max":  # walk from the best x to the worst, as the other way round
        table = table[::-1]
    xs, ys = [float(table[0, 0])], [float(table[0, 1])]
    for px, py in table[1:].tolist():
        xs += [px, px]
        ys += [ys[-1], py]
    return xs, ys


def architecture(record: TrialRecord) -> list[str]:
    """The detector in a few lines; the sampled parameters if there is no specification."""
    spec = record.spec
    if not spec:
        return [f"{k} = {f'{v:.4g}' if isinstance(v, float) else v}" for k, v in record.params.items()]
    image, body, neck, head = spec["input"], spec["backbone"], spec["neck"], spec["head"]
    lines = [
        f"input {image['height']}x{image['width']}x{image['channels']}, {spec['norm']['kind']}, {spec['activation']}",
        f"backbone {_part(body)}",
        f"neck {_part(neck)}",
        f"head {_part(head)}",
    ]
    if body["kind"] == "staged":
        stages = ", ".join(_stage(s) for s in body["stages"])
        lines[1] = f"backbone {body['stem']} {body['stem_width']}, {body['block']} blocks {stages}"
    return lines


def _part(values: dict[str, Any]) -> str:
    """A part of any kind: its kind and the first of its plain values."""
    plain = [f"{k} {v}" for k, v in values.items() if k not in ("kind", "classes") and not isinstance(v, list | dict)]
    return f"{values['kind']} {', '.join(plain[:SHOWN_VALUES])}".rstrip()


def training(record: TrialRecord) -> list[str]:
    """The recipe in two lines."""
    recipe = record.recipe
    if not recipe:
        return []
    return [
        f"{recipe['optimizer']}, lr {recipe['base_lr']:.3g} at 16 images, batch {recipe['batch_size']}, "
        f"weight decay {recipe['weight_decay']:.3g}",
        f"{recipe['schedule']}, warm-up {recipe['warmup']:g}, EMA {recipe['ema']:g}, drop path "
        f"{recipe['drop_path']:g}, augmentation {recipe['augment']['strength']:g}",
    ]


def measured(record: TrialRecord) -> list[str]:
    """The known values with their units and intervals."""
    known = {k: v for k, v in record.values.items() if np.isfinite(v)}
    ends = {k: (known[k + LOW], known[k + HIGH]) for k in known if {k + LOW, k + HIGH} <= known.keys()}
    hidden = {k + end for k in ends for end in (LOW, HIGH)}
    intervals = {k: f" ({low:.3g} to {high:.3g})" for k, (low, high) in ends.items()}
    return [f"{k} {v:.4g}{UNITS.get(k, '')}{intervals.get(k, '')}" for k, v in known.items() if k not in hidden]


def _stage(stage: dict[str, Any]) -> str:
    dilation = f" dilation {stage['dilation']}" if stage["dilation"] > 1 else ""
    return f"{stage['depth']}x{stage['width']}/{stage['stride']}{dilation}"


def _across(a: Axis, b: Axis) -> tuple[Axis, Axis]:
    """(x, y); an objective that is maximised becomes y."""
    return (b, a) if a.direction == "max" or b.direction == "min" else (a, b)


def _superlative(axis: Axis) -> str:
    known = {
        "ap": "best AP",
        "ap50": "best AP50",
        "latency_ms": "fastest",
        "params_m": "smallest",
        "gflops": "cheapest",
    }
    return known.get(axis.name, f"best {axis.name}")
