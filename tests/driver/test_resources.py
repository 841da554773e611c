from __future__ import annotations

import pytest

from nasdet.driver.resources import Node, Plan
from nasdet.study_config import ResourcePlan


def test_what_ray_reserves() -> None:
    assert Plan("cpu", 1, 2, 1).worker_resources == {"CPU": 0.98}
    assert Plan("cuda", 1, 2, 4, 0.5).worker_resources == {"CPU": 3.98, "GPU": 0.5}
    shared = Plan("cuda", 1, 8, 1, 1.0, "A100", 0.75)
    assert shared.worker_resources == {"CPU": 0.73, "GPU": 1.0, "accelerator_type:A100": 0.001}


@pytest.mark.parametrize(
    ("plan", "text"),
    [
        (Plan("cpu", 2, 1, 1), "1 trial at a time, 2 workers x 1 thread on cpu"),
        (Plan("cuda", 1, 8, 12, 1.0, "A100"), "8 trials at a time, 1 worker x 12 threads on cuda (A100)"),
        (
            Plan("cuda", 1, 4, 4, 0.25),
            "4 trials at a time, 1 worker x 4 threads on cuda (0.25 of a GPU each)",
        ),
    ],
)
def test_a_plan_is_said_in_words(plan: Plan, text: str) -> None:
    assert plan.describe() == text


@pytest.mark.parametrize(
    ("plan", "nodes", "groups"),
    [
        (Plan("cpu", 1, 4, 1), [Node(2), Node(2)], 4),
        (Plan("cpu", 1, 4, 3), [Node(2), Node(8)], 2),
        (Plan("cpu", 3, 4, 1), [Node(0), Node(2), Node(2)], 1),  # one group over two nodes
        (Plan("cpu", 1, 4, 1), [Node(8, memory_gb=4.6)], 3),
        (Plan("cpu", 1, 4, 1), [Node(8, memory_gb=0.5)], 1),  # a small machine tries
        (Plan("cuda", 1, 4, 4), [Node(64), Node(16, 4)], 4),
        (Plan("cuda", 1, 4, 4), [Node(9, 4)], 2),
        (Plan("cuda", 1, 4, 1, 0.4), [Node(9, 2)], 4),  # never parts of two GPUs
        (Plan("cuda", 1, 4, 1, 1.0, "A100"), [Node(8, 4, "A100"), Node(8, 4, "T4")], 4),
        (Plan("cpu", 1, 4, 1), [], 0),
    ],
)
def test_groups_that_fit(plan: Plan, nodes: list[Node], groups: int) -> None:
    assert plan.groups_on(nodes) == groups


def test_a_plan_of_an_older_version_opens() -> None:
    stored = {"device": "cpu", "workers": 2, "concurrent": 1, "threads": 1}
    assert ResourcePlan(**stored) == ResourcePlan("cpu", 2, 1, 1, 1.0, "", 0.0)  # type: ignore[arg-type]
