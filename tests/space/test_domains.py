"""Domains: checked at construction, sampled by the unit interval."""

import random

import numpy as np
import pytest

from nasdet.space import Choice, Integer, Real

DOMAINS = [
    Choice((1,)),
    Choice(("a", 1, 1.0, True, None, [1, 2], {"k": [3]})),
    Integer(0, 3),
    Integer(8, 64, 8),
    Integer(1, 1000, log=True),
    Real(-1.0, 1.0),
    Real(1e-5, 1.0, log=True),
]


@pytest.mark.parametrize("domain", DOMAINS, ids=str)
def test_samples_lie_inside_and_map_back(domain):
    for rng in (random.Random(0), np.random.default_rng(0)):
        for _ in range(200):
            value = domain.sample(rng)
            assert domain.contains(value)
            unit = domain.to_unit(value)
            assert 0 <= unit <= 1
            again = domain.from_unit(unit)
            assert again == (pytest.approx(value) if isinstance(domain, Real) else value)


@pytest.mark.parametrize("domain", DOMAINS, ids=str)
def test_ends_are_reached(domain):
    corners = domain.corners()
    ends = (domain.from_unit(0.0), domain.from_unit(1.0 - 1e-12))
    for end, corner in zip(ends, (corners[0], corners[-1]), strict=True):
        assert end == (pytest.approx(corner) if isinstance(domain, Real) else corner)
    assert all(domain.contains(v) for v in domain.corners())


def test_every_integer_is_drawn():
    rng = random.Random(0)
    assert {Integer(8, 32, 8).sample(rng) for _ in range(200)} == {8, 16, 24, 32}


def test_choice_treats_tuples_as_lists_and_types_apart():
    choice = Choice(((1, 2), 1))
    assert choice.values == ([1, 2], 1)
    assert choice.contains((1, 2)) and choice.index([1, 2]) == 0
    assert not choice.contains(True) and not choice.contains(1.0)


@pytest.mark.parametrize("value", [True, 1.5, "3", 9, 10])
def test_integer_refuses(value):
    assert not Integer(2, 8, 2).contains(value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Choice(()), "empty"),
        (lambda: Choice((1, 2, 1)), "holds 1 twice"),
        (lambda: Integer(3, 3), "not below"),
        (lambda: Integer(0, 5, 2), "multiple of step"),
        (lambda: Integer(0, 5, 0), "below 1"),
        (lambda: Integer(0, 5, log=True), "at least 1"),
        (lambda: Integer(2, 8, 2, log=True), "exclude"),
        (lambda: Real(2.0, 1.0), "not below"),
        (lambda: Real(0.0, 1.0, log=True), "above 0"),
        (lambda: Real(0.0, float("inf")), "finite"),
    ],
)
def test_bad_domains(make, message):
    with pytest.raises(ValueError, match=message):
        make()
