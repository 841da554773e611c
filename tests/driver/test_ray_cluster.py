from __future__ import annotations

import signal

import pytest

from nasdet.driver.ray_cluster import _interrupt_later, usable


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ([{"CPU": 2.0}], (2, 0)),
        ([{"CPU": 8.0}, {"CPU": 4.0}], (12, 0)),
        ([{"CPU": 16.0, "GPU": 1.0}], (16, 1)),
        # the head's 64 cores are of no use to workers that need a GPU
        ([{"CPU": 64.0}, {"CPU": 8.0, "GPU": 4.0}, {"CPU": 16.0, "GPU": 4.0}], (16, 8)),
    ],
)
def test_usable(nodes: list[dict[str, float]], expected: tuple[int, int]) -> None:
    assert usable(nodes) == expected


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
