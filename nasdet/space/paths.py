"""Dotted parameter paths: which exist, and which values each of them takes.

One decision: a path addresses a field of `DetectorSpec`, or of `Recipe` after `recipe.`, or is one of the few VIRTUAL
ones that stand for several fields; a value is valid if the spec that owns the field accepts it, strictly.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, Field, ValidationError

from nasdet.space.domains import Json
from nasdet.space.specs import DetectorSpec, Recipe, Spec

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


@dataclasses.dataclass(frozen=True)
class SpecField:
    """The field that a path addresses."""

    owner: type[BaseModel]
    name: str

    def problem(self, value: Json) -> str:
        """Why the owner rejects `value`; empty if it takes it."""
        try:
            self.owner.model_validate_json(json.dumps({self.name: value}), strict=True)
        except ValidationError as error:
            return message_of(error.errors()[0])
        return ""


def find_field(path: str) -> SpecField | None:
    """The field at a dotted path such as `backbone.stages.2.depth`; None if there is none."""
    if path in VIRTUAL:
        return SpecField(_VirtualSpec, path.replace(".", "__"))
    owner: type[BaseModel] = DetectorSpec
    if path.startswith("recipe."):
        owner, path = Recipe, path.removeprefix("recipe.")
    *middle, last = path.split(".")
    in_list = False
    for token in middle:
        if in_list:
            if not token.isdigit():
                return None
            in_list = False
            continue
        field = owner.model_fields.get(token)
        inner, in_list = _model_in(field.annotation) if field else (None, False)
        if inner is None:
            return None
        owner = inner
    field = owner.model_fields.get(last)
    leaf = not in_list and field is not None and _model_in(field.annotation)[0] is None
    return SpecField(owner, last) if leaf else None


def known_paths(stages: int = 6) -> list[str]:
    """All paths that may be searched, with `stages` numbered stages."""
    paths = [*_leaves(DetectorSpec, "", stages), *_leaves(Recipe, "recipe.", stages), *VIRTUAL]
    return [p for p in paths if p not in FROM_DATA and p != FROM_BUDGET]


def message_of(error: Any) -> str:
    """A pydantic error as one readable phrase."""
    text = str(error["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return text[0].lower() + text[1:]


def _leaves(owner: type[BaseModel], prefix: str, stages: int) -> Iterator[str]:
    for name, field in owner.model_fields.items():
        inner, is_list = _model_in(field.annotation)
        if inner is None:
            yield prefix + name
        elif is_list:
            for i in range(stages):
                yield from _leaves(inner, f"{prefix}{name}.{i}.", stages)
        else:
            yield from _leaves(inner, f"{prefix}{name}.", stages)


def _model_in(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    if get_origin(annotation) is tuple:
        item = get_args(annotation)[0]
        if isinstance(item, type) and issubclass(item, BaseModel):
            return item, True
    return None, False
