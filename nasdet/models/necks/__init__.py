"""Necks by kind: functions of what the backbone publishes and the neck's specification.

The module publishes channels and strides of its own levels, from high to low resolution. A new kind is one file, one
entry here and its specification in `space.necks`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nasdet.models.layers import FeatureModule, Layers
from nasdet.models.necks.bifpn import BiFPN
from nasdet.models.necks.dsod import DsodDense, DsodPlain
from nasdet.models.necks.extra_levels import ExtraLevels, ResidualPrediction
from nasdet.models.necks.pyramid import FPN, PAN, Laterals

Neck = Callable[[Sequence[int], Sequence[int], Any, Layers], FeatureModule]
NECKS: dict[str, Neck] = {
    "none": Laterals,
    "fpn": FPN,
    "pan": PAN,
    "dsod": DsodDense,
    "dsod_plain": DsodPlain,
    "ssd": ExtraLevels,
    "pelee": ResidualPrediction,
    "bifpn": BiFPN,
}
"""Kind -> function (channels, strides, specification of that kind, layers) -> module."""

__all__ = ["NECKS", "Neck"]
