"""Specifications of the kinds of heads. All heads share the number of classes and the overlap above which boxes are
dropped; everything else belongs to one kind."""

from __future__ import annotations

from typing import Annotated, Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from nasdet.space.spec_base import Positive, Probability, Spec, by_kind


class AnyHeadSpec(Spec):
    """Base of all heads."""

    classes: Positive = 10
    """Number of classes."""
    nms_iou: Probability = 0.6
    """IoU with a better box of the class above which a box is dropped."""


class TaskAlignedSpec(AnyHeadSpec):
    """The project's one-stage head: classification and box towers over every level, task-aligned assignment."""

    kind: Literal["tal"] = "tal"
    width: Positive = 64
    """Channels of the towers."""
    depth: Annotated[int, Field(ge=0, le=8)] = 2
    """3x3 convolutions per tower."""
    shared: bool = True
    """Whether the levels share the tower's convolutions; norms are always per level."""
    bins: Annotated[int, Field(ge=1, le=32)] = 16
    """Bins per box side of distribution focal loss, each one stride wide; 1: the distance is regressed directly."""


class SsdSpec(AnyHeadSpec):
    """SSD's multibox (Liu et al. 2016): a softmax and a box for every default box of every level.

    The default boxes of a level have one scale, except a second square between this scale and the next one.
    """

    kind: Literal["ssd"] = "ssd"
    nms_iou: Probability = 0.45
    """IoU with a better box of the class above which a box is dropped, as published."""
    first_scale: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Scale of the first level's default boxes, a share of the canvas."""
    min_scale: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Scale of the second level's default boxes."""
    max_scale: Annotated[float, Field(gt=0, le=2)] = 0.9
    """Scale of the last level's default boxes; from the second level, scales rise in equal steps of whole percents."""
    aspect_ratios: tuple[tuple[Annotated[float, Field(gt=1)], ...], ...] = ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,))
    """Width over height of the default boxes of each level besides the two squares, and height over width as well: 2
    gives 4 boxes per cell, 2 and 3 give 6. The last entry holds for further levels."""
    kernel: Literal[1, 3] = 3
    """Of the convolutions that predict."""
    predict_norm: bool = False
    """Whether these convolutions have a norm instead of a bias (DSOD, ScratchDet)."""
    l2_norm: Literal["none", "first", "all"] = "none"
    """Levels whose cells are scaled to a length that is learnt per channel and starts at 20 (ParseNet): SSD's first
    one, all of DSOD's."""
    match_iou: Probability = 0.5
    """IoU from which a default box is trained for an object; the best one of every object always is."""
    negatives: Annotated[float, Field(gt=0)] = 3.0
    """Negatives per positive of an image that enter the loss, the hardest ones."""
    variances: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = (0.1, 0.2)
    """Divisors of the offsets of a box's centre, relative to its default box, and of the logarithms of its size."""

    @field_validator("aspect_ratios")
    @classmethod
    def _some(cls, ratios: tuple[tuple[float, ...], ...]) -> tuple[tuple[float, ...], ...]:
        if not ratios:
            raise ValueError("aspect_ratios needs an entry for at least one level")
        return ratios


class TowersSpec(AnyHeadSpec):
    """Base of the heads of RetinaNet and FCOS: two towers that all levels share, focal loss."""

    width: Positive = 256
    """Channels of the towers."""
    depth: Annotated[int, Field(ge=0, le=8)] = 4
    """3x3 convolutions per tower."""
    tower_norm: bool = True
    """Whether the detector's norm follows the towers' convolutions; otherwise they have a bias."""
    focal_alpha: Probability = 0.25
    """Weight of positive entries in the focal loss; the others weigh 1 - alpha."""
    focal_gamma: Annotated[float, Field(ge=0, le=8)] = 2.0
    """Exponent of the error in the focal loss; 0: cross-entropy."""


class RetinaNetSpec(TowersSpec):
    """RetinaNet (Lin et al. 2017)."""

    kind: Literal["retinanet"] = "retinanet"
    nms_iou: Probability = 0.5
    """IoU with a better box of the class above which a box is dropped, as published."""
    tower_norm: bool = False
    """Whether the detector's norm follows the towers' convolutions; otherwise they have a bias, as published."""
    anchor_scale: Annotated[float, Field(ge=0.5, le=16)] = 4.0
    """Side of a level's smallest anchor in strides."""
    anchors_per_octave: Annotated[int, Field(ge=1, le=8)] = 3
    """Sizes of anchors per level, up to below twice the smallest."""
    anchor_ratios: tuple[Annotated[float, Field(gt=0)], ...] = (0.5, 1.0, 2.0)
    """Heights over widths of the anchors; each size has all of them."""
    positive_iou: Probability = 0.5
    """IoU from which an anchor is trained for a box; a box's best anchor always is."""
    negative_iou: Probability = 0.4
    """IoU with every box below which an anchor is background; anchors between the two are left out of the loss."""

    @model_validator(mode="after")
    def _thresholds(self) -> Self:
        if not self.anchor_ratios:
            raise ValueError("anchor_ratios needs at least one value")
        if self.negative_iou > self.positive_iou:
            raise ValueError(f"negative_iou {self.negative_iou} must not exceed positive_iou {self.positive_iou}")
        return self

    @property
    def anchors(self) -> int:
        """Anchors per cell."""
        return self.anchors_per_octave * len(self.anchor_ratios)


