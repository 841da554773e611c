"""Augmentation: boxes follow the pixels, colours follow torchvision."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as transforms

from nasdet.data import Dataset
from nasdet.data.augment import _blend, blank, sample, scale_range
from nasdet.data.colour_jitter import Jitter, apply_jitter, draw_jitter
from nasdet.data.geometry import CROWD, Region, View, draw, visible
from nasdet.data.masks import Mask, Patch, Polygons, Runs, Window, stack
from nasdet.data.records import Target
from nasdet.space.specs import AugmentSpec


def marked(box: tuple[int, int, int, int]) -> tuple[np.ndarray, Target]:
    """A dark image with one bright rectangle, and its box."""
    image = np.zeros((96, 128, 1), np.uint8)
    image[box[1] : box[3], box[0] : box[2]] = 255
    target = Target(np.array([box], np.float32), np.array([4]), np.array([False]))
    return image, target


@pytest.mark.parametrize("seed", range(25))
def test_boxes_follow_the_pixels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    image, target = marked((40, 30, 80, 66))
    canvas = np.zeros((96, 160, 1), np.uint8)
    crop, place, flips = rng.random(2), rng.random(2), rng.random(2) < 0.5
    view = View(rng.uniform(0.4, 1.8), tuple(crop), tuple(place), bool(flips[0]), bool(flips[1]))
    boxes, labels, masks = draw(canvas, Region(8, 16, 80, 120), image, target, view, None)
    rows, columns = np.nonzero(canvas[:, :, 0] > 127)
    assert masks is None
    if len(labels):
        assert labels.tolist() == [4]
        shown = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_allclose(boxes[0], shown, atol=1.5)
    else:
        assert len(rows) < 0.3 * (36 * view.factor) * (40 * view.factor)
    outside = canvas.copy()
    outside[8:88, 16:136] = 0
    assert not outside.any()


def shown(patch: Patch | None) -> np.ndarray:
    """xyxy of the full pixels of a patch."""
    assert patch is not None
    rows, columns = np.nonzero(patch.pixels)
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) + np.tile(
        [patch.left, patch.top], 2
    )


@pytest.mark.parametrize("kind", ["polygons", "runs"])
@pytest.mark.parametrize("seed", range(25))
def test_masks_follow_the_pixels_and_the_boxes(seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    corner = (np.array([[40, 30], [80, 30], [80, 66], [70, 66], [40, 40]], float),)
    image = np.zeros((96, 128, 1), np.uint8)
    mask: Mask = Polygons(corner)
    patch = mask.show(Window(96, 128, 0, 0, 96, 128, 96, 128))
    stack([patch], image[None, :, :, 0].view(np.bool_))
    mask = Runs.of(image[:, :, 0] > 0) if kind == "runs" else mask
    image *= 255
    boxes = np.array([[0, 0, 10, 10], [40, 30, 80, 66]], np.float32)
    target = Target(boxes, np.array([7, 4]), np.array([False, False]), (None, mask))
    canvas = np.zeros((96, 160, 1), np.uint8)
    flips = rng.random(2) < 0.5
    view = View(rng.uniform(0.4, 1.8), tuple(rng.random(2)), tuple(rng.random(2)), bool(flips[0]), bool(flips[1]))
    objects = draw(canvas, Region(8, 16, 80, 120), image, target, view, None)
    assert objects.masks is not None and len(objects.masks) == len(objects.labels)
    for label, box, patch in zip(objects.labels, objects.boxes, objects.masks, strict=True):
        if label == 7:
            assert patch is None
            continue
        pixels = np.zeros((1, 96, 160), bool)
        stack([patch], pixels)
        agree = pixels[0] == (canvas[:, :, 0] > 127)
        assert (~agree).sum() <= 1.5 * np.hypot(*(box[2:] - box[:2]))  # along one edge at most
        if (box[:2] > [16, 8]).all() and (box[2:] < [136, 88]).all():
            np.testing.assert_allclose(shown(patch), box, atol=1.5)


def test_little_visible_boxes_are_dropped_and_crowds_kept() -> None:
    boxes = np.array([[-30, 0, 10, 40], [-28, 0, 12, 40], [-39, 0, 1, 40], [-36, 0, 4, 40], [5, 5, 6, 30]], np.float32)
    kept, which = visible(boxes, np.array([0, 1, CROWD, CROWD, 3]), 50, 50)
    assert which.tolist() == [True, True, False, True, False]
    np.testing.assert_array_equal(kept, [[0, 0, 10, 40], [0, 0, 12, 40], [0, 0, 4, 40]])
    kept, which = visible(np.array([[-31, 0, 9, 40]], np.float32), np.array([0]), 50, 50)
    assert not len(kept) and not which.any()


def test_scale_range_is_as_specified() -> None:
    assert scale_range(AugmentSpec(strength=0.0)) == (1.0, 1.0)
    np.testing.assert_allclose(scale_range(AugmentSpec(strength=0.5)), (0.6, 1.4))
    np.testing.assert_allclose(scale_range(AugmentSpec(strength=1.0)), (0.1, 2.0))
    assert scale_range(AugmentSpec(strength=0.0, scale=(0.1, 2.0))) == (0.1, 2.0)


@pytest.mark.parametrize("scale", [(0.0, 1.0), (2.0, 1.0), (1.0, 9.0)])
def test_a_scale_that_is_no_range_is_refused(scale: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="low, high"):
        AugmentSpec(scale=scale)


Drawn = Callable[..., tuple[np.ndarray, np.ndarray]]


@pytest.fixture
def drawn(few_digits: Dataset) -> Drawn:
    """A function (seed, fields of the augmentation) -> sample of the built-in digits, its boxes."""
    split = few_digits.cached("train", 64, 64)

    def draw_sample(seed: int, **changes: object) -> tuple[np.ndarray, np.ndarray]:
        canvas = blank(split, (7.0,))
        objects = sample(split, 3, AugmentSpec(hflip=False, **changes), np.random.default_rng(seed), canvas)
        return canvas, objects.boxes

    return draw_sample


def test_scale_and_colour_have_values_of_their_own(drawn: Drawn) -> None:
    plain, boxes = drawn(0, strength=0.0)
    same, _ = drawn(0, strength=0.7, scale=(1.0, 1.0), colour=0.0)
    np.testing.assert_array_equal(same, plain)
    bright, moved = drawn(1, strength=0.0, colour=1.0)
    np.testing.assert_array_equal(moved, boxes)
    assert not np.array_equal(bright, plain)
    small, shrunk = drawn(1, strength=0.0, scale=(0.5, 0.5))
    assert (small == 7).all(2).mean() > 0.7
    sides = [b[:, 2:] - b[:, :2] for b in (shrunk, boxes)]
    np.testing.assert_allclose(sides[0], sides[1] / 2, atol=0.5)


def test_erasing_covers_a_rectangle_with_the_mean(drawn: Drawn) -> None:
    plain, boxes = drawn(2, strength=0.0)
    erased, left = drawn(2, strength=0.0, erase=1.0)
    rows, columns = np.nonzero((erased != plain).any(2))
    assert (erased[rows, columns] == 7).all()
    assert len(left) <= len(boxes)
    np.testing.assert_array_equal(drawn(2, strength=0.0, erase=1.0)[0], erased)


def test_copied_objects_come_from_another_image_and_are_learnt(drawn: Drawn) -> None:
    plain, boxes = drawn(2, strength=0.0)
    pasted, more = drawn(2, strength=0.0, copy_paste=1.0)
    new = [box for box in more if not (box == boxes).all(1).any()]
    assert new
    changed = (pasted != plain).any(2)
    for left, top, right, bottom in np.array(new).round().astype(int):
        assert changed[top:bottom, left:right].any()
        changed[max(0, top - 1) : bottom + 1, max(0, left - 1) : right + 1] = False
    assert not changed.any()
    np.testing.assert_array_equal(drawn(2, strength=0.0, copy_paste=1.0)[0], pasted)


def test_the_last_part_of_a_training_shows_images_as_they_are() -> None:
    parts = {"mosaic": 0.5, "mixup": 0.2, "copy_paste": 0.3, "erase": 0.1}
    augment = AugmentSpec(strength=0.4, plain_from=0.8, **parts)
    assert augment.at(0.79) is augment
    last = augment.at(0.8)
    assert {key: getattr(last, key) for key in parts} == dict.fromkeys(parts, 0.0) and last.strength == 0.4
    assert AugmentSpec(**parts).at(0.999).mosaic == 0.5


def test_trivial_takes_the_place_of_the_colour_jitter(drawn: Drawn) -> None:
    plain, boxes = drawn(0, strength=0.0)
    images = {drawn(seed, strength=0.0, colour=1.0, trivial=True)[0].tobytes() for seed in range(12)}
    assert len(images) > 3
    np.testing.assert_array_equal(drawn(0, strength=0.0, trivial=True)[1], boxes)
    assert plain.tobytes() in {drawn(seed, strength=0.0, trivial=True)[0].tobytes() for seed in range(30)}  # identity


@pytest.mark.parametrize(
    ("jitter", "reference"),
    [
        (Jitter(brightness=1.3), lambda x: transforms.adjust_brightness(x, 1.3)),
        (Jitter(brightness=0.6), lambda x: transforms.adjust_brightness(x, 0.6)),
        (Jitter(contrast=0.7), lambda x: transforms.adjust_contrast(x, 0.7)),
        (Jitter(saturation=0.5), lambda x: transforms.adjust_saturation(x, 0.5)),
        (Jitter(saturation=1.4), lambda x: transforms.adjust_saturation(x, 1.4)),
    ],
)
def test_colour_means_what_it_means_in_torchvision(jitter: Jitter, reference: object) -> None:
    rng = np.random.default_rng(0)
    image = np.repeat(np.repeat(rng.integers(60, 160, (12, 20, 3), dtype=np.uint8), 4, 0), 4, 1)
    expected = reference(torch.from_numpy(image).permute(2, 0, 1)).permute(1, 2, 0)  # type: ignore[operator]
    np.testing.assert_allclose(apply_jitter(image, jitter).astype(int), expected.numpy().astype(int), atol=2)


def test_hue_turns_around_gray() -> None:
    gray = np.full((8, 8, 3), 90, np.uint8)
    np.testing.assert_allclose(apply_jitter(gray, Jitter(hue=0.1)).astype(int), gray, atol=1)
    image = np.random.default_rng(0).integers(80, 120, (8, 8, 3), dtype=np.uint8)
    assert not np.array_equal(apply_jitter(image, Jitter(hue=0.1)), image)
    np.testing.assert_allclose(apply_jitter(image, Jitter(hue=1.0)).astype(int), image.astype(int), atol=1)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6])
def test_byte_and_float_images_agree(channels: int) -> None:
    image = np.random.default_rng(1).integers(0, 256, (10, 13, channels), dtype=np.uint8)
    jitter = draw_jitter(np.random.default_rng(0), 1.0, channels)
    assert jitter is not None
    assert len(jitter.gains) == (0 if channels in (1, 3) else channels)
    low = apply_jitter(image, jitter)
    high = apply_jitter(image.astype(np.float32), jitter)
    assert (low.dtype, high.dtype) == (np.uint8, np.float32)
    np.testing.assert_allclose(low, np.clip(high, 0, 255), atol=1)


def test_no_strength_no_colour() -> None:
    assert draw_jitter(np.random.default_rng(0), 0.0, 3) is None


def test_blend_of_bytes_equals_floats() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 256, (2, 20, 20, 3), dtype=np.uint8)
    exact, fast = first.astype(np.float32), first.copy()
    _blend(exact, second.astype(np.float32), 0.3)
    _blend(fast, second, 0.3)
    np.testing.assert_allclose(fast, exact, atol=1.5)
