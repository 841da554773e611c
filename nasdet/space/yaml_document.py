"""YAML text to plain values, with a table from key path to "file:line" beside them.

ruamel's node tree is walked, not its round-trip values: those turn a list that contains itself into [None], dates into
objects and 1 and true into the same key, and their error for a key that is given twice names neither the first line
nor the path (docs/log.md).
"""

from __future__ import annotations

import dataclasses
import io
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from nasdet.errors import InputError

KeyPath = tuple[str | int, ...]
_PLAIN_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str")}
_SHOWN = 5
LARGEST_YAML = 1 << 17
"""Bytes; search spaces have a few thousand, and reading a million takes a quarter of a minute."""
_DEEPEST = 200
"""Brackets inside of brackets."""
_MOST_VALUES = 20_000
"""An alias counts as often as it is used: a few lines of aliases can stand for billions of values."""


@dataclasses.dataclass(frozen=True)
class Document:
    """A mapping read from YAML, and where each of its keys was written."""

    data: dict[str, Any]
    places: dict[KeyPath, str]
    """Key path to "file:line", or to the option that set it."""

    def place(self, path: KeyPath) -> str:
        """Where `path`, or the nearest key that encloses it, was written; "" if nowhere."""
        for end in range(len(path), -1, -1):
            if path[:end] in self.places:
                return self.places[path[:end]]
        return ""


@dataclasses.dataclass(frozen=True)
class Problem:
    """One thing wrong with a document."""

    path: KeyPath
    what: str
    remedy: str = ""


SPACE_NEEDS = "a search space needs at least 'space' and 'objectives'"


def read_document(path: Path, needs: str = SPACE_NEEDS) -> Document:
    """Read a YAML file that must hold a mapping; an InputError names the line of what is wrong.

    Args:
        path: the file.
        needs: what to write into a file that is empty, for the message.
    """
    if path.is_dir():
        raise InputError("is a folder, not a YAML file", where=str(path), remedy="give a file such as detnet.yaml")
    try:
        if path.stat().st_size > LARGEST_YAML:
            raise InputError(
                f"has more than {LARGEST_YAML >> 10} KB", where=str(path), remedy="give a search space or recipe"
            )
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"is not UTF-8 text (byte {error.start})", where=str(path), remedy="save it as UTF-8"
        ) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(path)) from None
    return parse_document(text, str(path), needs)


def parse_document(text: str, source: str, needs: str = SPACE_NEEDS) -> Document:
    """Parse YAML text that must hold a mapping; `source` names it in messages."""
    places: dict[KeyPath, str] = {}
    data = _Reader(source, places).read(text)
    if data is None:
        raise InputError("is empty", where=source, remedy=needs)
    if not isinstance(data, dict):
        raise InputError(f"holds a {type(data).__name__}, not a mapping of keys", where=source)
    return Document(data, places)


def parse_value(text: str, source: str) -> Any:
    """Parse one YAML value, such as that of `--set KEY=VALUE`."""
    return _Reader(source, {}).read(text)


def refuse_deep(text: str, source: str) -> None:
    """Raise InputError if brackets are nested deeply: the parser takes seconds for it before it gives up.

    Args:
        text: YAML.
        source: names it in the message.
    """
    depth = 0
    for bracket in re.finditer(r"[\[{]|[\]}]", text):
        depth = depth + 1 if bracket[0] in "[{" else max(depth - 1, 0)
        if depth > _DEEPEST:
            raise InputError("is nested too deeply", where=source)


def dump_yaml(data: Mapping[str, Any], *, in_braces: bool = False) -> str:
    """Plain values as YAML text that `parse_document` reads back to equal values.

    Args:
        data: the values.
        in_braces: all of them in braces and brackets, instead of the innermost only.
    """
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = True if in_braces else None
    yaml.width = 120
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    stream = io.StringIO()
    yaml.dump(dict(data), stream)
    return stream.getvalue()


def dotted(path: Iterable[str | int]) -> str:
    """A key path as text: `space.recipe.base_lr.low`."""
    return ".".join(str(p) for p in path)


def raise_problems(problems: list[Problem], document: Document) -> None:
    """If there are problems, raise an InputError with a line for each of the first few, in the order of the file."""
    if not problems:
        return
    problems = sorted(problems, key=lambda p: (_line(document.place(p.path)), dotted(p.path)))
    errors = [_as_error(p, document) for p in problems]
    if len(errors) == 1:
        raise errors[0]
    lines = [str(e) for e in errors[:_SHOWN]]
    if len(errors) > _SHOWN:
        lines.append(f"and {len(errors) - _SHOWN} more")
    raise InputError("\n".join(lines))


