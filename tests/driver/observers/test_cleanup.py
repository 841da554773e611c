from __future__ import annotations

from pathlib import Path

import pytest

from nasdet.driver.observers.cleanup import Housekeeping
from nasdet.search import Candidate, Engine, StudyStore
from nasdet.space import load_space
from nasdet.study_config import StudyConfig
from nasdet.trial import Rung, TrialRecord

MEGABYTE = 10**6
VALUES = [  # ap, latency_ms, params_m, gflops
    (0.5, 5.0, 1.0, 0.3),
    (0.6, 6.0, 2.0, 0.4),
    (0.5, 6.0, 0.5, 0.4),  # beaten in ap and latency, but the smallest
    (0.4, 7.0, 2.0, 0.5),  # beaten in everything
]


@pytest.fixture
def store(tmp_path: Path) -> StudyStore:
    space = load_space("detnet", overrides=["objectives=[{name: ap}, {name: latency_ms}]", "resources.disk_gb=0.0025"])
    return StudyStore.create(tmp_path / "study", StudyConfig(study="study", data=""), space)


def put(store: StudyStore, number: int, state: str, values: tuple[float, ...], epochs: int) -> None:
    named = dict(zip(("ap", "latency_ms", "params_m", "gflops"), values, strict=True))
    rungs = (Rung(epochs, named),)
    store.put(TrialRecord(f"t{number}", number, state, {}, {}, {}, named, epochs, rungs))
    store.trial_dir(f"t{number}").mkdir(parents=True)
    for name in ("checkpoint.pt", "weights.safetensors"):
        (store.trial_dir(f"t{number}") / name).write_bytes(bytes(MEGABYTE))


def left(store: StudyStore, name: str) -> list[str]:
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
    assert "resources.disk_gb is 0.0025" in store.get("t2").reason
