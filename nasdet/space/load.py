"""`load_space`: from a YAML file, its ancestors, its presets and the options to a `SearchSpace`.

Everything that is wrong with a space is found here, and is an InputError that names file, line and key path.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from nasdet.errors import InputError, nearest
from nasdet.files import exists
from nasdet.space.bundled_spaces import find_space
from nasdet.space.overrides import apply_override, flat, merge, read_with_ancestors, without
from nasdet.space.parameter_paths import FROM_DATA, known_paths
from nasdet.space.presets import SYSTEMS
from nasdet.space.recipes import load_recipe, recipe_names
from nasdet.space.schema import OBJECTIVES, SchedulerConfig, SpaceFile
from nasdet.space.schema_errors import read_schema
from nasdet.space.space import Constraint, Objective, SearchSpace
from nasdet.space.validate import allowed_values, file_problems, parents_first
from nasdet.space.yaml_document import Document, KeyPath, Problem, dotted, raise_problems, read_document


def load_space(path: str | Path, *, overrides: Sequence[str] = (), function: bool = False) -> SearchSpace:
    """Load a search space.

    Args:
        path: a YAML file or a bundled name such as `detnet`.
        overrides: `KEY=VALUE` texts of `--set`, laid over the file in this order.
        function: the space of a user's own function (`--objective`): paths and objective names are free.
    """
    file = find_space(path)
    document = read_with_ancestors(file, read_document, _find_parent, _inherited)
    document = _overridden(document, overrides, function)
    return _parse(document, default_name=file.stem, folder=file.parent, function=function)


def parse_space(
    data: Mapping[str, Any], *, name: str = "space", function: bool = False, overrides: Sequence[str] = ()
) -> SearchSpace:
    """A search space from plain values, laid out as the YAML is; `extends` is not resolved."""
    document = _overridden(Document(dict(data), {(): name}), overrides, function)
    return _parse(document, default_name=name, folder=None, function=function)


def _overridden(document: Document, overrides: Sequence[str], function: bool) -> Document:
    for option in overrides:
        document = apply_override(document, option, () if function else known_paths())
    return document


def _find_parent(name: Any, beside: Path, where: str) -> Path:
    if not isinstance(name, str):
        raise InputError("is not the name of a search space", where=where, remedy="give a file or a bundled name")
    return find_space(name, beside=beside, where=where)


def _inherited(ancestor: Document, child: Document) -> Document:
    """All but the ancestor's description of itself, and fixed values that the child searches."""
    own = {k: v for k, v in ancestor.data.items() if k not in ("name", "description", "calibration")}
    searched = child.data.get("space")
    if isinstance(own.get("fixed"), dict) and isinstance(searched, dict):
        own["fixed"] = without(own["fixed"], searched)
    return Document(own, ancestor.places)


def _parse(document: Document, *, default_name: str, folder: Path | None, function: bool) -> SearchSpace:
    document = _under_system(_under_recipe(_without_removed_keys(document)))
    file, problems = read_schema(document.data, SpaceFile)
    raise_problems(problems, document)
    assert file is not None
    raise_problems(file_problems(file, function=function), document)
    order = parents_first(file)
    raw = {"name": file.name or default_name, **document.data}
    data = file.data
    if data.source and folder is not None and exists(folder / data.source):
        source = str((folder / data.source).resolve())
        data = data.model_copy(update={"source": source})
        raw["data"] = {**raw["data"], "source": source}
    return SearchSpace(
        name=raw["name"],
        description=file.description,
        data=data,
        fixed=file.fixed,
        parameters={n: file.space[n].domain() for n in order},
        conditions={
            n: {o: allowed_values(v, file.space[o]) for o, v in file.space[n].when.items()}
            for n in order
            if file.space[n].when
        },
        objectives=tuple(Objective(o.name, o.direction or OBJECTIVES[o.name]) for o in file.objectives),
        constraints=tuple(Constraint.parse(c) for c in file.constraints),
        budget=file.budget,
        sampler=file.sampler,
        scheduler=_scheduler(file),
        resources=file.resources,
        latency=file.latency,
        rules=file.rules,
        points=file.points,
        start=file.start,
        scores=file.scores,
        calibration=file.calibration,
        function=function,
        raw=raw,
    )


