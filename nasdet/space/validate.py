"""Checks of a search-space file that need more than one key. Each yields problems instead of raising, so that one run
names all of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from nasdet.errors import nearest
from nasdet.space.backbones import StagedSpec
from nasdet.space.domains import Json, Real, canonical
from nasdet.space.overrides import flat
from nasdet.space.parameter_paths import FROM_BUDGET, FROM_DATA, find_field, kinds_with, known_paths
from nasdet.space.rules import RULES
from nasdet.space.schema import COSTS, OBJECTIVES, SAMPLER_OPTIONS, AnyEntry, ChoiceEntry, SpaceFile
from nasdet.space.space import Constraint
from nasdet.space.specs import PARTS
from nasdet.space.yaml_document import KeyPath, Problem

FUNCTION_KEYS = (
    "name",
    "description",
    "space",
    "objectives",
    "budget",
    "sampler",
    "scheduler",
    "points",
    "start",
)
"""Keys of a space for a user's own function."""


def file_problems(file: SpaceFile, *, function: bool) -> list[Problem]:
    """What is wrong with a file that satisfies the schema."""
    conditions = list(_conditions(file))
    if conditions:
        return conditions
    problems = [*_objectives(file, function), *_points(file), *_sampler(file)]
    if function:
        return [*problems, *_function_keys(file)]
    return [
        *problems,
        *_paths(file),
        *_fixed(file),
        *_clashes(file),
        *_stages_left_out(file),
        *_kinds(file),
        *_costs_and_rules(file),
    ]


def parents_first(file: SpaceFile) -> list[str]:
    """Parameter names in the order of the file, except that each comes after those that its conditions name; ValueError
    if that is impossible."""
    order: list[str] = []
    left = list(file.space)
    while left:
        ready = [n for n in left if all(o in order for o in file.space[n].when)]
        if not ready:
            raise ValueError(left[0])
        order.append(ready[0])
        left.remove(ready[0])
    return order


def _conditions(file: SpaceFile) -> Iterator[Problem]:
    unknown = False
    for name, entry in file.space.items():
        for other, allowed in entry.when.items():
            here = ("space", name, "when", other)
            if other not in file.space:
                unknown = True
                yield Problem(here, "is not a parameter of this space", nearest(other, file.space))
                continue
            domain = file.space[other].domain()
            if isinstance(domain, Real):
                yield Problem(here, "is a real number", "a condition names a choice or an int")
            for value in allowed_values(allowed, file.space[other]):
                if not domain.contains(value):
                    yield Problem(here, f"{value!r} is outside the domain of {other}")
    if not unknown:
        try:
            parents_first(file)
        except ValueError as error:
            yield Problem(("space", str(error), "when"), "the conditions form a cycle")


def allowed_values(allowed: Json, entry: AnyEntry) -> tuple[Json, ...]:
    """The values of a `when:` condition: one value, or a list of them; a value that is itself a list counts as one."""
    if isinstance(allowed, list) and not entry.domain().contains(allowed):
        return tuple(allowed)
    return (allowed,)


def _objectives(file: SpaceFile, function: bool) -> Iterator[Problem]:
    seen: set[str] = set()
    for i, objective in enumerate(file.objectives):
        here = ("objectives", i, "name")
        if objective.name in seen:
            yield Problem(here, f"{objective.name!r} is given twice")
        seen.add(objective.name)
        if function:
            if objective.direction is None:
                yield Problem(("objectives", i), "has no direction", "give direction: max or min")
        elif objective.name not in OBJECTIVES:
            yield Problem(here, f"unknown objective {objective.name!r}", nearest(objective.name, OBJECTIVES))
        elif objective.direction not in (None, OBJECTIVES[objective.name]):
            want = OBJECTIVES[objective.name]
            yield Problem(("objectives", i, "direction"), f"{objective.name} is to be {want}imised", f"write {want}")


