"""A named system under a search space. One decision: `fixed.preset` is resolved when the file is read, into the values
that it stands for, so that a study's own space never depends on a later version of the preset."""

from __future__ import annotations

from nasdet.errors import InputError, nearest
from nasdet.space.overrides import merge, without
from nasdet.space.presets import SYSTEMS
from nasdet.space.validate import flat
from nasdet.space.yaml_document import Document

_DECIDED = {
    "input.size": ("input.height", "input.width"),
    "backbone.width": ("backbone.stages.*.width",),
    "backbone.first_stride": ("backbone.stages.0.stride",),
    "neck.min_stride": ("neck.levels",),
}
"""What each virtual path decides in place of the preset."""
_FROM_DATA = ("input.channels", "input.mean", "input.std", "head.classes")


def resolve_system(document: Document) -> Document:
    """Lay the system that `fixed.preset` names under the other values of `fixed`; what is searched, what the data set
    decides and parts that are given in another kind are left out."""
    fixed = document.data.get("fixed")
    if not isinstance(fixed, dict) or "preset" not in fixed:
        return document
    name = fixed["preset"]
    if name not in SYSTEMS:
        place = ": ".join(part for part in (document.place(("fixed", "preset")), "fixed.preset") if part)
        raise InputError(f"unknown system {name!r}", where=place, remedy=nearest(str(name), SYSTEMS))
    own = {key: value for key, value in fixed.items() if key != "preset"}
    searched = document.data.get("space")
    given = {*(searched if isinstance(searched, dict) else ()), *(".".join(map(str, path)) for path in flat(own))}
    leave = {*_FROM_DATA, *(p for path in given for p in (path, *_DECIDED.get(path, ())))}
    base = without(SYSTEMS[name].spec.to_json(), leave)
    for part, values in own.items():
        kind = values.get("kind") if isinstance(values, dict) else None
        if kind is not None and isinstance(base.get(part), dict) and base[part].get("kind") != kind:
            del base[part]
    data = {**document.data, "fixed": own}
    return merge(Document({"fixed": base}, {}), Document(data, document.places))
