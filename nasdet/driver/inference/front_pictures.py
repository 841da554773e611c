"""What the front's detectors find on the same few validation images. One decision: pictures are for the eye, so images
are scaled to one size before boxes are drawn, and at most a dozen detectors look at them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from nasdet.analysis.report.content import Pictures
from nasdet.data.cache import resize, with_channels
from nasdet.data.contact_sheet import to_rgb
from nasdet.data.images import read_image
from nasdet.data.records import ImageRecord
from nasdet.driver.inference.predict import best_device, detect_image, draw, listed
from nasdet.driver.resources import cpu_count
from nasdet.driver.study.detector_search import open_study_data
from nasdet.errors import InputError
from nasdet.models import Detector, build_detector
from nasdet.pareto import front
from nasdet.search import StudyStore
from nasdet.space.specs import DetectorSpec
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
        dataset = open_study_data(store.config["data"], store.space)
        records = _spread(dataset.images("val"), IMAGES)
        images = [with_channels(read_image(r.path), dataset.info.channels, str(r.path)) for r in records]
    except (InputError, OSError) as error:
        return Pictures(note=f"No pictures: the data set cannot be read ({error}).")
    classes, chosen = dataset.info.classes, _spread(kept, DETECTORS)
    annotated = [_picture(image, _truth(r, classes), classes) for image, r in zip(images, records, strict=True)]
    torch.set_num_threads(cpu_count())
    found = {r.trial: pictures for r in chosen if (pictures := _found(store, r, images, classes))}
    some = f"Pictures of {len(found)} of the {len(kept)} detectors whose weights were kept."
    return Pictures(annotated, found, some if len(found) < len(kept) else "")


def _found(store: StudyStore, record: TrialRecord, images: Sequence[np.ndarray], classes: Sequence[str]) -> list[bytes]:
    """Empty if the weights cannot be used any more."""
    try:
        detector = _detector(store, record)
        entries = [listed(detect_image(detector, i, score=SCORE), classes, *i.shape[:2]) for i in images]
    except (SafetensorError, OSError, RuntimeError, ValueError):
        return []
    return [_picture(image, boxes, classes) for image, boxes in zip(images, entries, strict=True)]


def _detector(store: StudyStore, record: TrialRecord) -> Detector:
    detector = build_detector(DetectorSpec.model_validate(record.spec))
    detector.load_state_dict(load_file(store.checkpoint(record.trial)))
    return detector.to(best_device()).eval()


def _truth(record: ImageRecord, classes: Sequence[str]) -> list[dict[str, object]]:
    columns = zip(record.boxes.tolist(), record.labels.tolist(), record.crowd.tolist(), strict=True)
    return [{"class": classes[label], "score": 1.0, "box": box} for box, label, crowd in columns if not crowd]


def _picture(pixels: np.ndarray, boxes: Sequence[dict[str, object]], classes: Sequence[str]) -> bytes:
    """JPEG of the image with its boxes, both scaled."""
    height, width = pixels.shape[:2]
    scale = SIDE / max(height, width)
    small = resize(pixels, max(1, round(height * scale)), max(1, round(width * scale)))
    plain = [{key: value for key, value in box.items() if key != "mask"} for box in boxes]
    buffer = io.BytesIO()
    draw(to_rgb(small), plain, classes, scale).save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def _spread(items: Sequence[T], count: int) -> list[T]:
    """At most `count` of them, evenly from first to last."""
    places = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)
    return [items[i] for i in places]
