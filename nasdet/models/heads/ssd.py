"""SSD's multibox head (Liu et al. 2016): class scores with background and a box for every default box, and their loss.

The whole batch is matched, mined and summed at once. An image without objects has no positives, therefore no negatives
either, and teaches nothing, as published.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nasdet.models.boxes import BoxCoder
from nasdet.models.heads.base import Candidates, HeadModule, Targets, at_least_one, no_autocast, upcast_half
from nasdet.models.heads.default_boxes import hardest_negatives, level_shapes, make_default_boxes, match_default_boxes
from nasdet.models.heads.losses import worker_mean
from nasdet.models.heads.matching import POSITIVE, Matches
from nasdet.models.layers import Layers
from nasdet.space.heads import SsdSpec

L2_SCALE = 20.0


class L2Norm(nn.Module):
    """Every cell's features to length 1, times a learnt weight per channel (ParseNet, Liu et al. 2015)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), L2_SCALE))

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, H, W)`, at least float32."""
        with no_autocast(x.device):
            return F.normalize(upcast_half(x), dim=1) * self.weight.view(1, -1, 1, 1)


class SsdHead(HeadModule):
    """Multibox of Liu et al. 2016: matching by IoU, hard negative mining, softmax and smooth L1 losses."""

    def __init__(self, channels: Sequence[int], strides: Sequence[int], spec: SsdSpec, layers: Layers) -> None:
        super().__init__()
        self.spec = spec
        self.shapes = level_shapes(spec, len(channels))
        normed = {"none": 0, "first": 1, "all": len(channels)}[spec.l2_norm]
        self.scale = nn.ModuleList(L2Norm(c) if i < normed else nn.Identity() for i, c in enumerate(channels))
        counts = [len(own) for own in self.shapes]
        make = _predictor(spec, layers)
        self.cls = nn.ModuleList(make(c, n * (spec.classes + 1)) for c, n in zip(channels, counts, strict=True))
        self.box = nn.ModuleList(make(c, n * 4) for c, n in zip(channels, counts, strict=True))
        self.coder = BoxCoder(*(1 / v for v in spec.variances))

    def init_weights(self) -> None:
        """Predicting convolutions by Xavier, norms' lengths at 20; biases are 0."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Levels -> logits (B, A, 1 + K), background first, and encoded boxes (B, A, 4)."""
        levels = [scale(x) for scale, x in zip(self.scale, features, strict=True)]
        logits = [_flat(predict(x), self.spec.classes + 1) for predict, x in zip(self.cls, levels, strict=True)]
        codes = [_flat(predict(x), 4) for predict, x in zip(self.box, levels, strict=True)]
        return upcast_half(torch.cat(logits, 1)), upcast_half(torch.cat(codes, 1))

    def predict(self, features: Sequence[Tensor], size: tuple[int, int]) -> Candidates:
        """Every default box with its softmax, background left out."""
        logits, codes = self(features)
        with no_autocast(logits.device):
            defaults = self.default_boxes(features, size, logits)
            return Candidates(self.coder.decode(codes, defaults), logits.softmax(-1)[..., 1:])

    def loss(self, features: Sequence[Tensor], targets: Targets, size: tuple[int, int]) -> dict[str, Tensor]:
        """Scalars "loss", its parts "cls" and "box", and of default boxes per image "positives" and "negatives", those
        left after mining.

        All are divided by the number of positives over all workers.
        """
        logits, codes = self(features)
        with no_autocast(logits.device):
            return self.dense_loss(logits, codes, self.default_boxes(features, size, logits), targets)

    def dense_loss(self, logits: Tensor, codes: Tensor, defaults: Tensor, targets: Targets) -> dict[str, Tensor]:
        """`loss` from predictions and default boxes (A, 4), without autocast."""
        targets = at_least_one(targets, targets.boxes.dtype)
        found = match_default_boxes(defaults, targets, self.spec.match_iou)
        positive = found.state == POSITIVE
        number = positive.sum().to(logits.dtype)
        norm = worker_mean(number).clamp(min=1.0)
        wanted = torch.where(positive, 1 + targets.labels.gather(1, found.objects), 0)
        entropy = F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="none").view_as(wanted)
        negative = hardest_negatives(entropy.detach(), found.state, self.spec.negatives)
        parts = {
            "cls": (entropy * (positive | negative)).sum() / norm,
            "box": self._box_loss(codes, defaults, found, targets) / norm,
        }
        counts = {"positives": number / len(logits), "negatives": negative.sum() / len(logits)}
        return {"loss": parts["cls"] + parts["box"], **{k: v.detach() for k, v in parts.items()}, **counts}

    def _box_loss(self, codes: Tensor, defaults: Tensor, found: Matches, targets: Targets) -> Tensor:
        """Smooth L1 over the encoded boxes of the positives, summed: ()."""
        image, place = (found.state == POSITIVE).nonzero(as_tuple=True)
        truth = targets.boxes[image, found.objects[image, place]].to(defaults.dtype)
        wanted = self.coder.encode(truth, defaults[place])
        return F.smooth_l1_loss(codes[image, place], wanted, reduction="sum")

    def default_boxes(self, features: Sequence[Tensor], size: tuple[int, int], like: Tensor) -> Tensor:
        """Default boxes (A, 4) xyxy of levels of these sizes, on the device and in the type of `like`."""
        sizes = tuple((x.shape[-2], x.shape[-1]) for x in features)
        return make_default_boxes(self.shapes, sizes, size).to(like.device, like.dtype)


def _predictor(spec: SsdSpec, layers: Layers) -> Callable[[int, int], nn.Module]:
    """A function (inputs, outputs) -> convolution that predicts."""
    if spec.predict_norm:
        return functools.partial(layers.conv, kernel=spec.kernel, apply_act=False)
    return functools.partial(nn.Conv2d, kernel_size=spec.kernel, padding=spec.kernel // 2)


def _flat(x: Tensor, outputs: int) -> Tensor:
    """A level (B, n * outputs, H, W) -> (B, H * W * n, outputs); `len` would fix the batch of an export."""
    return x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, outputs)
