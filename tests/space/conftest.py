"""Shared by the tests of search spaces."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

_MINIMAL = """\
space:
  recipe.base_lr: {kind: float, low: 0.001, high: 0.01, log: true}
  norm.kind: {kind: choice, values: [gn, bn]}
objectives:
  - {name: ap, direction: max}
"""


@dataclasses.dataclass(frozen=True)
class Info:
    """What `build_specs` needs of a data set."""

    channels: int = 1
    classes: tuple[str, ...] = tuple("0123456789")
    mean: tuple[float, ...] = (20.0,)
    std: tuple[float, ...] = (50.0,)
    aspect: float = 1.5
    splits: Mapping[str, int] = dataclasses.field(default_factory=lambda: {"train": 600, "val": 200})


@pytest.fixture
def minimal() -> str:
    """The text of a small space."""
    return _MINIMAL


@pytest.fixture
def info() -> Info:
    return Info()


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a YAML text to a file in a temporary folder."""

    def write_text(text: str, name: str = "my.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write_text