class FcosSpec(TowersSpec):
    """FCOS (Tian et al. 2019, 2020)."""

    kind: Literal["fcos"] = "fcos"
    center_radius: Annotated[float, Field(ge=0, le=16)] = 1.5
    """Distance in strides from the middle of a box within which points are trained for it (centre sampling); 0: all
    points inside."""


class RcnnSpec(AnyHeadSpec):
    """Two-stage heads: Faster R-CNN (Ren et al. 2015), Cascade R-CNN (Cai and Vasconcelos 2018), Mask R-CNN (He et al.
    2017)."""

    kind: Literal["rcnn"] = "rcnn"
    nms_iou: Probability = 0.5
    """IoU with a better box of the class above which a box is dropped, as published."""
    cascade: bool = False
    """Three box stages, each on the boxes of the one before, for IoU 0.5, 0.6 and 0.7, with one box for all classes."""
    mask: bool = False
    """Whether masks are found as well; training then needs masks."""
    rpn_convs: Literal[1, 2] = 1
    """Hidden 3x3 convolutions of the proposal network."""
    rpn_norm: bool = False
    """Whether the detector's norm follows them."""
    anchor_sizes: tuple[Annotated[float, Field(gt=0)], ...] = ()
    """Side of the anchors of each level in pixels; empty: 8 strides of the level."""
    anchor_scales: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)] = (1.0,)
    """Factors on that side; several give several anchors."""
    anchor_ratios: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)] = (0.5, 1.0, 2.0)
    """Height over width of the anchors."""
    roi_op: Literal["align", "pool"] = "align"
    """How features of a region are taken: RoIAlign or RoI pooling."""
    roi_size: Positive = 7
    """Rows and columns of the features of a region, for boxes."""
    roi_levels: Positive = 4
    """Levels that regions are pooled from, counted from the one of highest resolution."""
    canonical_size: Positive = 224
    """Side in pixels of the regions that are pooled from the level of stride 16."""
    box_head: Literal["2fc", "4conv1fc"] = "2fc"
    """Two fully connected layers, or four 3x3 convolutions and one (Wu and He 2018)."""
    box_norm: bool = True
    """Of 4conv1fc: whether the detector's norm follows the convolutions."""
    fc_width: Positive = 1024
    """Outputs of a fully connected layer."""
    conv_width: Positive = 256
    """Of 4conv1fc: channels."""
    mask_norm: bool = False
    """Of masks: whether the detector's norm follows the four convolutions."""
    mask_width: Positive = 256
    """Of masks: channels."""
    ohem: bool = False
    """Box stages are trained on the regions of largest loss (online hard example mining) instead of random ones."""
    rpn_batch: Positive = 256
    """Anchors of an image that are drawn for the loss."""
    rpn_positives: Probability = 0.5
    """Largest share of positives among them."""
    rpn_nms: Probability = 0.7
    """IoU from which proposals of a level suppress each other."""
    roi_batch: Positive = 512
    """Regions of an image that are drawn for the loss."""
    roi_positives: Probability = 0.25
    """Largest share of positives among them."""
    proposals_pre_train: Positive = 2000
    """Proposals of a level before suppression, in training."""
    proposals_train: Positive = 2000
    """Proposals of an image after suppression, in training."""
    proposals_pre_test: Positive = 1000
    """Proposals of a level before suppression, in detection."""
    proposals_test: Positive = 1000
    """Proposals of an image after suppression, in detection; the number with which multiply-adds are counted."""
    score_threshold: Probability = 0.05
    """Detections with a score up to this are dropped."""


_Kinds = TaskAlignedSpec | SsdSpec | RetinaNetSpec | FcosSpec | RcnnSpec
HEAD_SPECS: tuple[type[Spec], ...] = get_args(_Kinds)
"""All kinds of heads."""

HeadSpec = Annotated[_Kinds, Field(discriminator="kind"), by_kind("head", HEAD_SPECS)]
"""A head of any kind; without `kind` a task-aligned one."""
