"""From pydantic's errors to problems in plain words: at key paths of the document, so that they have a line, and with
the nearest known name for an unknown key."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from nasdet.errors import nearest
from nasdet.space.parameter_paths import message_of, models_in
from nasdet.space.schema import ChoiceEntry, FloatEntry, IntEntry
from nasdet.space.yaml_document import KeyPath, Problem

M = TypeVar("M", bound=BaseModel)
_KINDS: dict[str, type[BaseModel]] = {"choice": ChoiceEntry, "int": IntEntry, "float": FloatEntry}


def read_schema(data: Mapping[str, Any], model: type[M]) -> tuple[M | None, list[Problem]]:
    """The document as `model`, or None and what is wrong with it; types are not converted silently."""
    try:
        return model.model_validate_json(json.dumps(data), strict=True), []
    except ValidationError as error:
        return None, _joined([_from_pydantic(e, data, model) for e in error.errors()])


def _joined(problems: list[Problem]) -> list[Problem]:
    """One problem for each path: alternatives of a union are joined; a mapping is left out where its keys are wrong."""
    paths = {p.path for p in problems}
    inner = [path for path in paths if not any(other != path and other[: len(path)] == path for other in paths)]
    result = []
    for path in inner:
        same = [p for p in problems if p.path == path]
        result.append(Problem(path, " or ".join(p.what for p in same), same[0].remedy))
    return result


def _from_pydantic(error: Any, data: Any, model: type[BaseModel]) -> Problem:
    path = _real_path(error["loc"], data)
    if error["type"] == "extra_forbidden" and path:
        return Problem(path, "unknown key", nearest(str(path[-1]), _keys_at(path[:-1], data, model)))
    if error["type"] == "missing":
        return Problem((*path, str(error["loc"][-1])), "is missing")
    if error["type"] in ("union_tag_not_found", "union_tag_invalid"):
        return _kind_problem(path, data)
    if error["type"] == "too_short":
        return Problem(path, "is empty", "give at least one")
    shown = "" if error["type"] == "value_error" or path == () else f" (got {_shown(error['input'])})"
    return Problem(path, message_of(error) + shown)


def _kind_problem(path: KeyPath, data: Any) -> Problem:
    entry = _at(path, data)
    if "kind" not in entry:
        return Problem(path, "has no kind", "give kind: choice, int or float")
    return Problem((*path, "kind"), f"{entry['kind']!r} is not a kind of domain", nearest(str(entry["kind"]), _KINDS))


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _real_path(loc: tuple[int | str, ...], data: Any) -> KeyPath:
    """A pydantic location without its parts that name members of a union."""
    path: list[str | int] = []
    node: Any = data
    for token in loc:
        if token in node if isinstance(node, dict) else isinstance(node, list) and isinstance(token, int):
            path.append(token)
            node = node[token]
    return tuple(path)


def _at(path: KeyPath, data: Any) -> Any:
    node: Any = data
    for token in path:
        node = node[token]
    return node


def _keys_at(path: KeyPath, data: Any, model: type[BaseModel]) -> list[str]:
    """The keys that are known at a path of the document."""
    if len(path) == 2 and path[0] == "space":
        model = _KINDS.get(str(_at(path, data).get("kind")), ChoiceEntry)
    else:
        for token in path:
            if isinstance(token, str):
                model = models_in(model.model_fields[token].annotation)[0][0]
    return list(model.model_fields) if path else ["extends", *model.model_fields]
