"""What a candidate is: `DetectorSpec` (what is built) and `Recipe` (how it is trained).

Both are frozen values that survive a JSON round trip and hash by content, so that the same JSON serves the search,
MLflow, the export bundle and the builder. Everything that changes the network at inference is in `DetectorSpec`,
everything that matters only in training is in `Recipe`.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from nasdet.space.backbones import BACKBONE_SPECS, BackboneSpec, StagedSpec
from nasdet.space.heads import HEAD_SPECS, HeadSpec, TaskAlignedSpec
from nasdet.space.necks import NECK_SPECS, NeckSpec, PyramidSpec
from nasdet.space.spec_base import Positive, Probability, Spec

MOST_VALUES = 1 << 28
"""Values of a canvas; one of them as float32 then takes 1 GB."""


class InputSpec(Spec):
    """The images the network takes: `(N, channels, height, width)` in stored units (0..255 or 0..65535)."""

    height: Positive = 96
    """Rows of the canvas, a multiple of 4."""
    width: Positive = 96
    """Columns of the canvas, a multiple of 4."""
    channels: Positive = 3
    """Bands of an image; grayscale is 1."""
    mean: tuple[float, ...] = (127.5,)
    """Mean of each channel over the training set in stored units; one value serves all channels."""
    std: tuple[float, ...] = (64.0,)
    """Standard deviation of each channel over the training set in stored units; one value serves all channels."""

    @model_validator(mode="after")
    def _shapes(self) -> Self:
        if self.height % 4 or self.width % 4:
            raise ValueError(f"height {self.height} and width {self.width} must be multiples of 4")
        if self.height * self.width * self.channels > MOST_VALUES:
            raise ValueError(f"a canvas of {self.height} x {self.width} x {self.channels} values fills the memory")
        for name, value in (("mean", self.mean), ("std", self.std)):
            if len(value) not in (1, self.channels):
                raise ValueError(f"{name} has {len(value)} values for {self.channels} channels")
        if min(self.std) <= 0:
            raise ValueError("std must be above 0")
        return self


PARTS: dict[str, tuple[type[Spec], ...]] = {"backbone": BACKBONE_SPECS, "neck": NECK_SPECS, "head": HEAD_SPECS}
"""The parts of a detector that exist in several kinds, and the classes of each."""


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
    """Everything that `nasdet.models.build_detector` needs."""

    input: InputSpec = InputSpec()
    backbone: BackboneSpec = StagedSpec()
    neck: NeckSpec = PyramidSpec()
    head: HeadSpec = TaskAlignedSpec()
    norm: NormSpec = NormSpec()
    activation: Literal["relu", "silu", "hardswish"] = "relu"

    @model_validator(mode="after")
    def _levels_exist(self) -> Self:
        stages = len(self.backbone.strides)
        if -self.neck.levels[0] > stages:
            raise ValueError(f"neck level {self.neck.levels[0]} does not exist: the backbone has {stages} stages")
        return self


class AugmentSpec(Spec):
    """Augmentation of one training image. `strength` decides scale and colour where these are null; at 0 there is no
    mosaic and no mixup either."""

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
    copy_paste: Probability = 0.0
    """Share of images onto which objects of another are copied, by their masks where the head learns them, else by
    their boxes."""
    plain_from: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the training from which on there is no mosaic, mixup, copy-paste or erasing, so that the network ends on
    images as they are (YOLOX); 1: never."""

    def at(self, share: float) -> Self:
        """What is left of it after this share of the training."""
        if share < self.plain_from:
            return self
        return self.model_copy(update={"mosaic": 0.0, "mixup": 0.0, "copy_paste": 0.0, "erase": 0.0})

    @field_validator("scale")
    @classmethod
    def _rises(cls, scale: tuple[float, float] | None) -> tuple[float, float] | None:
        if scale is not None and not 0 < scale[0] <= scale[1] <= 8:
            raise ValueError(f"scale must be [low, high] with 0 < low <= high <= 8, got {list(scale)}")
        return scale


class ProgressiveSpec(Spec):
    """Small images first (progressive resizing; Tan and Le, EfficientNetV2, section 4): an epoch costs the square of
    `scale`, and a search sees early whether a candidate is worth the rest."""

    scale: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the canvas's sides at which the first epochs train, to the nearest multiple of 32 pixels; 1: all epochs
    train at full size."""
    share: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Share of the training that these epochs make up; the last epoch is always at full size."""

    def small(self, epochs: int) -> int:
        """How many of a training's `epochs` are at `scale`."""
        return min(int(self.share * epochs + 1e-9), epochs - 1) if self.scale < 1 else 0


class Recipe(Spec):
    """How a detector is trained, from random initialisation unless `init` names a checkpoint."""

    epochs: Positive = 12
    """Full length of the training; the schedule is laid over it."""
    optimizer: Literal["adamw", "sgd", "lamb", "muon"] = "adamw"
    """muon: kernels and matrices move by the orthogonalised momentum (Jordan et al. 2024), scaled so that the learning
    rate of adamw serves (Liu et al. 2025, arXiv 2502.16982); all else, and depthwise kernels, by adamw."""
    base_lr: Annotated[float, Field(gt=0)] = 1e-3
    """Learning rate at 16 images per step; scaled by batch/16 for sgd, by its square root for the others."""
    batch_size: Positive = 16
    """Images per optimiser step over all workers."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    """Not applied to norm and bias parameters, unless `decay_norms`."""
    decay_norms: bool = False
    """Whether norm and bias parameters decay as well, as in Caffe's solvers."""
    momentum: Probability = 0.9
    """Of sgd and muon; the betas of adamw and lamb are (0.9, 0.999)."""
    nesterov: bool = True
    """Nesterov's momentum for sgd and muon; most published detection recipes use the plain one."""
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
    data_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the training images that is trained on, always the same ones; an epoch has as many steps as with all of
    them, so that amounts of data compare at equal length."""
    init: Annotated[str, Field(min_length=1)] = "random"
    """random; or where weights are loaded from before the training: a checkpoint file, a bundle, or timm:NAME."""
    recompute: Literal["auto", "off", "on"] = "auto"
    """Whether the backbone computes activations again for the gradient instead of keeping them; auto: where a step
    would not fit into the memory that is free."""
    weight_init: Literal["auto", "kaiming", "xavier", "trunc_normal"] = "auto"
    """How convolutions and linear layers start; auto: each part's own way, else He et al."""
    ema: Annotated[float, Field(ge=0)] = 1.0
    """Epochs over which the averaged weights forget; 0: no averaging."""
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Stochastic depth of the last block; rises linearly from 0 at the first."""
    augment: AugmentSpec = AugmentSpec()
    progressive: ProgressiveSpec = ProgressiveSpec()
    precision: Literal["auto", "fp32", "bf16", "fp64"] = "auto"
    """auto: bf16 autocast where the device computes it natively, else fp32."""

    def scale_of(self, epoch: int) -> float:
        """Share of the canvas's sides at which an epoch trains, the first is 0."""
        return self.progressive.scale if epoch < self.progressive.small(self.epochs) else 1.0

    @field_validator("drops")
    @classmethod
    def _drops_rise(cls, drops: tuple[float, ...]) -> tuple[float, ...]:
        if list(drops) != sorted(set(drops)) or any(not 0 < d < 1 for d in drops):
            raise ValueError(f"drops must be rising shares of the training between 0 and 1, got {list(drops)}")
        return drops
