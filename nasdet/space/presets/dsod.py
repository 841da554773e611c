"""DSOD (Shen et al. 2017). Sizes are compared as the authors state them: bytes of their Caffe models divided by 4, so
running statistics count. Their "lite" model is left out, because their code does not give its structure."""

from __future__ import annotations

from typing import Any

from nasdet.space.backbones import DsodSpec
from nasdet.space.heads import SsdSpec
from nasdet.space.necks import DsodNeckSpec
from nasdet.space.presets.system import System
from nasdet.space.specs import DetectorSpec, InputSpec, NormSpec

_PAPER = "Shen et al. 2017, DSOD; the authors' DSOD300_pascal.py and model_libs.py"
_CELLS = "the last level has 2x2 cells, as the authors' code gives; the paper draws 1x1"
_TINY: dict[str, Any] = {
    "input": {"height": 96, "width": 96},
    "backbone": {"stem_width": 12, "bottleneck": 24, "growth_rate": 12, "depths": [1, 1, 1, 1]},
    "neck": {"join_width": 24, "halves": [24, 24]},
    "norm": {"kind": "gn", "groups": 4},
}


def _spec(backbone: DsodSpec, neck: DsodNeckSpec) -> DetectorSpec:
    return DetectorSpec(
        input=InputSpec(height=300, width=300),
        backbone=backbone,
        neck=neck,
        head=SsdSpec(classes=20, predict_norm=True, l2_norm="all"),
        norm=NormSpec(kind="bn"),
    )


SYSTEMS = (
    System(
        name="dsod300",
        spec=_spec(DsodSpec(), DsodNeckSpec()),
        recipe="dsod",
        source=_PAPER,
        init="random",
        tiny={**_TINY, "backbone": {**_TINY["backbone"], "last_width": 24}},
        published_params=14.8e6,
        counts="with_statistics",
        result="VOC 2007 test 77.7 AP50 (07+12)",
        note=_CELLS,
    ),
    System(
        name="dsod300_small",
        spec=_spec(DsodSpec(bottleneck=64, growth_rate=16), DsodNeckSpec()),
        recipe="dsod",
        source=_PAPER,
        init="random",
        tiny={**_TINY, "backbone": {**_TINY["backbone"], "growth_rate": 8, "last_width": 24}},
        published_params=5.9e6,
        counts="with_statistics",
        result="VOC 2007 test 73.6 AP50 (07+12)",
        note=_CELLS,
    ),
    System(
        name="dsod300_plain",
        spec=_spec(DsodSpec(last_width=0), DsodNeckSpec(kind="dsod_plain")),
        recipe="dsod",
        source=_PAPER,
        init="random",
        tiny=_TINY,
        counts="with_statistics",
        note="uncertain: the authors' code has no plain variant; the second scale ends without compression and the "
        "further ones are as wide as dense ones. This gives 19.1M, 18.2M is recalled of the paper",
    ),
)
