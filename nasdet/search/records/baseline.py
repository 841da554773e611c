"""The random search that a study is compared with.

One decision: it is a study of its own in a folder inside the study's, so that it is resumed, shown and moved like any
other and never taken for the newest one.
"""

from __future__ import annotations

import copy
import dataclasses
import shutil
from pathlib import Path

from nasdet.search.records.extension import extend
from nasdet.search.records.owner import BASELINE
from nasdet.search.records.study_folder import CONFIG, StudyStore
from nasdet.space import SearchSpace, parse_space
from nasdet.study_config import Limits, StudyConfig

SHARED = {
    "data",
    "classes",
    "images",
    "fingerprint",
    "address",
    "storage",
    "objective",
    "objective_folder",
    "reference_point",
}
"""The study's settings that the baseline takes over."""


def find_baseline(study: Path, *, storage: str | None = None) -> StudyStore | None:
    """The baseline of the study in this folder, in `storage` if that has moved; None if it was not started."""
    return StudyStore.open(study / BASELINE, storage=storage) if (study / BASELINE / CONFIG).is_file() else None


def lacks_baseline(study: StudyStore) -> bool:
    """Whether a baseline was asked for and is not finished."""
    if not study.config.baseline:
        return False
    baseline = find_baseline(study.dir)
    return baseline is None or not baseline.config.finished


def ready_baseline(study: StudyStore, tracking_uri: str) -> StudyStore:
    """The baseline of a finished study, to be run: its space, seed and reference point, and the budget that it spent,
    also where the study has spent more since the baseline was made.

    Args:
        study: finished.
        tracking_uri: of the MLflow store that the study is mirrored in.

    Raises:
        InputError: as `StudyStore.create`.
    """
    baseline = find_baseline(study.dir)
    if baseline is None:
        return _create(study, tracking_uri)
    own = baseline.space.budget
    if (limits := _spent(study)) != Limits(own.trials, own.total_epochs, own.time_limit):
        extend(baseline, limits)
    return baseline


def _create(study: StudyStore, tracking_uri: str) -> StudyStore:
    folder = study.dir / BASELINE
    shutil.rmtree(folder, ignore_errors=True)  # left by a crash while it was made
    shared = study.config.model_dump(include=SHARED, exclude_unset=True)
    own = {"study": f"{study.name}-{BASELINE}", "tracking_uri": tracking_uri, "wall_seconds": 0.0}
    config = StudyConfig.from_json({**shared, **own, "reference_given": True})
    return StudyStore.create(folder, config, _random(study))


def spent_epochs(study: StudyStore) -> int:
    """Epochs trained over all trials."""
    return study.ledger.epochs


def _spent(study: StudyStore) -> Limits:
    """The baseline's budget. With a time limit it gets the seconds that the study took, else the epochs that it
    trained, rounded up to whole trainings."""
    budget = study.space.budget
    if budget.time_limit:
        return Limits(time_limit=max(1.0, study.config.wall_seconds))
    return Limits(total_epochs=max(1, -(-spent_epochs(study) // budget.epochs)) * budget.epochs)


def _random(study: StudyStore) -> SearchSpace:
    """The study's space for random search in full trainings."""
    raw, budget = copy.deepcopy(study.space.raw), study.space.budget
    limits = {key: value for key, value in dataclasses.asdict(_spent(study)).items() if value is not None}
    raw["budget"] = {"epochs": budget.epochs, "seed": budget.seed, **limits}
    raw["sampler"], raw["scheduler"] = {"kind": "random"}, {"kind": "full"}
    raw["points"], raw["start"] = [], {}
    raw.pop("scores", None)
    return parse_space(raw, name=study.space.name, function=study.space.function)
