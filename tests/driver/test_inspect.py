"""What a bundle finds in single images: boxes and masks in the image's own pixels."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from nasdet.data.contact_sheet import to_rgb
from nasdet.driver.inspect import detect_image, draw, listed
from nasdet.evaluation import unpack
from nasdet.models import Detections

FOUND = Detections(
    boxes=torch.tensor([[10.0, 5.0, 30.0, 25.0], [-5.0, 20.0, 15.0, 60.0]]),
    scores=torch.tensor([0.9, 0.5]),
    labels=torch.tensor([1, 0]),
)
CLASSES = ("cell", "dust")
MASKED = FOUND._replace(masks=torch.ones(2, 28, 28))


def test_boxes_are_cut_to_the_image_and_masks_are_not_moved() -> None:
    plain, masked = (listed(found, CLASSES, 40, 60) for found in (FOUND, MASKED))
    assert json.loads(json.dumps(masked)) == masked
    assert [{k: v for k, v in entry.items() if k != "mask"} for entry in masked] == plain
    assert plain[1] == {"class": "cell", "score": 0.5, "box": [0.0, 20.0, 15.0, 40.0]}
    pixels = unpack(masked[1]["mask"])
    assert pixels.shape == (40, 60)
    assert pixels[20:40, 0:15].all() and pixels.sum() == 20 * 15


def test_masks_are_tinted() -> None:
    pixels = np.full((40, 60, 3), 128, np.uint8)
    plain, masked = (np.asarray(draw(to_rgb(pixels), listed(f, CLASSES, 40, 60), CLASSES)) for f in (FOUND, MASKED))
    assert (plain[23, 18:28] == 128).all()
    assert (masked[23, 18:28] != 128).any(1).all()
    assert (masked[:, 40:] == plain[:, 40:]).all()


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_boxes_come_in_the_pixels_of_the_image(scale: float) -> None:
    class Detector(torch.nn.Linear):
        spec = SimpleNamespace(input=SimpleNamespace(height=40, width=60, channels=3, mean=(0.0,) * 3))

        def detect(self, images: torch.Tensor, *, score_threshold: float) -> list[Detections]:
            assert images.shape == (1, 3, 40, 60) and score_threshold == 0.3
            return [MASKED]

    image = np.zeros((int(40 / scale), int(60 / scale), 3), np.uint8)
    found = detect_image(Detector(1, 1), image, score=0.3)  # type: ignore[arg-type]
    torch.testing.assert_close(found.boxes, FOUND.boxes / scale)
    assert found.masks is MASKED.masks
