"""SSD300 on VGG16 (Liu et al. 2016), the baseline of every study of detectors from scratch. Sizes are torchvision's,
because its builder can be compared parameter by parameter; its classes are COCO's 90 numbers."""

from __future__ import annotations

from typing import Any

from nasdet.space.backbones import VggSpec
from nasdet.space.heads import SsdSpec
from nasdet.space.necks import ExtraLevelsSpec
from nasdet.space.presets.system import System
from nasdet.space.specs import DetectorSpec, InputSpec, NormSpec

TINY: dict[str, Any] = {
    "input": {"height": 96, "width": 96, "std": [64.0]},
    "backbone": {"widths": [8, 16, 24, 32, 32], "depths": [1, 1, 1, 2, 1], "fc_width": 48, "fc_dilation": 2},
    "neck": {"extras": [{"squeeze": 24, "width": 32}, {"squeeze": 24, "width": 32, "stride": 1}]},
}
"""Four levels of 12, 6, 3 and 1 cells."""


def _spec(norm: NormSpec, head: SsdSpec) -> DetectorSpec:
    return DetectorSpec(
        input=InputSpec(height=300, width=300, mean=(123.0, 117.0, 104.0), std=(1.0,)),
        backbone=VggSpec(),
        neck=ExtraLevelsSpec(levels=(-2, -1)),
        head=head,
        norm=norm,
    )


SYSTEMS = (
    System(
        name="ssd300_vgg16",
        spec=_spec(
            NormSpec(kind="none"), SsdSpec(classes=90, first_scale=0.07, min_scale=0.15, max_scale=0.9, l2_norm="first")
        ),
        recipe="dsod",
        source="Liu et al. 2016 (SSD), as torchvision.models.detection.ssd300_vgg16",
        init="VGG16 of ImageNet",
        tiny=TINY,
        published_params=35_641_826,
        published_macs=34.858e9,
        result="25.1 AP on COCO val2017 (torchvision)",
        note="90 classes as torchvision counts them; with the 20 of VOC it has 26,285,486 parameters (26.3M). Default "
        "boxes lie in the middle of cells (canvas / size of the level), not at steps of 8, 16, 32 and 64 pixels.",
    ),
    System(
        name="ssd300_vgg16_bn",
        spec=_spec(NormSpec(kind="bn"), SsdSpec(classes=20, predict_norm=True)),
        recipe="scratchdet",
        source="Zhu et al. 2019 (ScratchDet), its comparison of VGG16 with and without batch norm",
        init="random",
        tiny={**TINY, "norm": {"kind": "gn", "groups": 4}},
        result="about 78 AP50 on VOC07 test (07+12); 72.5 without a norm",
        note="no size is published; no L2 norm where the levels have a norm of their own",
    ),
)
