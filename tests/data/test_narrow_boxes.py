"""Boxes too narrow for any level: counted, with an input or tiles that could learn them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nasdet.data.narrow_boxes import TrainingBoxes, narrow_advice
from nasdet.data.summary import describe
from nasdet.space.tiling import Tiling

SIZES = (256, 320, 512, 640, 1024)


def boxes(*sides: tuple[float, float], image: tuple[int, int] = (480, 640), tile: int = 0) -> TrainingBoxes:
    both = np.array(sides, np.float64)
    return TrainingBoxes(both.min(1), both.max(1), np.array([image] * len(sides)), Tiling(tile) if tile else None)


def test_share_that_is_too_narrow() -> None:
    own = boxes((100, 3), (100, 5), (100, 9), (20, 100))
    assert own.share_on(640, 8) == 0.25  # below 4 px
    assert own.share_on(320, 8) == 0.5  # below 8 px of the image
    assert own.share_on(320, 16) == 0.75
    assert own.share_too_narrow(240, 640, 8) == 0.5  # the height decides about the scale
    assert boxes((3, 3), image=(5000, 5000), tile=320).share_too_narrow(512, 512, 8) == 0  # 4.8 px of a tile


@pytest.mark.parametrize(
    ("own", "size", "advice"),
    [
        (boxes(*[(30, 40)] * 10), 640, ""),
        (boxes(*[(30, 40)] * 9, (3, 40)), 320, "; an input of 512 px with a level at stride 4"),
        (boxes(*[(30, 40)] * 9, (2.5, 40)), 640, "; an input of 1024 px leaves 0%"),
        (
            boxes(*[(2.0, 90)] * 10),
            640,
            "; an input of 640 px with a level at stride 4 (`--set fixed.neck.min_stride=4`)",
        ),
        (boxes(*[(3.0, 9.0)] * 10, image=(6000, 8000)), 1024, "stride 4; `tile: {size: 768}` in a data YAML shows all"),
        (boxes(*[(1.0, 600)] * 10), 640, "all of them wide enough, but cuts objects of 600 px into pieces: annotate"),
        (boxes(*[(0.1, 60)] * 10), 96, ", nor any other up to 1024 px and stride 4: annotate such objects wider"),
    ],
)
def test_advice(own: TrainingBoxes, size: int, advice: str) -> None:
    said = narrow_advice(own, size, SIZES)
    share = own.share_on(size, 8)
    start = f"{share:.0%} of the training boxes are narrower than 4 px on an input of {size} px, half a cell of a level"
    assert said.startswith(start) and advice in said if advice else said == ""


def test_boxes_of_one_pixel_are_named(coco_folder: Any, opens: Any) -> None:
    for annotation in coco_folder.content["annotations"]:
        annotation["bbox"] = [annotation["bbox"][0], 3, 1, 30]
    facts = describe(opens(coco_folder.write()))
    assert facts["too_narrow"] == 1
    assert any(line.startswith("100% of the training boxes are narrower than 4 px") for line in facts["advice"])
