"""Anchors of RetinaNet and of region proposals.

They are torchvision's, rounded to whole pixels and with the first one centred on the corner of the canvas, so that
published figures and checkpoints mean the same here.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator


def cell_anchors(sizes: Sequence[Sequence[float]], ratios: Sequence[float]) -> Tensor:
    """Anchors around the origin: (levels, len(ratios) * sizes of a level, 4) xyxy pixels, on the default device.

    Args:
        sizes: square roots of the areas in pixels, as many for every level.
        ratios: height over width.
    """
    generator = AnchorGenerator(tuple(map(tuple, sizes)), (tuple(ratios),) * len(sizes))
    return torch.stack(generator.cell_anchors).to(torch.get_default_device())


def place_anchors(sizes: Sequence[tuple[int, int]], strides: Sequence[int], cells: Tensor) -> Tensor:
    """Anchors of all levels, level by level, row by row, cell by cell: (A, 4) xyxy pixels.

    Args:
        sizes: (rows, columns) of each level.
        strides: pixels per cell of each level.
        cells: of `cell_anchors`; gives device and dtype.
    """
    anchors = []
    for (rows, columns), stride, own in zip(sizes, strides, cells, strict=True):
        y = torch.arange(rows, device=cells.device, dtype=cells.dtype) * stride
        x = torch.arange(columns, device=cells.device, dtype=cells.dtype) * stride
        corner = torch.stack([x.repeat(rows), y.repeat_interleave(columns)], dim=-1)
        anchors.append((corner.repeat(1, 2)[:, None] + own).flatten(0, 1))
    return torch.cat(anchors)
