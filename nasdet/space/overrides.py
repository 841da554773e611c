"""`extends:` and `--set KEY=VALUE`: how one document is laid over another.

One decision: mappings merge key by key, everything else is replaced, and null removes a key; a domain in `space` that
changes its kind, and a list, replace the old one whole. Places travel with the values, so a message names the file
and line, or the option, that a value really came from.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Sequence
from typing import Any

from nasdet.errors import InputError, nearest
from nasdet.space.yaml_document import Document, KeyPath, dotted, parse_value

KnownPaths = Callable[[], Sequence[str]]


def merge(base: Document, over: Document) -> Document:
    """Lay `over` on `base`."""
    data, places = copy.deepcopy(base.data), dict(base.places)
    _merge_into(data, over.data, (), places, over.places)
    places[()] = over.places.get((), places.get((), ""))
    return Document(data, places)


def without(nested: dict[str, Any], paths: Collection[str]) -> dict[str, Any]:
    """`nested` without the values at dotted paths; `*` stands for any place in a list."""
    kept: dict[str, Any] = _without(nested, paths, "")
    return kept


def apply_override(document: Document, option: str, known_paths: Sequence[str]) -> Document:
    """Apply one `KEY=VALUE`.

    Args:
        document: the document so far.
        option: KEY is dotted; the value is YAML; null removes the key.
        known_paths: parameter paths, to tell where a new key of `space` ends and its field begins.
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
    """Split a dotted key along the document: the longest existing key first, then a known path, then one token."""
    path: list[str | int] = []
    rest, node = key, data
    while rest:
        if isinstance(node, list):
            token, _, rest = rest.partition(".")
            if not token.isdigit() or int(token) >= len(node):
                raise InputError(f"{dotted(path)} is a list of {len(node)}; {token!r} is no index of it", where=label)
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
