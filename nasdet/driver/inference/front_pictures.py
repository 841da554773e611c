"""What the front's detectors find on the same few validation images, for the report. Images are scaled to one size
before boxes are drawn, and at most a dozen detectors are shown."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file

from nasdet.analysis.report.content import Pictures
from nasdet.data.cache import resize, with_channels
from nasdet.data.contact_sheet import to_rgb
from nasdet.data.images import read_image
from nasdet.data.records import ImageRecord
from nasdet.driver.inference.detections import Detections
from nasdet.driver.inference.drawing import draw
from nasdet.driver.inference.evaluate import best_device
from nasdet.driver.inference.predict import predict_image
from nasdet.driver.resources import cpu_count
from nasdet.driver.study.detector_search import open_study_data
from nasdet.errors import InputError
from nasdet.models import build_detector
from nasdet.pareto import front
from nasdet.search import StudyStore
from nasdet.space.specs import DetectorSpec
from nasdet.torch_settings import torch_threads
from nasdet.trial import TrialRecord

T = TypeVar("T")
IMAGES, DETECTORS = 6, 12
SIDE = 240
"""Pixels of a picture's longer side."""
SCORE = 0.3
"""Boxes below are not drawn."""


def front_pictures(store: StudyStore) -> Pictures:
    """The front's members on six images spread over the validation split; none, with the reason, where that cannot be
    done."""
    if store.space.function:
        return Pictures()
    kept = [r for r in front(store.records(), store.objectives) if store.checkpoint(r.trial).is_file()]
    if not kept:
        return Pictures(note="No pictures: no weights of the front were kept.")
    try:
        dataset = open_study_data(store.config.data, store.space)
        records = _spread(dataset.images("val"), IMAGES)
        images = [with_channels(read_image(r.path), dataset.info.channels, str(r.path)) for r in records]
    except (InputError, OSError) as error:
        return Pictures(note=f"No pictures: the data set cannot be read ({error}).")
    classes, chosen = dataset.info.classes, _spread(kept, DETECTORS)
    annotated = [_picture(image, _truth(r, classes)) for image, r in zip(images, records, strict=True)]
    with torch_threads(cpu_count()):
        found = {r.trial: pictures for r in chosen if (pictures := _found(store, r, images, classes))}
    some = f"Pictures of {len(found)} of the {len(kept)} detectors whose weights were kept."
    return Pictures(annotated, found, some if len(found) < len(kept) else "")


def _found(store: StudyStore, record: TrialRecord, images: Sequence[np.ndarray], classes: Sequence[str]) -> list[bytes]:
    """Pictures of what a trial's detector finds; empty if its weights cannot be used any more."""
    try:
        detector = build_detector(DetectorSpec.model_validate(record.spec))
        detector.load_state_dict(load_file(store.checkpoint(record.trial)))
        detector.to(best_device()).eval()
        found = [predict_image(detector, image, classes, score=SCORE, tiling=None) for image in images]
    except (SafetensorError, OSError, RuntimeError, ValueError):
        return []
    return [_picture(image, one) for image, one in zip(images, found, strict=True)]


def _truth(record: ImageRecord, classes: Sequence[str]) -> Detections:
    """The annotated objects, without regions to ignore."""
    kept = ~record.crowd
    return Detections(
        boxes=record.boxes[kept].astype(np.float64),
        scores=np.ones(int(kept.sum()), np.float32),
        labels=record.labels[kept],
        classes=tuple(classes),
        size=(record.height, record.width),
    )


def _picture(pixels: np.ndarray, found: Detections) -> bytes:
    """JPEG of the image with its boxes, both scaled; without masks."""
    height, width = pixels.shape[:2]
    scale = SIDE / max(height, width)
    small = resize(pixels, max(1, round(height * scale)), max(1, round(width * scale)))
    buffer = io.BytesIO()
    draw(to_rgb(small), scale, dataclasses.replace(found, mask_codes=None)).save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def _spread(items: Sequence[T], count: int) -> list[T]:
    """At most `count` of them, evenly from first to last."""
    places = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)
    return [items[i] for i in places]
