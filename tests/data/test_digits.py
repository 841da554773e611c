"""The built-in set: deterministic, splits of different digits, little overlap."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nasdet.data import Dataset, open_data, read_image
from nasdet.data import digits as built_in


def test_facts(digits: Dataset) -> None:
    info = digits.info
    assert info.classes == tuple("0123456789")
    assert (info.channels, info.bits, info.aspect) == (1, 8, 1.0)
    assert info.splits == {"train": 600, "val": 150, "test": 150}
    assert not info.defects
    for split in info.splits:
        counts = [len(r.boxes) for r in digits.images(split)]
        assert min(counts) >= 1
        assert max(counts) <= 4
        assert set(np.concatenate([r.labels for r in digits.images(split)])) == set(range(10))


def test_mean_and_deviation_come_from_training_pixels(digits: Dataset) -> None:
    pixels = np.stack([read_image(r.path) for r in digits.images("train")])
    np.testing.assert_allclose(digits.info.mean, [pixels.mean()], rtol=1e-4)
    np.testing.assert_allclose(digits.info.std, [pixels.std()], rtol=1e-3)


def test_boxes_hold_the_ink_and_hardly_overlap(digits: Dataset) -> None:
    for record in digits.images("val"):
        image = read_image(record.path)[:, :, 0].astype(float)
        background = np.median(image)
        for i, box in enumerate(record.boxes.astype(int)):
            assert image[box[1] : box[3], box[0] : box[2]].max() > background + 20
            for other in record.boxes[i + 1 :]:
                sides = np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2])
                smaller = min((box[2:] - box[:2]).prod(), (other[2:] - other[:2]).prod())
                assert sides.clip(0).prod() <= 0.051 * smaller


def test_seed_decides(tmp_path: Path, digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of fewer scenes, which are the first of the whole set's."""
    monkeypatch.setattr(built_in, "IMAGES", {"train": 20, "val": 20, "test": 20})
    first, other = (open_data("digits", cache_root=tmp_path, seed=seed) for seed in (0, 1))
    for split in ("train", "val", "test"):
        for record, again in zip(digits.images(split), first.images(split), strict=False):
            assert record.path.name == again.path.name and record.path.read_bytes() == again.path.read_bytes()
    assert first.info.fingerprint != other.info.fingerprint
