from __future__ import annotations

import random

import numpy as np
import pytest

from nasdet.search.freeze_thaw.encoding import Encoder
from nasdet.search.freeze_thaw.observations import Observations, RecordTable, impute_failures, limit_observations
from nasdet.space import Objective
from nasdet.trial import Rung, TrialRecord
from tests.search.conftest import toy

AP = Objective("ap", "max")


def seen(who: list[int], epochs: list[int], values: list[float]) -> Observations:
    return Observations(np.array(who), np.array(epochs, dtype=float), np.array(values))


def test_a_failure_is_imputed_as_the_worst_value_where_it_failed() -> None:
    found = impute_failures(seen([0, 0], [1, 3], [-0.1, -0.4]), np.array([1, 2]), np.array([0, 3]))
    assert found.trial.tolist() == [0, 0, 1, 2] and found.epochs.tolist() == [1, 3, 1, 3]
    assert found.values.tolist() == [-0.1, -0.4, -0.1, -0.1]


def test_history_is_bounded_and_keeps_the_ends_of_curves() -> None:
    who = [i for i in range(200) for _ in range(3 if i < 20 else 1)]
    epochs = [3**j for i in range(200) for j in range(3 if i < 20 else 1)]
    kept = limit_observations(seen(who, epochs, [0.1] * len(who)), 100)
    assert len(kept) == 100
    assert sum(kept.epochs == 9) == 20 and 199 in kept.trial


def test_a_long_history_of_full_trainings_still_shows_how_candidates_begin() -> None:
    who = [i for i in range(400) for _ in range(2)] + list(range(400, 500))
    epochs = [e for _ in range(400) for e in (1, 9)] + [1] * 100
    kept = limit_observations(seen(who, epochs, [0.1] * len(who)), 90)
    assert len(kept) == 90 and sum(kept.epochs == 1) == 30 and kept.trial[-1] == 499
    assert kept.trial.tolist() == sorted(kept.trial)


def curve(number: int, values: list[float], *, told: int, state: str = "paused", size: float = 1.0) -> TrialRecord:
    rungs = tuple(Rung(3**j, {"ap": v, "size": size}, told=told + j) for j, v in enumerate(values))
    last = rungs[-1] if rungs else Rung(0, {})
    params = toy().sample(random.Random(number))
    return TrialRecord(f"t{number}", number, state, params, values=last.values, epochs=last.epochs, rungs=rungs)  # type: ignore[arg-type]


def table(records: list[TrialRecord]) -> RecordTable:
    made = RecordTable(Encoder(toy()), ["ap", "size"])
    made.update(records)
    return made


def test_observations_are_in_the_order_of_reporting_and_smaller_is_better() -> None:
    seen = table([curve(0, [0.1, 0.4], told=3), curve(1, [0.2], told=0)]).observations(AP)
    assert seen.trial.tolist() == [1, 0, 0] and seen.epochs.tolist() == [1, 1, 3]
    assert seen.values.tolist() == [-0.2, -0.1, -0.4]


def test_values_that_are_not_finite_are_left_out() -> None:
    assert len(table([curve(0, [np.nan, 0.4], told=0)]).observations(AP)) == 1


def test_a_value_is_static_if_it_never_changes_with_the_budget() -> None:
    records = [curve(i, [0.1, 0.2], told=2 * i, size=float(i)) for i in range(3)]
    assert table(records).is_static("size") and not table(records).is_static("ap")
    assert not table(records[:2]).is_static("size")
    dead = [curve(i, [0.0, 0.0], told=2 * i) for i in range(5)]
    assert not table(dead).is_static("ap")


@pytest.mark.parametrize("seed", range(5))
def test_an_updated_table_equals_a_new_one(seed: int) -> None:
    rng = random.Random(seed)
    made, records, told = RecordTable(Encoder(toy()), ["ap", "size"]), list[TrialRecord](), 0
    for _ in range(60):
        i = rng.randrange(len(records) + 1)
        if i == len(records):
            records.append(curve(i, [], told=0, state="running"))
        elif len(records[i].rungs) < 3:
            rung = Rung(3 ** len(records[i].rungs), {"ap": rng.random(), "size": float(i)}, told)
            told += 1
            changed = records[i].replace(state="paused", rungs=(*records[i].rungs, rung), values=rung.values)
            records[i] = changed.replace(epochs=rung.epochs, train_seconds=1.0 * rung.epochs)
        if rng.random() < 0.5:
            made.update(records)
    made.update(records)
    anew = table(records)
    for name in ("rows", "features", "states", "epochs", "seconds"):
        np.testing.assert_array_equal(getattr(made, name), getattr(anew, name))
    assert made.known == anew.known and made.result_count == anew.result_count == told
    for name in ("trial", "epochs", "values"):
        np.testing.assert_array_equal(getattr(made.observations(AP), name), getattr(anew.observations(AP), name))


def test_records_that_do_not_continue_the_known_ones_are_another_study() -> None:
    made = table([curve(0, [0.1, 0.4], told=0), curve(1, [0.2], told=2)])
    made.update([curve(5, [0.3], told=0)])
    assert made.result_count == 1 and len(made) == 1 and made.observations(AP).values.tolist() == [-0.3]
