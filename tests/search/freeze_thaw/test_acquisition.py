from __future__ import annotations

import random

import numpy as np
import pytest

from nasdet.search import Candidate
from nasdet.search.freeze_thaw.acquisition import Acquisition, SpaceContext
from nasdet.search.freeze_thaw.encoding import Encoder
from nasdet.search.freeze_thaw.learning_curves import Surrogates
from nasdet.search.freeze_thaw.observations import RecordTable
from nasdet.space import SearchSpace
from nasdet.trial import TrialRecord
from tests.search.freeze_thaw.test_decision import history, wide


def acquisition(space: SearchSpace, records: list[TrialRecord]) -> Acquisition:
    def build(params: object) -> Candidate:
        return Candidate(None, None, {})

    encoder = Encoder(space)
    table = RecordTable(encoder, [o.name for o in space.objectives])
    table.update(records)
    context = SpaceContext(space, encoder, Surrogates(encoder.groups, space.rungs()), build, build, cheap_build=False)
    return Acquisition(context, table, records[0].params, np.zeros(1), True, np.random.default_rng(0))


@pytest.mark.parametrize("running", [1, 2])
def test_what_runs_already_is_worth_less_to_another_worker(running: int) -> None:
    space, rng = wide(4, objectives=1), random.Random(1)
    records, drawn = history(space, 40)[:-3], [space.sample(rng) for _ in range(50)]
    alone = acquisition(space, records)
    values = alone.of_new(np.stack([alone.encoder.row(params) for params in drawn]))
    best = drawn[int(np.argmax(values))]
    number = len(records)
    started = [TrialRecord(f"t{number + i}", number + i, "running", best) for i in range(running)]
    beside = acquisition(space, records + started)
    assert beside.of_new(beside.encoder.row(best)[None])[0] < 0.7 * values.max()
