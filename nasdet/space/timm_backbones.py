"""Backbones that timm provides: any of its networks by name. One decision: levels are published by the specification as
strides 4 to 32 without asking timm, and a network that lacks a wanted one is an error of the build."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import field_validator

from nasdet.space.base import Spec


class TimmSpec(Spec):
    """A network of timm that can put out its features, never pre-trained."""

    kind: Literal["timm"] = "timm"
    name: str = "resnet50"
    """Name of an architecture in timm, without the tag of any weights: resnet50, regnety_040, convnext_tiny."""
    output_stride: Literal[8, 16, 32] = 32
    """Stages that would be coarser keep this stride and are dilated instead, where the network can (ResNet, RegNet)."""

    @field_validator("name")
    @classmethod
    def _plain(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9_]+", name):
            raise ValueError(f"name {name!r} must be one of an architecture such as resnet50, without tag or address")
        return name

    @property
    def strides(self) -> tuple[int, ...]:
        """Pixels per cell of the four levels."""
        return tuple(min(stride, self.output_stride) for stride in (4, 8, 16, 32))
