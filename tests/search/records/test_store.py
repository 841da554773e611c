from __future__ import annotations

import pytest

from nasdet.search.records.store import Ledger
from nasdet.trial import Rung, TrialRecord


def record(number: int, state: str = "running", epochs: int = 0) -> TrialRecord:
    rungs = tuple(Rung(e, {"ap": 0.1}) for e in range(epochs))
    return TrialRecord(f"t{number}", number, state, {}, epochs=epochs, rungs=rungs, train_seconds=2.0 * epochs)  # type: ignore[arg-type]


def test_counts_follow_the_records() -> None:
    ledger = Ledger([record(1), record(0, "complete", 9)])
    ledger.put(record(2))
    ledger.put(record(1, "paused", 1))
    ledger.put(record(1, "paused", 3))
    ledger.put(record(2, "infeasible"))
    assert [r.trial for r in ledger.records()] == ["t0", "t1", "t2"] and len(ledger) == 3
    assert (ledger.told, ledger.epochs, ledger.train_seconds) == (12, 12, 24.0)
    assert (ledger.count("complete"), ledger.count("paused", "infeasible"), ledger.count("running")) == (1, 2, 0)
    assert ledger.get("t1").state == "paused" and "t3" not in ledger


def test_what_has_ended_stays() -> None:
    ledger = Ledger([record(0, "failed")])
    with pytest.raises(ValueError, match="t0 is failed and cannot change"):
        ledger.put(record(0))
    assert ledger.count("failed") == 1


def test_the_newest_at_a_rung_are_those_told_last() -> None:
    def seen(number: int, *told: int) -> TrialRecord:
        return TrialRecord(
            f"t{number}", number, "paused", {}, rungs=tuple(Rung(3**j, {}, t) for j, t in enumerate(told))
        )

    ledger = Ledger([seen(0, 5, 6), seen(1, 0), seen(2, 1, 4)])
    assert [r.trial for r in ledger.newest(1, 2)] == ["t0", "t2"]
    ledger.put(seen(1, 0, 7))
    assert [r.trial for r in ledger.newest(3, 2)] == ["t0", "t1"]
    assert [r.trial for r in ledger.newest(1, 10)] == ["t0", "t1", "t2"] and ledger.newest(9, 5) == []
