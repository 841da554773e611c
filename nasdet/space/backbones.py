"""Specifications of the kinds of backbones. Each publishes the strides of its levels, so that a search chooses levels
without building a network. Every dimension that a paper varies is a field."""

from __future__ import annotations

import itertools
import operator
from typing import Annotated, Literal, get_args

from pydantic import Field, field_validator

from nasdet.space.spec_base import MOST_LEVELS, Blocks, Positive, Spec, by_kind
from nasdet.space.timm_backbones import TimmSpec, VitSpec

STEM_STRIDES = {"conv3x3": 2, "deep3x3": 4, "conv7x7_pool": 4, "root": 2}
"""Stride of each stem of a staged backbone."""


class StageSpec(Spec):
    """A run of equal blocks; the first one changes resolution and width."""

    depth: Annotated[int, Field(ge=0, le=64)] = 1
    """Number of blocks; 0 leaves the stage out."""
    width: Positive = 64
    """Output channels."""
    stride: Literal[1, 2] = 2
    """Stride of the first block."""
    dilation: Annotated[int, Field(ge=1, le=8)] = 1
    """Dilation of the 3x3 convolutions; 2 with stride 1 is a DetNet stage."""
    bottleneck_ratio: Annotated[float, Field(gt=0, le=4)] | None = None
    """Inner over outer channels of this stage's blocks; null: that of the backbone."""


class StagedSpec(Spec):
    """A staged convolutional backbone built from timm's blocks."""

    kind: Literal["staged"] = "staged"
    stem: Literal["conv3x3", "deep3x3", "conv7x7_pool", "root"] = "deep3x3"
    """conv3x3: one 3x3/2 (stride 2); deep3x3: 3x3/2, 3x3, 3x3/2 (stride 4); conv7x7_pool: 7x7/2 and max pooling
    (stride 4, ResNet); root: three 3x3 stride 1 and max pooling (stride 2, ScratchDet's root block)."""
    stem_width: Positive = 32
    """Output channels of the stem."""
    block: Literal["basic", "bottleneck", "dark", "edge", "csp", "elan"] = "basic"
    """basic: 3x3-3x3; bottleneck: 1x1-3x3-1x1; dark: 1x1-3x3; edge: 3x3-1x1; csp: a cross-stage partial stage of dark
    blocks; elan: dark blocks in a chain of which every one's output is kept (YOLOv7, YOLOv8)."""
    bottleneck_ratio: Annotated[float, Field(gt=0, le=4)] = 0.5
    """Inner over outer channels of a block (bottleneck, dark, edge, csp, elan; basic: of its first convolution)."""
    stride_in: Literal["3x3", "1x1"] = "3x3"
    """Which convolution of a bottleneck block has the stride: the 3x3 (PyTorch's ResNet) or the first 1x1 (Caffe's, as
    He et al. published it: fewer multiply-adds, drops three quarters of the input)."""
    groups: Positive = 1
    """Groups of the 3x3 convolutions, reduced to the largest divisor of the channels."""
    stages: Annotated[tuple[StageSpec, ...], Field(max_length=MOST_LEVELS)] = (
        StageSpec(width=32, stride=1),
        StageSpec(width=64),
        StageSpec(width=128),
    )
    """From high to low resolution."""

    @field_validator("stages")
    @classmethod
    def _drop_empty(cls, stages: tuple[StageSpec, ...]) -> tuple[StageSpec, ...]:
        kept = tuple(s for s in stages if s.depth)
        if not kept:
            raise ValueError("a backbone needs at least one stage with depth >= 1")
        return kept

    @property
    def strides(self) -> tuple[int, ...]:
        """Pixels per cell of every stage."""
        steps = (s.stride for s in self.stages)
        return tuple(itertools.accumulate(steps, operator.mul, initial=STEM_STRIDES[self.stem]))[1:]


