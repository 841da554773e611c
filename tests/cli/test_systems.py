"""`nasdet systems`, and a system by name in `nasdet train`."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from nasdet.cli.systems import command
from nasdet.driver import systems
from nasdet.driver.training.request import read_source
from nasdet.space.presets import SYSTEMS

FEW = ("dsod300", "mask_rcnn_r50_fpn_gn", "nasdet_s", "ssd300_vgg16")
"""Their sizes, and those of all others, are tested with the models."""


@pytest.fixture(autouse=True)
def _few_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systems, "SYSTEMS", {name: SYSTEMS[name] for name in FEW})


def test_the_public_json() -> None:
    result = CliRunner().invoke(command, ["--json"], catch_exceptions=False)
    found = {one["name"]: one for one in json.loads(result.stdout)["systems"]}
    assert list(found) == sorted(FEW)
    for name, one in found.items():
        assert {"name", "params", "macs", "input", "init", "source", "published_params", "counts"} <= set(one)
        assert one["input"] == [SYSTEMS[name].spec.input.height, SYSTEMS[name].spec.input.width]
        assert one["params"] > 0 and one["macs"] > 0


def test_the_table_names_every_system() -> None:
    result = CliRunner().invoke(command, [], catch_exceptions=False)
    assert all(name in result.stdout for name in FEW)


def test_a_system_brings_its_specification_and_recipe() -> None:
    from pathlib import Path

    source = read_source(Path("nasdet_s"))
    assert source.spec == SYSTEMS["nasdet_s"].spec and source.card == {"system": "nasdet_s"}
    assert source.named is not None and source.named.name == SYSTEMS["nasdet_s"].recipe
