"""`load_space`: from a YAML file, its ancestors and the options to a `SearchSpace`.

One decision: whatever is wrong is an InputError that names file, line and key path; nothing wrong is found later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nasdet.errors import InputError
from nasdet.space.bundled_spaces import find_space
from nasdet.space.overrides import apply_override, merge, without
from nasdet.space.parameter_paths import known_paths
from nasdet.space.presets.under import resolve_system
from nasdet.space.recipes import resolve_preset
from nasdet.space.schema import OBJECTIVES, SchedulerConfig, SpaceFile, domain_of
from nasdet.space.schema_errors import read_schema
from nasdet.space.space import Constraint, Objective, SearchSpace
from nasdet.space.validate import allowed_values, file_problems, parents_first
from nasdet.space.yaml_document import Document, Problem, raise_problems, read_document


def load_space(path: str | Path, *, overrides: Sequence[str] = (), function: bool = False) -> SearchSpace:
    """Load a search space.

    Args:
        path: a YAML file or a bundled name such as `detnet`.
        overrides: `KEY=VALUE` texts of `--set`, laid over the file in this order.
        function: the space of a user's own function (`--objective`): paths and objective names are free.
    """
    file = find_space(path)
    document = _with_ancestors(file, ())
    for option in overrides:
        document = apply_override(document, option, () if function else known_paths())
    return _parse(document, default_name=file.stem, folder=file.parent, function=function)


def parse_space(data: Mapping[str, Any], *, name: str = "space", function: bool = False) -> SearchSpace:
    """A search space from plain values, laid out as the YAML is; `extends` is not resolved."""
    return _parse(Document(dict(data), {(): name}), default_name=name, folder=None, function=function)


def _with_ancestors(file: Path, below: tuple[Path, ...]) -> Document:
    document = read_document(file)
    if "extends" not in document.data:
        return document
    place = f"{document.place(('extends',))}: extends"
    parent = document.data.pop("extends")
    if not isinstance(parent, str):
        raise InputError("is not the name of a search space", where=place, remedy="give a file or a bundled name")
    chain = (*below, file.resolve())
    base = find_space(parent, beside=file.parent, where=place)
    if base.resolve() in chain:
        names = " -> ".join(p.name for p in (*chain, base))
        raise InputError(f"the files extend each other: {names}", where=place)
    ancestor = _with_ancestors(base, chain)
    own = {k: v for k, v in ancestor.data.items() if k not in ("name", "description", "calibration")}
    searched = document.data.get("space")
    if isinstance(own.get("fixed"), dict) and isinstance(searched, dict):
        own["fixed"] = without(own["fixed"], searched)
    return merge(Document(own, ancestor.places), document)


def _parse(document: Document, *, default_name: str, folder: Path | None, function: bool) -> SearchSpace:
    document = resolve_system(resolve_preset(_without_removed_keys(document)))
    file, problems = read_schema(document.data, SpaceFile)
    raise_problems(problems, document)
    assert file is not None
    raise_problems(file_problems(file, function=function), document)
    order = parents_first(file)
    raw = {"name": file.name or default_name, **document.data}
    data = file.data
    if data.source and folder is not None and (folder / data.source).exists():
        source = str((folder / data.source).resolve())
        data = data.model_copy(update={"source": source})
        raw["data"] = {**raw["data"], "source": source}
    return SearchSpace(
        name=raw["name"],
        description=file.description,
        data=data,
        fixed=file.fixed,
        parameters={n: domain_of(file.space[n]) for n in order},
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
