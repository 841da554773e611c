from __future__ import annotations

import dataclasses
import itertools
from typing import Any, get_args

import pytest

from nasdet.errors import InputError
from nasdet.search.samplers import AUTO, SAMPLERS, propose
from nasdet.search.samplers.optuna_samplers import MAX_DUPLICATES
from nasdet.space import SearchSpace
from nasdet.space.schema import SAMPLER_OPTIONS, SamplerConfig, SamplerKind
from nasdet.trial import TrialRecord
from tests.search.conftest import observed

KINDS = list(SAMPLERS)


def with_sampler(space: SearchSpace, kind: Any, **options: Any) -> SearchSpace:
    return dataclasses.replace(space, sampler=SamplerConfig(kind=kind, options=options))


def test_the_schema_knows_every_sampler() -> None:
    assert (
        {"auto", *SAMPLERS} == set(get_args(SamplerKind))
        and AUTO in SAMPLERS
        and SAMPLERS.keys() >= SAMPLER_OPTIONS.keys()
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [0, 4, 30])
def test_proposals_are_valid(space: SearchSpace, kind: str, count: int) -> None:
    chosen, records = with_sampler(space, kind), observed(space, count)
    for number in range(count, count + (0 if kind == "gp" and count == 30 else 5)):
        params = propose(chosen, records, seed=3, number=number)
        assert not chosen.problems(params)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_and_number_give_the_same_proposal(space: SearchSpace, kind: str) -> None:
    chosen, records = with_sampler(space, kind), observed(space, 30)
    once, twice = (propose(chosen, records, seed=3, number=31) for _ in range(2))
    assert once == twice and not chosen.problems(once)
    if kind != "gp":  # finds the same best place from any start
        assert once != propose(chosen, records, seed=4, number=31)


def test_tpe_learns_where_accuracy_is(space: SearchSpace) -> None:
    records = observed(space, 60)
    near = [abs(propose(with_sampler(space, "tpe"), records, seed=0, number=60 + i)["x"] - 0.7) for i in range(30)]
    random = [abs(propose(with_sampler(space, "random"), records, seed=0, number=60 + i)["x"] - 0.7) for i in range(30)]
    assert sum(near) < 0.8 * sum(random)


@pytest.mark.parametrize(("kind", "option"), [(k, o) for k, options in SAMPLER_OPTIONS.items() for o in options])
def test_every_option_is_one_of_the_sampler(space: SearchSpace, kind: str, option: str) -> None:
    value = {"population_size": 4, "n_ei_candidates": 5, "dividing_parameter": 2}.get(option, option.endswith("_prob"))
    chosen = with_sampler(space, kind, **{option: value}, **({"group": False} if option == "multivariate" else {}))
    assert not chosen.problems(propose(chosen, observed(space, 20), seed=0, number=20))


def test_an_option_with_a_wrong_value_is_a_plain_error(space: SearchSpace) -> None:
    with pytest.raises(InputError, match=r"toy: sampler.options"):
        propose(with_sampler(space, "nsga2", population_size=1), observed(space, 20), seed=0, number=20)


@pytest.mark.parametrize("kind", KINDS)
def test_running_candidates_are_not_proposed_again(space: SearchSpace, kind: str) -> None:
    chosen, records = with_sampler(space, kind), observed(space, 30)
    for number in range(30, 32 if kind == "gp" else 46):
        params = propose(chosen, records, seed=1, number=number)
        records.append(TrialRecord(f"t{number}", number, "running", params))
    texts = [str(r.params) for r in records]
    assert len(set(texts)) == len(texts)


def test_a_sampler_that_repeats_itself_gives_way_to_random(space: SearchSpace) -> None:
    records = observed(space, 30)
    last = records[0].params
    records += [TrialRecord(f"t{30 + i}", 30 + i, "duplicate", last) for i in range(MAX_DUPLICATES)]
    number = len(records)
    random = propose(with_sampler(space, "random"), records, seed=1, number=number)
    assert propose(with_sampler(space, "gp"), records, seed=1, number=number) == random


def test_qmc_covers_the_space_more_evenly_than_random(space: SearchSpace) -> None:
    def gap(kind: str) -> float:
        x = sorted(propose(with_sampler(space, kind), [], seed=5, number=n)["x"] for n in range(64))
        return max(b - a for a, b in itertools.pairwise(x))

    assert gap("qmc") < 0.035 < gap("random")
