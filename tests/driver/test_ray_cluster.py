from __future__ import annotations

import pytest

from nasdet.driver.ray_cluster import usable


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
