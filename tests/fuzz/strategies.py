"""Values that a file may hold instead of what is expected, and damaged versions of a good file."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import strategies as st

NUMBERS = st.one_of(
    st.integers(-3, 3),
    st.sampled_from([2**31, 2**63, -(2**63) - 1, 10**30, 10**400, -(10**400), 1e308, -1e308, 1e-320, 0.5, 1.0, -0.0]),
    st.floats(allow_nan=True, allow_infinity=True),
)
_WORDS = ["", ".", "..", "/", "../../etc/passwd", "/etc/passwd", "a\\b", "C:\\x", "~root", "%2e%2e/x", "NaN", "inf"]
_WORDS += [
    "null",
    "a\0b",
    "\ud800",
    "\ufeff",
    "x" * 5000,
    "1" * 5000,
    "[" * 50,
    "💥",
    "a\nb",
    "-",
    "*",
    "?",
    "{}",
    "1e9",
]
WORDS = st.one_of(st.text(max_size=8), st.sampled_from(_WORDS))
LEAVES = st.one_of(st.none(), st.booleans(), NUMBERS, WORDS)
JUNK = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=8,
)
"""Any JSON value."""


def deep(levels: int) -> str:
    """A list in a list in a list, in JSON and YAML."""
    return "[" * levels + "]" * levels


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) below a value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = []
    for key, inner in list(items):
        found += [(value, key), *_places(inner)]
    return found


@st.composite
def damaged(draw: st.DrawFn, value: Any, junk: st.SearchStrategy[Any] = JUNK) -> Any:
    """A JSON value in which some parts are replaced, removed, repeated or swapped."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, 4))):
        places = _places(value)
        if not places:
            return draw(junk)
        container, key = places[draw(st.integers(0, len(places) - 1))]
        action = draw(st.sampled_from(["replace", "replace", "replace", "remove", "repeat", "swap", "rename"]))
        if action == "replace":
            container[key] = draw(junk)
        elif action == "remove":
            del container[key]
        elif action == "repeat" and isinstance(container, list):
            container.insert(key, copy.deepcopy(container[key]))
        elif action == "swap":
            other, place = places[draw(st.integers(0, len(places) - 1))]
            container[key] = copy.deepcopy(other[place]) if place in other or isinstance(other, list) else None
        elif action == "rename" and isinstance(container, dict):
            container[draw(st.text(max_size=6))] = container.pop(key)
    return value


@st.composite
def damaged_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """A file of which bytes are changed, cut out, cut off, doubled or put in."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        if draw(st.booleans()):
            at = min(at, 200)  # headers decide most
        action = draw(st.sampled_from(["set", "set", "set", "cut", "end", "twice", "insert", "word"]))
        if action == "set" and data:
            data[at] = draw(st.integers(0, 255))
        elif action == "cut":
            del data[at : at + draw(st.integers(1, 40))]
        elif action == "end":
            del data[at:]
        elif action == "twice":
            data[at:at] = data[at : at + draw(st.integers(1, 400))]
        elif action == "insert":
            data[at:at] = draw(st.binary(max_size=12))
        elif action == "word":
            data[at : at + 4] = draw(
                st.sampled_from([b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f"])
            )
    return bytes(data)


@st.composite
def damaged_text(draw: st.DrawFn, text: str, words: st.SearchStrategy[str] = WORDS) -> str:
    """A text of which lines are changed, removed or repeated, and words replaced."""
    lines = text.split("\n")
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(lines) - 1)))
        action = draw(st.sampled_from(["word", "word", "line", "remove", "twice", "indent", "join", "character"]))
        line = lines[at] if lines else ""
        if action == "line" or not lines:
            lines[at:at] = [draw(words)]
        elif action == "word":
            parts = line.split(" ")
            parts[draw(st.integers(0, len(parts) - 1))] = draw(words)
            lines[at] = " ".join(parts)
        elif action == "remove":
            del lines[at]
        elif action == "twice":
            lines[at:at] = [line] * draw(st.sampled_from([1, 1, 3, 200]))
        elif action == "indent":
            lines[at] = draw(st.sampled_from(["  ", "\t", " "])) + line
        elif action == "join":
            lines[at] = line + "".join(lines[at + 1 : at + 2])
        elif action == "character":
            place = draw(st.integers(0, len(line)))
            lines[at] = line[:place] + draw(st.sampled_from(list("{}[]:&*!|>'\"%@`#,?-<=\0\ufffe"))) + line[place + 1 :]
    return "\n".join(lines)


def as_json(value: Any) -> bytes:
    """The JSON text of a value; strings of it may be no Unicode."""
    return json.dumps(value).encode()
