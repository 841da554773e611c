"""Stem and stages of one kind of block: ResNet, ScratchDet's root net and DetNet, whose last stages have stride 1 and
dilation 2, are values of one specification."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from nasdet.models.activation_checkpointing import run
from nasdet.models.backbones.stems import STEMS
from nasdet.models.blocks import BLOCKS
from nasdet.models.layers import FeatureModule, Layers
from nasdet.space.backbones import StagedSpec


class StagedBackbone(FeatureModule):
    """Stem and stages of one block kind; DetNet's last stages are stages of stride 1 and dilation 2.

    `channels` and `strides` have one entry per wanted stage.
    """

    def __init__(self, spec: StagedSpec, image_channels: int, wanted: Sequence[int], layers: Layers) -> None:
        """`wanted`: negative stage numbers to put out, rising; stages behind the last of them are not built."""
        super().__init__()
        self.stem = STEMS[spec.stem](image_channels, spec.stem_width, layers)
        self.stages = nn.ModuleList()
        self.wanted = [len(spec.stages) + w for w in wanted]
        width, channels = spec.stem_width, []
        for stage in spec.stages[: self.wanted[-1] + 1]:
            self.stages.append(BLOCKS[spec.block](width, stage, spec, layers))
            width = stage.width
            channels.append(width)
        self.channels = tuple(channels[w] for w in self.wanted)
        self.strides = tuple(spec.strides[w] for w in self.wanted)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images (B, C, H, W), normalised -> wanted stages, each (B, channels, H / stride, W / stride)."""
        x = self.stem(images)
        outputs = []
        for number, stage in enumerate(self.stages):
            x = run(stage, x)
            if number in self.wanted:
                outputs.append(x)
        return outputs
