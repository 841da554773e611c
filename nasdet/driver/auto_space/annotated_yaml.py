"""A derived space as a YAML file, with the reason of each decision as a comment above it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from nasdet.driver.auto_space.derive import Derived
from nasdet.space.yaml_document import dump_yaml

HEAD = """\
# yaml-language-server: $schema=schema.json
#
# Written by nasdet space for the data below, this machine and the time limit. Change what you know better.

"""
_WIDTH = 116


def annotated_yaml(derived: Derived) -> str:
    """The file; loading it gives the same space."""
    return HEAD + "\n".join(_lines(derived.raw, "", derived.reasons)) + "\n"


def _lines(values: Mapping[str, Any], path: str, reasons: Mapping[str, str]) -> Iterator[str]:
    """Key by key, with two spaces for each level; what has no reasons inside mostly stands in braces."""
    for key, value in values.items():
        own = f"{path}.{key}".lstrip(".")
        if own in reasons:
            yield from textwrap.wrap(reasons[own], _WIDTH, initial_indent="# ", subsequent_indent="# ")
        if isinstance(value, dict) and any(other.startswith(f"{own}.") for other in reasons):
            yield f"{key}:"
            yield from (f"  {line}" for line in _lines(value, own, reasons))
        elif _lists_mappings(value):
            yield from (line.rstrip() for line in dump_yaml({key: value}).splitlines())
        else:
            yield from dump_yaml({key: value}, in_braces=True).strip()[1:-1].splitlines()


def _lists_mappings(value: Any) -> bool:
    """Whether a list in it holds mappings, which are easier to read line by line."""
    if isinstance(value, dict):
        return any(map(_lists_mappings, value.values()))
    return isinstance(value, list) and any(isinstance(item, dict) for item in value)
