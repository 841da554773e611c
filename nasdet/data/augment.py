"""One training sample: large-scale jitter, crop, flips, colour, mosaic, mixup, copy-paste, erasing.

All random numbers come from one generator in a fixed order, so that a sample depends on its seed alone.
"""

from __future__ import annotations

import numpy as np

from nasdet.data.cache import CachedSplit
from nasdet.data.colour_jitter import Jitter, draw_jitter
from nasdet.data.copy_paste import paste
from nasdet.data.geometry import Region, View, draw
from nasdet.data.random_erasing import draw_region, erase
from nasdet.data.records import Objects, Pixels
from nasdet.data.trivial_augment import Trivial, draw_trivial
from nasdet.space.specs import AugmentSpec

_MIXUP_BETA = 8.0
"""Both parameters of the beta distribution of the share of the first image in a blend: 0.5 +- 0.12."""
_MOSAIC_SCALE = 0.6
"""What the drawn scale of each of a mosaic's four images is multiplied by."""
_MOSAIC_CENTRE = (0.3, 0.7)
"""Smallest and largest position of a mosaic's centre, as shares of the canvas."""


def scale_range(augment: AugmentSpec) -> tuple[float, float]:
    """Smallest and largest scale of an image: the stated ones, else by strength: 1 at 0, 0.6..1.4 at 0.5, 0.1..2.0 at 1
    (large-scale jitter), linear between."""
    if augment.scale is not None:
        return augment.scale
    strength = augment.strength
    if strength <= 0.5:
        return 1 - 0.8 * strength, 1 + 0.8 * strength
    return 0.6 - (strength - 0.5), 1.4 + 1.2 * (strength - 0.5)


def blank(split: CachedSplit, fill: tuple[float, ...]) -> Pixels:
    """An empty canvas `(H, W, C)`, uint8, or float32 for 16-bit images. `fill` has one value per channel or one for
    all."""
    dtype = np.uint8 if split.dtype == np.uint8 else np.float32
    value = np.round(fill) if dtype == np.uint8 else np.array(fill)
    return np.broadcast_to(value.astype(dtype), (split.height, split.width, split.channels)).copy()


def sample(
    split: CachedSplit, index: int, augment: AugmentSpec, rng: np.random.Generator, canvas: Pixels,
    *, masks: bool = False,
) -> Objects:  # fmt: skip
    """Draw one augmented sample onto `canvas` (`(H, W, C)`, filled with the mean) and return its objects.

    Args:
        split: cached images.
        index: of the image in the split; mosaic, mixup and copy-paste choose further ones.
        augment: which augmentations and how strong.
        rng: source of all random numbers.
        canvas: changed in place.
        masks: whether objects have masks as well, which takes time; the random numbers are the same with and without.
    """
    fill = canvas[0, 0].copy()
    empty = canvas.copy() if augment.copy_paste else canvas
    objects = _mixed(split, index, augment, rng, canvas, masks)
    if augment.copy_paste and rng.random() < augment.copy_paste:
        found = _scene(split, int(rng.integers(len(split))), augment, rng, empty, masks)
        objects = paste(canvas, objects, empty, found, rng)
    if augment.erase and rng.random() < augment.erase:
        objects = erase(canvas, fill, draw_region(rng, split.height, split.width), objects)
    return objects


def _mixed(
    split: CachedSplit, index: int, augment: AugmentSpec, rng: np.random.Generator, canvas: Pixels, masks: bool
) -> Objects:
    """One scene, or a blend of two."""
    mixup = augment.strength > 0 and rng.random() < augment.mixup
    other = canvas.copy() if mixup else None
    objects = _scene(split, index, augment, rng, canvas, masks)
    if other is None:
        return objects
    more = _scene(split, int(rng.integers(len(split))), augment, rng, other, masks)
    _blend(canvas, other, float(rng.beta(_MIXUP_BETA, _MIXUP_BETA)))
    return Objects.join([objects, more])


def _blend(canvas: Pixels, other: Pixels, share: float) -> None:
    """Blend in place: `share` of the canvas and 1 - `share` of the other image. Bytes are blended in fixed point with
    8 bits after the point, which is 5 times as fast as in floats."""
    if canvas.dtype != np.uint8:
        canvas[:] = canvas * np.float32(share) + other * np.float32(1 - share)
        return
    weight = np.uint16(round(256 * share))
    mixed = canvas.astype(np.uint16) * weight
    mixed += other.astype(np.uint16) * np.uint16(256 - weight)
    mixed += np.uint16(127)
    np.right_shift(mixed, np.uint16(8), out=mixed)
    canvas[:] = mixed


def _scene(
    split: CachedSplit, index: int, augment: AugmentSpec, rng: np.random.Generator, canvas: Pixels, masks: bool
) -> Objects:
    """One image, or a mosaic of it and three others."""
    if augment.strength > 0 and rng.random() < augment.mosaic:
        return _mosaic(split, index, augment, rng, canvas, masks)
    low, high = scale_range(augment)
    free = augment.strength > 0 or augment.scale is not None
    view = _view(augment, rng, rng.uniform(low, high), tuple(rng.random(2)) if free else (0.0, 0.0))
    return _draw(split, index, augment, rng, canvas, Region(0, 0, split.height, split.width), view, masks)


def _mosaic(
    split: CachedSplit, index: int, augment: AugmentSpec, rng: np.random.Generator, canvas: Pixels, masks: bool
) -> Objects:
    """Four images around a random centre, each with one corner on it as long as it is large enough."""
    height, width = split.height, split.width
    y, x = round(rng.uniform(*_MOSAIC_CENTRE) * height), round(rng.uniform(*_MOSAIC_CENTRE) * width)
    # The quarters around the centre, each with the place (down, right) of an image smaller than it: towards the centre.
    regions = (
        (Region(0, 0, y, x), (1.0, 1.0)),
        (Region(0, x, y, width - x), (1.0, 0.0)),
        (Region(y, 0, height - y, x), (0.0, 1.0)),
        (Region(y, x, height - y, width - x), (0.0, 0.0)),
    )
    chosen = rng.permutation([index, *rng.integers(len(split), size=3)])
    low, high = scale_range(augment)
    drawn = [
        _draw(
            split, int(i), augment, rng, canvas, region,
            _view(augment, rng, _MOSAIC_SCALE * rng.uniform(max(low, 0.4), high), place), masks,
        )
        for i, (region, place) in zip(chosen, regions, strict=True)
    ]  # fmt: skip
    return Objects.join(drawn)


def _view(augment: AugmentSpec, rng: np.random.Generator, factor: float, place: tuple[float, ...]) -> View:
    crop = (float(rng.random()), float(rng.random()))
    hflip, vflip = rng.random(2) < 0.5
    return View(factor, crop, (place[0], place[1]), bool(augment.hflip and hflip), bool(augment.vflip and vflip))


def _draw(
    split: CachedSplit, index: int, augment: AugmentSpec, rng: np.random.Generator, canvas: Pixels, region: Region,
    view: View, masks: bool,
) -> Objects:  # fmt: skip
    if augment.trivial:
        colour: Jitter | Trivial | None = draw_trivial(rng, split.channels, deep=split.dtype == np.uint16)
    else:
        strength = augment.strength if augment.colour is None else augment.colour
        colour = draw_jitter(rng, strength, split.channels)
    return draw(canvas, region, split.image(index), split.target(index, masks=masks), view, colour)
