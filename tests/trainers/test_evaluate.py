"""A detector that knows the answer: what evaluation makes of boxes and masks on the canvas."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask
from torch import Tensor
from torchvision.ops import roi_align

from nasdet.data import CachedSplit, Dataset, Tiling, open_data, train_loader
from nasdet.evaluation import Predictions
from nasdet.models import Detections, Targets
from nasdet.space.specs import AugmentSpec, InputSpec
from nasdet.trainers.evaluate import evaluate, merged_tiles, predict_split
from nasdet.trainers.loop import parallel, train_epoch
from nasdet.trainers.ranks import Ranks
from nasdet.trainers.training_state import Training
from tests.scenes import write_scenes
from tests.trainers.conftest import tiny_recipe, tiny_spec

CPU = torch.device("cpu")
SIZE = 320
FILL = (0.0, 0.0, 0.0)


class Oracle:
    """Finds the objects of a split, in its order, with masks of 56 x 56 if asked for."""

    def __init__(self, split: CachedSplit, masks: bool) -> None:
        self.spec = SimpleNamespace(input=SimpleNamespace(height=SIZE, width=SIZE, mean=FILL))
        self._batch = train_loader(
            split, augment=AugmentSpec(strength=0.0, hflip=False), batch_size=len(split), epoch=0, seed=0, fill=FILL,
            masks=True,
        ).batch(0)  # fmt: skip
        self._order = self._batch.indices.argsort().tolist()
        self._masks, self._next = masks, 0

    def eval(self) -> None:
        self._next = 0

    def detect(self, images: Tensor) -> list[Detections]:
        rows = self._order[self._next : self._next + len(images)]
        self._next += len(images)
        return [self._found(row) for row in rows]

    def _found(self, row: int) -> Detections:
        batch, real = self._batch, self._batch.labels[row] >= 0
        assert batch.masks is not None
        boxes = batch.boxes[row][real]
        found = Detections(boxes, torch.ones(len(boxes)), batch.labels[row][real])
        if not self._masks:
            return found
        rois = torch.cat([torch.arange(len(boxes))[:, None], boxes], 1)
        return found._replace(masks=roi_align(batch.masks[row][real][:, None].float(), rois, 56, aligned=True)[:, 0])


@pytest.fixture
def photos(shared_data: Path) -> Dataset:
    source = Path("coco60.yaml")
    annotations = "annotations/instances_train_source_ids.json"
    source.write_text(f"root: {shared_data / 'coco60'}\nformat: coco\ntrain: {annotations}\n")
    return open_data(source)


def test_known_masks_score_high_in_original_pixels(photos: Dataset) -> None:
    split = photos.cached("train", SIZE, SIZE)
    figures = evaluate(Oracle(split, masks=True), photos, "train", Ranks(CPU))  # type: ignore[arg-type]
    assert figures["ap"] > 0.99
    assert figures["mask_ap50"] > 0.97
    assert figures["mask_ap"] > 0.75  # thin parts are lost on the canvas
    assert figures["mask_ap_l"] > 0.9


def test_codes_have_the_size_of_the_original_images(photos: Dataset) -> None:
    split = photos.cached("val", SIZE, SIZE)
    found = predict_split(Oracle(split, masks=True), split, Ranks(CPU))  # type: ignore[arg-type]
    assert found.masks is not None
    sizes = {record.id: [record.height, record.width] for record in photos.images("val")}
    for image, box, code in zip(found.image_ids, found.boxes, found.masks, strict=True):
        assert code["size"] == sizes[int(image)]
        x, y, w, h = coco_mask.toBbox(code)
        if w * h > 400:
            assert (np.array([x, y, -x - w, -y - h]) >= np.array([*box[:2], *-box[2:]]) - 1).all()


def test_boxes_without_masks_have_no_mask_figures(photos: Dataset) -> None:
    split = photos.cached("val", SIZE, SIZE)
    figures = evaluate(Oracle(split, masks=False), photos, "val", Ranks(CPU))  # type: ignore[arg-type]
    assert figures["ap"] > 0.99
    assert not any(name.startswith("mask") for name in figures)


@pytest.mark.parametrize("wants", [True, False])
def test_heads_get_masks_where_they_want_them(photos: Dataset, monkeypatch: pytest.MonkeyPatch, wants: bool) -> None:
    spec = tiny_spec()
    spec = spec.model_copy(
        update={
            "input": spec.input.model_copy(update={"channels": 3, "mean": FILL, "std": (1.0,) * 3}),
            "head": spec.head.model_copy(update={"classes": 80}),
        }
    )
    training = Training.start(spec, tiny_recipe(batch_size=4), seed=0, device=CPU)
    seen: list[Targets] = []
    head, loss = training.detector.head, training.detector.head.loss

    def record(*args: Any) -> dict[str, Tensor]:
        seen.extend(a for a in args if isinstance(a, Targets))
        return loss(*args)

    monkeypatch.setattr(head, "loss", record)
    monkeypatch.setattr(head, "wants_masks", wants, raising=False)
    ranks = Ranks(CPU)
    train_epoch(training, parallel(training, ranks), photos.cached("train", 64, 64), ranks)
    assert seen
    for targets in seen:
        assert (targets.masks is not None) == wants
        if targets.masks is not None:
            assert targets.masks.shape == (*targets.labels.shape, 64, 64)


class TileOracle:
    """Finds all that each tile of a split shows, in its order, however little it is."""

    def __init__(self, split: CachedSplit, seed: int = 0) -> None:
        size = InputSpec(height=split.height, width=split.width, mean=(0.0,))
        self.spec = SimpleNamespace(input=size, head=SimpleNamespace(nms_iou=0.6))
        self._split, self._next, self._rng = split, 0, np.random.default_rng(seed)

    def eval(self) -> None:
        self._next = 0

    def detect(self, images: Tensor) -> list[Detections]:
        rows = range(self._next, self._next + len(images))
        self._next += len(images)
        targets = [self._split.target(row) for row in rows]
        return [
            Detections(
                torch.from_numpy(target.boxes + self._rng.normal(0, 0.2, target.boxes.shape).astype(np.float32)),
                torch.from_numpy(self._rng.uniform(0.9, 1, len(target.boxes))),
                torch.from_numpy(target.labels),
            )
            for target in targets
        ]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("scenes") / "set"
    return open_data(write_scenes(folder, open_data("digits"), side=8, scenes={"train": 1, "val": 2}))


@pytest.mark.parametrize("tiling", [Tiling(192, 64), Tiling(128, 50), Tiling(700, 50), Tiling(3000)])
def test_what_tiles_show_is_the_whole_image(scenes: Dataset, tiling: Tiling) -> None:
    tiled = scenes.tiled(tiling)
    split = tiled.cached("val", tiling.size, tiling.size)
    figures = evaluate(TileOracle(split), tiled, "val", Ranks(CPU))  # type: ignore[arg-type]
    tiles = len(split) // 2
    objects = sum(len(r.boxes) for r in scenes.images("val")) / 2
    assert objects > 100  # more than COCO counts in an image
    assert figures["max_detections"] == 100 * tiles
    assert figures["ap50"] == figures["ap75"] == pytest.approx(1.0)


def test_every_object_is_found_once(scenes: Dataset) -> None:
    split = scenes.tiled(Tiling(192, 64)).cached("val", 192, 192)
    oracle = TileOracle(split)
    found = predict_split(oracle, split, Ranks(CPU))  # type: ignore[arg-type]
    truth = sum(len(r.boxes) for r in scenes.images("val"))
    shown = sum(len(split.target(i).boxes) for i in range(len(split)))
    merged = merged_tiles(found, 0.6)
    assert len(merged.scores) == truth < len(found.scores) < shown
    assert (np.diff(merged.scores) <= 0).all()


def test_merged_tiles_suppress_within_an_image_and_class() -> None:
    boxes = np.tile([[0.0, 0.0, 10.0, 10.0]], (4, 1)) + np.array([[0.0], [0.5], [0.0], [0.0]])
    scores = np.array([0.9, 0.8, 0.7, 0.6])
    found = Predictions(np.array([1, 1, 1, 2]), boxes, scores, np.array([0, 0, 1, 0]))
    merged = merged_tiles(found, 0.6)
    assert merged.scores.tolist() == [0.9, 0.7, 0.6]
