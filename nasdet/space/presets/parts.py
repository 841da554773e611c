"""Parts that several presets share."""

from __future__ import annotations

from typing import Any

from nasdet.space.backbones import StagedSpec, StageSpec

RESNET50 = StagedSpec(
    stem="conv7x7_pool",
    stem_width=64,
    block="bottleneck",
    bottleneck_ratio=0.25,
    stages=(
        StageSpec(depth=3, width=256, stride=1),
        StageSpec(depth=4, width=512),
        StageSpec(depth=6, width=1024),
        StageSpec(depth=3, width=2048),
    ),
)
"""ResNet-50 (He et al. 2016) without its classifier, the stride in the 3x3 convolutions."""

TINY_TWO_STAGE_HEAD: dict[str, Any] = {
    "fc_width": 64,
    "conv_width": 32,
    "mask_width": 32,
    "canonical_size": 64,
    "roi_batch": 64,
    "proposals_pre_train": 200,
    "proposals_train": 200,
}
"""What tiny variants of two-stage detectors lay over the head."""
