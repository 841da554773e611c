"""Colour jitter in one pass.

One decision: brightness, contrast, saturation and hue are composed into one affine map of the channels, which costs one
small matrix product (torchvision's hue alone takes 5 ms on 256 x 256 pixels).

Each factor means what it means in torchvision.transforms.v2; hue is a rotation in YIQ. Images with other than three
channels get brightness, contrast and a gain of their own for each channel.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from nasdet.data.records import Pixels

_GRAY = np.array([0.2989, 0.587, 0.114])
_TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
_FROM_YIQ = np.linalg.inv(_TO_YIQ)
_SHARE = 0.8
"""Of images whose colours are changed."""
_RANGE = 0.4
"""Largest change of brightness, contrast and saturation at strength 1."""
_GAIN = 0.1
"""Largest change of a channel of its own at strength 1, in images without three channels."""
_TURN = 0.04
"""Largest change of hue at strength 1, in turns."""
_PIXELS_PER_ROW = 8
"""Pixels that share a row of the matrix product: 24 columns are 5 times as fast as 3."""


class Jitter(NamedTuple):
    """Factors of one image; 1 (hue: 0 turns) leaves it as it is."""

    brightness: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    hue: float = 0.0
    gains: tuple[float, ...] = ()
    """Of each channel, for images without three channels."""

    def apply(self, pixels: Pixels) -> Pixels:
        """The `(h, w, C)` image with its colours changed, in the same dtype (uint8, or float32 in 0..65535)."""
        return apply_jitter(pixels, self)


def draw_jitter(rng: np.random.Generator, strength: float, channels: int) -> Jitter | None:
    """Random factors, or None for the share of images left as they are.

    Args:
        rng: source of randomness.
        strength: 0..1; brightness, contrast and saturation lie in 1 +- 0.4 x strength.
        channels: of the image.
    """
    if strength == 0 or rng.random() >= _SHARE:
        return None
    brightness, contrast, saturation, hue = rng.uniform(-1, 1, 4)
    gains = tuple(1 + _GAIN * strength * rng.uniform(-1, 1, channels)) if channels not in (1, 3) else ()
    return Jitter(
        1 + _RANGE * strength * brightness,
        1 + _RANGE * strength * contrast,
        1 + _RANGE * strength * saturation,
        _TURN * strength * hue,
        gains,
    )


def apply_jitter(pixels: Pixels, jitter: Jitter) -> Pixels:
    """Return the `(h, w, C)` image with its colours changed, in the same dtype (uint8, or float32 in 0..65535)."""
    matrix, offset = _affine(pixels, jitter)
    if pixels.dtype == np.uint8 and pixels.shape[2] != 3:
        return _by_table(pixels, np.diag(matrix), offset)
    together = math.gcd(pixels.shape[0] * pixels.shape[1], _PIXELS_PER_ROW)
    flat = torch.from_numpy(np.ascontiguousarray(pixels)).reshape(-1, pixels.shape[2] * together)
    weights = torch.from_numpy(np.kron(np.eye(together), matrix).astype(np.float32))
    bias = torch.from_numpy(np.tile(offset, together).astype(np.float32))
    limit = 255 if pixels.dtype == np.uint8 else 65535
    mapped = torch.addmm(bias, flat.float(), weights).clamp_(0, limit)
    return mapped.to(flat.dtype).numpy().reshape(pixels.shape)


def _affine(pixels: Pixels, jitter: Jitter) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Matrix `(C, C)` and offset `(C,)` of `x @ matrix + offset`: brightness, contrast, saturation, then hue."""
    channels = pixels.shape[2]
    # Contrast is a blend with the mean grey, taken from every 16th pixel; saturation a blend with each pixel's grey.
    sample = pixels[::4, ::4].reshape(-1, channels).mean(0, dtype=np.float64) * jitter.brightness
    matrix = np.eye(channels) * jitter.brightness * jitter.contrast
    if channels != 3:
        level = sample * (1 - jitter.contrast)
        gains = np.array(jitter.gains or (1.0,) * channels)
        return matrix * gains, level * gains
    offset = np.full(3, (1 - jitter.contrast) * float(sample @ _GRAY))
    mix = jitter.saturation * np.eye(3) + (1 - jitter.saturation) * np.outer(_GRAY, np.ones(3))
    if jitter.hue:
        angle = 2 * math.pi * jitter.hue
        turn = np.array([[1, 0, 0], [0, math.cos(angle), -math.sin(angle)], [0, math.sin(angle), math.cos(angle)]])
        mix = mix @ (_FROM_YIQ @ turn @ _TO_YIQ).T
    return matrix @ mix, offset @ mix


def _by_table(pixels: Pixels, factors: npt.NDArray[Any], offset: npt.NDArray[Any]) -> Pixels:
    tables = np.clip(np.arange(256)[:, None] * factors + offset, 0, 255).astype(np.uint8)
    mapped = np.empty_like(pixels)
    for channel in range(pixels.shape[2]):
        np.take(tables[:, channel], pixels[:, :, channel], out=mapped[:, :, channel])
    return mapped
