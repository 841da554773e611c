"""What `nasdet eval` prints; how it evaluates is tested with the search."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from nasdet.api import detector
from nasdet.cli.eval import KEYS, command
from nasdet.evaluation import CLASS, MASK, METRICS


@pytest.mark.parametrize("masks", [True, False])
def test_figures_of_masks_follow_those_of_boxes(monkeypatch: pytest.MonkeyPatch, masks: bool) -> None:
    figures = dict.fromkeys((*METRICS, *KEYS), 0.5)
    own = [MASK + name for name in METRICS] if masks else []
    figures |= dict.fromkeys(own, 0.25) | {CLASS + "a b": 0.75, CLASS + "c": -1.0}
    monkeypatch.setattr(detector, "load", lambda path: SimpleNamespace(evaluate=lambda *_, **__: figures))
    printed = CliRunner().invoke(command, ["best", "--data", "set", "--json"], catch_exceptions=False)
    content = json.loads(printed.stdout)
    assert [name for name in content if name in figures] == [*KEYS, *own]
    assert content["classes"] == {"a b": 0.75, "c": -1.0}
    lines = CliRunner().invoke(command, ["best", "--data", "set"], catch_exceptions=False).stdout.splitlines()
    assert [line.split()[0] for line in lines[:-2]] == [*KEYS, *own]
    assert lines[-2:] == ["ap a b             0.7500", "ap c               -1.0000"]
