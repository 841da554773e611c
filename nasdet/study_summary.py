"""`Summary`: a study in one value, which `nasdet search --json` prints (DESIGN: public interface).

The counts, the hypervolume and the front are computed here from the records alone; `nasdet.search.summarise` adds what
the study's folder knows.
"""

from __future__ import annotations

import dataclasses
import functools
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Self

from pydantic import TypeAdapter

from nasdet.pareto import as_costs, front, hypervolume, values_of
from nasdet.space import Objective, SearchSpace
from nasdet.study_config import StudyConfig
from nasdet.trial import NOT_TRAINED, TRAINED, TrialRecord


@dataclasses.dataclass(frozen=True)
class TrialCounts:
    """How many trials of a study are in each state."""

    total: int
    """Trials that trained: all but `infeasible` and `duplicate`."""
    complete: int = 0
    """Trained at the full budget."""
    stopped: int = 0
    """Ended early."""
    failed: int = 0
    paused: int = 0
    running: int = 0
    infeasible: int = 0
    """Proposed, but breaks a constraint or cannot be built."""
    duplicate: int = 0
    """Proposed, but the same as an earlier trial."""

    @classmethod
    def of(cls, records: Sequence[TrialRecord]) -> Self:
        """Count records."""
        states = Counter(record.state for record in records)
        counts = {state: states[state] for state in (*TRAINED, *NOT_TRAINED)}
        return cls(total=sum(counts[state] for state in TRAINED), **counts)

    def by_state(self) -> dict[str, int]:
        """Every count but the total."""
        return {state: count for state, count in dataclasses.asdict(self).items() if state != "total"}


@dataclasses.dataclass(frozen=True)
class Moments:
    """Mean and sample standard deviation of a value over repeated trainings."""

    mean: float
    std: float | None
    """None for a single training."""


@dataclasses.dataclass(frozen=True)
class RepeatedTrainings:
    """What a trial reached when it was trained again with further seeds."""

    seeds: tuple[int, ...]
    figures: dict[str, Moments]
    """By the name of the figure of accuracy."""


@dataclasses.dataclass(frozen=True)
class FrontMember:
    """A trial on the Pareto front. Units of `values`: as in `TrialRecord`."""

    trial: str
    values: dict[str, float]
    params: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Its parameters under their flat names."""
    spec: dict[str, Any] | None = None
    """The detector; None in a study of a function."""
    recipe: dict[str, Any] | None = None
    """How it is trained; None in a study of a function."""
    mlflow_run_id: str = ""
    """Empty if it was not tracked."""
    repeats: RepeatedTrainings | None = None
    """None if it was not trained again; then left out of the JSON."""


@dataclasses.dataclass(frozen=True)
class IndistinctPair:
    """Two neighbours on the front whose order in accuracy is not known."""

    trials: tuple[str, str]
    """The one with the better value first."""
    objective: str
    chance: float
    """Probability that the first is really the better one, 0.5 to 1."""


@dataclasses.dataclass(frozen=True)
class BaselineFigures:
    """The random search that a study is compared with."""

    sampler: str
    """random"""
    study: str
    folder: str
    hypervolume: float
    """To the reference point of the study."""
    wall_seconds: float
    trials: TrialCounts
    epochs: int
    """Trained over all its trials."""
    search_epochs: int
    """Trained over all trials of the study that it is compared with."""


@dataclasses.dataclass(frozen=True)
class Failure:
    """The newest failed trial."""

    trial: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Summary:
    """A study as it stands, the same for one that runs, is finished or was copied."""

    study: str
    """Name of the study."""
    space: str
    """Name of its search space."""
    data: str
    """The data set; the name of the function of a study of a function."""
    seed: int
    wall_seconds: float
    """Seconds from start to end, over all runs of the study."""
    objectives: tuple[Objective, ...]
    trials: TrialCounts
    reference_point: tuple[float, ...]
    """In the order and the units of the objectives; empty until it is fixed."""
    hypervolume: float
    """Of the front to the reference point, in the product of the objectives' units; 0 without reference point."""
    front: tuple[FrontMember, ...]
    """Best first in the first objective."""
    overhead_seconds_per_trial: float = 0.0
    """Median seconds between the end of one job and the first step of the next."""
    skipped: int = 0
    """Proposals that freeze-thaw passed over."""
    last_failure: Failure | None = None
    indistinct: tuple[IndistinctPair, ...] = ()
    baseline: BaselineFigures | None = None
    """None if it was not started; then left out of the JSON."""
    folder: str = ""
    """Of the study; empty for one in memory."""
    tracking_uri: str = ""
    """The MLflow store, without passwords; empty for a study in memory."""

    @classmethod
    def of(cls, records: Sequence[TrialRecord], space: SearchSpace, config: StudyConfig) -> Self:
        """Everything that needs no study folder."""
        members = front(records, space.objectives)
        failed = [record for record in records if record.state == "failed"]
        waits = [record.overhead_seconds / len(record.rungs) for record in records if record.rungs]
        reference = config.reference_point or ()
        return cls(
            study=config.study,
            space=space.name,
            data=config.data,
            seed=space.budget.seed,
            wall_seconds=config.wall_seconds,
            objectives=tuple(space.objectives),
            trials=TrialCounts.of(records),
            reference_point=reference,
            hypervolume=front_hypervolume(members, space.objectives, reference),
            front=tuple(FrontMember(r.trial, r.values, r.params, r.spec, r.recipe) for r in members),
            overhead_seconds_per_trial=statistics.median(waits) if waits else 0.0,
            skipped=config.skipped,
            last_failure=Failure(failed[-1].trial, failed[-1].reason) if failed else None,
        )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, with the keys of the public interface."""
        values: dict[str, Any] = _adapter().dump_python(self, mode="json")
        for member, shown in zip(self.front, values["front"], strict=True):
            if member.repeats is None:
                del shown["repeats"]
            else:  # each figure stands beside the seeds, under its own name
                shown["repeats"] |= shown["repeats"].pop("figures")
        if self.baseline is None:
            del values["baseline"]
        return values

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Summary:
        """Inverse of `to_json`."""
        members = [dict(member) for member in data["front"]]
        for member in members:
            if "repeats" in member:
                figures = dict(member["repeats"])
                member["repeats"] = {"seeds": figures.pop("seeds"), "figures": figures}
        return _adapter().validate_python({**data, "front": members})


@functools.cache
def _adapter() -> TypeAdapter[Summary]:
    return TypeAdapter(Summary)


def front_hypervolume(
    members: Sequence[TrialRecord], objectives: Sequence[Objective], reference: Sequence[float]
) -> float:
    """Hypervolume of a front to a reference point `(D,)` in the objectives' own units; 0 if either is empty."""
    if not reference or not members:
        return 0.0
    directions = [objective.direction for objective in objectives]
    costs = as_costs(values_of(members, objectives), directions)
    return hypervolume(costs, as_costs([list(reference)], directions)[0])
