"""Specifications of the kinds of necks. The levels of the backbone that feed a neck are counted from the last one, so
that a choice keeps its meaning when stages are added at the front."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field, field_validator

from nasdet.space.spec_base import MOST_LEVELS, Positive, Spec, by_kind


class LevelsSpec(Spec):
    """Base of all necks."""

    levels: tuple[int, ...] = (-2, -1)
    """Which backbone stages feed the neck, counted from the last one: -1 is the last stage, -2 the one before."""

    @field_validator("levels")
    @classmethod
    def _levels(cls, levels: tuple[int, ...]) -> tuple[int, ...]:
        if not levels or any(i >= 0 for i in levels) or list(levels) != sorted(set(levels)):
            raise ValueError(f"levels must be rising negative stage numbers such as [-3, -2, -1], got {list(levels)}")
        return levels


class PyramidSpec(LevelsSpec):
    """Mixes backbone features of several resolutions into levels of equal width."""

    kind: Literal["none", "fpn", "pan"] = "pan"
    """none: 1x1 convolutions only; fpn: top-down sums (Lin et al. 2017); pan: top-down and bottom-up."""
    width: Positive = 64
    """Channels of every output level."""
    depth: Annotated[int, Field(ge=0, le=8)] = 1
    """Convolutions (fpn) or blocks (pan) per fusion."""
    extra_levels: Annotated[int, Field(ge=0, le=3)] = 0
    """Further levels, each at half the resolution of the one before (P6, P7)."""
    extra: Literal["conv", "pool"] = "conv"
    """What makes further levels: 3x3 stride-2 convolutions, or every second cell (Faster R-CNN)."""
    plain: bool = False
    """Convolutions have a bias, neither norm nor activation, as published for fpn and in torchvision; the further
    levels have a ReLU between them. The blocks of a pan stay as they are."""
    plain_norm: bool = False
    """Of plain convolutions: whether they have the detector's norm instead of a bias (Mask R-CNN from scratch)."""


class DsodNeckSpec(LevelsSpec):
    """DSOD's prediction layers: further levels, each half the size of the one before (Shen et al. 2017)."""

    kind: Literal["dsod", "dsod_plain"] = "dsod"
    """dsod: dense prediction, every level also holds the pooled one before it; dsod_plain: 1x1 and 3x3/2 as in SSD."""
    join_width: Positive = 256
    """Channels of the pooled first scale inside the second (dense prediction only)."""
    halves: Annotated[tuple[Positive, ...], Field(max_length=MOST_LEVELS)] = (256, 128, 128, 128)
    """Half of the channels of each further level: of each of its two parts (dense), or of the 1x1 (plain)."""


class BiFpnSpec(LevelsSpec):
    """BiFPN of EfficientDet (Tan et al. 2020)."""

    kind: Literal["bifpn"] = "bifpn"
    width: Positive = 64
    """Channels of every output level."""
    repeats: Annotated[int, Field(ge=1, le=12)] = 3
    """How often the levels are mixed, top-down and bottom-up."""
    extra_levels: Annotated[int, Field(ge=0, le=3)] = 0
    """Further levels by max pooling of the last one (P6, P7)."""


class ExtraSpec(Spec):
    """A level below the backbone's: 1x1 to `squeeze` and 3x3 to `width` channels."""

    squeeze: Positive = 128
    """Channels between the two."""
    width: Positive = 256
    """Channels of the level."""
    stride: Literal[1, 2] = 2
    """2: half the cells of the level above; 1: two cells fewer in each direction, because nothing is padded."""


class ExtraLevelsSpec(LevelsSpec):
    """Extra layers of SSD (Liu et al. 2016) below the backbone's levels, which are passed on unchanged."""

    kind: Literal["ssd"] = "ssd"
    extras: Annotated[tuple[ExtraSpec, ...], Field(max_length=MOST_LEVELS)] = (
        ExtraSpec(squeeze=256, width=512),
        ExtraSpec(),
        ExtraSpec(stride=1),
        ExtraSpec(stride=1),
    )
    """From high to low resolution; empty: only the backbone's levels."""
    extra_norm: bool = True
    """Whether their convolutions have the detector's norm, or a bias instead."""


class ResidualPredictionSpec(LevelsSpec):
    """Pelee's (Wang et al. 2018): extra layers, and a residual block on every level before the head predicts."""

    kind: Literal["pelee"] = "pelee"
    extras: Annotated[tuple[ExtraSpec, ...], Field(max_length=MOST_LEVELS)] = (
        ExtraSpec(squeeze=256),
        ExtraSpec(stride=1),
        ExtraSpec(stride=1),
    )
    """From high to low resolution."""
    extra_norm: bool = False
    """Whether their convolutions have the detector's norm, or a bias instead."""
    width: Positive = 256
    """Channels of every output level."""
    bottleneck_ratio: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Inner over outer channels of the residual blocks."""
    repeat_first: bool = True
    """Whether the first level is passed on twice, so that the head predicts boxes of two scales from it."""


_Kinds = PyramidSpec | DsodNeckSpec | BiFpnSpec | ExtraLevelsSpec | ResidualPredictionSpec
NECK_SPECS: tuple[type[Spec], ...] = get_args(_Kinds)
"""All kinds of necks."""

NeckSpec = Annotated[_Kinds, Field(discriminator="kind"), by_kind("neck", NECK_SPECS)]
"""A neck of any kind; without `kind` a pan."""
