from __future__ import annotations

import random

import numpy as np
import pytest

from nasdet.search import SearchSpace, parse_space
from nasdet.search.freeze_thaw.encoding import Encoder


@pytest.fixture
def nested() -> SearchSpace:
    return parse_space(
        {
            "space": {
                "norm": {"kind": "choice", "values": ["gn", "bn", "none"]},
                "groups": {"kind": "choice", "values": [4, 8, 16], "when": {"norm": "gn"}},
                "eps": {"kind": "float", "low": 1e-6, "high": 1e-2, "log": True, "when": {"groups": [8, 16]}},
                "width": {"kind": "int", "low": 8, "high": 64, "step": 8},
                "units": {"kind": "int", "low": 16, "high": 512, "log": True},
                "shape": {"kind": "choice", "values": [[1, 2], [3, 4], [5, 6]]},
            },
            "objectives": [{"name": "ap", "direction": "max"}],
        },
        function=True,
    )


def test_params_survive_the_round_trip(nested: SearchSpace) -> None:
    encoder, rng = Encoder(nested), random.Random(0)
    many = [nested.sample(rng) for _ in range(200)]
    rows = encoder.filled(np.array([encoder.row(p) for p in many]), np.random.default_rng(0))
    for params, row in zip(many, rows, strict=True):
        again = encoder.params(row)
        assert again.keys() == params.keys()
        assert again == {k: pytest.approx(v) if isinstance(v, float) else v for k, v in params.items()}


def test_rows_and_neighbours_are_valid_candidates(nested: SearchSpace) -> None:
    encoder, rng = Encoder(nested), np.random.default_rng(0)
    rows = encoder.snap(rng.random((300, 6)))
    for table in (rows, encoder.changed(rows, rng)):
        assert encoder.snap(table) == pytest.approx(table)
        assert encoder.all_params(table) == [encoder.params(row) for row in table]
        for row, active in zip(table, encoder.active(table), strict=True):
            params = encoder.params(row)
            assert not nested.problems(params)
            assert {n for n, on in zip(encoder.names, active, strict=True) if on} == params.keys()


def test_a_neighbour_differs_in_a_parameter_that_exists(nested: SearchSpace) -> None:
    encoder, rng = Encoder(nested), np.random.default_rng(1)
    rows = encoder.snap(rng.random((300, 6)))
    changed = encoder.changed(rows, rng)
    same = sum(encoder.params(a) == encoder.params(b) for a, b in zip(rows, changed, strict=True))
    assert same < 10  # a whole number may come back to where it was


def test_features_ignore_parameters_that_do_not_exist(nested: SearchSpace) -> None:
    encoder = Encoder(nested)
    params = {"norm": "bn", "width": 8, "units": 64, "shape": [3, 4]}
    rows = np.stack([encoder.filled(encoder.row(params)[None], np.random.default_rng(s))[0] for s in range(5)])
    assert len(np.unique(encoder.features(rows), axis=0)) == 1
    assert len(np.unique(rows, axis=0)) > 1


def test_two_values_of_an_unordered_choice_are_at_distance_one(nested: SearchSpace) -> None:
    encoder, base = Encoder(nested), {"norm": "bn", "width": 8, "units": 64}
    rows = np.array([encoder.row({**base, "shape": s}) for s in ([1, 2], [5, 6])])
    a, b = encoder.features(encoder.filled(rows, np.random.default_rng(0)))
    assert np.linalg.norm(a - b) == pytest.approx(1.0)
    assert len(encoder.groups) == len(a) and encoder.groups.max() + 1 == 6 + 2  # two distinct conditions
