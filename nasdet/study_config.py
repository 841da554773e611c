"""`StudyConfig`: what `study.json` says of a study besides its search space and its trials.

One decision: keys that this version does not know are kept, and only keys that were given are written, so that a study
of another version opens and loses nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, field_serializer
from typing_extensions import TypedDict, Unpack


@dataclasses.dataclass(frozen=True)
class ResourcePlan:
    """Workers, threads and devices of a study."""

    device: str
    """cpu or cuda."""
    workers: int
    """Processes that train one trial together."""
    concurrent: int
    """Trials trained at the same time."""
    threads: int
    """CPU threads of each worker."""
    gpus_per_worker: float = 1.0
    """Share of a GPU that each worker takes where `device` is cuda."""
    gpu: str = ""
    """The kind of GPU that workers run on, as Ray names it; empty: any."""
    cpus_per_worker: float = 0.0
    """Cores that each worker counts for; 0: as many as threads."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """How much a study may spend, from its start; None: no limit."""

    trials: int | None = None
    """Candidates to train, early-stopped ones included."""
    total_epochs: int | None = None
    """Epochs of all candidates together."""
    time_limit: float | None = None
    """Seconds of searching."""


class GroupStart(BaseModel):
    """When a group of workers reached each step of its start, in seconds since the epoch; beside them the process id
    of each worker as `pid0`, `pid1`, ..."""

    model_config = ConfigDict(frozen=True, extra="allow")

    created: float
    """Its processes were asked for."""
    entered: float
    """Its slowest process ran."""
    imported: float
    """It had imported what training needs."""
    ready: float
    """It had opened the data set."""


class GroupUse(BaseModel):
    """How well a run used its groups of workers."""

    model_config = ConfigDict(frozen=True, extra="allow")

    groups: int
    """How many there should be at the same time."""
    started: int
    """How often the workers of a group were started."""
    ended: int
    """Groups that ended."""
    seconds: float
    """Of the run so far, from before the first group started."""
    busy_seconds: float
    """Seconds that groups spent on jobs, added up over the groups; a group that rests while another one measures
    latency is not busy."""
    jobs: int
    """Jobs that were given to them."""

    @property
    def busy_share(self) -> float:
        """Mean share of the time that a group was busy, in 0..1."""
        return self.busy_seconds / max(self.groups * self.seconds, 1e-9)


class LatencySettings(TypedDict, total=False):
    """How `latency_ms` is measured; also in the card of an exported bundle."""

    device: str
    """cpu or cuda."""
    batch: int
    """Images in one call."""
    threads: int
    """CPU threads."""
    backend: str
    """onnxruntime, or the user's command; left out for PyTorch."""


class ConfigChanges(TypedDict, total=False):
    """The values of a `StudyConfig` that change while its study runs or is resumed."""

    address: str | None
    baseline: bool
    data: str
    finished: bool
    group_starts: tuple[GroupStart, ...]
    group_use: GroupUse
    latency: LatencySettings
    latency_device: str
    limits: Limits
    plan: ResourcePlan
    reference_given: bool
    reference_point: tuple[float, ...]
    repeat_front: int
    skipped: int
    storage: str | None
    train: str
    wall_seconds: float


class StudyConfig(BaseModel):
    """A study's settings and what it has spent."""

    model_config = ConfigDict(frozen=True, extra="allow")

    study: str
    """Name of the study, also in the Optuna storage."""
    data: str
    """The data set as given to `--data`; the name of the function of a study of a function."""
    classes: tuple[str, ...] = ()
    """Names of the classes of the data set, in the order of their numbers."""
    images: dict[str, int] = {}
    """Images of the data set by split, or their tiles; empty where it was not noted."""
    fingerprint: str = ""
    """Hash over the data set's pixels, boxes, classes and splits; empty where it was not noted."""
    tile: dict[str, int] | None = None
    """`size` and `overlap`, in pixels, of the tiles that the images were cut into; None: whole images."""
    function: bool = False
    """Whether a function of the user is searched and no detector is trained."""
    objective: str | None = None
    """The user's function as MODULE:FUNCTION."""
    objective_folder: str | None = None
    """Folder from which its module is imported."""
    address: str | None = None
    """Ray cluster; None: this machine."""
    storage: str | None = None
    """URI of the Optuna storage; None: an SQLite file in the study's folder."""
    tracking_uri: str | None = None
    """URI of the MLflow store; None: an SQLite file beside the study's folder."""
    limits: Limits | None = None
    """What a search that was given more may spend; None: what its space says."""
    baseline: bool = False
    """Whether random search spends the same budget after the search."""
    repeat_front: int = 0
    """Further seeds with which the front is trained again after the search."""
    train: str = ""
    """Which trial is trained in full after the search, as `--pick` takes it; empty: none."""
    plan: ResourcePlan | None = None
    """How the study last used its machine."""
    latency: LatencySettings | None = None
    """How the study last measured latency."""
    group_starts: tuple[GroupStart, ...] = ()
    """The starts of the last run's worker groups."""
    group_use: GroupUse | None = None
    """How well the last run used them; saved from time to time while it runs."""
    latency_device: str = ""
    """Kind of processor or GPU on which the first group measured latency."""
    reference_point: tuple[float, ...] | None = None
    """In the order of the objectives and in their own units; None or empty until it is fixed."""
    reference_given: bool = False
    """Whether the user gave the reference point."""
    skipped: int = 0
    """Proposals that freeze-thaw passed over because no trial could be started for them."""
    wall_seconds: float = 0.0
    """Seconds from start to end, over all runs of the study."""
    finished: bool = False
    """Whether the search spent its budget."""

    @field_serializer("plan")
    def _stated(self, plan: ResourcePlan | None) -> dict[str, Any] | None:
        """A plan without the values that it need not state, so that one of an older version comes back as it was."""
        if plan is None:
            return None
        fields = dataclasses.fields(ResourcePlan)
        return {f.name: getattr(plan, f.name) for f in fields if getattr(plan, f.name) != f.default}

    def replace(self, **changes: Unpack[ConfigChanges]) -> Self:
        """A copy with these values changed.

        Raises:
            TypeError: a name is no field.
        """
        if unknown := changes.keys() - type(self).model_fields:
            raise TypeError(f"no value of a study is named {', '.join(sorted(unknown))}")
        return type(self).model_validate({**self.to_json(), **changes})

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values of all keys that were given, unknown ones included."""
        return self.model_dump(mode="json", exclude_unset=True)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Inverse of `to_json`.

        Raises:
            ValueError: a value is lacking or of the wrong type.
        """
        return cls.model_validate(data)
