"""`System`: a detector of the literature with its published figures, and what each published size counts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from nasdet.space.specs import DetectorSpec

Counts = Literal["trainable", "with_statistics", "backbone", "trunk"]
"""What a published number of parameters counts: trainable: of the whole detector, as torch does; with_statistics:
and the running means and variances of batch norms (bytes of a Caffe model / 4); backbone: of the backbone alone;
trunk: of a vision transformer without the maps made of it."""


@dataclasses.dataclass(frozen=True)
class System:
    """One detector of the literature."""

    name: str
    spec: DetectorSpec
    """As published: input, classes, norm."""
    recipe: str
    """Name in `trainers/recipes`."""
    source: str
    """Paper or code, with table or file."""
    init: str
    """Initialisation of the published result: random, or what it was pre-trained on."""
    tiny: Mapping[str, Any]
    """What is laid over the specification for tests: small widths and depths, the same kinds of parts."""
    published_params: float | None = None
    """Number of parameters its source states, counted as `counts` says."""
    published_macs: float | None = None
    """Multiply-adds of one image that its source states."""
    counts: Counts = "trainable"
    result: str = ""
    """Published accuracy, with data set and metric."""
    note: str = ""
    """What differs from the source, or what is uncertain about it."""


def tiny_spec(system: System, **fields: Any) -> DetectorSpec:
    """A small relative of `system` with the same kinds of parts; `fields` are laid over it as well."""
    tree = deep_merge(system.spec.to_json(), system.tiny)
    return DetectorSpec.model_validate(deep_merge(tree, fields))


def deep_merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the values of `over` in place of its own; mappings are merged key by key, lists replaced."""
    merged = dict(base)
    for key, value in over.items():
        inner = merged.get(key)
        both = isinstance(inner, Mapping) and isinstance(value, Mapping)
        merged[key] = deep_merge(inner, value) if both else value  # type: ignore[arg-type]
    return merged
