"""Latency of a specification on this device.

One decision: the ratio to a fixed reference network is measured, which is run in turn with the candidate, because the
ratio stays the same on a busy or throttled machine where times do not. The network is timed with decoding, with norms
folded, in float32, and without suppression, whose time depends on the image.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from nasdet.models.detector import build_detector
from nasdet.models.fold_batch_norm import fold_norms
from nasdet.space.specs import DetectorSpec
from nasdet.torch_settings import torch_threads

WANTED_ERROR = 0.01  # standard error of the ratio at which measuring stops
SLICE_SECONDS = 0.005  # shortest timed stretch: shorter networks are run several times
Quiet = Callable[[], contextlib.AbstractContextManager[None]]
"""Makes what a measurement is entered with, such as a rest of everything else on the machine."""


@dataclasses.dataclass(frozen=True)
class Latency:
    """Time of one batch on one device."""

    ms: float
    """`ratio` times the reference's time: the figure to compare and to store."""
    reference_ms: float
    """Time of the reference network: the one given, else the median measured."""
    ratio: float
    """Median over pairs of candidate time / reference time."""
    cv: float
    """Expected coefficient of variation of `ratio` if the measurement is repeated."""
    pairs: int
    """Pairs measured."""


def measure_latency(
    spec: DetectorSpec,
    *,
    device: str | torch.device = "cpu",
    threads: int = 1,
    batch: int = 1,
    reference_ms: float | None = None,
    pairs: tuple[int, int] = (30, 120),
    quiet: Quiet = contextlib.nullcontext,
) -> Latency:
    """Measure `spec` with random weights at its input size.

    Args:
        spec: what to build.
        device: "cpu", or a CUDA device, timed by events.
        threads: intra-operator threads on the CPU; restored afterwards. One thread is timed by its own clock, which
            stands still while other processes hold the core.
        batch: images at a time.
        reference_ms: stored time of the reference on this device; makes results of several sessions comparable.
        pairs: fewest and most pairs of candidate and reference.
        quiet: entered once all is built and warmed up, left when the last pair is timed.
    """
    device = torch.device(device)
    shape = (batch, spec.input.channels, spec.input.height, spec.input.width)
    with torch_threads(threads), torch.inference_mode():
        candidate = fold_norms(build_detector(spec)).to(device)
        image = torch.full(shape, 127.0, device=device).contiguous(memory_format=torch.channels_last)
        return time_against_reference(
            lambda: candidate(image),
            device=device,
            threads=threads,
            reference_ms=reference_ms,
            pairs=pairs,
            quiet=quiet,
        )


def time_against_reference(
    call: Callable[[], object],
    *,
    device: str | torch.device = "cpu",
    threads: int = 1,
    reference_ms: float | None = None,
    pairs: tuple[int, int] = (30, 120),
    quiet: Quiet = contextlib.nullcontext,
) -> Latency:
    """Time a call in turn with the reference network; arguments as for `measure_latency`."""
    device = torch.device(device)
    with torch_threads(threads), torch.inference_mode():
        reference = reference_network().to(device)
        probe = torch.zeros(1, 16, 64, 64, device=device).contiguous(memory_format=torch.channels_last)
        clock = time.thread_time if threads == 1 else time.perf_counter
        run = _Stretch(call, device, clock)
        run_reference = _Stretch(lambda: reference(probe), device, clock)
        ratios: list[float] = []
        references: list[float] = []
        with quiet():
            before = run_reference()
            while len(ratios) < pairs[0] or (len(ratios) < pairs[1] and _median_error(ratios) > WANTED_ERROR):
                # The reference before and after the candidate cancels a drift of the clock within the pair.
                own, after = run(), run_reference()
                references.append((before + after) / 2)
                ratios.append(own / references[-1])
                before = after
    ratio = statistics.median(ratios)
    unit = statistics.median(references) if reference_ms is None else reference_ms
    return Latency(ratio * unit, unit, ratio, _median_error(ratios), len(ratios))


def reference_network() -> nn.Module:
    """The fixed reference on a (1, 16, 64, 64) input: 22 small convolutions, 114M multiply-adds.

    Like the candidates it is a chain of many short operations, so that a busy machine slows both alike.
    """
    blocks = [_ReferenceBlock(width) for width in (32,) * 5 + (64,) * 5]
    first = nn.Sequential(nn.Conv2d(16, 32, 3, 2, 1), *blocks[:5], nn.Conv2d(32, 64, 3, 2, 1), *blocks[5:])
    return first.eval().to(memory_format=torch.channels_last)


class _ReferenceBlock(nn.Module):
    """3x3, 1x1 and a sum."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.spatial, self.mix = nn.Conv2d(width, width, 3, 1, 1), nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.mix(self.spatial(x).relu_())
        return x + mixed.relu_()


class _Stretch:
    """Times runs long enough for the clock; the first calls warm up and are not counted."""

    def __init__(self, run: Callable[[], object], device: torch.device, clock: Callable[[], float]) -> None:
        self.run, self.device, self.clock = run, device, clock
        self.repeats = 1
        for _ in range(3):
            seconds = self() / 1e3
        self.repeats = max(1, round(SLICE_SECONDS / max(seconds, 1e-6)))

    def __call__(self) -> float:
        """Milliseconds per run."""
        total = self._cuda_ms() if self.device.type == "cuda" else self._cpu_ms()
        return total / self.repeats

    def _cpu_ms(self) -> float:
        start = self.clock()
        for _ in range(self.repeats):
            self.run()
        return (self.clock() - start) * 1e3

    def _cuda_ms(self) -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(self.repeats):
            self.run()
        end.record()
        end.synchronize()
        milliseconds: float = start.elapsed_time(end)
        return milliseconds


def _median_error(values: list[float]) -> float:
    """Relative standard error of the median, from the median absolute deviation (both robust to disturbed pairs)."""
    middle = statistics.median(values)
    spread = 1.4826 * statistics.median(abs(v - middle) for v in values)
    return 1.2533 * spread / middle / math.sqrt(len(values))
