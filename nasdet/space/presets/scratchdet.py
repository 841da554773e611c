"""ScratchDet (Zhu et al. 2019). Its extra layers are residual blocks, thus further stages of the staged backbone,
and the neck only passes the levels on."""

from __future__ import annotations

from nasdet.space.backbones import StagedSpec, StageSpec
from nasdet.space.heads import SsdSpec
from nasdet.space.necks import ExtraLevelsSpec
from nasdet.space.presets.system import System
from nasdet.space.specs import DetectorSpec, InputSpec, NormSpec


def _root_resnet(depths: tuple[int, int, int, int]) -> StagedSpec:
    """Root-ResNet of these depths with ScratchDet's four further blocks of 128 channels."""
    first, *rest = zip(depths, (64, 128, 256, 512), strict=True)
    body = (StageSpec(depth=first[0], width=first[1], stride=1), *(StageSpec(depth=d, width=w) for d, w in rest))
    extra = (*(StageSpec(depth=1, width=128) for _ in range(3)), StageSpec(depth=1, width=128, stride=1))
    return StagedSpec(stem="root", stem_width=64, block="basic", bottleneck_ratio=1.0, stages=(*body, *extra))


def _system(name: str, depths: tuple[int, int, int, int], result: str = "") -> System:
    return System(
        name=name,
        spec=DetectorSpec(
            input=InputSpec(height=300, width=300, mean=(123.0, 117.0, 104.0), std=(1.0,)),
            backbone=_root_resnet(depths),
            neck=ExtraLevelsSpec(levels=(-6, -5, -4, -3, -2, -1), extras=()),
            head=SsdSpec(classes=20, predict_norm=True),
            norm=NormSpec(kind="bn"),
        ),
        recipe="scratchdet",
        source="Zhu et al. 2019 (ScratchDet); authors' ssd_root34_300.py and ssdbn_head.py",
        init="random",
        tiny={
            "input": {"height": 96, "width": 96, "std": [64.0]},
            "backbone": {
                "stem_width": 8,
                "stages": [{"depth": 1, "width": w, "stride": s} for w, s in ((16, 2), (24, 2), (32, 2), (32, 2))],
            },
            "neck": {"levels": [-3, -2, -1]},
            "norm": {"kind": "gn", "groups": 4},
        },
        result=result,
        note="no size is published; the further blocks are padded, so that the last two levels both have 3 x 3 cells",
    )


SYSTEMS = (
    _system("scratchdet_root_resnet34", (3, 4, 6, 3), "80.4 AP50 on VOC07 test; 32.7 AP on COCO"),
    _system("scratchdet_root_resnet18", (2, 2, 2, 2)),
)
