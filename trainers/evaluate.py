"""COCO metrics of a detector on a split, spread over the workers. One decision: evaluation is float32 at a fixed batch,
whatever the training's precision, so that an exported bundle scores what the search recorded."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torchvision.ops import batched_nms

from nasdet.data import CachedSplit, Dataset, eval_loader
from nasdet.evaluation import MOST_BOXES, Predictions, coco_metrics, intervals, paste, resample, write_resamples
from nasdet.models import Detector
from nasdet.space.specs import InputSpec
from nasdet.torch_settings import exact_convolutions
from nasdet.trainers.ranks import Ranks
from nasdet.trainers.test_time_augmentation import Transforms, detect_augmented
from nasdet.trainers.training_state import Training

EVAL_BATCH = 16
PLAIN = Transforms()


@torch.inference_mode()
def predict_split(
    detector: Detector,
    split: CachedSplit,
    ranks: Ranks,
    transforms: Transforms = PLAIN,
    on_batch: Callable[[], None] = lambda: None,
) -> Predictions:
    """Detections in this rank's share of a split, in original pixels, with masks if the detector finds them. In tiles,
    only detections that no other tile shows better; those of different tiles are not merged yet."""
    detector.eval()
    device = ranks.device
    parts: list[Predictions] = []
    fill = detector.spec.input.mean
    with exact_convolutions(device):
        for batch in eval_loader(split, batch_size=EVAL_BATCH, rank=ranks.rank, world=ranks.world, fill=fill):
            found = detect_augmented(detector, batch.images.to(device, non_blocking=True), transforms)
            for index, one in zip(batch.indices.tolist(), found, strict=True):
                height, width = split.original_size(index)
                boxes, kept = split.in_original(index, one.boxes.double().cpu().numpy())
                boxes, one = boxes[kept], one.taken(torch.from_numpy(kept).to(device))
                masks = None if one.masks is None else paste(one.masks.float().cpu().numpy(), boxes, height, width)
                boxes = np.clip(boxes, 0, [width, height, width, height])
                ids = np.full(len(boxes), split.image_id(index), np.int64)
                scores, labels = one.scores.double().cpu().numpy(), one.labels.cpu().numpy()
                parts.append(Predictions(ids, boxes, scores, labels.astype(np.int64), masks))
            on_batch()
    return Predictions.concatenate(parts)


def evaluate(
    detector: Detector,
    dataset: Dataset,
    split_name: str,
    ranks: Ranks,
    transforms: Transforms = PLAIN,
    resamples: Path | None = None,
    on_batch: Callable[[], None] = lambda: None,
    on_predicted: Callable[[], None] = lambda: None,
    classes: bool = False,
) -> dict[str, float]:
    """The COCO figures of `evaluation.METRICS` (with masks: `mask_` figures too) and `images_per_second`, the same on
    every rank; each image is seen in all `transforms`, of which a search uses the plain one. With a folder for
    `resamples`, what AP would be on resampled images is left there, and the figures' intervals stand beside them
    (`ap_low`, ...). `on_batch` is called after each batch of this rank, `on_predicted` before its figures are computed.
    With `classes` the AP of each class is among the figures.

    Images that are cut into tiles are judged whole: what the tiles found is merged, and as each tile may find
    `MOST_BOXES`, that number times the tiles of the largest image are counted (`max_detections`).
    """
    size: InputSpec = detector.spec.input
    split = dataset.cached(split_name, size.height, size.width)
    start = time.perf_counter()
    found = ranks.gather(predict_split(detector, split, ranks, transforms, on_batch))
    seconds = time.perf_counter() - start
    on_predicted()
    figures: dict[str, float] | None = None
    if ranks.rank == 0:
        truth, predictions, tiles = dataset.coco(split_name), Predictions.concatenate(found), {}
        if dataset.info.tiling:
            predictions = merged_tiles(predictions, detector.spec.head.nms_iou)
            tiles = {"max_detections": MOST_BOXES * max(Counter(r.id for r in split.records).values())}
        most = tiles.get("max_detections", MOST_BOXES)
        figures = coco_metrics(truth, predictions, most=most, classes=classes)
        if resamples is not None:
            drawn = resample(truth, predictions, most=most)
            write_resamples(resamples, drawn)
            figures |= intervals(drawn, figures)
        figures |= {**tiles, "images_per_second": len(dataset.images(split_name)) / seconds}
    result = ranks.broadcast(figures)
    assert result is not None
    return result


def merged_tiles(found: Predictions, iou: float) -> Predictions:
    """Detections of all tiles after the suppression, within classes, that ends the detection in one tile."""
    groups = found.image_ids * (int(found.labels.max(initial=0)) + 1) + found.labels
    boxes, scores = torch.from_numpy(found.boxes), torch.from_numpy(found.scores)
    return found.taken(batched_nms(boxes, scores, torch.from_numpy(groups), iou).numpy())


def synchronise_buffers(training: Training, ranks: Ranks) -> None:
    """Average the running statistics of plain BN, of the trained and the averaged weights, over the workers, so that
    all evaluate, save and go on with the same network."""
    names = ("running_mean", "running_var")
    with torch.no_grad():
        for detector in {id(d): d for d in (training.detector, training.evaluated)}.values():
            ranks.mean_(b for name, b in detector.named_buffers() if name.endswith(names))