class DsodSpec(Spec):
    """DSOD's dense backbone (Shen et al. 2017): DS/64-192-48-1 is stem_width-bottleneck-growth_rate-compression.

    The first block works at stride 4, the second at 8, the others at 16; the two levels are the ends of the second and
    of the last block.
    """

    kind: Literal["dsod"] = "dsod"
    stem: Literal["dsod", "conv7x7_pool"] = "dsod"
    """dsod: 3x3/2, 3x3, 3x3 and 2x2 max pooling; conv7x7_pool: 7x7/2 and 3x3/2 max pooling, as in DenseNet."""
    stem_width: Positive = 64
    """Channels of the first two convolutions of the stem; its output has twice as many."""
    bottleneck: Positive = 192
    """Channels of the 1x1 convolution of a dense layer."""
    growth_rate: Positive = 48
    """Channels that each dense layer adds."""
    compression: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the channels of a block that its transition keeps."""
    depths: tuple[Blocks, ...] = (6, 8, 8, 8)
    """Layers of each block. With three blocks there is no transition without pooling between the last two."""
    last_width: Annotated[int, Field(ge=0)] = 256
    """Channels of the last transition; 0: by `compression` like the others (plain prediction)."""

    @field_validator("depths")
    @classmethod
    def _reaches_stride_16(cls, depths: tuple[int, ...]) -> tuple[int, ...]:
        if not 3 <= len(depths) <= 8:
            raise ValueError(f"depths must have 3 to 8 blocks, got {len(depths)}")
        return depths

    @property
    def strides(self) -> tuple[int, ...]:
        """Pixels per cell of both levels."""
        return 8, 16


class VggSpec(Spec):
    """VGG as SSD uses it (Liu et al. 2016): five blocks of 3x3 convolutions with max pooling between them; the last one
    is pooled at stride 1 and goes on into a dilated 3x3 and a 1x1 convolution, which were fully connected layers."""

    kind: Literal["vgg"] = "vgg"
    widths: tuple[Positive, Positive, Positive, Positive, Positive] = (64, 128, 256, 512, 512)
    """Channels of each block."""
    depths: tuple[Blocks, Blocks, Blocks, Blocks, Blocks] = (2, 2, 3, 3, 3)
    """3x3 convolutions of each block; these are VGG16's."""
    fc_width: Positive = 1024
    """Channels of the two last convolutions."""
    fc_dilation: Annotated[int, Field(ge=1, le=12)] = 6
    """Dilation of the first of them, the 3x3 convolution."""

    @property
    def strides(self) -> tuple[int, ...]:
        """Pixels per cell of the first four blocks and of the last convolution."""
        return (1, 2, 4, 8, 16)


class PeleeSpec(Spec):
    """PeleeNet (Wang et al. 2018): a stem of two branches, then blocks of two-way dense layers, each closed by a 1x1
    convolution that keeps the number of channels; average pooling between blocks."""

    kind: Literal["pelee"] = "pelee"
    stem_width: Positive = 32
    """Channels of the stem."""
    growth_rate: Annotated[int, Field(ge=2)] = 32
    """Channels that a dense layer adds, half by each branch."""
    depths: Annotated[tuple[Blocks, ...], Field(min_length=1, max_length=6)] = (3, 4, 8, 6)
    """Dense layers of each block."""
    bottlenecks: Annotated[tuple[Positive, ...], Field(min_length=1)] = (1, 2, 4, 4)
    """Channels of each branch's 1x1 convolution over those that the branch adds, block by block; the last entry holds
    for further blocks."""

    @property
    def strides(self) -> tuple[int, ...]:
        """Pixels per cell of every block."""
        return tuple(4 * 2**i for i in range(len(self.depths)))


_Kinds = StagedSpec | DsodSpec | VggSpec | PeleeSpec | TimmSpec | VitSpec
BACKBONE_SPECS: tuple[type[Spec], ...] = get_args(_Kinds)
"""All kinds of backbones; each class publishes `strides`, the pixels per cell of every level that it offers."""

BackboneSpec = Annotated[_Kinds, Field(discriminator="kind"), by_kind("backbone", BACKBONE_SPECS)]
"""A backbone of any kind; without `kind` a staged one."""
