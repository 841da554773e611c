"""Photometric operations mean what they mean in torchvision, for every kind of image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as transforms

from nasdet.data.trivial_augment import OPERATIONS, Trivial, draw_trivial


def image(channels: int, *, deep: bool = False) -> np.ndarray:
    rng = np.random.default_rng(channels)
    pixels = rng.integers(20, 200, (48, 64, channels))
    return (pixels * 257).astype(np.float32) if deep else pixels.astype(np.uint8)


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_every_operation_keeps_shape_dtype_and_range(name: str, channels: int) -> None:
    if name == "saturation" and channels != 3:
        pytest.skip("needs colours")
    before = image(channels)
    kept = before.copy()
    for strength in (-1.0, 0.0, 0.6, 1.0):
        after = Trivial(name, strength).apply(before)
        assert (after.shape, after.dtype) == (before.shape, np.uint8)
        assert after.flags.c_contiguous
        np.testing.assert_array_equal(before, kept)


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("brightness", lambda x: transforms.adjust_brightness(x, 1.495)),
        ("saturation", lambda x: transforms.adjust_saturation(x, 1.495)),
        ("contrast", lambda x: transforms.adjust_contrast(x, 1.495)),
        ("sharpness", lambda x: transforms.adjust_sharpness(x, 1.495)),
        ("posterize", lambda x: transforms.posterize(x, 5)),
        ("solarize", lambda x: transforms.solarize(x, 127.5)),
        ("autocontrast", transforms.autocontrast),
        ("equalize", transforms.equalize),
    ],
)
def test_means_what_it_means_in_torchvision(name: str, reference: object) -> None:
    expected = reference(torch.from_numpy(image(3)).permute(2, 0, 1))  # type: ignore[operator]
    after = Trivial(name, 0.5).apply(image(3))
    np.testing.assert_array_equal(after, expected.permute(1, 2, 0).numpy())
    assert not np.array_equal(after, image(3))


def test_many_bands_are_changed_one_by_one() -> None:
    stack = image(4)
    after = Trivial("contrast", 0.5).apply(stack)
    for band in range(4):
        np.testing.assert_array_equal(
            after[:, :, band], Trivial("contrast", 0.5).apply(stack[:, :, band : band + 1])[:, :, 0]
        )


@pytest.mark.parametrize("name", ["identity", "brightness", "contrast", "sharpness", "solarize", "autocontrast"])
def test_deep_images_agree_with_bytes(name: str) -> None:
    low, high = Trivial(name, -0.5).apply(image(1)), Trivial(name, -0.5).apply(image(1, deep=True))
    assert high.dtype == np.float32
    np.testing.assert_allclose(high / 257, low, atol=2)


@pytest.mark.parametrize(
    ("channels", "deep", "missing"),
    [(3, False, set()), (1, False, {"saturation"}), (5, True, {"saturation", "posterize", "equalize"})],
)
def test_draws_every_operation_that_is_defined(channels: int, deep: bool, missing: set[str]) -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_trivial(rng, channels, deep=deep) for _ in range(400)]
    assert {t.name for t in drawn} == set(OPERATIONS) - missing
    strengths = [t.strength for t in drawn]
    assert min(strengths) == -1 and max(strengths) == 1
    assert drawn == [
        draw_trivial(again, channels, deep=deep) for again in [np.random.default_rng(0)] for _ in range(400)
    ]
