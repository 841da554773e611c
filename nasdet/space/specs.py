"""What a candidate is: `DetectorSpec` (what is built) and `Recipe` (how it is trained).

One decision: both are frozen values that survive a JSON round trip and hash by content, so that the same JSON serves
the search, MLflow, the export bundle and the builder. Anything that changes the network at inference is in
`DetectorSpec`; anything that only matters while training is in `Recipe`.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Positive = Annotated[int, Field(ge=1)]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]


class Spec(BaseModel):
    """Base of all specs: frozen, unknown keys are errors, content hash."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    def to_json(self) -> dict[str, Any]:
        """The spec as plain JSON values (lists, not tuples)."""
        return self.model_dump(mode="json")

    def content_hash(self) -> str:
        """16 hex digits over the canonical JSON; equal specs have equal hashes on every machine."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class InputSpec(Spec):
    """The images the network takes: `(N, channels, height, width)` in stored units (0..255 or 0..65535)."""

    height: Positive = 96
    """Rows of the canvas, a multiple of 32."""
    width: Positive = 96
    """Columns of the canvas, a multiple of 32."""
    channels: Positive = 3
    """Bands of an image; grayscale is 1."""
    mean: tuple[float, ...] = (127.5,)
    """Mean of each channel over the training set in stored units; one value serves all channels."""
    std: tuple[float, ...] = (64.0,)
    """Standard deviation of each channel over the training set in stored units; one value serves all channels."""

    @model_validator(mode="after")
    def _shapes(self) -> Self:
        if self.height % 32 or self.width % 32:
            raise ValueError(f"height {self.height} and width {self.width} must be multiples of 32")
        for name, value in (("mean", self.mean), ("std", self.std)):
            if len(value) not in (1, self.channels):
                raise ValueError(f"{name} has {len(value)} values for {self.channels} channels")
        if min(self.std) <= 0:
            raise ValueError("std must be above 0")
        return self


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


class BackboneSpec(Spec):
    """A staged convolutional backbone built from timm's blocks."""

    kind: str = "staged"
    """Name in `nasdet.models.backbones.BACKBONES`."""
    stem: Literal["conv3x3", "deep3x3", "conv7x7_pool", "root"] = "deep3x3"
    """conv3x3: one 3x3/2 (stride 2); deep3x3: 3x3/2, 3x3, 3x3/2 (stride 4); conv7x7_pool: 7x7/2 and max pooling
    (stride 4, ResNet); root: three 3x3 stride 1 and max pooling (stride 2, ScratchDet's root block)."""
    stem_width: Positive = 32
    """Output channels of the stem."""
    block: Literal["basic", "bottleneck", "dark", "edge", "csp"] = "basic"
    """basic: 3x3-3x3; bottleneck: 1x1-3x3-1x1; dark: 1x1-3x3; edge: 3x3-1x1; csp: a cross-stage partial stage of dark
    blocks."""
    bottleneck_ratio: Annotated[float, Field(gt=0, le=4)] = 0.5
    """Inner over outer channels of a block (bottleneck, dark, edge, csp; basic: of its first convolution)."""
    groups: Positive = 1
    """Groups of the 3x3 convolutions, reduced to the largest divisor of the channels."""
    stages: tuple[StageSpec, ...] = (StageSpec(width=32, stride=1), StageSpec(width=64), StageSpec(width=128))
    """From high to low resolution."""

    @field_validator("stages")
    @classmethod
    def _drop_empty(cls, stages: tuple[StageSpec, ...]) -> tuple[StageSpec, ...]:
        kept = tuple(s for s in stages if s.depth)
        if not kept:
            raise ValueError("a backbone needs at least one stage with depth >= 1")
        return kept


