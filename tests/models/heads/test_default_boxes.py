"""Default boxes, matching and mining: cases that can be checked by hand, and torchvision's boxes."""

from __future__ import annotations

import pytest
import torch
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.image_list import ImageList

from nasdet.models.heads.base import Targets
from nasdet.models.heads.default_boxes import (
    hardest_negatives,
    level_scales,
    level_shapes,
    make_default_boxes,
    match_default_boxes,
)
from nasdet.models.heads.matching import NEGATIVE, POSITIVE, UNUSED, Matches
from nasdet.space.heads import SsdSpec

SIZES = [(38, 38), (19, 19), (10, 10), (5, 5), (3, 3), (1, 1)]
COCO = SsdSpec(first_scale=0.07, min_scale=0.15)


def _match(boxes: list[list[float]], labels: list[int]) -> Matches:
    """Default boxes are the four quarters of a canvas of 40 pixels, and the whole."""
    quarters = [[x, y, x + 20, y + 20] for y in (0, 20) for x in (0, 20)]
    targets = Targets(torch.tensor([boxes]).float(), torch.tensor([labels]))
    return match_default_boxes(torch.tensor([*quarters, [0, 0, 40, 40]]).float(), targets, 0.5)


@pytest.mark.parametrize(
    ("spec", "scales"),
    [
        (SsdSpec(), [0.1, 0.2, 0.37, 0.54, 0.71, 0.88, 1.05]),  # 30 to 315 pixels, SSD300 and DSOD300 on VOC
        (COCO, [0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05]),
    ],
)
def test_scales_are_the_published_ones(spec: SsdSpec, scales: list[float]) -> None:
    assert level_scales(spec, 6) == pytest.approx(scales)


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_few_levels_have_scales(levels: int) -> None:
    scales = level_scales(SsdSpec(), levels)
    assert len(scales) == levels + 1 and scales == sorted(scales)


def test_boxes_are_torchvisions_without_clipping() -> None:
    generator = DefaultBoxGenerator([[2], [2, 3], [2, 3], [2, 3], [2], [2]], scales=level_scales(COCO, 6), clip=False)
    levels = [torch.zeros(1, 1, *size) for size in SIZES]
    (theirs,) = generator(ImageList(torch.zeros(1, 3, 300, 300), [(300, 300)]), levels)
    ours = make_default_boxes(level_shapes(COCO, 6), SIZES, (300, 300))
    assert len(ours) == 8732
    assert (ours - theirs).abs().max() < 1e-3


def test_the_canvas_may_be_oblong() -> None:
    boxes = make_default_boxes([[(0.5, 0.5)]], [(2, 4)], (40, 160))
    assert boxes[0].tolist() == [-20.0, 0.0, 60.0, 20.0]
    assert boxes[-1].tolist() == [100.0, 20.0, 180.0, 40.0]


def test_overlapping_and_best_boxes_learn() -> None:
    found = _match([[0, 0, 20, 18], [30, 30, 34, 34]], [3, 1])
    assert (found.state == POSITIVE).tolist() == [[True, False, False, True, False]]  # the small one overlaps by 4%
    assert found.objects[0, [0, 3]].tolist() == [0, 1]
    assert (found.state == NEGATIVE).tolist() == [[False, True, True, False, True]]


def test_the_best_box_of_an_object_is_not_lost_to_a_better_overlap() -> None:
    found = _match([[0, 0, 20, 20], [0, 0, 14, 20], [0, 0, 20, 9]], [0, 1, 2])
    assert found.objects[0, 0] == 0  # all three want it
    found = _match([[0, 0, 40, 40], [0, 0, 36, 36]], [0, 1])
    assert found.objects[0, 4] == 0 and (found.state == POSITIVE).sum() == 1


def test_padding_and_regions_to_ignore() -> None:
    found = _match([[0, 0, 20, 12], [20, 0, 40, 8], [0, 0, 0, 0]], [-2, -2, -1])
    assert not (found.state == POSITIVE).any()
    assert (found.state == NEGATIVE).tolist() == [
        [False, True, True, True, True]
    ]  # 60% of the first, 40% of the second


def test_a_positive_in_a_region_to_ignore_learns() -> None:
    found = _match([[0, 0, 40, 40], [0, 0, 20, 20]], [-2, 0])
    assert (found.state == POSITIVE).tolist() == [[True, False, False, False, False]]
    assert not (found.state == NEGATIVE).any()


def test_the_hardest_negatives_of_each_image_count() -> None:
    state = torch.tensor([[POSITIVE, NEGATIVE, NEGATIVE, UNUSED, NEGATIVE], [NEGATIVE] * 5])
    loss = torch.tensor([[9.0, 1.0, 3.0, 8.0, 2.0], [5.0] * 5])
    assert hardest_negatives(loss, state, 2.0).tolist() == [[False, False, True, False, True], [False] * 5]
    assert hardest_negatives(loss, state, 9.0).tolist() == [[False, True, True, False, True], [False] * 5]
