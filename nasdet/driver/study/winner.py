"""`nasdet search --train`: the full training of what a search found, within the same time limit. One decision: the
search gets a third of the time, because the training gains from every further minute."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nasdet.data import Dataset
from nasdet.driver.export_trial import export_trial
from nasdet.driver.inference.evaluate import evaluate_bundle
from nasdet.driver.study.options import (
    DEFAULT_SECONDS,
    PICKED,
    SEARCH_SHARE,
    TRAINED,
    seconds_for_the_end,
    split_time,
)
from nasdet.driver.training.request import TrainingOptions, read_source
from nasdet.driver.training.train import Report, train_detector
from nasdet.errors import InputError
from nasdet.evaluation import CLASS
from nasdet.export import is_bundle, read_bundle
from nasdet.export.bundle import LAST, TRAINING, open_bundle_data
from nasdet.export.export_onnx import NOT_EXPORTED, add_onnx_files, check_onnx_extra
from nasdet.search import StudyStore

WEAK = 0.6
"""Share of the median AP of all classes below which a class is far worse than most."""
LEAST_SECONDS = 30.0
"""Of a training, however late the search has ended."""


def train_winner(
    store: StudyStore, report: Report, *, until: float | None = None, redirect: bool = True
) -> dict[str, Any]:
    """Train the trial that `store.config.train` names in full, write its ONNX files and judge it. What an interrupted
    call has done is kept, and a call after the end judges and exports again.

    Args:
        store: the study, whose search is over.
        report: takes the replies of the training.
        until: when all is to be over, by `time.monotonic`; None: two thirds of the study's time from now.
        redirect: see `train_detector`.

    Returns:
        `bundle`, `trial`, `val` (what `train_detector` returns), `test` (figures on the test split; None: there is
        none), `onnx` (whether the files were written), `weakest` (see `weakest_class`).

    Raises:
        InputError: no trial fits.
        NasdetError: the training failed.
    """
    picked, trained = store.dir / PICKED, store.dir / TRAINED
    if not is_bundle(picked):
        export_trial(store, store.config.train, picked)
    source = read_source(picked)
    dataset = open_bundle_data(store.config.data, source.card)
    resume = (trained / TRAINING / LAST).exists()
    limit = None if resume else _seconds(store, until)
    options = TrainingOptions(time_limit=limit, address=store.config.address)
    figures = train_detector(source, dataset, trained, options, resume=resume, report=report, redirect=redirect)
    has_test = "test" in dataset.info.splits
    judged = evaluate_bundle(read_bundle(trained), dataset, "test" if has_test else "val")
    return {
        "bundle": str(trained),
        "trial": source.card["trial"],
        "val": figures,
        "test": judged if has_test else None,
        "onnx": _add_onnx(trained, dataset),
        "weakest": weakest_class(judged, dataset),
    }


def weakest_class(figures: Mapping[str, float], dataset: Dataset) -> dict[str, Any] | None:
    """The class that is found far worse than most: `name`, `ap`, `median_ap` of all classes and `boxes` of it to train
    on; None: no class is.

    Args:
        figures: of `evaluate_bundle`.
        dataset: that was trained on.
    """
    ap = {key.removeprefix(CLASS): value for key, value in figures.items() if key.startswith(CLASS) and value >= 0}
    if len(ap) < 2:
        return None
    name, median = min(ap, key=lambda name: ap[name]), statistics.median(ap.values())
    if ap[name] >= WEAK * median:
        return None
    label = dataset.info.classes.index(name)
    boxes = sum(int((record.labels[~record.crowd] == label).sum()) for record in dataset.images("train"))
    return {"name": name, "ap": ap[name], "median_ap": median, "boxes": boxes}


def _seconds(store: StudyStore, until: float | None) -> float:
    """Of the training."""
    if until is not None:
        left = until - time.monotonic()
        return max(LEAST_SECONDS, left - seconds_for_the_end(left))
    return split_time((store.space.budget.time_limit or DEFAULT_SECONDS) / SEARCH_SHARE)[1]


def _add_onnx(folder: Path, dataset: Dataset) -> bool:
    """Write the ONNX files where the packages are installed and the head can be exported."""
    bundle = read_bundle(folder)
    try:
        check_onnx_extra()
    except InputError:
        return False
    if bundle.spec.head.kind in NOT_EXPORTED:
        return False
    add_onnx_files(bundle, dataset)
    return True