class NeckSpec(Spec):
    """Mixes backbone features of several resolutions."""

    kind: str = "pan"
    """Name in `nasdet.models.necks.NECKS`: none, fpn, pan."""
    levels: tuple[int, ...] = (-2, -1)
    """Which backbone stages feed the neck, counted from the last one: -1 is the last stage, -2 the one before."""
    width: Positive = 64
    """Channels of every output level."""
    depth: Annotated[int, Field(ge=0, le=8)] = 1
    """Convolutions (fpn) or blocks (pan) per fusion."""
    extra_levels: Annotated[int, Field(ge=0, le=3)] = 0
    """Further levels by 3x3 stride-2 convolutions on the last one (P6, P7)."""

    @field_validator("levels")
    @classmethod
    def _levels(cls, levels: tuple[int, ...]) -> tuple[int, ...]:
        if not levels or any(i >= 0 for i in levels) or list(levels) != sorted(set(levels)):
            raise ValueError(f"levels must be rising negative stage numbers such as [-3, -2, -1], got {list(levels)}")
        return levels


class HeadSpec(Spec):
    """The one-stage head: classification and box towers over every level."""

    kind: str = "tal"
    """Name in `nasdet.models.heads.HEADS`; tal: anchor-free with task-aligned assignment."""
    classes: Positive = 10
    """Number of classes."""
    width: Positive = 64
    """Channels of the towers."""
    depth: Annotated[int, Field(ge=0, le=8)] = 2
    """3x3 convolutions per tower."""
    shared: bool = True
    """Whether the levels share the tower's convolutions; norms are always per level."""
    bins: Annotated[int, Field(ge=1, le=32)] = 16
    """Bins per box side of distribution focal loss, each one stride wide; 1: the distance is regressed directly."""


class NormSpec(Spec):
    """Normalisation of the whole detector."""

    kind: Literal["bn", "gn", "syncbn", "ln", "none"] = "gn"
    """bn: statistics of one worker; syncbn: statistics of all workers (`recipe.images_per_statistic` chooses another
    number of images for both); gn: of one image; ln: of the channels at one position; none: convolutions with a bias
    (VGG)."""
    groups: Positive = 16
    """Largest number of groups of gn; reduced to a divisor of the channels."""
    weight_standardization: bool = False
    """Convolutions without a bias (those that a norm follows) have weights of mean 0 and variance 1 per output channel
    (Qiao et al. 2019; SM-NAS uses it with gn)."""

    @model_validator(mode="after")
    def _standardised_weights_need_a_norm(self) -> Self:
        if self.kind == "none" and self.weight_standardization:
            raise ValueError("weight_standardization needs a norm, kind is none")
        return self


class DetectorSpec(Spec):
    """Everything `nasdet.models.build_detector` needs."""

    input: InputSpec = InputSpec()
    backbone: BackboneSpec = BackboneSpec()
    neck: NeckSpec = NeckSpec()
    head: HeadSpec = HeadSpec()
    norm: NormSpec = NormSpec()
    activation: Literal["relu", "silu", "hardswish"] = "relu"

    @model_validator(mode="after")
    def _levels_exist(self) -> Self:
        if -self.neck.levels[0] > len(self.backbone.stages):
            raise ValueError(
                f"neck level {self.neck.levels[0]} does not exist: the backbone has {len(self.backbone.stages)} stages"
            )
        return self


