"""One-stage detectors with dense heads. Their published sizes are those of torchvision's builders, which leave out the
scales and shifts of the backbone's frozen batch norms; here nothing is frozen and norms are GN."""

from __future__ import annotations

from nasdet.space.heads import FcosSpec, RetinaNetSpec
from nasdet.space.necks import PyramidSpec
from nasdet.space.presets.parts import RESNET50
from nasdet.space.presets.system import System
from nasdet.space.specs import DetectorSpec, InputSpec, NormSpec

_FPN = PyramidSpec(kind="fpn", levels=(-3, -2, -1), width=256, depth=1, extra_levels=2, plain=True)
_IMAGE = InputSpec(height=800, width=800, mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))
_NORM = NormSpec(kind="gn", groups=32)
_FROZEN = "published with frozen batch norms, whose 53,120 scales and shifts the published figure leaves out"
_TINY = {
    "input": {"height": 96, "width": 96},
    "backbone": {
        "stem_width": 16,
        "bottleneck_ratio": 0.5,
        "stages": [{"depth": 1, "width": w, "stride": 1 if w == 32 else 2} for w in (32, 48, 64)],
    },
    "neck": {"levels": [-2, -1], "width": 32, "extra_levels": 1},
    "head": {"width": 32, "depth": 2},
    "norm": {"groups": 8},
}

SYSTEMS = (
    System(
        name="retinanet_r50_fpn",
        spec=DetectorSpec(
            input=_IMAGE, backbone=RESNET50, neck=_FPN, head=RetinaNetSpec(classes=91), norm=_NORM, activation="relu"
        ),
        recipe="rethinking_6x",
        source="Lin et al. 2017; torchvision retinanet_resnet50_fpn",
        init="backbone pre-trained on ImageNet",
        tiny=_TINY,
        published_params=34_014_999,
        published_macs=151.54e9,
        result="COCO val2017 box AP 36.4",
        note=_FROZEN,
    ),
    System(
        name="fcos_r50_fpn",
        spec=DetectorSpec(
            input=_IMAGE, backbone=RESNET50, neck=_FPN, head=FcosSpec(classes=91), norm=_NORM, activation="relu"
        ),
        recipe="rethinking_6x",
        source="Tian et al. 2020; torchvision fcos_resnet50_fpn",
        init="backbone pre-trained on ImageNet",
        tiny=_TINY,
        published_params=32_269_600,
        published_macs=128.207e9,
        result="COCO val2017 box AP 39.2",
        note=_FROZEN,
    ),
)
