from __future__ import annotations

import pytest

from nasdet.search.freeze_thaw.encoding import Encoder
from nasdet.search.freeze_thaw.learning_curves import Surrogates
from nasdet.search.freeze_thaw.observations import RecordTable
from nasdet.space import Objective
from nasdet.trial import Rung, TrialRecord
from tests.search.conftest import toy


def test_a_hopeless_value_does_not_take_the_whole_range() -> None:
    records = []
    for number, ap in enumerate([0.50, 0.52, 0.54, 0.56, 0.01]):
        params = {"x": number / 5, "size": 5, "kind": "a"}
        rungs = (Rung(1, {"ap": ap}, told=number),)
        records.append(TrialRecord(f"t{number}", number, "paused", params, values={"ap": ap}, epochs=1, rungs=rungs))
    encoder = Encoder(toy())
    table = RecordTable(encoder, ["ap"])
    table.update(records)
    model = Surrogates(encoder.groups, [1, 3, 9]).learning_curves(table, Objective("ap", "max"))
    # The median is 0.52 and the best 0.56: nothing is worse than 0.52 - 3 * 0.04.
    assert (-model.values).tolist() == pytest.approx([0.50, 0.52, 0.54, 0.56, 0.40])
