from __future__ import annotations

from pathlib import Path

from nasdet.search.records.repeats import Repeat, RepeatStore
from nasdet.trial import Rung, TrialRecord

RECORD = TrialRecord("t1-seed4", 1, "running", {"x": 1}, {}, {}, {"params_m": 2.0})


def test_what_is_put_is_there_after_a_restart(tmp_path: Path) -> None:
    store = RepeatStore(tmp_path)
    assert store.all() == []
    store.add(Repeat("t1", 4, RECORD))
    store.add(Repeat("t1", 3, RECORD.replace(trial="t1-seed3")))
    done = RECORD.replace(state="complete", values={"ap": 0.5}, rungs=(Rung(9, {"ap": 0.5}),))
    store.put(done)
    again = RepeatStore(tmp_path)
    assert again.get("t1-seed4") == done and again.seed("t1-seed4") == 4
    assert [r.seed for r in again.of("t1")] == [3, 4] and again.of("t2") == []


def test_only_what_a_training_under_way_needs_is_kept(tmp_path: Path) -> None:
    store = RepeatStore(tmp_path)
    for name, state in (("a", "running"), ("b", "complete")):
        store.add(Repeat("t1", 1, RECORD.replace(trial=name, state=state)))
        for file in ("checkpoint.pt", "weights.safetensors", "resamples.npz"):
            (store.trial_dir(name) / file).touch()
    store.prune()
    left = {p.relative_to(store.dir).as_posix() for p in store.dir.glob("*/*")}
    assert left == {f"a/{f}" for f in ("checkpoint.pt", "weights.safetensors", "resamples.npz", "record.json")} | {
        "b/resamples.npz",
        "b/record.json",
    }


def test_a_damaged_record_is_trained_again(tmp_path: Path) -> None:
    store = RepeatStore(tmp_path)
    store.add(Repeat("t1", 4, RECORD))
    (store.trial_dir("t1-seed4") / "record.json").write_text('{"of": "t1"')
    assert RepeatStore(tmp_path).all() == []
