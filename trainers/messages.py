"""What a worker group is asked to do and what it answers. One decision: plain frozen values that pickle anywhere, so
the same messages travel through Ray, through a pipe, or stay in one process."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:  # it imports torch, and the process that holds a group needs none
    from nasdet.data import Tiling

HOLDER_CPUS = 0.01
"""CPUs that Ray reserves for the process that holds a worker group; it only waits."""


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
    latency_alone: bool = False
    """Whether the other groups of this machine rest while one measures latency."""


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
    recompute: bool = False
    """Activations are computed again for the gradient, whatever the recipe says: the job has run out of memory."""

    @property
    def checkpoint(self) -> Path:
        """Where the trial's state is kept between rungs."""
        return Path(self.folder, "checkpoint.pt")

    @property
    def weights(self) -> Path:
        """Where the evaluated weights are written as safetensors."""
        return Path(self.folder, "weights.safetensors")


Sign = Literal["placed", "up", "alive", "paused", "wants_quiet", "measured", "latency", "epoch"]
End = Literal["rung", "failed", "infeasible", "memory", "storage", "lost"]
Kind = Sign | End
FINAL: tuple[str, ...] = get_args(End)
"""Kinds of replies that end a job."""


@dataclasses.dataclass(frozen=True)
class Reply:
    """One message of a worker group.

    kind: placed (there is room for the group, and its workers start; `host`), up (the group is ready; `host`), alive (a
    step was made), paused (the group rests, as it was asked), wants_quiet and measured (before and after a measurement
    that the other groups would disturb), latency (`values`), epoch (`epoch`, `values` are the training's means), rung
    (`epoch`, `values` are the evaluation's figures).

    The job ends with rung, infeasible (`reason`), failed (`reason`: the candidate's own fault, or the program's),
    memory (`reason`: it does not fit), storage (`reason`: its files cannot be written) or lost (`reason`: another fault
    of the machine).
    """

    kind: Kind
    trial: str = ""
    epoch: int = 0
    values: dict[str, float] = dataclasses.field(default_factory=dict)
    reason: str = ""
    traceback: str = ""
    """Of the exception that failed the trial, for the log."""
    seconds: float = 0.0
    """Training and evaluation time since the last rung of this job (rung); how long the next step may take beyond the
    usual (alive)."""
    overhead: float = 0.0
    """From the end of the job before to the first training step of this one, latency measurement left out (rung)."""
    ends: bool = False
    """The workers end with this reply and are started again."""
    device: str = ""
    """The kind of processor or GPU on which the group measures latency (up)."""
    host: str = ""
    """Which machine it comes from (placed, up, and where workers cannot start)."""
