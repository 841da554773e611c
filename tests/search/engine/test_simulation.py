"""What every sampler with every scheduler keeps to, on a small conditional space with a constraint and failures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nasdet.search import Simulation, StudyStore, simulate
from nasdet.search.samplers import SAMPLERS
from nasdet.search.schedulers import SCHEDULERS
from nasdet.space import Params, SearchSpace, parse_space
from nasdet.study_config import StudyConfig
from nasdet.trial import TrialRecord
from tests.search.conftest import TOY, accuracy, toy

SPACES: dict[str, dict[str, Any]] = {
    "conditional": {},
    "one objective": {"objectives": [{"name": "ap", "direction": "max"}]},
    "three objectives": {"objectives": [*TOY["objectives"], {"name": "seconds", "direction": "min"}]},
    "points": {"points": [{"x": 0.6, "size": 20, "kind": "b", "extra": 0.5}, {"x": 0.6, "size": 20}, {"size": 45}]},
    "few candidates": {
        "space": {
            "x": {"kind": "choice", "values": [0.15, 0.5, 0.7]},
            "size": {"kind": "int", "low": 20, "high": 50, "step": 10},
            "kind": {"kind": "choice", "values": ["a", "b"]},
        }
    },
}
"""Parameters that exist under a condition, a constraint and failures in all of them; the last has eight good ones."""
CHEAP = "qmc"
"""A sampler that takes no time, for the schedulers."""


def _cases() -> list[Any]:
    """Every sampler with every scheduler on every space. Without the slow ones: every scheduler on every space with one
    sampler, and every quick sampler on one space for each scheduler that uses samplers."""
    pairs = [(s, k) for s in SAMPLERS for k in ("halving", "full")] + [("auto", "freeze_thaw")]
    quick = {(s, k, n) for s, k in pairs for n in SPACES if s in ("auto", CHEAP)}
    learning = [s for s in SAMPLERS if s != "gp"]  # a second for each proposal; asked directly in test_samplers.py
    quick |= {(s, "halving", "conditional") for s in learning} | {(s, "full", "three objectives") for s in learning}
    cases = [(s, k, n) for s, k in pairs for n in SPACES]
    return [c if c in quick else pytest.param(*c, marks=pytest.mark.slow) for c in cases]


def evaluate(params: dict[str, Any], epochs: int) -> dict[str, float]:
    if 0.1 < params["x"] < 0.2:
        raise RuntimeError("out of memory")
    seconds = (1.0 + params["x"]) * (2.0 if params["kind"] == "a" else 1.0)
    return {"ap": accuracy(params, epochs), "params_m": float(params["size"]), "seconds": seconds}


def run(sampler: str, scheduler: str, /, *, workers: int = 3, costs: bool = True, **changes: Any) -> Simulation:
    budget = {"trials": 20, "epochs": 9, "rungs": [1, 3, 9], "seed": 1, **changes.pop("budget", {})}
    kinds = {"sampler": {"kind": sampler}, "scheduler": {"kind": scheduler, "eta": 3}, **changes}
    known = (lambda params: {"params_m": float(params["size"])}) if costs else None
    return simulate(evaluate, toy(**kinds, budget=budget), workers=workers, costs=known)


@pytest.mark.parametrize(("sampler", "scheduler", "name"), _cases())
def test_conformance(sampler: str, scheduler: str, name: str) -> None:
    trials, total, workers = (9, 81, 1) if sampler == "gp" else (20, 80, 8)  # so that a model proposes some
    options = {"workers": workers, "budget": {"trials": trials, "total_epochs": total}, **SPACES[name]}
    simulation = run(sampler, scheduler, **options)
    study = simulation.study
    summary, space = study.summary(), study.space
    _check_records(study.records, space)
    trained = [str(r.params) for r in study.records if r.state not in ("infeasible", "duplicate")]
    assert len(set(trained)) == len(trained) <= trials
    assert 0 < simulation.history[-1].epochs <= total
    assert summary.trials.running == summary.trials.paused == 0
    assert summary.front and summary.hypervolume > 0
    for record in study.front:
        assert record.epochs == 9 and record.values.items() >= evaluate(record.params, 9).items()
        assert record.trial in {t.trial for t in simulation.history if t.stop == 9}


def _check_records(records: list[TrialRecord], space: SearchSpace) -> None:
    for record in records:
        assert not space.problems(record.params)  # inside the domains, and active parameters exactly
        assert [r.epochs for r in record.rungs] == list(space.rungs()[: len(record.rungs)])
        assert (record.state == "infeasible") == (record.params["size"] > 40)
        assert not record.rungs or record.state not in ("infeasible", "duplicate")
        assert (record.state == "failed") <= (0.1 < record.params["x"] < 0.2)
        assert record.state != "failed" or "out of memory" in record.reason
    for record, point in zip(records, space.points, strict=False):
        assert record.params.items() >= point.items()
    order = [r.told for record in records for r in record.rungs]
    assert sorted(order) == list(range(len(order)))


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("costs", [True, False])
def test_total_epochs_are_kept_and_spent(scheduler: str, costs: bool) -> None:
    history = run("auto", scheduler, budget={"trials": None, "total_epochs": 100}, costs=costs).history
    assert 90 < history[-1].epochs <= 100
    assert [h.time for h in history] == sorted(h.time for h in history)


def test_a_fault_of_the_evaluation_leaves_its_traceback(tmp_path: Path) -> None:
    def width(params: Params) -> float:
        return params["nope"]

    def evaluate(params: Params, budget: int) -> dict[str, float]:
        return {"good": width(params)}

    space = parse_space(
        {
            "space": {"x": {"kind": "float", "low": 0.0, "high": 1.0}},
            "objectives": [{"name": "good", "direction": "max"}],
        },
        function=True,
    )
    store = StudyStore.create(tmp_path / "s", StudyConfig(study="s", data=""), space)
    with pytest.raises(RuntimeError, match=r"KeyError: 'nope' \(test_simulation.py:\d+ in width\)") as broken:
        simulate(evaluate, store.space, workers=2, store=store)
    assert isinstance(broken.value.__cause__, KeyError) and "in width" in broken.value.__notes__[0]
    assert (tmp_path / "s" / "log.txt").read_text().count("in width") == 20
