"""What `nasdet eval` prints; how it evaluates is tested with the search."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from nasdet.api import detector
from nasdet.cli.eval import KEYS, command
from nasdet.evaluation import MASK, METRICS


@pytest.mark.parametrize("masks", [True, False])
def test_figures_of_masks_follow_those_of_boxes(monkeypatch: pytest.MonkeyPatch, masks: bool) -> None:
    figures = dict.fromkeys((*METRICS, *KEYS), 0.5)
    own = [MASK + name for name in METRICS] if masks else []
    figures |= dict.fromkeys(own, 0.25)
    monkeypatch.setattr(detector, "load", lambda path: SimpleNamespace(evaluate=lambda *_, **__: figures))
    printed = CliRunner().invoke(command, ["best", "--data", "set", "--json"], catch_exceptions=False)
    assert [name for name in json.loads(printed.stdout) if name in figures] == [*KEYS, *own]
    lines = CliRunner().invoke(command, ["best", "--data", "set"], catch_exceptions=False).stdout.splitlines()
    assert [line.split()[0] for line in lines] == [*KEYS, *own]
