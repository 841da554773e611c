from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from nasdet.driver.observers.cleanup import Housekeeping
from nasdet.search import Candidate, Engine, MemoryStore, StudyStore
from nasdet.space import load_space
from nasdet.study_config import StudyConfig
from nasdet.trial import NOT_PROMOTED, Rung, TrialRecord

SIZE = 1000
"""Bytes of a checkpoint."""
VALUES = [  # ap, latency_ms, params_m, gflops
    (0.5, 5.0, 1.0, 0.3),
    (0.6, 6.0, 2.0, 0.4),
    (0.5, 6.0, 0.5, 0.4),  # beaten in ap and latency, but the smallest
    (0.4, 7.0, 2.0, 0.5),  # beaten in everything
]


SPACE = load_space(
    "detnet", overrides=["objectives=[{name: ap}, {name: latency_ms}]", f"resources.disk_gb={2.5 * SIZE / 1e9:.7f}"]
)


@pytest.fixture
def store(tmp_path: Path) -> StudyStore:
    return StudyStore.create(tmp_path / "study", StudyConfig(study="study", data=""), SPACE)


def put(store: Any, number: int, state: str, values: tuple[float, ...], epochs: int) -> None:
    named = dict(zip(("ap", "latency_ms", "params_m", "gflops"), values, strict=False))
    rungs = (Rung(epochs, named),)
    store.put(TrialRecord(f"t{number}", number, state, {}, {}, {}, named, epochs, rungs))
    store.trial_dir(f"t{number}").mkdir(parents=True)
    for name in ("checkpoint.pt", "weights.safetensors"):
        (store.trial_dir(f"t{number}") / name).write_bytes(bytes(SIZE))


def left(store: Any, name: str) -> list[str]:
    return sorted(path.parent.name for path in store.dir.glob(f"trials/*/{name}"))


def test_weights_stay_for_whatever_can_be_picked(store: StudyStore) -> None:
    for number, values in enumerate(VALUES):
        put(store, number, "complete", values, 8)
    Housekeeping(store, Engine(store, lambda params: Candidate({}, {}, {}))).prune()
    assert left(store, "weights.safetensors") == ["t0", "t1", "t2"]
    assert left(store, "checkpoint.pt") == []


def test_the_least_promising_checkpoints_make_room(store: StudyStore) -> None:
    for number, values in enumerate(VALUES[:2] + VALUES[3:]):
        put(store, number, "paused", values, 2)
    store.save_config(reference_point=[0.0, 10.0])
    engine = Engine(store, lambda params: Candidate({}, {}, {}))
    Housekeeping(store, engine).changed(store.get("t2"), 60.0)
    assert left(store, "checkpoint.pt") == ["t0", "t1"]
    assert store.get("t2").state == "stopped"
    assert "resources.disk_gb is 2.5e-06" in store.get("t2").reason


def test_the_checkpoint_before_counts_and_goes_with_the_last_one(store: StudyStore) -> None:
    for number in range(2):
        put(store, number, "paused", VALUES[number], 2)
        (store.trial_dir(f"t{number}") / "checkpoint.previous.pt").write_bytes(bytes(SIZE))
    store.save_config(reference_point=[0.0, 10.0])
    Housekeeping(store, Engine(store, lambda params: Candidate({}, {}, {}))).changed(store.get("t1"), 60.0)
    assert left(store, "checkpoint*.pt") == ["t0", "t0"]  # 4000 bytes were more than the 2500 allowed


def test_what_the_end_of_the_search_stopped_keeps_its_checkpoint(store: StudyStore) -> None:
    put(store, 0, "paused", VALUES[0], 2)
    put(store, 1, "paused", VALUES[1], 2)
    engine = Engine(store, lambda params: Candidate({}, {}, {}))
    engine.stop("t0", NOT_PROMOTED)
    engine.stop("t1", "its checkpoint made room: resources.disk_gb is 1")
    Housekeeping(store, engine).prune()
    assert left(store, "checkpoint.pt") == ["t0"] and left(store, "weights.safetensors") == []


class Trials(MemoryStore):
    """A study whose trials alone have a folder."""

    def __init__(self, folder: Path, records: list[TrialRecord] | None = None) -> None:
        super().__init__(SPACE, records)
        self.dir = folder
        self.save_config(reference_point=(0.0, 10.0))

    def trial_dir(self, trial: str) -> Path:
        return self.dir / "trials" / trial


def housekeeping(store: Any) -> Housekeeping:
    return Housekeeping(store, Engine(store, lambda params: Candidate({}, {}, {})))


@pytest.mark.parametrize("seed", range(3))
def test_looking_at_what_changed_leaves_what_looking_at_all_leaves(seed: int, tmp_path: Path) -> None:
    rng, store = random.Random(seed), Trials(tmp_path / "s")
    watching = housekeeping(store)
    for number in range(30):
        values = (rng.randrange(9) / 10, rng.randrange(1, 9), rng.randrange(1, 9), rng.randrange(1, 9))
        put(store, number, "running", values[: 3 if number in (15, 25) else 4], 2)  # one cost is not known of all
        promoted = [r for r in store.ledger.paused() if rng.random() < 0.3]
        for record in (store.get(f"t{number}"), *promoted):
            store.put(record.replace(state="running"))
            watching.started(record, 8)
        for record in (store.get(f"t{number}"), *promoted):
            store.put(record.replace(state=rng.choice(["paused", "complete", "complete", "failed"])))
            other = Trials(shutil.copytree(store.dir, tmp_path / "copy"), store.records())
            watching.changed(store.get(record.trial), 60.0)
            housekeeping(other).changed(other.get(record.trial), 60.0)
            assert other.records() == store.records()
            for name in ("checkpoint.pt", "weights.safetensors"):
                assert left(other, name) == left(store, name)
            shutil.rmtree(other.dir)
    assert any("made room" in r.reason for r in store.records())
