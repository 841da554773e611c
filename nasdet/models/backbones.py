"""Backbones: from images to feature maps of falling resolution.

One decision: a backbone publishes channels and strides of every stage; necks read those and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from nasdet.models.blocks import BLOCKS
from nasdet.models.layers import FeatureModule, Layers
from nasdet.models.stems import STEMS
from nasdet.space.specs import BackboneSpec


class StagedBackbone(FeatureModule):
    """Stem and stages of one block kind; DetNet's last stages are stages of stride 1 and dilation 2.

    `channels` and `strides` have one entry per wanted stage.
    """

    def __init__(self, spec: BackboneSpec, image_channels: int, wanted: Sequence[int], layers: Layers) -> None:
        """`wanted`: negative stage numbers to put out, rising; stages behind the last of them are not built."""
        super().__init__()
        self.stem, stride = STEMS[spec.stem](image_channels, spec.stem_width, layers)
        self.stages = nn.ModuleList()
        self.wanted = [len(spec.stages) + w for w in wanted]
        width, channels, strides = spec.stem_width, [], []
        for stage in spec.stages[: self.wanted[-1] + 1]:
            self.stages.append(BLOCKS[spec.block](width, stage, spec, layers))
            width, stride = stage.width, stride * stage.stride
            channels.append(width)
            strides.append(stride)
        self.channels = tuple(channels[w] for w in self.wanted)
        self.strides = tuple(strides[w] for w in self.wanted)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images (B, C, H, W), normalised -> wanted stages, each (B, channels, H / stride, W / stride)."""
        x = self.stem(images)
        outputs = []
        for number, stage in enumerate(self.stages):
            x = stage(x)
            if number in self.wanted:
                outputs.append(x)
        return outputs


Backbone = Callable[[BackboneSpec, int, Sequence[int], Layers], FeatureModule]
BACKBONES: dict[str, Backbone] = {"staged": StagedBackbone}
"""Name -> function (specification, image channels, wanted stages, layers) -> module."""
