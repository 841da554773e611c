"""Several views of an image are one detection."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from nasdet.data import Dataset
from nasdet.errors import InputError
from nasdet.models import Detections, build_detector
from nasdet.trainers.evaluate import evaluate
from nasdet.trainers.ranks import Ranks
from nasdet.trainers.test_time_augmentation import Transforms, detect_augmented
from nasdet.trainers.training_state import Training
from tests.trainers.conftest import tiny_recipe, tiny_spec

CPU = torch.device("cpu")
BOX = (10.0, 20.0, 30.0, 60.0)  # of the bright rectangle in `picture`
H, W = 96, 128


def picture() -> Tensor:
    images = torch.zeros(2, 1, H, W, dtype=torch.uint8)
    x0, y0, x1, y1 = (int(v) for v in BOX)
    images[:, :, y0:y1, x0:x1] = 255
    return images


class Bright:
    """Finds the bounding box of what is bright, as surely as the view is large or, if asked, as it is mirrored; its
    mask is what is brightest there."""

    def __init__(self, masks: bool = False, prefers_mirrored: bool = False) -> None:
        self.sizes: list[tuple[int, int]] = []
        self.spec = SimpleNamespace(head=SimpleNamespace(nms_iou=0.6))
        self._masks, self._prefers_mirrored = masks, prefers_mirrored

    def detect(self, images: Tensor) -> list[Detections]:
        self.sizes.append(tuple(images.shape[-2:]))  # type: ignore[arg-type]
        found = []
        for image in images:
            rows, columns = (image[0] > 127).nonzero().unbind(1)
            box = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).float()
            score = torch.tensor([image.shape[-1] / 1000])
            one = Detections(box[None], score, torch.zeros(1, dtype=torch.long))
            if self._masks:
                x0, y0, x1, y1 = box.int().tolist()
                inside = (image[:, y0:y1, x0:x1] > 230).float()
                one = one._replace(masks=F.interpolate(inside[None], (28, 28))[0])
            if self._prefers_mirrored and len(self.sizes) % 2 == 0:
                one = one._replace(scores=one.scores + 0.1)
            found.append(one)
        return found


def detect(detector: Any, images: Tensor, **views: Any) -> list[Detections]:
    return detect_augmented(detector, images, Transforms(**views))


@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize("scales", [(1.0,), (0.5, 1.0, 2.0), (1.5,)])
def test_views_of_one_object_are_one_box_where_it_is(scales: tuple[float, ...], flip: bool) -> None:
    detector = Bright()
    for one in detect(detector, picture(), scales=scales, flip=flip):
        assert len(one.boxes) == 1
        torch.testing.assert_close(one.boxes[0], torch.tensor(BOX), atol=2.0, rtol=0)
        assert float(one.scores) == pytest.approx(W * max(scales) / 1000)  # the best one stays
    assert len(detector.sizes) == len(scales) * (1 + flip)


def test_canvases_are_multiples_of_32() -> None:
    detector = Bright()
    detect(detector, picture(), scales=(0.4, 0.75, 1.3))
    assert detector.sizes == [(32, 64), (64, 96), (128, 160)]


def test_at_scale_1_the_canvas_is_as_it_was() -> None:
    detector = Bright()
    detect(detector, picture()[..., :100], scales=(1.0, 2.0), flip=True)
    assert detector.sizes == [(96, 100)] * 2 + [(192, 192)] * 2


def test_objects_of_different_classes_and_places_stay() -> None:
    class Two(Bright):
        def detect(self, images: Tensor) -> list[Detections]:
            label = torch.tensor([images.shape[-1] % 3])
            return [one._replace(labels=label) for one in super().detect(images)]

    [one, _] = detect(Two(), picture(), scales=(1.0, 1.5))
    assert len(one.boxes) == 2 and one.scores[0] > one.scores[1]


def test_one_view_is_the_plain_detection() -> None:
    torch.manual_seed(0)
    detector, images = build_detector(tiny_spec()).eval(), torch.rand(2, 1, 64, 64) * 255
    for ours, plain in zip(detect(detector, images), detector.detect(images), strict=True):
        assert torch.equal(ours.boxes, plain.boxes) and torch.equal(ours.scores, plain.scores)


def test_at_most_100_boxes_and_the_best() -> None:
    torch.manual_seed(0)
    detector, images = build_detector(tiny_spec()).eval(), torch.rand(1, 1, 64, 64) * 255
    [one] = detect(detector, images, scales=(1.0, 2.0), flip=True)
    assert len(one.boxes) == 100 and (one.scores.diff() <= 0).all()
    assert (one.boxes >= 0).all() and (one.boxes <= 64).all()


@pytest.mark.parametrize("prefers_mirrored", [True, False])
def test_masks_are_those_of_the_view_that_stays(prefers_mirrored: bool) -> None:
    images = picture()
    images[:, :, :, 20:] = images[:, :, :, 20:].clamp(max=200)  # the right half of the object is darker
    for one in detect(Bright(masks=True, prefers_mirrored=prefers_mirrored), images, flip=True):
        assert one.masks is not None and one.masks.shape == (1, 28, 28)
        assert one.masks[0, :, :14].min() == 1 and one.masks[0, :, 14:].max() == 0


@pytest.mark.parametrize("scales", [(), (0.0,), (1.0, 1.0), (-1.0,), (float("nan"),), (9.0,)])
def test_wrong_scales(scales: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="--scales: scales must be different numbers above 0"):
        Transforms(scales)


def test_scale_1_alone_is_the_plain_evaluation(digits: Dataset) -> None:
    detector = Training.start(tiny_spec(), tiny_recipe(), seed=0, device=CPU).detector
    plain, one, two = (
        evaluate(detector, digits, "val", Ranks(CPU), *views)
        for views in ((), (Transforms((1.0,)),), (Transforms((1.0, 1.5)),))
    )
    assert {k: v for k, v in plain.items() if "second" not in k} == {k: v for k, v in one.items() if "second" not in k}
    assert two["ap"] != plain["ap"]
