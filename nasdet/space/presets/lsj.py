"""Mask R-CNN from scratch with large-scale jitter, on convolutional networks and plain vision transformers, and Faster
R-CNN on DetNet-59. Systems that are compared in one table have the same head and pyramid and differ in the backbone."""

from __future__ import annotations

from typing import Any

from nasdet.space.backbones import StagedSpec, StageSpec
from nasdet.space.heads import RcnnSpec
from nasdet.space.necks import PyramidSpec
from nasdet.space.presets.parts import TINY_TWO_STAGE_HEAD
from nasdet.space.presets.system import System
from nasdet.space.specs import DetectorSpec, InputSpec, NormSpec
from nasdet.space.timm_backbones import TimmSpec, VitSpec

# Mean and deviation of ImageNet in 0..255.
_IMAGENET: dict[str, Any] = {"mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)}
_SQUARE = InputSpec(height=1024, width=1024, **_IMAGENET)
_FPN = PyramidSpec(
    kind="fpn", levels=(-4, -3, -2, -1), width=256, extra_levels=1, extra="pool", plain=True, plain_norm=True
)
_HEAD = RcnnSpec(classes=80, mask=True, rpn_convs=2, box_head="4conv1fc", mask_norm=True)
_TINY: dict[str, Any] = {
    "input": {"height": 96, "width": 96},
    "neck": {"width": 32},
    "head": TINY_TWO_STAGE_HEAD,
    "norm": {"kind": "gn"},
}
_TINY_VIT = {"embed_dim": 48, "depth": 4, "heads": 3, "window": 4, "grid": 6}
_TINY_DETNET = {
    "stem": "deep3x3",
    "stem_width": 16,
    "bottleneck_ratio": 0.5,
    "stages": [
        {"width": 24, "stride": 1},
        {"width": 32},
        {"width": 48},
        {"width": 48, "stride": 1, "dilation": 2},
        {"width": 48, "stride": 1, "dilation": 2},
    ],
}


def _mask_rcnn(name: str, backbone: TimmSpec | VitSpec, tiny: dict[str, Any], **figures: Any) -> System:
    spec = DetectorSpec(input=_SQUARE, backbone=backbone, neck=_FPN, head=_HEAD, norm=NormSpec(kind="syncbn"))
    return System(name=name, spec=spec, tiny={**_TINY, "backbone": tiny}, init="random", **figures)


def _lsj(network: str, title: str, tiny: str, result: str) -> System:
    return _mask_rcnn(
        f"mask_rcnn_{title}_lsj",
        TimmSpec(name=network),
        {"name": tiny},
        recipe="lsj_400",
        source="Detectron2's new baselines (Mask R-CNN, large-scale jitter, from scratch)",
        result=f"COCO val box AP {result} (100, 200, 400 epochs)",
        note="no published size",
    )


def _vit(title: str, width: int, depth: int, heads: int, params: int, result: str = "") -> System:
    return _mask_rcnn(
        f"vit_{title}_mask_rcnn",
        VitSpec(embed_dim=width, depth=depth, heads=heads),
        _TINY_VIT,
        recipe="vit_scratch",
        source="Li et al. 2021, Benchmarking Detection Transfer Learning with Vision Transformers",
        result=result,
        published_params=params,
        counts="trunk",
        note="size of timm's network without classifier; here no class token and no last norm (4 x width fewer); the "
        "maps made of the trunk are not counted" + ("" if result else "; this size is not in the paper"),
    )


SYSTEMS = (
    _lsj("resnet50", "r50", "resnet10t", "44.6, 46.3, 47.4"),
    _lsj("resnet101", "r101", "resnet10t", "46.4, 48.0, 48.9"),
    _lsj("regnetx_040", "regnetx_4gf", "regnetx_002", "46.0, 48.1, 48.6"),
    _lsj("regnety_040", "regnety_4gf", "regnety_002", "46.1, 47.8, 48.2"),
    _vit("ti", 192, 12, 3, 5_524_416),
    _vit("s", 384, 12, 6, 21_665_664),
    _vit("b", 768, 12, 12, 85_798_656, "COCO val box AP 48.9 (400 epochs)"),
    _vit("l", 1024, 24, 16, 303_301_632, "COCO val box AP 50.7 (400 epochs)"),
    System(
        name="detnet59_fpn",
        spec=DetectorSpec(
            input=InputSpec(height=800, width=1344, **_IMAGENET),
            backbone=StagedSpec(
                stem="conv7x7_pool",
                stem_width=64,
                block="bottleneck",
                bottleneck_ratio=0.25,
                stride_in="1x1",
                stages=(
                    StageSpec(depth=3, width=256, stride=1),
                    StageSpec(depth=4, width=512),
                    StageSpec(depth=6, width=1024),
                    StageSpec(depth=3, width=1024, stride=1, dilation=2),
                    StageSpec(depth=3, width=1024, stride=1, dilation=2),
                ),
            ),
            neck=PyramidSpec(kind="fpn", levels=(-5, -4, -3, -2, -1), width=256, plain=True),
            head=RcnnSpec(classes=80, anchor_sizes=(32, 64, 128, 256, 512), roi_levels=5),
            norm=NormSpec(kind="bn"),
        ),
        recipe="rethinking_1x",
        source="Li et al. 2018, DetNet",
        init="ImageNet",
        tiny={
            **_TINY,
            "backbone": _TINY_DETNET,
            "head": {**_TINY["head"], "anchor_sizes": [16, 24, 32, 48, 64]},
        },
        result="COCO minival box AP 40.2 (ImageNet), 36.3 (random, recalled)",
        note="its backbone has the published 4.8G multiply-adds at 224 pixels, which fits 256 inner and 1024 outer "
        "channels in the dilated stages; published with batch norms frozen",
    ),
)
