"""Whether training from scratch pays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from nasdet.cli.main import cli
from nasdet.data import open_data
from nasdet.driver.convergence import Grid, judge
from nasdet.models import build_detector
from nasdet.space.heads import TaskAlignedSpec
from nasdet.space.necks import PyramidSpec
from nasdet.space.specs import DetectorSpec, InputSpec, Recipe


def row(init: str, epochs: int, share: float, *ap: float) -> dict[str, Any]:
    return {"init": init, "epochs": epochs, "share": share, "ap": list(ap), "mean": sum(ap) / len(ap)}


def test_scratch_pays_where_it_catches_up() -> None:
    rows = [row("random", 12, 1, 0.2), row("random", 24, 1, 0.395), row("random", 72, 1, 0.42)]
    rows += [
        row("given", 12, 1, 0.4),
        row("given", 72, 1, 0.38),
        row("random", 72, 0.1, 0.1),
        row("given", 12, 0.1, 0.2),
    ]
    found = judge(rows)
    assert found["pays"] is True
    assert "training from scratch pays: random initialisation reaches AP 0.395 after 24 epochs" in found["sentence"]
    assert found["sentence"].endswith("(after 12 epochs) within 0.010; on 10% its best AP is 0.100 below.")


def test_scratch_does_not_pay_where_it_stays_behind() -> None:
    found = judge([row("random", 12, 0.3, 0.2), row("random", 24, 0.3, 0.15), row("given", 12, 0.3, 0.25)])
    assert found["pays"] is False
    assert found["sentence"].startswith("On 30% of the training images, training from scratch does not pay up to 24")
    assert "AP 0.200, 0.050 below a given start's best AP 0.250" in found["sentence"]


def test_seeds_tell_how_much_is_noise() -> None:
    noisy = [row("random", 12, 1, 0.30, 0.44), row("given", 12, 1, 0.36, 0.48)]
    assert judge(noisy)["pays"] is True
    assert judge([row("random", 12, 1, 0.36, 0.38), row("given", 12, 1, 0.41, 0.43)])["pays"] is False


def test_one_start_alone_says_so() -> None:
    assert judge([row("random", 12, 1, 0.3)])["pays"] is None


def test_lengths_are_whole_epochs_and_differ() -> None:
    assert Grid("x", 3, (6, 1, 0.1, 0.2), (1.0,), 1).lengths == [1, 3, 18]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--what", "convergence"], "no start to compare random initialisation with; add --init FILE"),
        (["--what", "convergence", "--init", "x.pth", "--fractions", "0"], "per cent are above 0"),
        (["--what", "convergence", "--init", "x.pth", "--schedules", "-1"], "a schedule must be above 0"),
        (["--what", "convergence", "--init", "x.pth"], "x.pth: no such checkpoint"),
    ],
)
def test_wrong_options_are_one_line(options: list[str], line: str, tmp_path: Path) -> None:
    written = detector(tmp_path)
    result = CliRunner().invoke(cli, ["analyze", str(written), "--data", "digits", "--out", str(tmp_path), *options])
    assert line in str(result.exception)


def detector(folder: Path) -> Path:
    """A specification of a small timm network with its recipe."""
    spec = DetectorSpec.model_validate(
        {
            "input": InputSpec(height=64, width=64, channels=3).to_json(),
            "backbone": {"kind": "timm", "name": "resnet10t"},
            "neck": PyramidSpec(width=16, levels=(-3, -2)).to_json(),
            "head": TaskAlignedSpec(classes=10, width=16, depth=1, bins=4).to_json(),
            "norm": {"kind": "bn"},
        }
    )
    (folder / "recipe.json").write_text(json.dumps(Recipe(batch_size=50).to_json()))
    path = folder / "spec.json"
    path.write_text(json.dumps(spec.to_json()))
    return path


@pytest.mark.slow
def test_a_real_study_goes_on_where_it_ended(tmp_path: Path) -> None:
    spec, start = detector(tmp_path), tmp_path / "start.pth"
    network = build_detector(DetectorSpec.model_validate(json.loads(spec.read_text())))
    torch.save({k.removeprefix("backbone.net."): v for k, v in network.state_dict().items()}, start)
    options = ["--what", "convergence", "--data", "digits", "--init", str(start), "--epochs", "1", "--json"]
    options += ["--schedules", "1", "--out", str(tmp_path / "out")]

    def run(fractions: str) -> dict[str, Any]:
        command = ["analyze", str(spec), *options, "--fractions", fractions]
        done = CliRunner().invoke(cli, command, catch_exceptions=False)
        return dict(json.loads(done.stdout))

    first = run("20")
    assert [(r["init"], r["epochs"], r["share"]) for r in first["rows"]] == [("given", 1, 0.2), ("random", 1, 0.2)]
    second = run("20,5")
    assert [r for r in second["rows"] if r["share"] == 0.2] == first["rows"] and len(second["rows"]) == 4
    studies = sorted(p.name for p in (tmp_path / "out" / "studies").iterdir() if p.is_dir())
    assert [s[-1] for s in studies if "epochs" in s] == ["1", "2"]
    assert (tmp_path / "out" / "convergence.png").stat().st_size > 10_000
    assert len((tmp_path / "out" / "convergence.csv").read_text().splitlines()) == 5
    assert open_data("digits").info.splits["train"] == 600
