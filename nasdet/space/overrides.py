"""`extends:` and `--set KEY=VALUE`: how one document is laid over another.

Mappings are merged key by key, every other value is replaced, and null removes a key. A list replaces the old one as a
whole, and so does a domain in `space` of another kind. Places travel with the values, so that a message names the file
and line, or the option, from which a value came.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from nasdet.errors import InputError, nearest
from nasdet.space.domains import Json
from nasdet.space.yaml_document import Document, KeyPath, dotted, parse_value


def read_with_ancestors(
    file: Path,
    read: Callable[[Path], Document],
    find: Callable[[Any, Path, str], Path],
    inherit: Callable[[Document, Document], Document],
    below: tuple[Path, ...] = (),
) -> Document:
    """A file laid over the one that its `extends` names, and so on.

    Args:
        file: where to start.
        read: reads one file.
        find: the file of a value of `extends`; it also takes the folder of the file that has it, and its place.
        inherit: the part of the ancestor (first argument) that the child (second) takes over.
        below: the files that lead here, to detect a circle.
    """
    document = read(file)
    if "extends" not in document.data:
        return document
    place, chain = f"{document.place(('extends',))}: extends", (*below, file.resolve())
    base = find(document.data.pop("extends"), file.parent, place)
    if base.resolve() in chain:
        names = " -> ".join(p.name for p in (*chain, base))
        raise InputError(f"the files extend each other: {names}", where=place)
    ancestor = read_with_ancestors(base, read, find, inherit, chain)
    return merge(inherit(ancestor, document), document)


def merge(base: Document, over: Document) -> Document:
    """Lay `over` on `base`."""
    data, places = copy.deepcopy(base.data), dict(base.places)
    _merge_into(data, over.data, (), places, over.places)
    places[()] = over.places.get((), places.get((), ""))
    return Document(data, places)


def flat(nested: Mapping[str, Any]) -> dict[KeyPath, Json]:
    """The values of nested mappings, and of lists of mappings, by key path."""
    leaves: dict[KeyPath, Json] = {}
    for key, value in nested.items():
        if isinstance(value, list) and value and all(isinstance(v, dict) for v in value):
            value = dict(enumerate(value))
        if isinstance(value, dict):
            leaves.update({(key, *rest): leaf for rest, leaf in flat(value).items()})
        else:
            leaves[(key,)] = value
    return leaves


def without(nested: dict[str, Any], paths: Collection[str]) -> dict[str, Any]:
    """`nested` without the values at dotted paths; `*` stands for any index of a list."""
    kept: dict[str, Any] = _without(nested, paths, "")
    return kept


def apply_override(document: Document, option: str, known_paths: Sequence[str]) -> Document:
    """Apply one `KEY=VALUE`.

    Args:
        document: the document so far.
        option: KEY is dotted; the value is YAML; null removes the key.
        known_paths: parameter paths; since they contain dots, they tell where a new key of `space` ends.
    """
    label = f"--set {option}"
    key, sign, text = option.partition("=")
    key = key.strip()
    if not sign or not key:
        raise InputError("is not KEY=VALUE", where=label, remedy="write for example --set budget.trials=3")
    value = parse_value(text, label)
    path = _resolve(document.data, key, known_paths, label)
    data, places = copy.deepcopy(document.data), dict(document.places)
    parent: Any = data
    for token in path[:-1]:
        parent = _child(parent, token)
    _forget(places, path)
    if value is None and isinstance(parent, dict) and (path[-1] in parent or path[0] == "space"):
        if path[-1] not in parent:
            raise InputError(f"there is no {dotted(path)} to remove", where=label)
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
        for end in range(len(path), 0, -1):
            places.setdefault(path[:end], label)
        places[path] = label
    return Document(data, places)


def _without(value: Any, leave: Collection[str], path: str) -> Any:
    if isinstance(value, dict):
        kept = ((k, v, f"{path}{k}") for k, v in value.items())
        return {k: _without(v, leave, f"{p}.") for k, v, p in kept if p not in leave and _any_place(p) not in leave}
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        return [_without(item, leave, f"{path}{i}.") for i, item in enumerate(value)]
    return value


def _any_place(path: str) -> str:
    return ".".join("*" if token.isdigit() else token for token in path.split("."))


def _child(parent: Any, token: str | int) -> Any:
    """The value under `token`; a new mapping where there is none yet."""
    if isinstance(parent, dict) and parent.get(str(token)) is None:
        parent[str(token)] = {}
    return parent[token]


def _merge_into(
    data: dict[str, Any],
    over: dict[str, Any],
    path: KeyPath,
    places: dict[KeyPath, str],
    new_places: dict[KeyPath, str],
) -> None:
    for key, value in over.items():
        here = (*path, key)
        old = data.get(key)
        if value is None and (key in data or path == ("space",)):
            if key not in data:
                hint = nearest(key, data) if data else ""
                raise InputError(f"there is no {key} to remove", where=new_places.get(here, ""), remedy=hint)
            del data[key]
            _forget(places, here)
        elif isinstance(old, dict) and isinstance(value, dict) and _same_kind(old, value) and key != "when":
            places[here] = new_places.get(here, places.get(here, ""))
            _merge_into(old, value, here, places, new_places)
        else:
            data[key] = copy.deepcopy(value)
            _forget(places, here)
            places.update({p: where for p, where in new_places.items() if p[: len(here)] == here})


def _same_kind(old: dict[str, Any], new: dict[str, Any]) -> bool:
    return "kind" not in new or old.get("kind") == new["kind"]


def _forget(places: dict[KeyPath, str], path: KeyPath) -> None:
    for known in [p for p in places if p[: len(path)] == path]:
        del places[known]


def _resolve(data: Any, key: str, known_paths: Sequence[str], label: str) -> KeyPath:
    """Split a dotted key along the document: the longest key that exists or is a known path, else one token."""
    path: list[str | int] = []
    rest, node = key, data
    while rest:
        if isinstance(node, list):
            token, _, rest = rest.partition(".")
            if not token.isdigit() or int(token) >= len(node):
                what = f"{dotted(path)} is a list of {len(node)}; {token!r} is not an index of it"
                raise InputError(what, where=label)
            path.append(int(token))
            node = node[int(token)]
        elif isinstance(node, dict) or node is None:
            known = [*(node or {}), *(known_paths if path in (["space"], ["points"]) or _in_point(path) else ())]
            token = _longest(rest, known)
            if not token and path == ["space"] and not known_paths:
                token = rest
            token = token or rest.partition(".")[0]
            rest = rest[len(token) + 1 :]
            path.append(token)
            node = (node or {}).get(token)
        else:
            raise InputError(f"{dotted(path)} is {node!r} and holds no keys", where=label)
    return tuple(path)


def _in_point(path: list[str | int]) -> bool:
    return len(path) == 2 and path[0] == "points"


def _longest(rest: str, known: Sequence[str]) -> str:
    return max((k for k in known if rest == k or rest.startswith(k + ".")), key=len, default="")
