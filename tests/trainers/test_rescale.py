"""A batch at another size shows the same objects at the same places."""

from __future__ import annotations

import torch

from nasdet.data import Batch
from nasdet.trainers.rescale import rescaled, rescaled_batch


def batch() -> Batch:
    images = torch.zeros(1, 1, 64, 96, dtype=torch.uint8)
    masks = torch.zeros(1, 2, 64, 96, dtype=torch.bool)
    images[0, 0, 16:48, 24:72] = 200
    masks[0, 0, 16:48, 24:72] = True
    boxes = torch.tensor([[[24.0, 16.0, 72.0, 48.0], [0.0, 0.0, 0.0, 0.0]]])
    return Batch(images, boxes, torch.tensor([[3, -1]]), torch.tensor([0]), masks)


def test_images_boxes_and_masks_agree() -> None:
    small = rescaled_batch(batch(), 0.6)  # 38.4 x 57.6 pixels: the nearest multiples of 32
    assert small.images.shape == (1, 1, 32, 64) and small.masks is not None
    assert small.boxes[0].tolist() == [[16.0, 8.0, 48.0, 24.0], [0.0, 0.0, 0.0, 0.0]]
    inside = torch.zeros(32, 64, dtype=torch.bool)
    inside[8:24, 16:48] = True
    assert torch.equal(small.masks[0, 0], inside) and not small.masks[0, 1].any()
    assert small.images[0, 0, 9:23, 17:47].min() > 190 and small.images[0, 0, :7].max() < 1
    assert torch.equal(small.labels, batch().labels) and torch.equal(small.indices, batch().indices)


def test_at_full_size_nothing_is_touched() -> None:
    whole = batch()
    assert rescaled_batch(whole, 1.0) is whole
    assert rescaled(whole.images, 1.0) is whole.images


def test_there_is_a_least_size() -> None:
    assert rescaled(batch().images, 0.1).shape[-2:] == (32, 32)
