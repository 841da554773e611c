"""Error types against tidecv, the reference implementation, and the tables against pycocotools."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tidecv import TIDE, Data

from benchmarks.eval_speed import by_pycocotools, scene
from nasdet.analysis.tide import error_report
from nasdet.analysis.tide_outcomes import FALSE, SHORT
from nasdet.data import open_data
from nasdet.driver.inference.evaluate import predict_bundle
from nasdet.errors import InputError
from nasdet.evaluation import METRICS, Predictions
from nasdet.export import Bundle


def by_tidecv(truth: dict[str, Any], found: Predictions) -> tuple[float, dict[str, float], dict[str, int]]:
    """AP50, its loss by each type, and counts."""
    labels, boxes = Data("labels"), Data("boxes")
    for category in truth["categories"]:
        labels.add_class(category["id"], category["name"])
    for image in truth["images"]:
        labels.add_image(image["id"], image["file_name"])
    for a in truth["annotations"]:
        add = labels.add_ignore_region if a["iscrowd"] else labels.add_ground_truth
        add(a["image_id"], a["category_id"], a["bbox"])
    for image, x, y, w, h, score, category in found.to_coco_array().tolist():
        boxes.add_detection(int(image), int(category), score, [x, y, w, h])
    run = TIDE().evaluate(labels, boxes, mode=TIDE.BOX)
    costs, counts = run.fix_main_errors(), run.count_errors()
    return run.ap / 100, {t.short_name: v / 100 for t, v in costs.items()}, {t.short_name: n for t, n in counts.items()}


def agree(truth: dict[str, Any], found: Predictions) -> dict[str, Any]:
    report, _ = error_report(truth, found)
    ap50, costs, counts = by_tidecv(truth, found)
    assert report["tide_ap50"] == pytest.approx(ap50, abs=1e-3)
    assert {row["short"]: row["ap50_cost"] for row in report["types"]} == pytest.approx(costs, abs=1e-3)
    if not any(a["iscrowd"] for a in truth["annotations"]):  # of boxes in crowds tidecv counts errors that cost nothing
        assert {row["short"]: row["count"] for row in report["types"]} == counts
    return report


def perturbed(truth: dict[str, Any], seed: int) -> Predictions:
    """The labels moved, some under another class, some twice, some left out, and boxes on nothing.

    Classes without objects in the split get no boxes: they count as AP 0 in tidecv, and not at all in COCO.
    """
    rng, classes = np.random.default_rng(seed), sorted({a["category_id"] - 1 for a in truth["annotations"]})
    rows = []
    for a in truth["annotations"] * 2:
        if a["iscrowd"] or rng.random() < 0.25:
            continue
        x, y, w, h = np.array(a["bbox"]) + rng.normal(0, 0.12, 4) * np.array(a["bbox"][2:] * 2)
        label = a["category_id"] - 1 if rng.random() < 0.85 else rng.choice(classes)
        w, h = max(w, 1.0), max(h, 1.0)
        rows.append([a["image_id"], x, y, x + w, y + h, rng.random(), label])
        if rng.random() < 0.3:
            x, y = rng.random(2) * 200
            rows.append([a["image_id"], x, y, x + w, y + h, 0.7 * rng.random(), label])
    table = np.array(rows)
    return Predictions(table[:, 0].astype(np.int64), table[:, 1:5], table[:, 5], table[:, 6].astype(np.int64))


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", ["bccd", "coco60"])
def test_perturbed_labels_of_real_data_as_tidecv(shared_data: Path, name: str, seed: int) -> None:
    truth = open_data(shared_data / name).coco("val")
    report = agree(truth, perturbed(truth, seed))
    assert all(row["ap50_cost"] > 0.001 for row in report["types"] if row["type"] not in ("missed", "both"))


@pytest.mark.parametrize("seed", range(2))
def test_crowds_as_tidecv(seed: int) -> None:
    agree(*scene(seed, spurious=30))


def test_predictions_of_a_trained_bundle_as_tidecv(digits_bundle: Bundle) -> None:
    dataset = open_data("digits")
    found = predict_bundle(digits_bundle, dataset, "val")
    report = agree(dataset.coco("val"), found)
    assert len(found.scores) > 1000 and report["types"][0]["ap50_cost"] > 0.01


def test_a_recall_on_a_bin_is_read_as_tidecv() -> None:
    """7 of 20 objects are a recall of 0.35, which lies below COCO's 0.35000000000000003."""
    truth, _ = scene(0)
    boxes = [[float(30 * i), 0.0, 20.0, 20.0] for i in range(20)]
    truth["annotations"] = [
        {"id": i + 1, "image_id": 1, "category_id": 1, "bbox": box, "area": 400.0, "iscrowd": 0}
        for i, box in enumerate(boxes)
    ]
    xyxy = np.array([[x, y, x + w, y + h] for x, y, w, h in boxes[:7]])
    agree(truth, Predictions(np.ones(7, np.int64), xyxy, np.linspace(0.9, 0.5, 7), np.zeros(7, np.int64)))


def test_precisions_are_cocos() -> None:
    truth, found = scene(3)
    report, _ = error_report(truth, found)
    reference = dict(zip(METRICS, by_pycocotools(truth, found), strict=True))
    assert (report["ap"], report["ap50"]) == pytest.approx((reference["ap"], reference["ap50"]), abs=1e-9)
    sizes = {row["size"][0]: row["ap"] for row in report["sizes"]}
    assert sizes == pytest.approx({size: reference[f"ap_{size}"] for size in "sml"}, abs=1e-9)
    assert np.mean([row["ap"] for row in report["classes"]]) == pytest.approx(reference["ap"], abs=1e-9)


def test_tables_agree_with_each_other() -> None:
    report, _ = error_report(*scene(5, spurious=10))
    work = {row["type"]: row["count_at_working_score"] for row in report["types"]}
    for table in ("classes", "sizes"):
        assert {kind: sum(row[kind] for row in report[table]) for kind in SHORT} == work
        assert sum(row["objects"] for row in report[table]) == report["objects"]
    for row in report["confidence"]:
        assert sum(row[kind] for kind in FALSE) == row["false"] == pytest.approx(40 * row["false_per_image"])
        assert row["correct"] + row["missed"] == report["objects"]
    assert sum(pair["count"] for pair in report["confusions"]) > 0


def test_the_working_score_has_the_best_f1() -> None:
    truth, found = scene(2, spurious=10)
    report, outcomes = error_report(truth, found)

    def f1(score: float) -> float:
        kinds = outcomes.kind[(found.scores >= score) & (outcomes.kind != "ignored")]
        return 2 * (kinds == "correct").sum() / (len(kinds) + report["objects"])

    assert f1(report["working_score"]) == max(f1(score) for score in found.scores)


def test_nothing_found_is_all_missed() -> None:
    truth, _ = scene(0)
    report, _ = error_report(truth, Predictions.concatenate([]))
    assert report["ap50"] == 0
    assert {row["type"]: row["count"] for row in report["types"]}["missed"] == report["objects"]


def test_without_objects_there_is_nothing_to_say() -> None:
    truth, found = scene(0, objects=0, spurious=5)
    with pytest.raises(InputError, match="no objects"):
        error_report(truth, found)
