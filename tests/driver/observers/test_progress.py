"""The last line of a running search is followed record by record, and says what all records together say."""

from __future__ import annotations

import io
import random
from types import SimpleNamespace
from typing import Any

import pytest

from nasdet.driver.observers.progress import Progress
from nasdet.driver.resources import Plan
from nasdet.pareto import front
from nasdet.search import MemoryStore
from nasdet.space import load_space
from nasdet.study_summary import front_hypervolume
from nasdet.trial import TrialRecord

INFO = SimpleNamespace(splits={"train": 4}, name="digits", classes=("0",))
SPACE = load_space("detnet", overrides=["objectives=[{name: ap}, {name: params_m}]"])


def watched(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> tuple[Progress, io.StringIO]:
    output = io.StringIO()
    progress = Progress(output)
    store.dir = "studies/s"  # type: ignore[attr-defined]
    dataset: Any = SimpleNamespace(info=INFO)
    progress.start(store, dataset, SimpleNamespace(describe=lambda: "one worker"))  # type: ignore[arg-type]
    return progress, output


def line(store: MemoryStore) -> str:
    """By all records."""
    records, objectives = store.records(), store.objectives
    members = front(records, objectives)
    states = {s: sum(r.state == s for r in records) for s in ("complete", "paused", "stopped", "failed")}
    counts = ", ".join(f"{n} {s}" for s, n in states.items() if n)
    best = max((r.values.get("ap", 0.0) for r in records), default=0.0)
    volume = front_hypervolume(members, objectives, store.config.reference_point or ())
    parts = [f"trials: {counts or 'none yet'}", f"best AP {best:.3f}", f"front {len(members)}"]
    return "  |  ".join([*parts, f"hypervolume {volume:.4g}"])


@pytest.mark.parametrize("seed", range(3))
def test_the_line_is_that_of_all_records(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng, store = random.Random(seed), MemoryStore(SPACE)
    store.put(TrialRecord("old", 0, "complete", {}, values={"ap": 0.2, "params_m": 3.0}))
    progress, output = watched(store, monkeypatch)
    for number in range(1, 80):
        if number == 40:
            store.save_config(reference_point=(0.0, 10.0))
        store.put(TrialRecord(f"t{number}", number, "running", {}))
        for record in (store.get(f"t{number}"), *rng.sample(store.ledger.paused(), len(store.ledger.paused()) // 3)):
            state = rng.choice(["paused", "complete", "failed", "infeasible"])
            values = {"ap": rng.randrange(50) / 50, "params_m": float(rng.randrange(1, 12))}  # may get worse
            store.put(record.replace(state=state, values={} if state == "infeasible" else values, epochs=1))
            progress.changed(store.get(record.trial), float("inf"))
        if number % 10 == 5 and store.ledger.paused():
            store.put(store.ledger.paused()[0].replace(state="stopped"))  # by the clean-up, without an event
        assert progress._line().plain == line(store)
    progress.changed(TrialRecord("t3-seed1", 3, "complete", {}, values={"ap": 1.0, "params_m": 1.0}), float("inf"))
    progress.close()
    assert output.getvalue().splitlines()[-1] == line(store)


def test_another_study_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    store, other = MemoryStore(SPACE), MemoryStore(SPACE)
    store.put(TrialRecord("t0", 0, "complete", {}, values={"ap": 0.9, "params_m": 3.0}))
    progress, _ = watched(store, monkeypatch)
    dataset: Any = SimpleNamespace(info=INFO)
    other.dir = "studies/s/random"  # type: ignore[attr-defined]
    progress.start(other, dataset, Plan("cpu", 1, 1, 1))  # type: ignore[arg-type]
    assert progress._line().plain == "trials: none yet  |  best AP 0.000  |  front 0  |  hypervolume 0"
