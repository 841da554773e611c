"""The project's own detector at a usable size, listed with the others so that every comparison includes it."""

from __future__ import annotations

from nasdet.space.backbones import StagedSpec, StageSpec
from nasdet.space.heads import TaskAlignedSpec
from nasdet.space.necks import PyramidSpec
from nasdet.space.presets.system import System
from nasdet.space.specs import DetectorSpec, InputSpec, NormSpec

SYSTEMS = (
    System(
        name="nasdet_s",
        spec=DetectorSpec(
            input=InputSpec(height=640, width=640),
            backbone=StagedSpec(
                stem="deep3x3",
                stem_width=48,
                block="csp",
                stages=(
                    StageSpec(depth=1, width=64, stride=1),
                    StageSpec(depth=2, width=128),
                    StageSpec(depth=2, width=256),
                    StageSpec(depth=1, width=512),
                ),
            ),
            neck=PyramidSpec(kind="pan", levels=(-3, -2, -1), width=128, depth=1),
            head=TaskAlignedSpec(classes=80, width=128, depth=2),
            norm=NormSpec(kind="gn"),
            activation="silu",
        ),
        recipe="rethinking_6x",
        source="this project",
        init="random",
        tiny={
            "input": {"height": 96, "width": 96},
            "backbone": {"stem_width": 16, "stages": [{"depth": 1, "width": w} for w in (24, 32, 48)]},
            "neck": {"levels": [-2, -1], "width": 32},
            "head": {"width": 32, "depth": 1, "bins": 8},
        },
    ),
)
