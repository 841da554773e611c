"""The search space around a start point; no PyTorch."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

AUTO = "auto"
"""Stands for a space that follows from the data."""
ROOM = 2.0
"""Multiply-adds of the dearest candidate, in those of the start point."""


def is_auto(space: object) -> bool:
    """Whether the space is to follow from the data: none is given, or the name `auto`, which no file here has."""
    return space is None or (isinstance(space, str) and space == AUTO and not Path(AUTO).exists())


@dataclasses.dataclass(frozen=True)
class Start:
    """What differs between spaces that write themselves."""

    size: int
    """Longer side of the input in pixels, a multiple of 32."""
    stride: int
    """Of the finest level, 4 or 8."""
    width: int
    """Channels of the first stage."""
    flips: bool = True
    """Whether a mirrored image is as likely."""
    batch: int = 8
    epochs: int = 12
    """Of a candidate in full."""


def space_around(start: Start) -> dict[str, Any]:
    """The space as `nasdet.space.parse_space` takes it, without data, limits of time and constraints."""
    fine = start.stride == 4
    sizes = sorted({max(32, round(start.size * share / 32) * 32) for share in (0.75, 1.0, 1.25)})
    return {
        "name": "auto",
        "fixed": {
            "input": {"shape": "auto"},
            "backbone": {"first_stride": 4, "stages": [{}, {"stride": 2}, {"stride": 2}, {}]},
            **({} if fine else {"neck": {"min_stride": 8}}),
            "recipe": {"optimizer": "muon", "augment": {"hflip": start.flips}},
        },
        "space": {
            "input.size": _choice(*sizes),
            **({"neck.min_stride": _choice(4, 8)} if fine else {}),
            "backbone.width": _range(max(8, start.width - 16), start.width + 16, 8),
            "backbone.stem": _choice("deep3x3", "conv3x3"),
            "backbone.stem_width": _range(16, 32, 8),
            "backbone.block": _choice("basic", "dark", "edge", "csp"),
            "backbone.growth": _choice(1.5, 2.0),
            "backbone.bottleneck_ratio": _choice(0.5, 1.0),
            "backbone.stages.0.depth": _range(1, 2),
            "backbone.stages.1.depth": _range(1, 3),
            "backbone.stages.2.depth": _range(1, 3),
            "backbone.stages.3.depth": _range(0, 2),
            "backbone.stages.3.stride": _choice(1, 2, when={"backbone.stages.3.depth": [1, 2]}),
            "neck.kind": _choice("fpn", "pan"),
            "neck.width": _range(32, 96, 16),
            "head.width": _range(32, 96, 16),
            "head.depth": _range(1, 2),
            "head.bins": _choice(1, 16),
            "activation": _choice("relu", "silu"),
            "norm.kind": _choice("bn", "gn"),
            "recipe.batch_size": _choice(*sorted({max(2, start.batch // 2), start.batch, start.batch * 2})),
            "recipe.base_lr": {"kind": "float", "low": 0.001, "high": 0.008, "log": True},
            "recipe.weight_decay": {"kind": "float", "low": 0.001, "high": 0.1, "log": True},
            "recipe.ema": _choice(1.0, 2.0, 4.0),
            "recipe.augment.strength": {"kind": "float", "low": 0.1, "high": 0.6},
            "recipe.augment.mosaic": _choice(0.0, 0.5),
            **({"recipe.augment.vflip": _choice(False, True)} if start.flips else {}),
        },
        "objectives": [{"name": "ap"}, {"name": "latency_ms"}],
        "budget": {"epochs": start.epochs, "rungs": sorted({max(1, round(start.epochs / 4)), start.epochs})},
        "scheduler": {"kind": "halving", "eta": 3},
        "resources": {"workers": 1},
        "latency": {"threads": 1},
        "points": _points(start),
    }


def _points(start: Start) -> list[dict[str, Any]]:
    """The start point, and one that differs in what is hardest to foresee."""
    first = {
        "input.size": start.size,
        **({"neck.min_stride": 4} if start.stride == 4 else {}),
        "backbone.width": start.width,
        "backbone.stem": "deep3x3",
        "backbone.stem_width": 24 if start.width >= 24 else 16,
        "backbone.block": "basic",
        "backbone.growth": 2.0,
        "backbone.bottleneck_ratio": 1.0,
        "backbone.stages.0.depth": 1,
        "backbone.stages.1.depth": 1,
        "backbone.stages.2.depth": 2,
        "backbone.stages.3.depth": 0,
        "neck.kind": "pan",
        "neck.width": 64,
        "head.width": 64,
        "head.depth": 1,
        "head.bins": 16,
        "activation": "silu",
        "norm.kind": "bn",
        "recipe.batch_size": start.batch,
        "recipe.base_lr": 0.004,
        "recipe.weight_decay": 0.02,
        "recipe.ema": 2.0,
        "recipe.augment.strength": 0.3,
        "recipe.augment.mosaic": 0.0,
        **({"recipe.augment.vflip": True} if start.flips else {}),
    }
    second = {**first, "norm.kind": "gn", "backbone.block": "dark", "head.width": 48}
    if start.flips:
        second["recipe.augment.vflip"] = False
    return [first, second]


def _choice(*values: Any, when: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"kind": "choice", "values": list(values), **({"when": when} if when else {})}


def _range(low: int, high: int, step: int = 1) -> dict[str, Any]:
    return {"kind": "int", "low": low, "high": high, **({"step": step} if step > 1 else {})}
