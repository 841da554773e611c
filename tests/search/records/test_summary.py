from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nasdet.evaluation import write_resamples
from nasdet.search import StudyStore, summarise
from nasdet.search.records.repeats import Repeat, RepeatStore
from nasdet.search.records.summary import Trust
from nasdet.space import load_space
from nasdet.study_config import StudyConfig
from nasdet.study_summary import Moments, RepeatedTrainings
from nasdet.trial import TrialRecord

VALUES = [(0.60, 9.0), (0.59, 5.0), (0.58, 7.0), (0.30, 3.0)]
"""AP and latency; t2 is dominated by t1."""


@pytest.fixture
def study(tmp_path: Path) -> StudyStore:
    space = load_space("detnet", overrides=["objectives=[{name: ap}, {name: latency_ms}]"])
    store = StudyStore.create(tmp_path / "study", StudyConfig(study="study", data="", reference_point=[0, 10]), space)
    common = np.random.default_rng(0).normal(0, 0.05, 200)
    for number, (ap, latency) in enumerate(VALUES):
        values = {"ap": ap, "ap50": ap + 0.2, "latency_ms": latency, "ap_low": ap - 0.08, "ap_high": ap + 0.08}
        store.put(TrialRecord(f"t{number}", number, "complete", {}, {}, {}, values, 9))
        own = np.random.default_rng(number + 1).normal(0, 0.01, 200)
        write_resamples(store.trial_dir(f"t{number}"), {"ap": ap + common + own})
    return store


def trust(study: StudyStore) -> Trust:
    return Trust(study.dir, study.records(), study.objectives)


def repeat(study: StudyStore, trial: str, *values: float) -> None:
    store = RepeatStore(study.dir)
    for seed, ap in enumerate(values, start=1):
        record = TrialRecord(f"{trial}-seed{seed}", 0, "complete", {}, {}, {}, {"ap": ap, "latency_ms": 1.0}, 9)
        store.add(Repeat(trial, seed, record))


def test_neighbours_are_told_apart_by_the_same_images_or_not(study: StudyStore) -> None:
    assert [r.trial for r in trust(study).front] == ["t0", "t1", "t3"]
    (pair,) = trust(study).indistinct()  # all three intervals of the first ones overlap, but t3 is another class
    assert pair.trials == ("t0", "t1") and pair.objective == "ap" and 0.6 < pair.chance < 0.9


def test_a_cheaper_rival_is_named(study: StudyStore) -> None:
    assert [r.trial for r in trust(study).rivals("t0")] == ["t1"]
    assert trust(study).rivals("t3") == []
    assert trust(study).rivals("t2") == []  # not on the front


def test_repeats_count_instead_of_the_value_that_was_picked(study: StudyStore) -> None:
    repeat(study, "t0", 0.52, 0.54, 0.53)
    repeat(study, "t1", 0.60, 0.61, 0.59)
    told = trust(study)
    assert told.repeated("t0") == RepeatedTrainings(
        (1, 2, 3), {"ap": Moments(pytest.approx(0.53), pytest.approx(0.01))}
    )
    assert told.repeated("t3") is None
    assert (told.chance("t1", "t0") or 0) > 0.99
    assert told.indistinct() == ()


def test_one_further_seed_has_no_deviation(study: StudyStore) -> None:
    repeat(study, "t0", 0.5)
    assert trust(study).repeated("t0") == RepeatedTrainings((1,), {"ap": Moments(0.5, None)})


def test_the_summary_tells(study: StudyStore) -> None:
    before = summarise(study)
    repeat(study, "t1", 0.60, 0.61)
    summary = summarise(study)
    assert summary.indistinct and summary.baseline is None
    assert [m.repeats is not None for m in summary.front] == [False, True, False]
    assert (summary.trials, summary.hypervolume) == (before.trials, before.hypervolume)
    assert [m.trial for m in summary.front] == [m.trial for m in before.front]
