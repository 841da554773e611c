"""The box head (Girshick 2015): class and refined box of each region of interest.

Class 0 is the background in every output, boxes and masks included, as in torchvision, so that parameter counts and
weights are the same.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import clip_boxes_to_image

from nasdet.models.boxes import BoxCoder
from nasdet.models.heads.base import Targets
from nasdet.models.heads.matching import POSITIVE, Matches
from nasdet.models.heads.rcnn.rpn import BETA
from nasdet.models.layers import Layers
from nasdet.models.norm import activation
from nasdet.space.heads import RcnnSpec

CONVS = 4
NOTHING = -100  # label of a region that is only there because norms refuse empty batches


class Regions(NamedTuple):
    """Regions of a batch, S of them, and what they learn."""

    images: Tensor
    """(S,) which image."""
    boxes: Tensor
    """(S, 4) xyxy pixels."""
    labels: Tensor
    """(S,) 0 background, else 1 + class; `NOTHING`: no loss."""
    objects: Tensor
    """(S,) number of the object in its image; of no meaning for the background."""
    truth: Tensor
    """(S, 4) box of that object, xyxy pixels."""


def gather(chosen: Tensor, boxes: Tensor, found: Matches, targets: Targets) -> Regions:
    """The `chosen` (B, N) of proposals (B, N, 4) as regions, image after image; if none is chosen, one region that
    learns nothing."""
    if not chosen.any():
        first = found.objects.new_zeros(1)
        return Regions(first, boxes[0, :1], first + NOTHING, first, targets.boxes[0, :1])
    images, places = chosen.nonzero(as_tuple=True)
    objects = found.objects[images, places]
    positive = found.state[images, places] == POSITIVE
    labels = torch.where(positive, targets.labels[images, objects] + 1, 0)
    return Regions(images, boxes[images, places], labels, objects, targets.boxes[images, objects])


class BoxHead(nn.Module):
    """Two fully connected layers, or four convolutions and one; then class scores and boxes."""

    def __init__(self, channels: int, spec: RcnnSpec, layers: Layers, weights: tuple[float, float]) -> None:
        """`weights`: what centres and logarithmic sizes of boxes are multiplied by to be learnt."""
        super().__init__()
        self.classes, self.agnostic = spec.classes + 1, spec.cascade
        self.body = _body(channels, spec, layers)
        self.cls = nn.Linear(spec.fc_width, self.classes)
        self.box = nn.Linear(spec.fc_width, 4 if self.agnostic else 4 * self.classes)
        self.coder = BoxCoder(*weights)

    def init_weights(self) -> None:
        """Classes normal with deviation 0.01, boxes 0.001 (Girshick 2015)."""
        nn.init.normal_(self.cls.weight, std=0.01)
        nn.init.normal_(self.box.weight, std=0.001)

    def forward(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Features (S, C, 7, 7) -> logits (S, classes + 1) and deltas (S, 1 or classes + 1, 4)."""
        hidden = self.body(pooled)
        return self.cls(hidden), self.box(hidden).unflatten(1, (-1, 4))

    def decode(self, deltas: Tensor, boxes: Tensor) -> Tensor:
        """Deltas (S, n, 4) and regions (S, 4) -> refined boxes (S, n, 4) xyxy pixels."""
        return self.coder.decode(deltas, boxes[:, None])

    def best(self, deltas: Tensor, regions: Regions, size: tuple[int, int]) -> Tensor:
        """What a cascade's next stage starts from: the regions (S, 4) moved by deltas (S, 1, 4), within the canvas."""
        clipped: Tensor = clip_boxes_to_image(self.decode(deltas, regions.boxes)[:, 0], size)
        return clipped

    def losses(self, logits: Tensor, deltas: Tensor, regions: Regions) -> tuple[Tensor, Tensor]:
        """Cross-entropy (S,) and smooth L1 (S,), which is 0 for the background."""
        cls = F.cross_entropy(logits, regions.labels, ignore_index=NOTHING, reduction="none")
        own = torch.where(regions.labels > 0)[0]
        chosen = deltas[own, 0 if self.agnostic else regions.labels[own]]
        wanted = self.coder.encode(regions.truth[own], regions.boxes[own])
        box = F.smooth_l1_loss(chosen, wanted, beta=BETA, reduction="none").sum(1)
        return cls, torch.zeros_like(cls).index_add(0, own, box)


def _body(channels: int, spec: RcnnSpec, layers: Layers) -> nn.Sequential:
    """Features (S, channels, 7, 7) -> (S, fc_width)."""
    body = nn.Sequential()
    if spec.box_head == "4conv1fc":
        own = layers if spec.box_norm else layers.without_norm()
        for _ in range(CONVS):
            body.append(own.conv(channels, spec.conv_width))
            channels = spec.conv_width
    body.append(nn.Flatten())
    widths = [channels * spec.roi_size**2] + [spec.fc_width] * (2 if spec.box_head == "2fc" else 1)
    for inputs, outputs in itertools.pairwise(widths):
        body.extend([nn.Linear(inputs, outputs), activation(layers.act)])
    return body