def _without_removed_keys(document: Document) -> Document:
    """Refuse `mode` and `scheduler.brackets`, which were removed. `mode: joint` and `brackets: 1`, which older studies
    may hold, change nothing and are dropped."""
    data, problems = dict(document.data), []
    mode = data.pop("mode", "joint")
    if mode != "joint" and not (isinstance(mode, dict) and mode.get("kind", "joint") == "joint"):
        what = "was removed, because searching structure and recipe one after the other found no better fronts"
        problems.append(Problem(("mode",), what, "leave it out: both are searched together"))
    scheduler = data.get("scheduler")
    if isinstance(scheduler, dict) and "brackets" in scheduler:
        data["scheduler"] = {key: value for key, value in scheduler.items() if key != "brackets"}
        if scheduler["brackets"] != 1:
            what = "was removed, because starting candidates at higher rungs found no better fronts"
            problems.append(Problem(("scheduler", "brackets"), what, "leave it out: all start at the first rung"))
    raise_problems(problems, document)
    return Document(data, document.places)


def _scheduler(file: SpaceFile) -> SchedulerConfig:
    """What `auto` stands for."""
    if file.scheduler.kind != "auto":
        return file.scheduler
    kind = "freeze_thaw" if file.sampler.kind == "auto" else "halving"
    return file.scheduler.model_copy(update={"kind": kind})


def _under_recipe(document: Document) -> Document:
    """Lay the bundled recipe that `fixed.recipe.preset` names under the other values of `fixed.recipe`. Values that are
    searched, and the length of the training, are left out of it."""
    path = ("fixed", "recipe", "preset")
    recipe: Any = document.data
    for key in path[:-1]:
        recipe = recipe.get(key) if isinstance(recipe, dict) else None
    if not isinstance(recipe, dict) or "preset" not in recipe:
        return document
    name = _known_name(document, path, recipe["preset"], "recipe", recipe_names())
    values = without({"recipe": load_recipe(name).stated}, {"recipe.epochs", *(document.data.get("space") or ())})
    document = merge(Document({"fixed": values}, {}), document)
    del document.data["fixed"]["recipe"]["preset"]
    return document


_DECIDED = {
    "input.size": ("input.height", "input.width"),
    "backbone.width": ("backbone.stages.*.width",),
    "backbone.first_stride": ("backbone.stages.0.stride",),
    "neck.min_stride": ("neck.levels",),
}
"""The paths of a preset that each virtual path replaces."""


def _under_system(document: Document) -> Document:
    """Lay the named system that `fixed.preset` names under the other values of `fixed`, so that a study's own space
    never depends on a later version of it. Values that are searched or follow from the data set are left out of it, and
    so are parts that are given in another kind."""
    fixed = document.data.get("fixed")
    if not isinstance(fixed, dict) or "preset" not in fixed:
        return document
    name = _known_name(document, ("fixed", "preset"), fixed["preset"], "system", SYSTEMS)
    own = {key: value for key, value in fixed.items() if key != "preset"}
    searched = document.data.get("space")
    given = {*(searched if isinstance(searched, dict) else ()), *(dotted(path) for path in flat(own))}
    base = without(SYSTEMS[name].spec.to_json(), {*FROM_DATA, *given, *(p for g in given for p in _DECIDED.get(g, ()))})
    for part, values in own.items():
        kind = values.get("kind") if isinstance(values, dict) else None
        if kind is not None and isinstance(base.get(part), dict) and base[part].get("kind") != kind:
            del base[part]
    data = {**document.data, "fixed": own}
    return merge(Document({"fixed": base}, {}), Document(data, document.places))


def _known_name(document: Document, path: KeyPath, name: Any, what: str, known: Collection[str]) -> str:
    if name not in known:
        place = ": ".join(part for part in (document.place(path), dotted(path)) if part)
        raise InputError(f"unknown {what} {name!r}", where=place, remedy=nearest(str(name), known))
    return str(name)
