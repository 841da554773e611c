"""The fewest systems of the literature that have every kind of part, for tests that run networks."""

from __future__ import annotations

import math
from collections.abc import Iterator

from nasdet.space.presets import SYSTEMS
from nasdet.space.specs import DetectorSpec


def kinds(spec: DetectorSpec) -> set[tuple[str, object]]:
    """What a test that runs networks must meet at least once: kinds of parts, and the variants of two-stage heads."""
    found: set[tuple[str, object]] = {
        ("backbone", spec.backbone.kind),
        ("neck", spec.neck.kind),
        ("head", spec.head.kind),
        ("norm", spec.norm.kind),
        ("activation", spec.activation),
    }
    if spec.head.kind == "rcnn":
        found |= {(name, getattr(spec.head, name)) for name in ("cascade", "mask", "ohem", "box_head", "roi_op")}
    return found


def _smallest_cover() -> Iterator[str]:
    """Greedy: the system with most kinds that are still missing, of several the one with fewest parameters."""
    missing = set().union(*(kinds(system.spec) for system in SYSTEMS.values()))
    while missing:
        best = max(
            SYSTEMS.values(), key=lambda s: (len(kinds(s.spec) & missing), -(s.published_params or math.inf), s.name)
        )
        missing -= kinds(best.spec)
        yield best.name


COVER: tuple[str, ...] = tuple(_smallest_cover())
"""Names of systems that have every kind together; a new kind is met as soon as a system that has it is listed."""
BACKBONES: dict[str, str] = {SYSTEMS[name].spec.backbone.kind: name for name in reversed(COVER)}
"""One system for each kind of backbone."""
