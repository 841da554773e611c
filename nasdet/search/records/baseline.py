"""The random search that a study is compared with.

One decision: it is a study of its own in a folder inside the study's, so that it is resumed, shown and moved like any
other and never taken for the newest one.
"""

from __future__ import annotations

import copy
import shutil
from pathlib import Path

from nasdet.search.records.study_folder import CONFIG, StudyStore
from nasdet.space import SearchSpace, parse_space
from nasdet.study_config import StudyConfig

FOLDER = "random"
"""Name of the baseline's folder in the study's folder; the baseline's name ends with it."""
SHARED = {"data", "classes", "address", "storage", "objective", "objective_folder", "reference_point"}
"""The study's settings that the baseline takes over."""


def find_baseline(study: Path) -> StudyStore | None:
    """The baseline of the study in this folder; None if it was not started."""
    return StudyStore.open(study / FOLDER) if (study / FOLDER / CONFIG).is_file() else None


def lacks_baseline(study: StudyStore) -> bool:
    """Whether a baseline was asked for and is not finished."""
    if not study.config.baseline:
        return False
    baseline = find_baseline(study.dir)
    return baseline is None or not baseline.config.finished


def create_baseline(study: StudyStore, tracking_uri: str) -> StudyStore:
    """Make the baseline of a finished study: its space, seed and reference point, and the budget that it spent.

    Args:
        study: finished.
        tracking_uri: of the MLflow store that the study is mirrored in.

    Raises:
        InputError: as `StudyStore.create`.
    """
    folder = study.dir / FOLDER
    shutil.rmtree(folder, ignore_errors=True)  # left by a crash while it was made
    shared = study.config.model_dump(include=SHARED, exclude_unset=True)
    own = {"study": f"{study.name}-{FOLDER}", "tracking_uri": tracking_uri, "wall_seconds": 0.0}
    config = StudyConfig.from_json({**shared, **own, "reference_given": True})
    return StudyStore.create(folder, config, _random(study))


def spent_epochs(study: StudyStore) -> int:
    """Epochs trained over all trials."""
    return study.ledger.epochs


def _random(study: StudyStore) -> SearchSpace:
    """The study's space for random search in full trainings. With a time limit it gets the seconds that the study took,
    else the epochs that it trained, rounded up to whole trainings."""
    raw, budget = copy.deepcopy(study.space.raw), study.space.budget
    raw["budget"] = {"epochs": budget.epochs, "seed": budget.seed}
    if budget.time_limit:
        raw["budget"]["time_limit"] = max(1.0, study.config.wall_seconds)
    else:
        trainings = max(1, -(-spent_epochs(study) // budget.epochs))
        raw["budget"]["total_epochs"] = trainings * budget.epochs
    raw["sampler"], raw["scheduler"] = {"kind": "random"}, {"kind": "full"}
    raw["points"], raw["start"] = [], {}
    raw.pop("scores", None)
    return parse_space(raw, name=study.space.name, function=study.space.function)
