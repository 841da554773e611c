"""A bundle on a split of a data set: its COCO figures, and what it finds there.

The detector runs as the search evaluated it, in float32 on the bundle's canvas, so figures agree with those recorded.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from nasdet.data import Dataset
from nasdet.driver.resources import cpu_count
from nasdet.errors import InputError
from nasdet.evaluation import Predictions
from nasdet.export import Bundle
from nasdet.torch_settings import torch_threads
from nasdet.trainers.evaluate import PLAIN, evaluate, predict_split
from nasdet.trainers.ranks import Ranks
from nasdet.trainers.test_time_augmentation import Transforms


def best_device() -> torch.device:
    """A GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def evaluate_bundle(
    bundle: Bundle, dataset: Dataset, split: str, transforms: Transforms = PLAIN, device: str | None = None
) -> dict[str, float]:
    """The COCO figures of a bundle on a split, the AP of each class (`evaluation.CLASS` and its name), `images` and
    `images_per_second`; each image in all `transforms`.

    Args:
        bundle: the detector.
        dataset: with the classes, in this order, and channels of the bundle.
        split: train, val or test.
        transforms: test-time augmentation.
        device: None: a GPU where there is one.

    Raises:
        InputError: the data set has other classes or channels than the bundle, or no such split.
    """
    _check_fits(bundle, dataset)
    count = len(dataset.images(split))
    chosen = torch.device(device or best_device())
    with torch_threads(cpu_count()):
        detector = bundle.load_detector(str(chosen))
        figures = evaluate(detector, dataset, split, Ranks(chosen), transforms, classes=True)
    return {**figures, "images": count}


def predict_bundle(bundle: Bundle, dataset: Dataset, split: str) -> Predictions:
    """What a bundle finds in a split, as it is evaluated.

    Raises:
        InputError: as `evaluate_bundle`.
    """
    _check_fits(bundle, dataset)
    device, size = best_device(), bundle.spec.input
    pixels = dataset.cached(split, size.height, size.width)
    with torch_threads(cpu_count()):
        return predict_split(bundle.load_detector(str(device)), pixels, Ranks(device))


def _check_fits(bundle: Bundle, dataset: Dataset) -> None:
    classes, channels = dataset.info.classes, dataset.info.channels
    if tuple(classes) != tuple(bundle.classes):
        lacking = [name for name in bundle.classes if name not in classes]
        further = [name for name in classes if name not in bundle.classes]
        parts = (("it lacks", lacking), ("the bundle does not know", further))
        differing = "; ".join(f"{text} {_first(names)}" for text, names in parts if names) or "their order differs"
        raise InputError(
            f"the data set's classes {_first(classes)} are not the bundle's {_first(bundle.classes)}: {differing}",
            where=dataset.info.source,
            remedy="evaluate on data of the same classes",
        )
    if channels != bundle.spec.input.channels:
        raise InputError(
            f"images have {channels} channels, the bundle takes {bundle.spec.input.channels}", where=dataset.info.source
        )


def _first(names: Sequence[str]) -> str:
    """The first five names and how many there are."""
    return f"{', '.join(names[:5])} ({len(names)})"
