"""The systems of the literature. Each is a specification for the common builder, with the published figures beside it,
and has no code of its own, so that it can be trained, searched and exported like any other detector."""

from __future__ import annotations

from nasdet.space.presets.dense import SYSTEMS as DENSE
from nasdet.space.presets.dsod import SYSTEMS as DSOD
from nasdet.space.presets.lsj import SYSTEMS as LSJ
from nasdet.space.presets.pelee import SYSTEMS as PELEE
from nasdet.space.presets.rcnn import SYSTEMS as RCNN
from nasdet.space.presets.scratchdet import SYSTEMS as SCRATCHDET
from nasdet.space.presets.ssd import SYSTEMS as SSD
from nasdet.space.presets.system import Counts, System, deep_merge, tiny_spec
from nasdet.space.presets.tal import SYSTEMS as TAL

_ALL = (
    *TAL,
    *RCNN,
    *DSOD,
    *SSD,
    *PELEE,
    *SCRATCHDET,
    *DENSE,
    *LSJ,
)

SYSTEMS: dict[str, System] = {system.name: system for system in _ALL}
"""Presets by name."""
assert len(SYSTEMS) == len(_ALL), "two systems share a name"

__all__ = ["SYSTEMS", "Counts", "System", "deep_merge", "tiny_spec"]
