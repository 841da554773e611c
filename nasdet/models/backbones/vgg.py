"""VGG as SSD uses it. Every pooling rounds up, as Caffe's do, so that a level has ceil(size / stride) cells, as with
padded convolutions; at 300 pixels that is torchvision's network."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from nasdet.models.activation_checkpointing import run
from nasdet.models.layers import FeatureModule, Layers
from nasdet.space.backbones import VggSpec


class VggBackbone(FeatureModule):
    """Blocks of 3x3 convolutions, pooled between; the fifth goes on into the convolutions fc6 and fc7."""

    def __init__(self, spec: VggSpec, image_channels: int, wanted: Sequence[int], layers: Layers) -> None:
        super().__init__()
        count = len(spec.strides)
        self.wanted = [count + w for w in wanted]
        width, channels = image_channels, []
        self.blocks = nn.ModuleList()
        for number in range(self.wanted[-1] + 1):
            block = nn.Sequential() if number == 0 else nn.Sequential(nn.MaxPool2d(2, ceil_mode=True))
            for _ in range(spec.depths[number]):
                block.append(layers.conv(width, spec.widths[number], 3))
                width = spec.widths[number]
            if number == count - 1:
                block.extend(_fully_convolutional(width, spec, layers))
                width = spec.fc_width
            self.blocks.append(block)
            channels.append(width)
        self.channels = tuple(channels[w] for w in self.wanted)
        self.strides = tuple(spec.strides[w] for w in self.wanted)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images (B, C, H, W), normalised -> wanted levels, each (B, channels, ceil(H / stride), ceil(W / stride))."""
        x, outputs = images, []
        for number, block in enumerate(self.blocks):
            x = run(block, x)
            if number in self.wanted:
                outputs.append(x)
        return outputs


def _fully_convolutional(inputs: int, spec: VggSpec, layers: Layers) -> list[nn.Module]:
    """pool5 at stride 1, fc6 and fc7."""
    fc6 = layers.conv(inputs, spec.fc_width, 3, dilation=spec.fc_dilation)
    return [nn.MaxPool2d(3, 1, 1), fc6, layers.conv(spec.fc_width, spec.fc_width, 1)]
