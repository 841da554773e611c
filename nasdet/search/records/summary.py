"""The study in one JSON object, as `nasdet search --json` prints it (DESIGN: public interface). One decision: it is
computed from the stored records alone, so that a running, a finished and a copied study answer alike."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from nasdet.pareto import as_costs, front, hypervolume, values_of
from nasdet.search.records.trust import Trust
from nasdet.space import SearchSpace
from nasdet.tracking import run_ids
from nasdet.trial import TrialRecord
from nasdet.uris import default_uri, public_uri

if TYPE_CHECKING:
    from nasdet.search.records.study_folder import StudyStore

TRAINED = ("complete", "stopped", "failed", "paused", "running")
"""States that count in `total`."""
NOT_TRAINED = ("infeasible", "duplicate")


def summarise(store: StudyStore) -> dict[str, Any]:
    """Counts, reference point, hypervolume and front of a study; keys as in the public interface."""
    from nasdet.search.records.baseline import baseline_figures

    runs = run_ids(store.dir)
    records = store.records()
    summary, trust = figures(records, store.space, store.config), Trust(store.dir, records, store.objectives)
    members = [{**member, "mlflow_run_id": runs.get(member["trial"], "")} for member in summary["front"]]
    members = [m | ({"repeats": r} if (r := trust.repeated(m["trial"])) else {}) for m in members]
    summary |= {"indistinct": trust.indistinct()}
    if baseline := baseline_figures(store):
        summary["baseline"] = baseline
    uri = public_uri(store.config.get("tracking_uri") or default_uri(store.dir))
    return {**summary, "folder": str(store.dir), "front": members, "tracking_uri": uri}


def figures(records: list[TrialRecord], space: SearchSpace, config: dict[str, Any]) -> dict[str, Any]:
    """What of `summarise` needs no study folder."""
    members = front(records, space.objectives)
    counts = {state: sum(r.state == state for r in records) for state in (*TRAINED, *NOT_TRAINED)}
    return {
        "study": config["study"],
        "space": space.name,
        "data": config.get("data", ""),
        "seed": space.budget.seed,
        "wall_seconds": config.get("wall_seconds", 0.0),
        "objectives": [{"name": o.name, "direction": o.direction} for o in space.objectives],
        "trials": {"total": sum(counts[s] for s in TRAINED), **counts},
        "reference_point": config.get("reference_point") or [],
        "hypervolume": _hypervolume(members, space, config),
        "front": [_member(r) for r in members],
        "overhead_seconds_per_trial": _overhead(records),
        "skipped": config.get("skipped", 0),
        "last_failure": _last_failure(records),
    }


def front_hypervolume(store: StudyStore, members: list[TrialRecord]) -> float:
    """Hypervolume of the front to the study's fixed reference point; 0 before there is one."""
    return _hypervolume(members, store.space, store.config)


def _hypervolume(members: list[TrialRecord], space: SearchSpace, config: dict[str, Any]) -> float:
    reference = config.get("reference_point")
    if not reference or not members:
        return 0.0
    directions = [o.direction for o in space.objectives]
    costs = as_costs(values_of(members, space.objectives), directions)
    return hypervolume(costs, as_costs([reference], directions)[0])


def _member(record: TrialRecord) -> dict[str, Any]:
    own = {"spec": record.spec, "recipe": record.recipe}
    return {"trial": record.trial, "values": record.values, "params": record.params, **own}


def _last_failure(records: list[TrialRecord]) -> dict[str, str] | None:
    """The newest failed trial and its reason."""
    failed = [r for r in records if r.state == "failed"]
    return {"trial": failed[-1].trial, "reason": failed[-1].reason or ""} if failed else None


def _overhead(records: list[TrialRecord]) -> float:
    """Median seconds between the end of one job and the first step of the next, over trials that trained."""
    seconds = [r.overhead_seconds / len(r.rungs) for r in records if r.rungs]
    return statistics.median(seconds) if seconds else 0.0
