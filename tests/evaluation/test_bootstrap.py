from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.eval_speed import scene
from nasdet.evaluation import Predictions, coco_metrics
from nasdet.evaluation.bootstrap import COUNT, draws, intervals, read_resamples, resample, write_resamples


def repeated(truth: dict[str, Any], found: Predictions, times: np.ndarray) -> tuple[dict[str, Any], Predictions]:
    """The data set in which each image, its objects and detections stand so many times, under new ids."""
    images: list[dict[str, Any]] = []
    objects: list[dict[str, Any]] = []
    parts: list[Predictions] = []
    for image, count in zip(truth["images"], times.tolist(), strict=True):
        own = found.image_ids == image["id"]
        for _ in range(count):
            number = len(images) + 1
            images.append({**image, "id": number})
            for a in truth["annotations"]:
                if a["image_id"] == image["id"]:
                    objects.append({**a, "id": len(objects) + 1, "image_id": number})
            ids = np.full(own.sum(), number)
            parts.append(Predictions(ids, found.boxes[own], found.scores[own], found.labels[own]))
    return {**truth, "images": images, "annotations": objects}, Predictions.concatenate(parts)


@pytest.mark.parametrize("seed", range(4))
def test_a_weight_counts_as_that_many_copies_of_the_image(seed: int) -> None:
    truth, found = scene(seed, images=25, objects=5, spurious=8)
    weights = draws(25, 12)
    ours = resample(truth, found, weights)
    for row, times in enumerate(weights):
        figures = coco_metrics(*repeated(truth, found, times))
        assert ours["ap"][row] == pytest.approx(figures["ap"], abs=1e-6)
        assert ours["ap50"][row] == pytest.approx(figures["ap50"], abs=1e-6)


def test_equal_scores_keep_the_order_of_the_images() -> None:
    truth, found = scene(7, images=20, objects=5)
    found = Predictions(found.image_ids, found.boxes, found.scores.round(1), found.labels)
    ours = resample(truth, found, np.ones((1, 20), np.int64))
    figures = coco_metrics(truth, found)
    assert [ours["ap"][0], ours["ap50"][0]] == pytest.approx([figures["ap"], figures["ap50"]], abs=1e-6)


def test_a_small_split_is_less_certain_than_a_large_one() -> None:
    widths = []
    for images in (20, 320):
        truth, found = scene(3, images=images)
        figures = coco_metrics(truth, found)
        ends = intervals(resample(truth, found), figures)
        assert ends["ap_low"] <= figures["ap"] <= ends["ap_high"]
        widths.append(ends["ap_high"] - ends["ap_low"])
    assert 2.5 < widths[0] / widths[1] < 6  # about sqrt(16)


def test_an_interval_holds_the_figure_itself() -> None:
    drawn = {"ap": np.array([0.5, 0.6]), "ap50": np.array([0.5, 0.6])}
    ends = intervals(drawn, {"ap": 0.4, "ap50": 0.7})
    assert ends["ap_low"] == 0.4 and ends["ap_high"] == pytest.approx(0.595)
    assert ends["ap50_low"] == pytest.approx(0.505) and ends["ap50_high"] == 0.7


def test_resamples_are_the_same_for_every_detector() -> None:
    assert np.array_equal(draws(30), draws(30))
    assert draws(30).shape == (COUNT, 30) and (draws(30).sum(axis=1) == 30).all()


def test_without_objects_or_detections() -> None:
    truth, found = scene(0, objects=0, spurious=3)
    nothing = resample(truth, found)
    assert np.isnan(nothing["ap"]).all() and intervals(nothing, coco_metrics(truth, found)) == {}
    truth, _ = scene(0)
    assert not resample(truth, Predictions.concatenate([]))["ap"].any()


def test_written_and_read(tmp_path: Path) -> None:
    assert read_resamples(tmp_path) == {}
    values = resample(*scene(1))
    write_resamples(tmp_path / "t0", values)
    np.testing.assert_allclose(read_resamples(tmp_path / "t0")["ap"], values["ap"], atol=1e-6)
    (tmp_path / "t0" / "resamples.npz").write_bytes(b"PK\x03\x04cut off")
    assert read_resamples(tmp_path / "t0") == {}
