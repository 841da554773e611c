"""Studies at the edge: few results, few candidates, values that say nothing, failures only."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from nasdet.search import (
    Finished,
    FreezeThawSampler,
    MemoryStore,
    SearchSpace,
    Study,
    StudyStore,
    parse_space,
    report,
    simulate,
)
from nasdet.space import Constraint
from nasdet.space.yaml_document import dump_yaml
from nasdet.study_config import StudyConfig
from nasdet.trial import Rung, TrialRecord

SPACE = {"x": {"kind": "float", "low": 0.0, "high": 1.0}, "s": {"kind": "int", "low": 1, "high": 8}}
KINDS = ("freeze_thaw", "halving", "full")


def space(kind: str, *, one: bool = False, **budget: Any) -> SearchSpace:
    objectives = [{"name": "acc", "direction": "max"}, {"name": "size", "direction": "min"}][: 1 if one else 2]
    budget = {"epochs": 27, "rungs": [27] if kind == "full" else [1, 3, 9, 27], **budget}
    document = {"name": "edge", "space": SPACE, "objectives": objectives, "budget": budget, "scheduler": {"kind": kind}}
    return parse_space(document, function=True)


def evaluate(params: dict[str, Any], epochs: int) -> dict[str, float]:
    return {"acc": 1 - (params["x"] - 0.3) ** 2 - 1 / (epochs + 1), "size": float(params["s"])}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("one", [False, True])
def test_one_failure_among_the_first_results(kind: str, one: bool) -> None:
    """Fewer results than the reference point waits for: it is fixed by what there is, and the best go on."""
    calls = itertools.count()

    def sometimes(params: dict[str, Any], epochs: int) -> dict[str, float]:
        if next(calls) == 3:
            raise RuntimeError("once")
        return evaluate(params, epochs)

    study = simulate(sometimes, space(kind, one=one, trials=8), workers=1).study
    summary = study.summary()
    assert summary.trials.complete >= 1 and len(summary.reference_point) == (1 if one else 2)
    assert summary.hypervolume > 0


@pytest.mark.parametrize("kind", ["freeze_thaw", "halving"])
@pytest.mark.parametrize("workers", [1, 8])
def test_a_budget_of_less_than_eight_first_rungs(kind: str, workers: int) -> None:
    study = simulate(evaluate, space(kind, epochs=90, rungs=[10, 30, 90], total_epochs=70), workers=workers).study
    assert len(study.engine.reference) == 2 and sum(r.epochs for r in study.records) == 70


@pytest.mark.parametrize("kind", KINDS)
def test_a_space_with_fewer_candidates_than_the_reference_point_waits_for(kind: str) -> None:
    document = space(kind).raw | {"space": {"s": {"kind": "int", "low": 1, "high": 3}}}
    study = simulate(lambda p, e: evaluate({"x": 0.3, **p}, e), parse_space(document, function=True), workers=1).study
    assert study.summary().trials.complete >= 1 and study.summary().hypervolume > 0


def test_with_one_objective_not_every_candidate_is_trained_in_full() -> None:
    counts = simulate(evaluate, space("freeze_thaw", one=True, trials=30), workers=1).study.summary().trials
    assert 4 <= counts.complete < 20


def test_an_objective_that_never_changes_leaves_hypervolume_to_the_other() -> None:
    study = simulate(lambda p, e: evaluate(p, e) | {"size": 3.0}, space("freeze_thaw", trials=20), workers=1).study
    assert study.summary().hypervolume > 0


@pytest.mark.parametrize("kind", ["halving", "freeze_thaw"])
def test_candidates_too_slow_for_the_time_do_not_decide(kind: str) -> None:
    """Neither about the reference point, which waits for eight results, nor about the end of the search."""
    limited = space(kind, epochs=9, rungs=[1, 3, 9], time_limit=300, seed=2)

    def seconds(job: Any) -> float:
        return (60.0 if job.record.params["s"] >= 6 else 1.0) * (job.stop - job.record.epochs)

    done = simulate(evaluate, limited, workers=1, seconds=seconds)
    first = [t.values["size"] for t in done.history if t.stop == 1][:8]
    assert len(first) == 8 and done.study.engine.reference[1] >= max(first)
    assert done.study.summary().trials.complete >= 1


def test_near_the_end_the_best_one_is_finished_also_beside_running_ones() -> None:
    limited = space("halving", epochs=9, rungs=[1, 3, 9], time_limit=100)
    for workers in (1, 2, 4):
        study = simulate(evaluate, limited, workers=workers, seconds=lambda job: 10.0 * (job.stop - job.record.epochs))
        assert study.study.summary().trials.complete >= 1, workers


def test_every_candidate_of_a_small_space_is_tried_before_one_is_proposed_again() -> None:
    document = space("freeze_thaw", total_epochs=300).raw | {"space": {"s": {"kind": "int", "low": 1, "high": 9}}}
    study = simulate(lambda p, e: evaluate({"x": 0.3, **p}, e), parse_space(document, function=True), workers=1).study
    tried = [r.params["s"] for r in study.records if r.state != "duplicate"]
    assert sorted(tried) == list(range(1, 10))


def test_a_function_that_always_fails_ends_the_simulation() -> None:
    def broken(params: dict[str, Any], epochs: int) -> dict[str, float]:
        raise RuntimeError("always")

    with pytest.raises(RuntimeError, match=r"20 evaluations in a row failed.*always"):
        simulate(broken, space("halving", total_epochs=1000), workers=1)


def test_a_function_may_change_its_parameters_and_return_more_than_numbers() -> None:
    def careless(params: dict[str, Any], epochs: int) -> dict[str, Any]:
        values = evaluate(params, epochs)
        params.clear()
        return values | {"note": "x", "nothing": None, "more": np.float32(0.5), "bad": float("nan")}

    study = simulate(careless, space("full", trials=2), workers=1).study
    assert all(r.params.keys() == {"x", "s"} for r in study.records)
    assert study.records[0].values.keys() == {"acc", "size", "more"}


def test_a_study_continued_in_memory_has_the_same_reference_point() -> None:
    study = Study(space("halving", trials=40))
    for _ in range(30):
        job = study.ask()
        assert job is not None
        study.tell(job, evaluate(job.params, job.stop))
    again = Study(study.space, store=MemoryStore(study.space, study.records))
    again.ask()
    assert again.engine.reference == study.engine.reference


def test_the_highest_rung_is_promoted_from_first() -> None:
    where = space("halving", trials=20)

    def paused(number: int, acc: float, epochs: int) -> TrialRecord:
        values = {"acc": acc, "size": 2.0}
        rungs = tuple(Rung(e, values) for e in (1, 3) if e <= epochs)
        params = {"x": number / 10, "s": 2}
        return TrialRecord(f"t{number}", number, "paused", params, values=values, epochs=epochs, rungs=rungs)

    records = [*(paused(i, 0.5 + i / 10, 3) for i in range(3)), *(paused(i, 0.1, 1) for i in range(3, 12))]
    job = Study(where, store=MemoryStore(where, records), reference=[0.0, 10.0]).ask()
    assert job is not None and (job.record.trial, job.record.epochs, job.stop) == ("t2", 3, 9)


def test_the_seed_is_that_of_the_store() -> None:
    store = MemoryStore(space("full", trials=2))
    with pytest.raises(ValueError, match="seed 7, but the study in the store has 0"):
        Study(store.space, seed=7, store=store)


def test_a_violation_measured_just_before_an_interruption_is_found_on_resume() -> None:
    limited = dataclasses.replace(space("full", trials=4), constraints=(Constraint("size", "<=", 4.0),))
    running = TrialRecord("t0000", 0, "running", {"x": 0.5, "s": 8}, values={"size": 8.0})
    study = Study(limited, store=MemoryStore(limited, [running]))
    job = study.ask()
    assert job is not None and job.record.trial != "t0000"
    assert study.records[0].state == "infeasible" and "size <= 4" in study.records[0].reason


def test_a_study_of_a_space_with_removed_keys_opens_and_continues(tmp_path: Path) -> None:
    where = space("halving", trials=6)
    folder = StudyStore.create(tmp_path / "old", StudyConfig(study="old", data=""), where).dir
    older = where.raw | {"mode": {"kind": "joint"}, "scheduler": {"kind": "halving", "brackets": 1}}
    (folder / "space.yaml").write_text(dump_yaml(older))
    opened = StudyStore.open(folder)
    assert opened.space == where
    assert simulate(evaluate, opened.space, workers=1, store=opened).study.summary().trials.total == 6


def ask_tell(
    sampler: FreezeThawSampler, objective: Any, trials: int, directions: tuple[str, ...] = ("minimize",)
) -> Any:
    study = optuna.create_study(directions=list(directions), sampler=sampler)
    study.optimize(objective, n_trials=trials)
    return study


def test_optuna_values_that_are_not_finite_do_not_lead() -> None:
    def objective(trial: Any) -> float:
        x = trial.suggest_float("x", 0, 1)
        return float("inf") if x > 0.45 else (x - 0.2) ** 2

    found = ask_tell(FreezeThawSampler(seed=1), objective, 30)
    assert sum(t.params["x"] <= 0.45 for t in found.trials[16:]) >= 10


def test_optuna_threads_share_a_sampler() -> None:
    study = optuna.create_study(sampler=FreezeThawSampler(seed=0))
    study.optimize(lambda t: (t.suggest_float("x", 0, 1) - 0.5) ** 2, n_trials=40, n_jobs=8)
    assert len(study.trials) == 40 and all(t.state.name == "COMPLETE" for t in study.trials)


def test_optuna_constraints_are_learnt_although_all_break_them() -> None:
    found = 0
    for seed in range(3):

        def objective(trial: Any) -> float:
            x, y = trial.suggest_float("x", 0, 1), trial.suggest_float("y", 0, 1)
            trial.set_constraint("c", abs(x - 0.85) + abs(y - 0.85) - 0.1)
            return x + y

        found += sum(t.constraints["c"] <= 0 for t in ask_tell(FreezeThawSampler(seed=seed), objective, 36).trials[16:])
    assert found >= 3


def test_optuna_ranges_may_be_narrowed() -> None:
    study = optuna.create_study(sampler=FreezeThawSampler(seed=0))
    for number in range(24):

        def objective(trial: Any, most: int = 5 if number < 10 else 3) -> float:
            n = trial.suggest_int("n", 1, most)
            return n - (trial.suggest_float("w", 0, 1) if n >= 3 else 0.0)

        study.optimize(objective, n_trials=1)
    assert len(study.trials) == 24
    study.optimize(lambda t: float(t.suggest_int("n", 1, 2)), n_trials=2)  # nothing is left under which w existed


@pytest.mark.filterwarnings("ignore:Choices for a categorical")
def test_optuna_steps_and_categories_of_any_kind() -> None:
    def objective(trial: Any) -> float:
        a, _ = trial.suggest_categorical("c", [(1, 2), (3, 4), (5, 6)])
        x = trial.suggest_float("x", 0, 0.3, step=0.1)
        trial.suggest_float("fine", 0, 1, step=1e-5)
        return (x - 0.3) ** 2 + (a - 3) ** 2

    study = ask_tell(FreezeThawSampler(seed=0), objective, 30)
    late = study.trials[16:]
    assert sum(t.params["x"] == 0.3 for t in late) >= 4 and sum(t.params["c"] == (3, 4) for t in late) >= 4


def test_thawing_before_there_are_eight_results() -> None:
    sampler = FreezeThawSampler(rungs=(1, 3), seed=0)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    for _ in range(3):
        trial = study.ask()
        x = trial.suggest_float("x", 0, 1)
        report(trial, 1, [x, x], pause=True)
    thawed = sampler.thaw(study, new=False)
    assert thawed is not None and sampler.step(thawed) == (1, 3)


def test_finished_is_raised_for_good() -> None:
    study = Study(space("full", trials=1))
    job = study.ask()
    assert job is not None
    study.tell(job, evaluate(job.params, job.stop))
    for _ in range(2):
        with pytest.raises(Finished):
            study.ask()
