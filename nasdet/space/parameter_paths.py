"""Dotted parameter paths such as `backbone.stages.2.depth`: which exist, and which values each of them takes.

A path addresses a field of `DetectorSpec`, or of `Recipe` after `recipe.`, or is one of the few virtual ones that stand
for several fields. A value is valid if the specification that owns the field accepts it without conversion.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, Field, ValidationError

from nasdet.errors import nearest
from nasdet.space.domains import Json
from nasdet.space.spec_base import Spec, kinds_of, spec_of_kind
from nasdet.space.specs import PARTS, DetectorSpec, Recipe

FROM_DATA = ("input.channels", "input.mean", "input.std", "head.classes")
"""Paths that the data set decides."""
FROM_BUDGET = "recipe.epochs"
"""The path that `budget.epochs` decides."""


class _VirtualSpec(Spec):
    """Types of the virtual paths, keyed by path with '__' for '.'."""

    input__size: Annotated[int, Field(ge=32, le=4096)] = 96
    input__shape: Literal["auto", "square"] = "auto"
    backbone__width: Annotated[int, Field(ge=1)] = 32
    backbone__first_stride: Literal[2, 4] = 4
    neck__min_stride: Literal[4, 8, 16, 32] = 8
    backbone__growth: Annotated[float, Field(ge=1, le=4)] = 2.0


VIRTUAL: dict[str, str] = {
    "input.size": "long side of the canvas in pixels, rounded to a multiple of 32",
    "input.shape": "auto: the short side follows the data set's median aspect; square: both sides are the long one",
    "backbone.width": "channels of the first stage; each later stage of stride 2 has `backbone.growth` times as many",
    "backbone.first_stride": "stride at which the first stage works; its own stride follows from the stem's",
    "neck.min_stride": "every stage that works at this stride or a larger one feeds the neck",
    "backbone.growth": "factor from stage to stage with `backbone.width`; widths are rounded to multiples of 8",
}
"""Paths that stand for several fields of the specification, and what they mean."""

_VIRTUAL_KINDS = dict.fromkeys(("backbone.width", "backbone.first_stride", "backbone.growth"), ("staged",))


@dataclasses.dataclass(frozen=True)
class SpecField:
    """The field that a path addresses; parts of several kinds may each own one of that name."""

    owners: tuple[type[BaseModel], ...]
    name: str

    def problem(self, value: Json) -> str:
        """Why every owner rejects `value`; empty if one takes it."""
        problems = [self._problem(owner, value) for owner in self.owners]
        if "" in problems:
            return ""
        kinds = [kind for owner in self.owners for kind in kinds_of(owner)]
        if self.name == "kind":
            return f"no such kind; {nearest(str(value), kinds)}"
        return " or ".join(dict.fromkeys(problems))

    def _problem(self, owner: type[BaseModel], value: Json) -> str:
        try:
            owner.model_validate_json(json.dumps({self.name: value}), strict=True)
        except ValidationError as error:
            return message_of(error.errors()[0])
        return ""


def find_field(path: str) -> SpecField | None:
    """The field at a dotted path such as `backbone.stages.2.depth`; None if there is none."""
    if path in VIRTUAL:
        return SpecField((_VirtualSpec,), path.replace(".", "__"))
    root: type[BaseModel] = DetectorSpec
    if path.startswith("recipe."):
        root, path = Recipe, path.removeprefix("recipe.")
    *middle, last = path.split(".")
    owners, in_list = _walk([root], middle)
    owners = [o for o in owners if last in o.model_fields and not models_in(o.model_fields[last].annotation)[0]]
    return SpecField(tuple(owners), last) if owners and not in_list else None


def kinds_with(path: str) -> tuple[str, tuple[str, ...]] | None:
    """The part to which a path belongs and the kinds of it that have the path; None if every kind has it.

    `backbone.stages.0.depth` -> ("backbone", ("staged",)).
    """
    part = path.split(".")[0]
    if part not in PARTS or path == f"{part}.kind" or find_field(path) is None:
        return None
    if path in VIRTUAL:
        kinds: tuple[str, ...] = _VIRTUAL_KINDS.get(path, ())
    else:
        rest = path.split(".")[1:]
        kinds = tuple(k for spec in PARTS[part] if _has(spec, rest) for k in kinds_of(spec))
    every = {k for spec in PARTS[part] for k in kinds_of(spec)}
    return None if not kinds or set(kinds) == every else (part, kinds)


def _has(owner: type[BaseModel], tokens: Sequence[str]) -> bool:
    owners, _ = _walk([owner], tokens[:-1])
    return any(tokens[-1] in o.model_fields for o in owners)


def _walk(owners: list[type[BaseModel]], tokens: Sequence[str]) -> tuple[list[type[BaseModel]], bool]:
    """The models reached from `owners`, and whether the next token must be a place in a list."""
    in_list = False
    for token in tokens:
        if in_list:
            in_list = False
            if not token.isdigit():
                return [], False
            continue
        found = [models_in(o.model_fields[token].annotation) for o in owners if token in o.model_fields]
        owners = [model for models, _ in found for model in models]
        in_list = any(is_list for _, is_list in found)
    return owners, in_list


def known_paths(stages: int = 6) -> list[str]:
    """All paths that may be searched, with `stages` numbered stages."""
    paths = dict.fromkeys([*_leaves(DetectorSpec, "", stages), *_leaves(Recipe, "recipe.", stages), *VIRTUAL])
    return [p for p in paths if p not in FROM_DATA and p != FROM_BUDGET]


def message_of(error: Any) -> str:
    """A pydantic error as one readable phrase."""
    text = str(error["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return text[0].lower() + text[1:]


def key_of(error: Any) -> str:
    """The dotted key of a pydantic error in a specification, without the kind that chose a part's fields."""
    loc = [str(token) for token in error["loc"]]
    if len(loc) > 1 and spec_of_kind(PARTS.get(loc[0], ()), loc[1]) is not None:
        del loc[1]
    return ".".join(loc)


def _leaves(owner: type[BaseModel], prefix: str, stages: int) -> Iterator[str]:
    for name, field in owner.model_fields.items():
        inner, is_list = models_in(field.annotation)
        if not inner:
            yield prefix + name
        for model in inner:
            for place in [f"{i}." for i in range(stages)] if is_list else [""]:
                yield from _leaves(model, f"{prefix}{name}.{place}", stages)


def models_in(annotation: Any) -> tuple[list[type[BaseModel]], bool]:
    """The models that a field holds, one for each kind, and whether it holds a list of them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation], False
    is_list = get_origin(annotation) is tuple
    return [model for item in get_args(annotation) for model in models_in(item)[0]], is_list
