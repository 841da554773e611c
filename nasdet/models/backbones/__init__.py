"""Backbones by kind, from images to feature maps of falling resolution.

A backbone publishes channels and strides of its levels; necks read those and nothing else. A new kind is one file, one
entry here and its specification in `space.backbones`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nasdet.models.backbones.dsod import DsodBackbone
from nasdet.models.backbones.pelee import PeleeNet
from nasdet.models.backbones.staged import StagedBackbone
from nasdet.models.backbones.timm_net import TimmBackbone
from nasdet.models.backbones.vgg import VggBackbone
from nasdet.models.backbones.vit import VitBackbone
from nasdet.models.layers import FeatureModule, Layers

Backbone = Callable[[Any, int, Sequence[int], Layers], FeatureModule]
BACKBONES: dict[str, Backbone] = {
    "staged": StagedBackbone,
    "dsod": DsodBackbone,
    "vgg": VggBackbone,
    "pelee": PeleeNet,
    "timm": TimmBackbone,
    "vit": VitBackbone,
}
"""Kind -> function (specification of that kind, image channels, wanted levels, layers) -> module.

Wanted levels are negative numbers, rising, counted from the last of the specification's `strides`; what lies behind the
last wanted level is not built. The module takes normalised images (B, C, H, W) and gives a list of the wanted levels.
"""

__all__ = ["BACKBONES", "Backbone"]
