"""How many CPU threads one training uses. One decision: as few as train nearly as fast as the fastest number, measured
before the training starts, because OpenMP's threads wait for each other spinning: where another program takes a core, a
training with two threads takes fifteen times as long, one with a single thread half as long again (docs/log.md).
"""

from __future__ import annotations

import statistics

from nasdet.driver.check import images_per_second
from nasdet.models import count_costs
from nasdet.space.specs import DetectorSpec
from nasdet.torch_settings import torch_threads

NEARLY = 0.8
"""Share of the highest speed that is enough."""


def thread_count(spec: DetectorSpec, most: int) -> int:
    """The number of threads for training a network on the CPU; measures for some seconds where there is a choice.

    Args:
        spec: the network.
        most: the largest number; it, its half, a quarter, ... and 1 are compared.
    """
    counts = [most]
    while counts[-1] > 1:
        counts.append(counts[-1] // 2)
    return counts[0] if len(counts) == 1 else _fewest({count: _speed(spec, count) for count in counts})


def _speed(spec: DetectorSpec, threads: int) -> float:
    with torch_threads(threads):
        return images_per_second(spec, count_costs(spec).gflops, "cpu", typical=statistics.median)


def _fewest(speeds: dict[int, float]) -> int:
    best = max(speeds.values())
    return min(threads for threads, speed in speeds.items() if speed >= NEARLY * best)
