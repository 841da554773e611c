from __future__ import annotations

import pytest

from nasdet.driver.resources import Plan, make_plan
from nasdet.errors import InputError
from nasdet.space import SearchSpace, load_space


def space(*more: str) -> SearchSpace:
    return load_space("detnet", overrides=more)


@pytest.mark.parametrize(
    ("cpus", "gpus", "expected"),
    [
        (1, 0, Plan("cpu", 1, 1, 1)),
        (2, 0, Plan("cpu", 2, 1, 1)),
        (8, 0, Plan("cpu", 2, 1, 4)),
        (16, 1, Plan("cuda", 1, 1, 16)),
        (32, 4, Plan("cuda", 1, 4, 8)),
    ],
)
def test_auto(cpus: int, gpus: int, expected: Plan) -> None:
    assert make_plan(space(), cpus=cpus, gpus=gpus) == expected


def test_stated_numbers_are_kept() -> None:
    plan = make_plan(space("resources.workers=4", "resources.concurrent=2"), cpus=64, gpus=8)
    assert plan == Plan("cuda", 4, 2, 8)
    assert plan.worker_resources == {"CPU": 7.9, "GPU": 1.0}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("resources.workers=5", "5 workers per trial but only 4 cores; use --workers 4"),
        ("resources.concurrent=3", "3 trials x 2 workers but only 4 cores; use --concurrent 2"),
        ("resources.device=cuda", "no GPU here; use --set resources.device=cpu"),
        ("resources.threads=8", "8 threads for each of 2 workers but only 4 cores; use --set resources.threads=2"),
        ("latency.device=cuda", "no GPU here; use --set latency.device=cpu"),
    ],
)
def test_more_than_there_is(override: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_plan(space(override), cpus=4, gpus=0)