def _as_error(problem: Problem, document: Document) -> InputError:
    place = document.place(problem.path)
    key = dotted(problem.path)
    return InputError(problem.what, where=": ".join(p for p in (place, key) if p), remedy=problem.remedy)


def _line(place: str) -> tuple[str, int]:
    source, _, line = place.rpartition(":")
    return (source, int(line)) if line.isdigit() else (place, 0)


class _Reader:
    """Walks a YAML node tree: returns plain values and enters their places into `places`."""

    def __init__(self, source: str, places: dict[KeyPath, str]) -> None:
        self.source, self.places, self.values = source, places, 0
        self.yaml = YAML(typ="safe", pure=True)

    def read(self, text: str) -> Any:
        refuse_deep(text, self.source)
        try:
            node = self.yaml.compose(text)
            return None if node is None else self._value(node, (), ())
        except MarkedYAMLError as error:
            raise self._syntax_error(error, text) from None
        except YAMLError as error:
            raise InputError(f"is not YAML: {' '.join(str(error).split())}", where=self.source) from None
        except RecursionError:
            raise InputError("is nested too deeply", where=self.source) from None

    def _syntax_error(self, error: MarkedYAMLError, text: str) -> InputError:
        mark = error.problem_mark or error.context_mark
        line = mark.line if mark else 0
        rows = text.splitlines() or [""]
        row = rows[min(line, len(rows) - 1)]
        where = f"{self.source}:{line + 1}"
        if "\t" in row[: len(row) - len(row.lstrip())]:
            return InputError("a tab in the indentation", where=where, remedy="YAML is indented with spaces")
        context = f" {error.context}" if error.context else ""
        return InputError(f"is not YAML: {error.problem or 'unreadable'}{context}", where=where)

    def _place(self, node: Node) -> str:
        return f"{self.source}:{node.start_mark.line + 1}"

    def _value(self, node: Node, path: KeyPath, above: tuple[int, ...]) -> Any:
        if id(node) in above:
            raise InputError("an alias that contains itself", where=self._place(node))
        self.values += 1
        if self.values > _MOST_VALUES:
            raise InputError(f"stands for more than {_MOST_VALUES} values", where=self._place(node))
        self.places.setdefault(path, self._place(node))
        if isinstance(node, MappingNode):
            return self._mapping(node, path, (*above, id(node)))
        if isinstance(node, SequenceNode):
            return [self._value(v, (*path, i), (*above, id(node))) for i, v in enumerate(node.value)]
        assert isinstance(node, ScalarNode)
        return self._scalar(node)

    def _scalar(self, node: ScalarNode) -> Any:
        tag = str(node.tag)
        if tag == "tag:yaml.org,2002:timestamp":
            return node.value
        if tag not in _PLAIN_TAGS:
            raise InputError(f"the tag {tag} is not allowed", where=self._place(node), remedy="use plain values")
        try:
            return self.yaml.constructor.construct_object(node)
        except (ValueError, LookupError):
            what = f"{str(node.value)[:40]!r} is no {tag.rpartition(':')[2]}"
            raise InputError(what, where=self._place(node)) from None

    def _mapping(self, node: MappingNode, path: KeyPath, above: tuple[int, ...]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in sorted(node.value, key=lambda pair: pair[0].value != "<<"):
            key = key_node.value if isinstance(key_node, ScalarNode) else None
            if not isinstance(key, str):
                raise InputError("a key that is not plain text", where=self._place(key_node))
            if key == "<<":
                merged.update(self._merged(value_node, path, above))
                continue
            if key in result:
                first = self.places[(*path, key)].rpartition(":")[2]
                raise InputError(
                    f"the key is given twice, first on line {first}",
                    where=f"{self._place(key_node)}: {dotted((*path, key))}",
                    remedy="keep one of them",
                )
            self.places[(*path, key)] = self._place(key_node)
            result[key] = self._value(value_node, (*path, key), above)
        return {**merged, **result}

    def _merged(self, node: Node, path: KeyPath, above: tuple[int, ...]) -> dict[str, Any]:
        """The values of a merge key `<<: *name`; a mapping's own keys win over them."""
        if not isinstance(node, MappingNode):
            raise InputError("<< takes one alias of a mapping", where=self._place(node), remedy="write <<: *name")
        return dict(self._mapping(node, path, (*above, id(node))))
