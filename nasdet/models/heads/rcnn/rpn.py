"""The region proposal network (Ren et al. 2015): objectness and a box at every anchor, and the proposals they make.

Anchors, box coding and the order of filtering are torchvision's, but only the best anchors of each level are decoded,
those of all images at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import batched_nms, clip_boxes_to_image

from nasdet.models.boxes import BoxCoder
from nasdet.models.heads.anchors import cell_anchors, place_anchors
from nasdet.models.heads.base import Targets, upcast_half
from nasdet.models.heads.matching import POSITIVE, draw, match
from nasdet.models.heads.towers import level_sizes
from nasdet.models.layers import Layers
from nasdet.space.heads import RcnnSpec

POSITIVE_IOU, NEGATIVE_IOU = 0.7, 0.3
BETA = 1 / 9  # where smooth L1 turns linear
SMALLEST = 1e-3  # pixels; proposals with a shorter side are dropped


class Raw(NamedTuple):
    """Predictions at every anchor of every level, not decoded."""

    logits: Tensor
    """(B, A) objectness."""
    deltas: Tensor
    """(B, A, 4) box relative to its anchor."""
    anchors: Tensor
    """(A, 4) xyxy pixels."""
    counts: list[int]
    """Anchors of each level."""


class ProposalNetwork(nn.Module):
    """One or two hidden 3x3 convolutions shared by the levels, objectness and boxes by 1x1."""

    cells: Tensor

    def __init__(self, channels: int, strides: Sequence[int], spec: RcnnSpec, layers: Layers) -> None:
        super().__init__()
        self.spec, self.strides = spec, tuple(strides)
        own = layers if spec.rpn_norm else layers.without_norm()
        self.convs = nn.Sequential(*(own.conv(channels, channels) for _ in range(spec.rpn_convs)))
        sizes = spec.anchor_sizes or tuple(8.0 * s for s in strides)
        assert len(sizes) == len(strides)
        anchors = [[size * scale for scale in spec.anchor_scales] for size in sizes]
        self.register_buffer("cells", cell_anchors(anchors, spec.anchor_ratios), persistent=False)
        each = len(spec.anchor_scales) * len(spec.anchor_ratios)
        self.objectness = nn.Conv2d(channels, each, 1)
        self.boxes = nn.Conv2d(channels, 4 * each, 1)
        self.coder = BoxCoder()

    def init_weights(self) -> None:
        """All convolutions normal with deviation 0.01 (Ren et al. 2015)."""
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, std=0.01)

    def forward(self, features: Sequence[Tensor]) -> Raw:
        """Levels (B, C, h, w) -> predictions in at least float32."""
        logits, deltas = [], []
        for x in features:
            hidden = self.convs(x)
            logits.append(self.objectness(hidden).permute(0, 2, 3, 1).flatten(1))
            deltas.append(self.boxes(hidden).permute(0, 2, 3, 1).flatten(1).unflatten(1, (-1, 4)))
        anchors = place_anchors(level_sizes(features), self.strides, self.cells)
        counts = [x.shape[1] for x in logits]
        return Raw(upcast_half(torch.cat(logits, 1)), upcast_half(torch.cat(deltas, 1)), anchors, counts)

    @torch.no_grad()
    def propose(self, raw: Raw, size: tuple[int, int], *, before: int, after: int) -> tuple[Tensor, Tensor]:
        """The best boxes of each image after suppression within its levels.

        On the meta device, where suppression cannot run, `after` boxes of each image.

        Args:
            raw: of `forward`.
            size: (height, width) of the canvas, to which boxes are clipped.
            before: boxes of each level that go into suppression.
            after: most boxes of an image that are left.

        Returns:
            (B, R, 4) xyxy pixels, best first and padded by zeros, R at least 1; (B, R) bool, false where padded.
        """
        if raw.logits.is_meta:
            boxes = raw.deltas.new_empty(len(raw.deltas), after, 4)
            return boxes, torch.empty_like(boxes[..., 0], dtype=torch.bool)
        # The best anchors of every level are decoded and cut to the canvas; then image by image very small boxes and
        # duplicates within a level are dropped, and the best of all levels are kept.
        places, levels = self._best(raw, before)
        scores = raw.logits.gather(1, places)
        deltas = raw.deltas.gather(1, places[..., None].expand(-1, -1, 4))
        boxes = clip_boxes_to_image(self.coder.decode(deltas, raw.anchors[places]), size)
        kept = []
        for own, score in zip(boxes, scores, strict=True):
            large = (own[:, 2:] - own[:, :2] >= SMALLEST).all(1)
            own, score, level = own[large], score[large], levels[large]
            kept.append(own[batched_nms(own, score, level, self.spec.rpn_nms)[:after]])
        return pad(kept)

    def _best(self, raw: Raw, before: int) -> tuple[Tensor, Tensor]:
        """The best anchors of each level: places (B, n) and levels (n,)."""
        places, levels, offset = [], [], 0
        for number, logits in enumerate(raw.logits.split(raw.counts, 1)):
            best = logits.topk(min(before, logits.shape[1]), dim=1).indices
            places.append(best + offset)
            levels.append(torch.full((best.shape[1],), number, device=best.device))
            offset += logits.shape[1]
        return torch.cat(places, 1), torch.cat(levels)

    def loss(self, raw: Raw, targets: Targets) -> dict[str, Tensor]:
        """Mean cross-entropy of the drawn anchors "rpn_cls", and smooth L1 of the positive ones "rpn_box", divided by
        the number of all drawn."""
        found = match(raw.anchors, targets, positive=POSITIVE_IOU, negative=NEGATIVE_IOU, rescue=True)
        drawn = draw(found.state, self.spec.rpn_batch, self.spec.rpn_positives)
        image, place = drawn.nonzero(as_tuple=True)
        state = found.state[image, place]
        count = max(1, len(state))
        cls = F.binary_cross_entropy_with_logits(raw.logits[image, place], state.to(raw.logits.dtype), reduction="sum")
        image, place = image[state == POSITIVE], place[state == POSITIVE]
        truth = targets.boxes[image, found.objects[image, place]]
        wanted = self.coder.encode(truth, raw.anchors[place])
        box = F.smooth_l1_loss(raw.deltas[image, place], wanted, beta=BETA, reduction="sum")
        return {"rpn_cls": cls / count, "rpn_box": box / count}


def pad(boxes: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Boxes (R_i, 4) of each image -> (B, R, 4) padded with zeros at the end, and which are no padding (B, R)."""
    most = max(1, *(len(own) for own in boxes))
    padded = torch.stack([F.pad(own, (0, 0, 0, most - len(own))) for own in boxes])
    counts = torch.tensor([len(own) for own in boxes], device=padded.device)
    return padded, torch.arange(most, device=padded.device) < counts[:, None]
