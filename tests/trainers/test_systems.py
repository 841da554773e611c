"""Every preset, in its tiny variant, learns eight real photographs by heart on a CPU; figures of a trained one."""

from __future__ import annotations

import collections
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nasdet.data import Dataset, open_data
from nasdet.evaluation import MASK, METRICS, mask_truth
from nasdet.space.presets import SYSTEMS, tiny_spec
from nasdet.space.specs import AugmentSpec, Recipe
from nasdet.trainers.evaluate import evaluate, predict_split
from nasdet.trainers.loop import parallel, train_epoch
from nasdet.trainers.ranks import Ranks
from nasdet.trainers.training_state import Training
from tests.evaluation.test_coco_metrics import reference

IMAGES, STEPS, CHECK = 8, 600, 50
RANKS = Ranks(torch.device("cpu"))


def smallest_side(image: dict[str, Any], boxes: list[dict[str, Any]]) -> float:
    """Shortest side of any box, as a share of the image's long side."""
    return min(min(b["bbox"][2:]) for b in boxes) / max(image["width"], image["height"])


@pytest.fixture(scope="module")
def eight(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The eight photographs of coco60 whose objects are largest as the training split, two others for validation."""
    content = json.loads((shared_data / "coco60" / "annotations" / "instances_train_source_ids.json").read_text())
    boxes = collections.defaultdict(list)
    for one in content["annotations"]:
        boxes[one["image_id"]].append(one)
    clear = [i for i in content["images"] if boxes[i["id"]] and not any(b.get("iscrowd") for b in boxes[i["id"]])]
    clear.sort(key=lambda image: -smallest_side(image, boxes[image["id"]]))
    folder = tmp_path_factory.mktemp("eight")
    for name in ("annotations", "images"):
        (folder / name).mkdir()
    kept = {b["category_id"] for i in clear[: IMAGES + 2] for b in boxes[i["id"]]}
    categories = [c for c in content["categories"] if c["id"] in kept]
    for split, images in (("train", clear[:IMAGES]), ("val", clear[IMAGES : IMAGES + 2])):
        objects = [b for i in images for b in boxes[i["id"]]]
        part = {"images": images, "annotations": objects, "categories": categories}
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(part))
        for image in images:
            name = Path("images", image["file_name"])
            shutil.copy(shared_data / "coco60" / "images" / "train2017" / name.name, folder / name)
    return open_data(folder)


def learnt(name: str, eight: Dataset, ap50: float) -> tuple[Training, dict[str, float]]:
    """A tiny variant trained on the eight until it knows them to this AP50 of boxes and masks, and its figures then."""
    info = eight.info
    image = {"channels": info.channels, "mean": list(info.mean), "std": list(info.std)}
    spec = tiny_spec(SYSTEMS[name], input=image, head={"classes": len(info.classes)})
    augment = AugmentSpec(strength=0.0, hflip=False)
    recipe = Recipe(epochs=STEPS, batch_size=IMAGES, base_lr=2e-3, warmup=20, ema=0.0, augment=augment)
    training = Training.start(spec, recipe, seed=0, device=RANKS.device)
    split = eight.cached("train", spec.input.height, spec.input.width)
    figures: dict[str, float] = {}
    while training.epoch < STEPS and min(figures.get("ap50", 0.0), figures.get("mask_ap50", 1.0)) < ap50:
        train_epoch(training, parallel(training, RANKS), split, RANKS)
        if training.epoch % CHECK == 0:
            figures = evaluate(training.evaluated, eight, "train", RANKS)
    return training, figures


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", SYSTEMS)
def test_eight_images_are_learnt_by_heart(name: str, eight: Dataset) -> None:
    training, figures = learnt(name, eight, 0.9)
    assert min(figures["ap50"], figures.get("mask_ap50", 1.0)) >= 0.9, f"{figures} after {training.epoch} steps"


def test_figures_of_a_trained_mask_rcnn_equal_pycocotools(eight: Dataset) -> None:
    training, figures = learnt("mask_rcnn_r50_fpn", eight, 0.1)
    split = eight.cached("train", *(getattr(training.detector.spec.input, side) for side in ("height", "width")))
    found, truth = predict_split(training.evaluated, split, RANKS), eight.coco("train")
    boxes = reference(truth, found.to_coco_array(), "bbox")
    masks = reference(
        mask_truth(truth), [{**r, "segmentation": dict(r["segmentation"])} for r in found.to_coco_masks()], "segm"
    )
    assert boxes[1] > 0.1 and masks[1] > 0.1
    np.testing.assert_allclose([figures[name] for name in METRICS], boxes, rtol=0, atol=1e-9)
    np.testing.assert_allclose([figures[MASK + name] for name in METRICS], masks, rtol=0, atol=1e-9)
