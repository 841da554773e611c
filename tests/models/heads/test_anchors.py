"""Anchors against torchvision's."""

from __future__ import annotations

import torch
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.retinanet import _default_anchorgen

from nasdet.models.heads.anchors import cell_anchors, place_anchors
from nasdet.models.heads.retinanet import octave_sizes

STRIDES = (8, 16, 32, 64, 128)


def _anchors(strides: tuple[int, ...] = STRIDES, canvas: tuple[int, int] = (128, 256)) -> torch.Tensor:
    sizes = [(canvas[0] // s, canvas[1] // s) for s in strides]
    return place_anchors(sizes, strides, cell_anchors(octave_sizes(strides, 4.0, 3), (0.5, 1.0, 2.0)))


def test_anchors_are_those_of_torchvision() -> None:
    features = [torch.zeros(1, 1, 128 // s, 256 // s) for s in STRIDES]
    generator: AnchorGenerator = _default_anchorgen()
    (wanted,) = generator(ImageList(torch.zeros(1, 3, 128, 256), [(128, 256)]), features)
    assert torch.equal(_anchors(), wanted)


def test_cells_follow_scale_sizes_and_ratios() -> None:
    cells = cell_anchors(octave_sizes((8, 16), 2.0, 2), (0.25, 4.0))
    width, height = (cells[..., 2:] - cells[..., :2]).unbind(-1)
    assert width.tolist() == [[32, 44, 8, 12], [64, 90, 16, 22]]
    assert torch.equal(width.flip(1).reshape(2, 2, 2).flip(2).flatten(1), height)