def _sampler(file: SpaceFile) -> Iterator[Problem]:
    if file.scheduler.kind == "freeze_thaw" and file.sampler.kind != "auto":
        remedy = "leave it out, or set scheduler.kind: halving"
        yield Problem(("sampler", "kind"), "is not used by scheduler freeze_thaw, which proposes itself", remedy)
    kind, known = file.sampler.kind, SAMPLER_OPTIONS.get(file.sampler.kind, ())
    for name in file.sampler.options:
        if name not in known:
            remedy = nearest(name, known) if known else "leave it out, or name another sampler.kind"
            yield Problem(("sampler", "options", name), f"is not an option of sampler {kind}", remedy)


def _points(file: SpaceFile) -> Iterator[Problem]:
    for i, point in enumerate(file.points):
        for name, value in point.items():
            here = ("points", i, name)
            if name not in file.space:
                yield Problem(here, "is not a parameter of this space", nearest(name, file.space))
            elif not file.space[name].domain().contains(value):
                yield Problem(
                    here, f"{value!r} is outside its domain", "change it, or try no points: --set 'points=[]'"
                )


def _function_keys(file: SpaceFile) -> Iterator[Problem]:
    for key in sorted(file.model_fields_set - set(FUNCTION_KEYS)):
        yield Problem((key,), "has no meaning with --objective", f"keys there: {', '.join(FUNCTION_KEYS)}")


def _paths(file: SpaceFile) -> Iterator[Problem]:
    for name, entry in file.space.items():
        problem = path_problem(name)
        if problem:
            yield Problem(("space", name), *problem)
            continue
        field = find_field(name)
        assert field is not None
        for value in entry.domain().corners():
            what = field.problem(value)
            if what:
                yield Problem(("space", name, *_key_of(entry, value)), f"{value!r} is refused: {what}")


def path_problem(name: str) -> tuple[str, str] | None:
    """Why a path cannot be searched or fixed, with the remedy; None if it can."""
    if name in FROM_DATA:
        return "is decided by the data set", "leave it out"
    if name == FROM_BUDGET:
        return "is decided by the budget", "set budget.epochs"
    if find_field(name) is None:
        return "is not a path of a detector or recipe", nearest(name, known_paths())
    return None


def _key_of(entry: AnyEntry, value: Json) -> KeyPath:
    if isinstance(entry, ChoiceEntry):
        return ("values", [canonical(v) for v in entry.values].index(canonical(value)))
    return ("low",) if value == entry.low else ("high",)


def _fixed(file: SpaceFile) -> Iterator[Problem]:
    known = {p for path in known_paths() for p in _prefixes(path)}
    for path, value in flat(file.fixed).items():
        name = ".".join(str(p) for p in path)
        here: KeyPath = ("fixed", *path)
        if value == [] and f"{name}.0" in known:  # a list of mappings that is empty
            continue
        if find_field(name) is None and name in known:
            yield Problem(here, f"{value!r} stands where keys are expected")
            continue
        problem = path_problem(name)
        if problem:
            yield Problem(here, *problem)
            continue
        field = find_field(name)
        what = field.problem(value) if field else ""
        if what:
            yield Problem(here, f"{value!r} is refused: {what}")


def _prefixes(path: str) -> list[str]:
    parts = path.split(".")
    return [".".join(parts[:i]) for i in range(1, len(parts))]


def _clashes(file: SpaceFile) -> Iterator[Problem]:
    fixed = {".".join(str(p) for p in path): path for path in flat(file.fixed)}
    stages = len(_stages(file))
    for name in file.space:
        if name in fixed:
            where = ("fixed", *fixed[name])
            yield Problem(where, "is searched as well", "remove it here or from space")
        if name.startswith("backbone.stages.") and int(name.split(".")[2]) >= stages:
            yield Problem(("space", name), f"there are {stages} stages", "list every stage in fixed.backbone.stages")
    given = {*fixed, *file.space}
    if {"backbone.first_stride", "backbone.stages.0.stride"} <= given:
        where = _where(file, fixed, "backbone.stages.0.stride")
        yield Problem(where, "backbone.first_stride decides this stride", "give one of them")
    if given & {"input.size", "input.shape"} and given & {"input.height", "input.width"}:
        yield Problem(("fixed", "input"), "input.size excludes input.height and input.width", "give one of them")
    widths = sorted(n for n in given if n.startswith("backbone.stages.") and n.endswith(".width"))
    if "backbone.width" in given and widths:
        yield Problem(_where(file, fixed, widths[0]), "backbone.width excludes widths of stages", "give one of them")
    if {"neck.min_stride", "neck.levels"} <= given:
        yield Problem(_where(file, fixed, "neck.levels"), "neck.min_stride decides the levels", "give one of them")
    if "backbone.growth" in given and "backbone.width" not in given:
        yield Problem(_where(file, fixed, "backbone.growth"), "needs backbone.width")


