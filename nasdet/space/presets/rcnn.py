"""Two-stage detectors on ResNet-50 with a feature pyramid. torchvision's builders are the reference for structure and
size, with their 91 outputs (COCO's category ids) where their figures are quoted."""

from __future__ import annotations

from typing import Any, Literal

from nasdet.space.heads import RcnnSpec
from nasdet.space.necks import PyramidSpec
from nasdet.space.presets.parts import RESNET50, TINY_TWO_STAGE_HEAD
from nasdet.space.presets.system import System
from nasdet.space.specs import DetectorSpec, InputSpec, NormSpec

# Mean and deviation of ImageNet in 0..255.
_INPUT = InputSpec(height=800, width=800, mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))
_TINY: dict[str, Any] = {
    "input": {"height": 96, "width": 96},
    "backbone": {
        "stem": "deep3x3",
        "stem_width": 16,
        "bottleneck_ratio": 0.5,
        "stages": [{"depth": 1, "width": 24, "stride": 1}, {"width": 32}, {"width": 48}],
    },
    "neck": {"levels": [-3, -2, -1], "width": 32},
    "head": TINY_TWO_STAGE_HEAD,
    "norm": {"kind": "gn"},
}


def _fpn(norm: bool) -> PyramidSpec:
    levels = (-4, -3, -2, -1)
    return PyramidSpec(kind="fpn", levels=levels, width=256, extra_levels=1, extra="pool", plain=True, plain_norm=norm)


def _system(name: str, head: RcnnSpec, *, norm: Literal["bn", "gn"], fpn_norm: bool = False, **figures: Any) -> System:
    spec = DetectorSpec(
        input=_INPUT,
        backbone=RESNET50,
        neck=_fpn(fpn_norm),
        head=head,
        norm=NormSpec(kind=norm, groups=32),
        activation="relu",
    )
    return System(name=name, spec=spec, tiny=_TINY, **figures)


_FROZEN = "published with the affine weights of the backbone's batch norms frozen (53,120 fewer parameters)"

SYSTEMS = (
    _system(
        "faster_rcnn_r50_fpn",
        RcnnSpec(classes=90),
        norm="bn",
        recipe="rethinking_1x",
        source="torchvision fasterrcnn_resnet50_fpn; Lin et al. 2017",
        init="ImageNet",
        published_params=41_755_286,
        published_macs=134.38e9,
        result="COCO val box AP 37.0",
        note=_FROZEN,
    ),
    _system(
        "faster_rcnn_r50_fpn_v2",
        RcnnSpec(classes=90, rpn_convs=2, box_head="4conv1fc"),
        norm="bn",
        fpn_norm=True,
        recipe="lsj_100",
        source="torchvision fasterrcnn_resnet50_fpn_v2; Li et al. 2021",
        init="ImageNet",
        published_params=43_712_278,
        published_macs=280.371e9,
        result="COCO val box AP 46.7",
    ),
    _system(
        "mask_rcnn_r50_fpn",
        RcnnSpec(classes=90, mask=True),
        norm="bn",
        recipe="rethinking_1x",
        source="torchvision maskrcnn_resnet50_fpn; He et al. 2017",
        init="ImageNet",
        published_params=44_401_393,
        published_macs=134.38e9,
        result="COCO val box AP 37.9, mask AP 34.6",
        note=f"{_FROZEN}; multiply-adds without the mask branch, as published",
    ),
    _system(
        "mask_rcnn_r50_fpn_gn",
        RcnnSpec(classes=80, mask=True, box_head="4conv1fc", mask_norm=True),
        norm="gn",
        fpn_norm=True,
        recipe="rethinking_6x",
        source="He et al. 2018, Rethinking ImageNet Pre-training, table 1; Detectron2 scratch_mask_rcnn_R_50_FPN_3x_gn",
        init="random",
        result="COCO val box AP 41.3 (6x)",
        note="no published size; equal to torchvision's builder with group norm of 32 groups everywhere",
    ),
    _system(
        "cascade_rcnn_r50_fpn",
        RcnnSpec(classes=80, cascade=True),
        norm="bn",
        recipe="rethinking_1x",
        source="Cai and Vasconcelos 2018",
        init="ImageNet",
        result="COCO val box AP 40.3 (recalled, MMDetection 1x)",
        note="MMDetection's 69.2M parameters are recalled, so not asserted; later stages draw their regions anew",
    ),
)
