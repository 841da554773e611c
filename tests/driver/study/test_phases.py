"""Search, repeats and baseline on one real worker group."""

from __future__ import annotations

from pathlib import Path

import pytest

from nasdet.driver.study.detector_search import start_search
from nasdet.driver.study.options import ResumeOptions, SearchOptions
from nasdet.driver.study.resume import resume_search
from nasdet.search import StudyStore
from nasdet.search.records.repeats import RepeatStore
from tests.driver.conftest import tiny_space

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(600)]


def test_one_group_searches_repeats_and_compares(tmp_path: Path) -> None:
    options = SearchOptions(study=tmp_path / "s", repeat_front=1, baseline=True)
    summary = start_search(tiny_space("budget.trials=1", "budget.epochs=1", "budget.rungs=[1]"), options)
    store = StudyStore.open(tmp_path / "s")
    assert summary.trials.total == 1 and store.config.finished
    assert len(store.config.group_starts) == 1
    for member in summary.front:
        assert member.values["ap_low"] <= member.values["ap"] <= member.values["ap_high"]
        assert member.repeats.seeds == (1,) and member.repeats.figures["ap"].std is None
    baseline = summary.baseline
    assert baseline.trials.complete >= 1 and baseline.study == "s-random"
    assert baseline.hypervolume >= 0 and (tmp_path / "s" / "random" / "study.json").exists()

    before = {r.record.trial: r.record for r in RepeatStore(store.dir).all()}
    again = resume_search(store.dir, ResumeOptions(2))
    assert [m.repeats.seeds for m in again.front] == [(1, 2)] * len(again.front)
    after = {r.record.trial: r.record for r in RepeatStore(store.dir).all()}
    assert before.items() <= after.items() and len(after) == 2 * len(before)
    for key in ("trials", "hypervolume", "wall_seconds", "reference_point"):
        assert getattr(again, key) == getattr(summary, key)
    assert again.baseline == baseline
    assert not list(store.dir.glob("repeats/*/*.safetensors")) and not (store.dir / "ray").exists()