def _stages_left_out(file: SpaceFile) -> Iterator[Problem]:
    """A stage that may be left out (depth 0) has no parameters without a condition on its depth."""
    for name in file.space:
        match = re.fullmatch(r"(backbone\.stages\.\d+)\.(?!depth$)\w+", name)
        depth = f"{match[1]}.depth" if match else ""
        if depth not in file.space:
            continue
        domain = file.space[depth].domain()
        if domain.contains(0) and not _implies_above_zero(file, name, depth):
            some = "[1, 2]" if domain.contains(2) else "1"
            yield Problem(("space", name), f"has no effect where {depth} is 0", f"add when: {{{depth}: {some}}}")


def _kinds(file: SpaceFile) -> Iterator[Problem]:
    """Parameters that only some kinds of a part have are searched only where the part is of one of those kinds."""
    for name in file.space:
        found = kinds_with(name)
        if found is None:
            continue
        part, kinds = found
        possible = _possible_kinds(file, part, name)
        if wrong := sorted(possible - set(kinds)):
            some = kinds[0] if len(kinds) == 1 else f"[{', '.join(kinds)}]"
            remedy = f"add when: {{{part}.kind: {some}}}" if f"{part}.kind" in file.space else f"set fixed.{part}.kind"
            yield Problem(("space", name), f"does not exist for {part}.kind {' or '.join(wrong)}", remedy)


def _possible_kinds(file: SpaceFile, part: str, name: str) -> set[str]:
    """The kinds that `part` may have where parameter `name` exists."""
    path = f"{part}.kind"
    if path not in file.space:
        fixed = file.fixed.get(part, {})
        return {str(fixed.get("kind", PARTS[part][0].model_fields["kind"].default))}
    entry = file.space[path]
    values = {str(v) for v in entry.values} if isinstance(entry, ChoiceEntry) else set()
    for other, allowed in file.space[name].when.items():
        if other == path:
            values &= {str(v) for v in allowed_values(allowed, entry)}
        elif other != name:
            values &= _possible_kinds(file, part, other)
    return values


def _implies_above_zero(file: SpaceFile, name: str, depth: str) -> bool:
    """Whether the conditions of `name`, or of the parameters that they name, exclude depth 0."""
    when = file.space[name].when
    if depth in when:
        return 0 not in allowed_values(when[depth], file.space[depth])
    return any(_implies_above_zero(file, other, depth) for other in when if other in file.space and other != name)


def _where(file: SpaceFile, fixed: Mapping[str, KeyPath], name: str) -> KeyPath:
    return ("space", name) if name in file.space else ("fixed", *fixed[name])


def _stages(file: SpaceFile) -> list[Any]:
    backbone = file.fixed.get("backbone")
    stages = backbone.get("stages") if isinstance(backbone, dict) else None
    return stages if isinstance(stages, list) else [s.to_json() for s in StagedSpec().stages]


def _costs_and_rules(file: SpaceFile) -> Iterator[Problem]:
    for i, text in enumerate(file.constraints):
        try:
            name = Constraint.parse(text).name
        except ValueError as error:
            yield Problem(("constraints", i), str(error))
            continue
        if name not in COSTS:
            what = f"cannot constrain {name!r}, which is not a cost known before training"
            yield Problem(("constraints", i), what, nearest(name, COSTS))
    for i, name in enumerate(file.rules.off):
        if name not in RULES:
            yield Problem(("rules", "off", i), f"no rule is named {name!r}", nearest(name, RULES))
