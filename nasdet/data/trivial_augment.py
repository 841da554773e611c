"""TrivialAugment (Mueller and Hutter 2021, wide ranges): one photometric operation of random strength per image.

One decision: only operations that leave boxes where they are. Rotation and shear would need the boxes of turned
objects, and cropping already translates.

Images with other than three channels are treated as a stack of grey images, so that they can have every operation but
saturation; 16-bit images get only operations that need no table of 256 values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from nasdet.data.records import Pixels

_BINS = 31
_LARGEST_FACTOR = 0.99
_FEWEST_BITS = 2
_DEEP = 65535.0


class Trivial(NamedTuple):
    """The operation drawn for one image."""

    name: str
    """Name in `OPERATIONS`."""
    strength: float
    """-1..1; operations without a direction take its size."""

    def apply(self, pixels: Pixels) -> Pixels:
        """The `(h, w, C)` image after the operation, in the same dtype (uint8, or float32 in 0..65535)."""
        image = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)  # (C, h, w)
        stack = image if len(image) == 3 else image[:, None]
        deep = stack.is_floating_point()
        changed = OPERATIONS[self.name](stack / _DEEP if deep else stack, self.strength)
        changed = changed.reshape(image.shape) * _DEEP if deep else changed.reshape(image.shape)
        return np.ascontiguousarray(changed.permute(1, 2, 0).numpy())


Operation = Callable[[Tensor, float], Tensor]


def draw_trivial(rng: np.random.Generator, channels: int, *, deep: bool) -> Trivial:
    """A random operation among those defined for the image.

    Args:
        rng: source of randomness.
        channels: of the image.
        deep: whether it has 16 bits.
    """
    names = [n for n in OPERATIONS if (channels == 3 or n not in _RGB) and not (deep and n in _BYTES)]
    name = names[int(rng.integers(len(names)))]
    size, sign = rng.integers(_BINS) / (_BINS - 1), rng.integers(2) * 2 - 1
    return Trivial(name, float(size * sign))


def _factor(strength: float) -> float:
    return 1 + _LARGEST_FACTOR * strength


def _posterize(image: Tensor, strength: float) -> Tensor:
    bits = 8 - round(abs(strength) * (8 - _FEWEST_BITS))
    result: Tensor = transforms.posterize(image, bits)
    return result


def _solarize(image: Tensor, strength: float) -> Tensor:
    bright = 1.0 if image.is_floating_point() else 255.0
    result: Tensor = transforms.solarize(image, bright * (1 - abs(strength)))
    return result


OPERATIONS: dict[str, Operation] = {
    "identity": lambda image, strength: image,
    "brightness": lambda image, strength: transforms.adjust_brightness(image, _factor(strength)),
    "saturation": lambda image, strength: transforms.adjust_saturation(image, _factor(strength)),
    "contrast": lambda image, strength: transforms.adjust_contrast(image, _factor(strength)),
    "sharpness": lambda image, strength: transforms.adjust_sharpness(image, _factor(strength)),
    "posterize": _posterize,
    "solarize": _solarize,
    "autocontrast": lambda image, strength: transforms.autocontrast(image),
    "equalize": lambda image, strength: transforms.equalize(image),
}
"""Name -> function (image in bytes or 0..1, strength in -1..1) -> image."""
_RGB = ("saturation",)
_BYTES = ("posterize", "equalize")
