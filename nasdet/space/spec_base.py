"""The base of all specifications: frozen values that survive a JSON round trip and hash by content. A part that exists
in several kinds is a union of classes, chosen by `kind`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from nasdet.errors import nearest

Positive = Annotated[int, Field(ge=1)]
Blocks = Annotated[int, Field(ge=1, le=64)]
"""A number of equal parts in a row, each of which is built."""
MOST_LEVELS = 12
"""Entries of a list of stages or levels."""
Probability = Annotated[float, Field(ge=0.0, le=1.0)]


class Spec(BaseModel):
    """Base of all specs: frozen, unknown keys are errors, content hash."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    def to_json(self) -> dict[str, Any]:
        """The spec as plain JSON values (lists, not tuples)."""
        return self.model_dump(mode="json")

    def content_hash(self) -> str:
        """16 hex digits over the canonical JSON; equal specs have equal hashes on every machine."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def kinds_of(spec: type[BaseModel]) -> tuple[str, ...]:
    """The values of `kind` that a class of specs takes; empty if it has none."""
    field = spec.model_fields.get("kind")
    return tuple(get_args(field.annotation)) if field is not None else ()


def by_kind(part: str, specs: Sequence[type[Spec]]) -> BeforeValidator:
    """Validator of a union of `specs`: a mapping without `kind` gets the default, and an unknown one is an error.

    Args:
        part: what the union is, for messages.
        specs: its members; the default kind is the default of the first.
    """
    known = [kind for spec in specs for kind in kinds_of(spec)]
    default = specs[0].model_fields["kind"].default

    def check(value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        kind = value.get("kind", default)
        if kind not in known:
            raise ValueError(f"unknown {part} {kind!r}; {nearest(str(kind), known)}")
        return {**value, "kind": kind}

    return BeforeValidator(check)


def spec_of_kind(specs: Sequence[type[Spec]], kind: Any) -> type[Spec] | None:
    """The class among `specs` that takes `kind`; None: unknown."""
    return next((spec for spec in specs if kind in kinds_of(spec)), None)
