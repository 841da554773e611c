"""Error types against tidecv, the reference implementation, and tables against pycocotools."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tidecv import TIDE, Data

from benchmarks.eval_speed import by_pycocotools, scene
from nasdet.analysis.tide import CORRECT, FALSE, IGNORED, MISSED, SHORT, error_report
from nasdet.data import Dataset, open_data
from nasdet.errors import InputError
from nasdet.evaluation import METRICS, Predictions


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


def test_predictions_of_a_trained_bundle_as_tidecv(few_digits: Dataset, found_digits: Predictions) -> None:
    report = agree(few_digits.coco("val"), found_digits)
    assert len(found_digits.scores) > 1000 and report["types"][0]["ap50_cost"] > 0.01


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


def test_the_working_score_counts_every_box_and_object() -> None:
    """One right box of three objects (F1 2/4) is better than three right ones among ten boxes (F1 6/13)."""
    objects = [
        {"id": i, "image_id": 1, "category_id": 1, "bbox": [30.0 * i, 0.0, 10.0, 10.0], "area": 100.0, "iscrowd": 0}
        for i in (1, 2, 3)
    ]
    image = {"id": 1, "width": 300, "height": 60, "file_name": "row.png"}
    truth = {"images": [image], "annotations": objects, "categories": [{"id": 1, "name": "thing"}]}
    left = np.array([30.0, *(20.0 * i for i in range(7)), 60.0, 90.0])
    top = np.array([0.0, *[40.0] * 7, 0.0, 0.0])
    scores, ones = np.linspace(0.95, 0.05, 10), np.ones(10, np.int64)
    found = Predictions(ones, np.stack([left, top, left + 10, top + 10], 1), scores, 0 * ones)
    assert error_report(truth, found)[0]["working_score"] == pytest.approx(0.95)


def test_nothing_found_is_all_missed() -> None:
    truth, _ = scene(0)
    report, _ = error_report(truth, Predictions.concatenate([]))
    assert report["ap50"] == 0
    assert {row["type"]: row["count"] for row in report["types"]}["missed"] == report["objects"]


def test_without_objects_there_is_nothing_to_say() -> None:
    truth, found = scene(0, objects=0, spurious=5)
    with pytest.raises(InputError, match="no objects"):
        error_report(truth, found)


IMAGE = {"id": 7, "width": 100, "height": 100, "file_name": "7.png"}
NAMES = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]


def labelled_by(*objects: tuple[int, list[float]], crowd: bool = False) -> dict[str, Any]:
    annotations = [
        {"id": i, "image_id": 7, "category_id": c, "bbox": box, "area": box[2] * box[3], "iscrowd": int(crowd)}
        for i, (c, box) in enumerate(objects, start=11)
    ]
    return {"images": [IMAGE], "annotations": annotations, "categories": NAMES}


def boxes_of(*rows: tuple[int, list[float]]) -> Predictions:
    """Boxes xywh of falling scores."""
    xywh = np.array([box for _, box in rows], float)
    boxes = np.column_stack([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]])
    count = len(rows)
    labels = np.array([label for label, _ in rows])
    return Predictions(np.full(count, 7), boxes, np.linspace(0.9, 0.5, count), labels)


def test_every_type_is_named() -> None:
    labelled = labelled_by((1, [0, 0, 20, 20]), (1, [50, 50, 20, 20]), (2, [0, 60, 20, 20]), (2, [80, 0, 20, 20]))
    rows = [
        (0, [0.0, 0, 20, 20]),  # right
        (0, [1.0, 0, 20, 20]),  # the same once more
        (0, [55.0, 58, 20, 20]),  # right class, IoU 0.29
        (0, [0.0, 60, 20, 20]),  # a dog
        (0, [8.0, 64, 20, 20]),  # a dog with IoU 0.32
        (1, [40.0, 20, 5, 5]),  # nothing
    ]
    _, outcomes = error_report(labelled, boxes_of(*rows))
    wanted = [CORRECT, "duplicate", "localisation", "classification", "both", "background"]
    assert outcomes.kind.tolist() == wanted
    assert outcomes.nearest.tolist() == [0, 0, 1, 2, 2, -1]
    assert outcomes.found_with.tolist() == [0.9, -1, -1, -1]


def test_a_crowd_is_neither_found_nor_missed() -> None:
    both = labelled_by((1, [0, 0, 20, 20]))
    both["annotations"] += labelled_by((1, [50, 50, 40, 40]), crowd=True)["annotations"][:1]
    both["annotations"][1]["id"] = 12
    _, outcomes = error_report(both, boxes_of((0, [0.0, 0, 20, 20]), (0, [55.0, 55, 20, 20])))
    assert outcomes.kind.tolist() == [CORRECT, IGNORED]
    assert len(outcomes.objects) == 1


def test_images_without_objects_have_only_background() -> None:
    labelled = labelled_by((1, [0, 0, 20, 20]))
    labelled["images"].append({**IMAGE, "id": 8})
    boxes = boxes_of((0, [0.0, 0, 20, 20]), (0, [10.0, 10, 20, 20]))
    boxes.image_ids[1] = 8
    assert error_report(labelled, boxes)[1].kind.tolist() == [CORRECT, "background"]


@pytest.mark.parametrize("seed", range(4))
def test_counts_are_hotcocos(seed: int) -> None:
    labelled, boxes = scene(seed, spurious=20 * (seed % 2))
    labelled["annotations"] = [
        a for a in labelled["annotations"] if not a["iscrowd"]
    ]  # hotcoco measures from crowds too
    report, outcomes = error_report(labelled, boxes)
    counts = Counter(outcomes.kind.tolist())
    assert {row["type"]: row["count"] for row in report["types"] if row["type"] != MISSED} == {
        kind: counts[kind] for kind in FALSE
    }
    assert counts[CORRECT] == (outcomes.found_with >= 0).sum()
