"""Backbones from timm: any of its networks by name, and plain vision transformers made of its blocks. The specification
publishes levels of stride 4 to 32 without asking timm; if a network lacks one that is used, building it fails."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator

from nasdet.space.spec_base import Blocks, Positive, Spec


class TimmSpec(Spec):
    """A network of timm that offers the features of its stages; never pre-trained."""

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


class VitSpec(Spec):
    """A plain vision transformer with four maps for detection (Li et al. 2021, Benchmarking Detection Transfer Learning
    with Vision Transformers). It has no class token and no norm after the last block."""

    kind: Literal["vit"] = "vit"
    embed_dim: Positive = 768
    """Channels of a token and of every level: 192 (Ti), 384 (S), 768 (B), 1024 (L)."""
    depth: Blocks = 12
    """Number of blocks."""
    heads: Positive = 12
    """Attention heads, reduced to the largest divisor of `embed_dim`."""
    mlp_ratio: Annotated[float, Field(gt=0, le=16)] = 4.0
    """Inner over outer channels of the perceptron of a block."""
    patch: Literal[8, 16, 32] = 16
    """Side of a patch in pixels; the levels have a quarter, half, once and twice this stride."""
    window: Annotated[int, Field(ge=0)] = 14
    """Side in patches of the windows that attention stays in, except in the global blocks; 0: all blocks are global."""
    global_blocks: Annotated[int, Field(ge=0)] = 4
    """Blocks that attend to the whole image: the last one of each of that many equal parts of the depth;
    more than the depth: all."""
    position: Literal["absolute", "relative", "both", "none"] = "absolute"
    """absolute: an embedding per patch; relative: a bias per offset, head and block in attention."""
    grid: Positive = 14
    """Side in patches of the images whose positions are learnt; those of other sizes are interpolated."""
    taps: Literal["spread", "last"] = "spread"
    """Where the levels are taken: after each quarter of the blocks, or all after the last (ViTDet)."""

    @property
    def strides(self) -> tuple[int, ...]:
        """Pixels per cell of the four levels."""
        return self.patch // 4, self.patch // 2, self.patch, self.patch * 2
