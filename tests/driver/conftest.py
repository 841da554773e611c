"""A search small enough for tests: three tiny trials of one and two epochs on the built-in digits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nasdet.data import DatasetInfo, open_data
from nasdet.driver.study.detector_search import start_search
from nasdet.driver.study.options import SearchOptions
from nasdet.search import StudyStore
from nasdet.space import SearchSpace, load_space

TINY = [
    "budget.trials=3",
    "budget.epochs=2",
    "budget.rungs=[1, 2]",
    "budget.time_limit=10m",
    "scheduler.eta=2",
    "resources.workers=1",
    "resources.threads=1",  # two threads of one operation wait for each other where cores are busy
]


def tiny_space(*more: str) -> SearchSpace:
    return load_space("detnet", overrides=[*TINY, *more])


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[StudyStore, dict[str, Any]]:
    """One real search, shared by every test that only looks at its outcome."""
    folder: Path = tmp_path_factory.mktemp("studies") / "tiny"
    summary = start_search(tiny_space(), SearchOptions(study=folder))
    return StudyStore.open(folder), summary


@pytest.fixture(scope="session")
def info() -> DatasetInfo:
    """What the built-in digits decide of a detector."""
    return open_data("digits").info
