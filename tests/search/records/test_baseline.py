from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nasdet.search import Engine, StudyStore, find_study, study_root, summarise
from nasdet.search.records.baseline import find_baseline, lacks_baseline, ready_baseline, spent_epochs
from nasdet.study_config import StudyConfig
from tests.search.conftest import build, observed, toy, work


def searched(folder: Path, **changes: Any) -> StudyStore:
    """A finished study, with a limit in time or epochs instead of trials if `budget` says so."""
    space = toy(**changes)
    store = StudyStore.create(folder, StudyConfig(study=folder.name, data="none", baseline=True), space)
    for record in observed(space, 5):
        store.put(record.replace(state="complete", epochs=9) if record.number == 2 else record)
    store.save_config(finished=True, wall_seconds=120.0, reference_point=(0.0, 50.0))
    return store


def test_the_same_seed_point_and_epochs(tmp_path: Path) -> None:
    store = searched(tmp_path / "s", points=[{"x": 0.7}])
    assert lacks_baseline(store) and find_baseline(store.dir) is None
    ready_baseline(store, "sqlite:///x.db")
    baseline = find_baseline(store.dir)
    assert baseline is not None and lacks_baseline(store)
    assert baseline.name == "s-random" and baseline.config.tracking_uri == "sqlite:///x.db"
    assert baseline.config.reference_point == store.config.reference_point
    space = baseline.space
    assert (space.sampler.kind, space.scheduler.kind, space.points, space.rungs()) == ("random", "full", (), (9,))
    assert (space.budget.seed, space.budget.trials, space.budget.time_limit) == (1, None, None)
    trainings = -(-spent_epochs(store) // 9)
    assert space.budget.total_epochs == 9 * trainings
    engine = Engine(baseline, build)
    assert len(work(engine)) == trainings
    baseline.save_config(finished=True)
    assert not lacks_baseline(store)
    told = summarise(store).baseline
    assert (told.epochs, told.search_epochs) == (9 * trainings, spent_epochs(store))
    assert told.study == "s-random" and told.hypervolume > 0


def test_with_a_time_limit_the_seconds_that_were_taken(tmp_path: Path) -> None:
    store = searched(tmp_path / "s", budget={"epochs": 9, "time_limit": "10m"})
    budget = ready_baseline(store, "").space.budget
    assert (budget.time_limit, budget.total_epochs) == (120.0, None)


def test_a_baseline_is_not_the_newest_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NASDET_HOME", str(tmp_path))
    store = searched(study_root() / "s")
    ready_baseline(store, "")
    assert find_study() == store.dir
    assert find_study(store.dir / "random") == store.dir / "random"


def test_a_half_made_baseline_is_made_again(tmp_path: Path) -> None:
    store = searched(tmp_path / "s")
    (store.dir / "random").mkdir()
    (store.dir / "random" / "space.yaml").touch()
    assert ready_baseline(store, "").records() == []
