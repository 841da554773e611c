"""Towers of one-stage heads: convolutions over every level of the neck and a prediction at every cell.

`Tower` is that of the task-aligned head, whose norms are always per level; `SharedTower` is that of RetinaNet and FCOS.
There a norm with running statistics has one copy per level, because statistics mixed over levels fit none of them; any
other norm is shared like the convolutions, as published.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nasdet.errors import InputError
from nasdet.models.layers import Layers
from nasdet.models.norm import activation
from nasdet.space.heads import TaskAlignedSpec, TowersSpec

PUBLISHED_WIDTH, PUBLISHED_STD = 256, 0.01
PRIOR = 0.01


class Tower(nn.Module):
    """3x3 convolutions and a 1x1 prediction; levels may share the convolutions, never the norms."""

    def __init__(self, levels: int, inputs: int, outputs: int, spec: TaskAlignedSpec, layers: Layers) -> None:
        super().__init__()
        widths = [inputs] + [spec.width] * spec.depth
        copies = 1 if spec.shared else levels
        self.convs = nn.ModuleList(
            nn.ModuleList(nn.Conv2d(i, o, 3, padding=1, bias=layers.bias) for i, o in itertools.pairwise(widths))
            for _ in range(copies)
        )
        self.norms = nn.ModuleList(nn.ModuleList(layers.norm_act(w) for w in widths[1:]) for _ in range(levels))
        self.predict = nn.ModuleList(nn.Conv2d(widths[-1], outputs, 1) for _ in range(copies))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Levels (B, C, H, W) -> predictions (B, A, outputs), A points over all levels, row by row."""
        outputs = []
        for level, x in enumerate(features):
            for conv, norm in self.steps(level):
                x = norm(conv(x))
            outputs.append(self.predict[level % len(self.predict)](x).flatten(2).transpose(1, 2))
        return torch.cat(outputs, dim=1)

    @torch.no_grad()
    def start(self, bias: Sequence[float]) -> None:
        """Let the predictions be `bias` (outputs,) at first, nearly the same everywhere."""
        for predict in self.predict:
            assert isinstance(predict, nn.Conv2d) and predict.bias is not None
            nn.init.normal_(predict.weight, std=PUBLISHED_STD)
            predict.bias.copy_(torch.tensor(bias))

    def steps(self, level: int) -> list[tuple[nn.Module, nn.Module]]:
        """Convolutions and norms that a level goes through."""
        convs, norms = self.convs[level % len(self.convs)], self.norms[level]
        return list(zip(convs.children(), norms.children(), strict=True))


class SharedTower(nn.Module):
    """3x3 convolutions and a 3x3 prediction of `outputs` numbers for each of `places` per cell."""

    def __init__(self, channels: Sequence[int], places: int, outputs: int, spec: TowersSpec, layers: Layers) -> None:
        """`channels`: of the levels, all equal."""
        super().__init__()
        if len(set(channels)) > 1:
            raise InputError(
                f"the neck gives levels of {list(channels)} channels, this head needs equal ones",
                where="neck",
                remedy="choose a neck with a width of its own, such as fpn, pan or bifpn",
            )
        self.outputs, self.normed = outputs, spec.tower_norm
        widths = [channels[0]] + [spec.width] * spec.depth
        bias = layers.bias or not spec.tower_norm
        self.convs = nn.ModuleList(nn.Conv2d(i, o, 3, padding=1, bias=bias) for i, o in itertools.pairwise(widths))
        self.norms = nn.ModuleList([_norms(widths[1:], spec, layers)])
        if any(True for _ in self.norms.buffers()):
            self.norms.extend(_norms(widths[1:], spec, layers) for _ in channels[1:])
        self.predict = nn.Conv2d(widths[-1], places * outputs, 3, padding=1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Levels (B, C, H, W) -> (B, A, outputs), level by level, row by row, place by place."""
        flat = []
        for level, x in enumerate(features):
            norms: nn.ModuleList = self.norms[level % len(self.norms)]  # type: ignore[assignment]
            for conv, norm in zip(self.convs, norms, strict=True):
                x = norm(conv(x))
            x = self.predict(x).permute(0, 2, 3, 1)  # (B, H, W, places * outputs)
            flat.append(x.reshape(x.shape[0], -1, self.outputs))  # len() would fix the batch in an exported graph
        return torch.cat(flat, dim=1)

    @torch.no_grad()
    def start(self, bias: Sequence[float]) -> None:
        """Let every place predict `bias` (outputs,) at first.

        Convolutions without a norm start at the published deviation of 0.01 at 256 channels, and at other widths so
        that the signal shrinks as much.
        """
        if not self.normed:
            for conv in self.convs.children():
                std = PUBLISHED_STD * math.sqrt(PUBLISHED_WIDTH / conv.in_channels)  # type: ignore[operator]
                nn.init.normal_(conv.weight, std=std)  # type: ignore[arg-type]
        assert self.predict.bias is not None
        nn.init.normal_(self.predict.weight, std=PUBLISHED_STD)
        own = torch.tensor(bias, dtype=self.predict.bias.dtype, device=self.predict.bias.device)
        self.predict.bias.copy_(own.repeat(len(self.predict.bias) // self.outputs))


def prior_bias(classes: int) -> list[float]:
    """Bias (classes,) under which every score is 1% (Lin et al. 2017)."""
    return [-math.log((1 - PRIOR) / PRIOR)] * classes


def level_sizes(features: Sequence[Tensor]) -> list[tuple[int, int]]:
    """(rows, columns) of each level."""
    return [(x.shape[-2], x.shape[-1]) for x in features]


def _norms(widths: Sequence[int], spec: TowersSpec, layers: Layers) -> nn.ModuleList:
    return nn.ModuleList(layers.norm_act(w) if spec.tower_norm else activation(layers.act) for w in widths)
