"""What a worker group is asked to do and what it answers. One decision: plain frozen values that pickle anywhere, so
the same messages travel through Ray, through a pipe, or stay in one process."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

from nasdet.data import Tiling


@dataclasses.dataclass(frozen=True)
class GroupConfig:
    """What stays the same for all jobs of a worker group."""

    source: str
    """Data set, as `nasdet.data.open_data` takes it."""
    data_seed: int
    max_bad: float
    device: str
    """cpu or cuda."""
    threads: int
    """CPU threads of each worker."""
    latency_device: str
    latency_batch: int
    latency_threads: int
    cache_root: str
    """Folder of the image cache and the latency cache."""
    tiling: Tiling | None = None
    """How images are cut; None: as the data set itself says."""
    latency_backend: str = "torch"
    latency_command: str = ""
    latency_timeout: float = 120.0
    latency_folder: str = "."
    """Working directory of the command: where the search was started."""


@dataclasses.dataclass(frozen=True)
class TrainJob:
    """Train one trial up to `stop` cumulative epochs and evaluate it there."""

    trial: str
    spec: dict[str, Any]
    recipe: dict[str, Any]
    seed: int
    stop: int
    folder: str
    """Durable folder of the trial's checkpoint and weights."""
    measure_latency: bool
    start: int = 0
    """Epochs trained so far; a worker whose state of the trial is at another epoch reads the checkpoint."""
    scores: tuple[str, ...] = ()
    """Training-free scores to compute as well; they come with the latency."""
    latency_limits: tuple[float, float] = (0.0, float("inf"))
    """The candidate is infeasible, and not trained, outside of these milliseconds."""
    reference: dict[str, Any] | None = None
    """Specification whose latency is measured as well: it fixes the study's reference point."""

    @property
    def checkpoint(self) -> Path:
        """Where the trial's state is kept between rungs."""
        return Path(self.folder, "checkpoint.pt")

    @property
    def weights(self) -> Path:
        """Where the evaluated weights are written as safetensors."""
        return Path(self.folder, "weights.safetensors")


@dataclasses.dataclass(frozen=True)
class Reply:
    """One message of a worker group.

    kind: up (the group is ready), latency (`values`), epoch (`epoch`, `values` are the training's means), rung
    (`epoch`, `values` are the evaluation's figures), failed (`reason`), infeasible (`reason`).
    """

    kind: Literal["up", "latency", "epoch", "rung", "failed", "infeasible"]
    trial: str = ""
    epoch: int = 0
    values: dict[str, float] = dataclasses.field(default_factory=dict)
    reason: str = ""
    traceback: str = ""
    """Of the exception that failed the trial, for the log (failed)."""
    seconds: float = 0.0
    """Training and evaluation time since the last rung of this job (rung)."""
    overhead: float = 0.0
    """From the end of the job before to the first training step of this one, latency measurement left out (rung)."""