class AugmentSpec(Spec):
    """Augmentation of one training image; `strength` stands for the scale and colour that have no value of their own,
    and at 0 there is no mosaic and no mixup either."""

    strength: Probability = 0.5
    """0: no jitter, mosaic or mixup; 0.5: scale jitter 0.6..1.4 and mild colour; 1: large-scale jitter 0.1..2.0 and
    strong colour."""
    scale: tuple[float, float] | None = None
    """Smallest and largest scale of the image, 1 fills the canvas; null: by `strength`."""
    colour: Probability | None = None
    """Strength of the colour jitter alone; null: `strength`."""
    trivial: bool = False
    """One photometric operation of random strength per image instead of the colour jitter (TrivialAugment)."""
    erase: Probability = 0.0
    """Share of images of which a random rectangle is replaced by the mean (random erasing)."""
    hflip: bool = True
    """Flip left-right half of the time; wrong for digits and text."""
    vflip: bool = False
    """Flip top-bottom half of the time; right for microscopes and drones."""
    mosaic: Probability = 0.0
    """Share of images composed from four."""
    mixup: Probability = 0.0
    """Share of images blended with another, boxes united."""

    @field_validator("scale")
    @classmethod
    def _rises(cls, scale: tuple[float, float] | None) -> tuple[float, float] | None:
        if scale is not None and not 0 < scale[0] <= scale[1] <= 8:
            raise ValueError(f"scale must be [low, high] with 0 < low <= high <= 8, got {list(scale)}")
        return scale


class Recipe(Spec):
    """How a detector is trained from random initialisation."""

    epochs: Positive = 12
    """Full length of the training; the schedule is laid over it."""
    optimizer: Literal["adamw", "sgd", "lamb"] = "adamw"
    base_lr: Annotated[float, Field(gt=0)] = 1e-3
    """Learning rate at 16 images per step; scaled by batch/16 for sgd, by its square root for adamw and lamb."""
    batch_size: Positive = 16
    """Images per optimiser step over all workers."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    """Not applied to norm and bias parameters, unless `decay_norms`."""
    decay_norms: bool = False
    """Whether norm and bias parameters decay as well, as in Caffe's solvers."""
    momentum: Probability = 0.9
    """Of sgd; the betas of adamw and lamb are (0.9, 0.999)."""
    nesterov: bool = True
    """Nesterov's momentum for sgd; most published detection recipes use the plain one."""
    schedule: Literal["wsd", "cosine", "multistep", "step"] = "wsd"
    """wsd: warm-up, constant, linear decay to `floor` over the last fifth; cosine: down to `floor`; multistep: times
    `gamma` at each of `drops`; step: a tenth at 2/3 and 8/9."""
    floor: Probability = 0.01
    """Share of the peak learning rate at which wsd and cosine end."""
    drops: tuple[float, ...] = (2 / 3, 8 / 9)
    """Of multistep: shares of the training after which the learning rate falls; rising, between 0 and 1."""
    gamma: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Of multistep: factor on the learning rate at each drop."""
    warmup: Annotated[float, Field(ge=0)] = 1.0
    """Epochs of linear warm-up."""
    clip_norm: Annotated[float, Field(ge=0)] = 10.0
    """Largest norm of the gradient; 0: not clipped."""
    accumulate: Positive = 1
    """Micro-batches per optimiser step; the batch is divided by it."""
    images_per_statistic: Annotated[int, Field(ge=0)] = 0
    """Images that share one mean and variance of bn and syncbn (MegDet, table 3): fewer than a worker's micro-batch
    splits it, more joins neighbouring workers; 0: one worker's (bn) or all workers' (syncbn)."""
    weight_init: Literal["auto", "kaiming", "xavier", "trunc_normal"] = "auto"
    """How convolutions and linear layers start; auto: each part's own way, else He et al."""
    ema: Annotated[float, Field(ge=0)] = 1.0
    """Epochs over which the averaged weights forget; 0: no averaging."""
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Stochastic depth of the last block; rises linearly from 0 at the first."""
    augment: AugmentSpec = AugmentSpec()
    precision: Literal["auto", "fp32", "bf16", "fp64"] = "auto"
    """auto: bf16 autocast where the device computes it natively, else fp32."""

    @field_validator("drops")
    @classmethod
    def _drops_rise(cls, drops: tuple[float, ...]) -> tuple[float, ...]:
        if list(drops) != sorted(set(drops)) or any(not 0 < d < 1 for d in drops):
            raise ValueError(f"drops must be rising shares of the training between 0 and 1, got {list(drops)}")
        return drops
