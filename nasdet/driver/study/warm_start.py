"""A search that goes on from an earlier study: SM-NAS's second stage, a protocol's next step, or other images. One
decision: what the study found becomes plain `points` and `fixed` values of the space, so that the new study's own file
is complete and the earlier one may be deleted."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from nasdet.errors import InputError
from nasdet.export.pick_trial import pick
from nasdet.pareto import front
from nasdet.search import open_study
from nasdet.space import Json, SearchSpace, parse_space
from nasdet.space.build_specs import put
from nasdet.space.domains import canonical
from nasdet.space.overrides import flat, without
from nasdet.space.presets import deep_merge


def with_start(space: SearchSpace) -> SearchSpace:
    """The space with what `start:` names in place; the space itself if that names no study.

    Every member of the study's front becomes a point: what this space searches, as it was found or fixed there. With
    `start.pick`, what that study searched and this space does not is fixed as in the picked trial, and what that study
    fixed stays fixed unless this space states it; only members of the front that agree with the picked one become
    points, it first. A function's space has nothing fixed: there a picked trial may have only what it searches.

    Raises:
        InputError: there is no such study or trial, it has nothing in common with this space, or this is a function's
            space and lacks what the picked trial has.
    """
    if space.start.study is None:
        return space
    try:
        store = open_study(space.start.study)
        members = [r.params for r in front(store.records(), store.objectives)]
        settled = {".".join(map(str, path)): value for path, value in flat(store.space.fixed).items()}
        picked = pick(store.records(), store.objectives, space.start.pick).params if space.start.pick else {}
    except InputError as error:
        raise InputError(error.what, where=f"{space.name}: start", remedy=error.remedy) from None
    fixed = {path: value for path, value in picked.items() if path not in space.parameters}
    alike = [m for m in members if all(canonical(m.get(p)) == canonical(v) for p, v in fixed.items())]
    points = _distinct([_shared(space, settled | params) for params in ([picked] if picked else []) + alike])
    if not points and not fixed:
        what = f"study {store.name!r} has no complete trial with a parameter of this space"
        raise InputError(what, where=f"{space.name}: start", remedy="start from another study, or leave start out")
    raw = copy.deepcopy(space.raw)
    if fixed and space.function:
        what = f"the picked trial has {', '.join(fixed)}, which this space does not search"
        raise InputError(what, where=f"{space.name}: start.pick", remedy="search it here too, or leave start.pick out")
    if picked and not space.function:
        raw["fixed"] = deep_merge(without(store.space.fixed, space.parameters), raw.get("fixed", {}))
    for path, value in fixed.items():
        put(raw["fixed"], path, value)
    raw["points"] = [*points, *raw.get("points", [])]
    raw["start"] = {}
    origin = f"Started from study {store.name}" + (f", trial picked by {space.start.pick!r}." if picked else ".")
    raw["description"] = f"{space.description.rstrip()} {origin}".lstrip()
    return parse_space(raw, name=space.name, function=space.function)


def _shared(space: SearchSpace, params: Mapping[str, Json]) -> dict[str, Any]:
    return {p: v for p, v in params.items() if p in space.parameters and space.parameters[p].contains(v)}


def _distinct(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({canonical(point): point for point in points if point}.values())
