from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from nasdet.cli.analyses import Request
from nasdet.cli.analyses.spectrum import run
from nasdet.cli.analyze import command
from nasdet.driver.training.request import read_source
from nasdet.errors import InputError
from nasdet.export import Bundle, write_bundle
from nasdet.models import build_detector
from nasdet.models.costs import count_costs
from nasdet.space.backbones import PeleeSpec
from nasdet.space.necks import PyramidSpec
from nasdet.space.specs import DetectorSpec, InputSpec


def bundle_of(spec: DetectorSpec, like: Bundle, folder: str) -> Path:
    """An untrained bundle."""
    state = build_detector(spec).state_dict()
    card = {"data": "digits"}
    return write_bundle(
        Path(folder), spec=spec, recipe=like.recipe, state_dict=state, classes=like.classes, card=card
    ).path


def test_a_bundle_beside_an_untrained_one(digits_bundle: Bundle, analyze: Callable[..., Any]) -> None:
    out, second = Path("found"), bundle_of(digits_bundle.spec, digits_bundle, "untrained")
    printed = analyze(digits_bundle.path, "--what", "spectrum", "--with", str(second), "--out", str(out))
    assert printed == json.loads((out / "spectrum.json").read_text())
    assert all((out / name).stat().st_size for name in printed["files"])
    layers = {row["layer"]: row for row in printed["layers"]}
    assert all(row["other_width"] == row["width"] for row in layers.values())
    assert any(row["other_dim99"] != row["dim99"] for row in layers.values())
    with (out / "eigenvalues.csv").open() as file:
        values = [r for r in csv.DictReader(file) if r["layer"] == "neck.0" and r["bundle"] == "first"]
    energies = [float(r["eigenvalue"]) for r in values]
    assert len(energies) == 16 and energies == sorted(energies, reverse=True)


def test_the_suggestion_is_what_train_reads(digits_bundle: Bundle, analyze: Callable[..., Any]) -> None:
    wide = digits_bundle.spec.model_copy(update={"neck": PyramidSpec(width=64, kind="none")})
    bundle = bundle_of(wide, digits_bundle, "wide")
    printed = analyze(bundle, "--what", "spectrum", "--out", "found")["suggestion"]
    assert printed["spec"] == "found/suggested/spec.json"
    source = read_source(Path(printed["spec"]))
    assert count_costs(source.spec).params == printed["suggested_params"] < printed["params"]
    assert source.recipe == digits_bundle.recipe
    assert f"nasdet train {printed['spec']}" in printed["words"][1]


def test_people_read_one_line_per_layer(digits_bundle: Bundle) -> None:
    options = [str(digits_bundle.path), "--what", "spectrum"]
    lines = CliRunner().invoke(command, options, catch_exceptions=False).stdout.splitlines()
    assert lines[0].endswith("on 150 images of val of digits")
    assert {line.split()[0] for line in lines if line.startswith("backbone")} >= {"backbone.stem", "backbone.stages.1"}


def test_layers_that_only_one_bundle_has_are_left_open(digits_bundle: Bundle) -> None:
    spec = digits_bundle.spec.model_copy(
        update={"backbone": PeleeSpec(depths=(1, 1)), "neck": PyramidSpec(width=16, kind="none", levels=(-1,))}
    )
    second = bundle_of(spec, digits_bundle, "pelee")
    options = [str(second), "--what", "spectrum", "--with", str(digits_bundle.path), "--json"]
    printed = json.loads(CliRunner().invoke(command, options, catch_exceptions=False).stdout)
    compared = {row["layer"]: row["other_width"] for row in printed["layers"]}
    assert compared == {
        "backbone.stem": 8, "backbone.blocks.0.0": None, "backbone.blocks.0": None, "backbone.blocks.1.0": None,
        "backbone.blocks.1": None, "neck.0": 16,
    }  # fmt: skip


def test_wrong_input_is_one_line(digits_bundle: Bundle) -> None:
    other = digits_bundle.spec.model_copy(update={"input": InputSpec(height=64, width=64, channels=3)})
    second = bundle_of(other, digits_bundle, "colour")
    asked = Request(str(digits_bundle.path), None, "val", Path("out"), None)
    for changes, message in (
        ({"target": None}, "no bundle given"),
        ({"other": second}, "images have 1 channels, the bundle takes 3"),
        ({"other": Path("nowhere")}, "no such bundle folder"),
        ({"split": "dev"}, "no split 'dev'"),
    ):
        with pytest.raises(InputError, match=message):
            run(Request(**{**vars(asked), **changes}))
