from __future__ import annotations

import signal

import pytest

from nasdet.driver.ray_cluster import _interrupt_later, as_node
from nasdet.driver.resources import Node


@pytest.mark.parametrize(
    ("resources", "node"),
    [
        ({"CPU": 2.0, "node:127.0.0.1": 1.0}, Node(2)),
        ({"memory": 4e9, "object_store_memory": 2e9}, Node(0, memory_gb=6)),
        ({"CPU": 96.0, "GPU": 8.0, "accelerator_type:A100": 1.0}, Node(96, 8, "A100")),
    ],
)
def test_a_node(resources: dict[str, float], node: Node) -> None:
    assert as_node(resources) == node


def test_a_first_interruption_waits_and_a_second_one_does_not() -> None:
    before, reached = signal.signal(signal.SIGINT, signal.default_int_handler), list[str]()
    try:
        with pytest.raises(KeyboardInterrupt), _interrupt_later():
            signal.raise_signal(signal.SIGINT)
            reached.append("after the first")
        with pytest.raises(KeyboardInterrupt), _interrupt_later():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            reached.append("after the second")
        assert reached == ["after the first"]
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
