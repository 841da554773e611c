"""Pelee (Wang et al. 2018). The first level feeds two sets of default boxes, as in the authors' code; their paper lists
the scale 19 x 19 twice."""

from __future__ import annotations

from nasdet.space.backbones import PeleeSpec
from nasdet.space.heads import SsdSpec
from nasdet.space.necks import ResidualPredictionSpec
from nasdet.space.presets.system import System
from nasdet.space.specs import DetectorSpec, InputSpec, NormSpec

SYSTEMS = (
    System(
        name="pelee304",
        spec=DetectorSpec(
            input=InputSpec(height=304, width=304, mean=(123.68, 116.78, 103.94), std=(58.8,)),
            backbone=PeleeSpec(),
            neck=ResidualPredictionSpec(levels=(-2, -1)),
            head=SsdSpec(classes=20, aspect_ratios=((2, 3),), kernel=1),
            norm=NormSpec(kind="bn"),
        ),
        recipe="dsod",
        source="Wang et al. 2018 (Pelee); authors' train_voc.py and feature_extractor.py",
        init="PeleeNet of ImageNet",
        tiny={
            "input": {"height": 96, "width": 96},
            "backbone": {"stem_width": 16, "growth_rate": 16, "depths": [1, 1, 2, 1]},
            "neck": {"levels": [-3, -2, -1], "extras": [{"squeeze": 16, "width": 24}], "width": 32},
            "norm": {"kind": "gn", "groups": 4},
        },
        published_params=5.43e6,
        published_macs=1210e6,
        result="70.9 AP50 on VOC07 test (07+12)",
    ),
)
