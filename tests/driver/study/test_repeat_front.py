from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from nasdet.data import default_cache_root
from nasdet.driver.resources import Plan, group_config
from nasdet.driver.study.repeat_front import Repeats
from nasdet.search import Finished, StudyStore, summarise
from nasdet.search.records.repeats import RepeatStore
from nasdet.space import load_space
from nasdet.study_config import StudyConfig
from nasdet.study_summary import Moments, RepeatedTrainings
from nasdet.trainers.driver_link import Link
from nasdet.trainers.messages import Reply, TrainJob
from nasdet.trainers.worker import Runner
from nasdet.trial import TrialRecord
from tests.trainers.conftest import tiny_recipe, tiny_spec

SPEC, RECIPE = tiny_spec().to_json(), tiny_recipe(epochs=1).to_json()


@pytest.fixture
def study(tmp_path: Path) -> StudyStore:
    """Two members of a front and one beaten trial, of one epoch each; seed 5."""
    changes = ["objectives=[{name: ap}, {name: latency_ms}]", "budget.epochs=1", "budget.rungs=[1]", "budget.seed=5"]
    store = StudyStore.create(tmp_path / "s", StudyConfig(study="s", data=""), load_space("detnet", overrides=changes))
    for number, (ap, latency) in enumerate([(0.6, 9.0), (0.5, 5.0), (0.4, 7.0)]):
        values = {"ap": ap, "ap_low": ap, "ap50": ap, "latency_ms": latency, "params_m": 0.1}
        store.put(TrialRecord(f"t{number}", number, "complete", {}, SPEC, RECIPE, values, 1))
    store.save_config(finished=True)
    return store


def names(repeats: Repeats) -> Iterator[str]:
    """Do every job, as if each had AP 0.5."""
    while True:
        try:
            job = repeats.next_job()
        except Finished:
            return
        assert job is not None and (job.record.epochs, job.stop) == (0, 1)
        assert job.record.values.keys() == {"latency_ms", "params_m"}  # so that neither is measured again
        repeats.report(job.record.trial, 1, {"ap": 0.5}, seconds=2.0, overhead=0.1)
        yield job.record.trial


def test_seed_after_seed_over_the_front_and_none_twice(study: StudyStore) -> None:
    repeats = Repeats(study, 2)
    assert (repeats.left, repeats.members) == (4, 2)
    assert list(names(repeats)) == ["t0-seed6", "t1-seed6", "t0-seed7", "t1-seed7"]
    assert repeats.seeds["t1-seed7"] == 7
    assert Repeats(study, 2).left == 0 and Repeats(study, 1).left == 0
    assert list(names(Repeats(study, 3))) == ["t0-seed8", "t1-seed8"]


def test_the_study_is_as_before(study: StudyStore) -> None:
    before = summarise(study)
    list(names(Repeats(study, 2)))
    after = summarise(StudyStore.open(study.dir))
    assert all(m.repeats == RepeatedTrainings((6, 7), {"ap": Moments(0.5, 0.0)}) for m in after.front)
    assert after.indistinct != before.indistinct
    front = tuple(dataclasses.replace(member, repeats=None) for member in after.front)
    assert dataclasses.replace(after, front=front, indistinct=before.indistinct) == before


def test_an_interrupted_training_goes_on_and_a_failed_one_does_not(study: StudyStore) -> None:
    repeats = Repeats(study, 1)
    jobs = [repeats.next_job(), repeats.next_job()]
    assert repeats.next_job() is None  # both run side by side
    assert jobs[0] is not None and jobs[1] is not None
    repeats.release(jobs[0].record.trial)
    repeats.fail(jobs[1].record.trial, "out of memory")
    assert list(names(Repeats(study, 1))) == ["t0-seed6"]
    again = Repeats(study, 2)
    lost = again.next_job()
    assert lost is not None
    again.release(lost.record.trial)
    again.fail(lost.record.trial, "its workers died three times")
    following = again.next_job()
    assert following is not None and following.record.trial != lost.record.trial
    again.release(following.record.trial)
    states = {r.record.trial: r.record.state for r in RepeatStore(study.dir).all()}
    assert (states["t0-seed6"], states["t1-seed6"], states[lost.record.trial]) == ("complete", "failed", "failed")


def test_further_seeds_train_other_networks(study: StudyStore) -> None:
    """The jobs of a front's repeats on a real worker."""
    found: list[Reply] = []
    group = group_config(study.space, Plan("cpu", 1, 1, 1), source="digits", cache_root=default_cache_root())
    runner = Runner(group, torch.device("cpu"), Link(found.append))
    repeats = Repeats(study, 2)
    for _ in range(4):
        job = repeats.next_job()
        assert job is not None and job.record.spec is not None and job.record.recipe is not None
        trial, folder = job.record.trial, repeats.store.trial_dir(job.record.trial)
        runner.run(TrainJob(trial, job.record.spec, job.record.recipe, repeats.seeds[trial], 1, str(folder), False))
        repeats.report(trial, 1, found[-1].values, seconds=found[-1].seconds, overhead=0.0)
        assert (folder / "resamples.npz").exists() and not (folder / "weights.safetensors").exists()
    losses = [r.values["loss"] for r in found if r.kind == "epoch"]
    assert losses[0] == losses[1] != losses[2] == losses[3]
    member = summarise(study).front[0]
    assert member.repeats is not None and member.repeats.seeds == (6, 7) and "ap50" in member.repeats.figures
    assert "ap_low" not in member.repeats.figures
