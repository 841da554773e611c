"""A bundle that was trained on tiles cuts a large image into tiles by itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from nasdet.cli.eval import command as eval_command
from nasdet.cli.predict import command as predict_command
from nasdet.data import open_data
from nasdet.driver.training.request import Source, TrainingOptions
from nasdet.driver.training.train import train_detector
from nasdet.space.backbones import StagedSpec, StageSpec
from nasdet.space.heads import TaskAlignedSpec
from nasdet.space.necks import PyramidSpec
from nasdet.space.specs import AugmentSpec, DetectorSpec, InputSpec, Recipe
from tests.scenes import write_scenes


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_detector_trained_on_tiles_finds_the_objects_of_a_scene() -> None:
    folder = write_scenes(Path("scenes"), open_data("digits"), side=15, scenes={"train": 2, "val": 1}, suffix=".tif")
    Path("tiled.yaml").write_text(f"root: {folder}\nformat: coco\ntile: {{size: 96, overlap: 48}}\n")
    spec = DetectorSpec(
        input=InputSpec(height=96, width=96, channels=1),
        backbone=StagedSpec(
            stem="conv3x3", stem_width=16,
            stages=(StageSpec(width=24), StageSpec(width=48), StageSpec(width=64)),
        ),
        neck=PyramidSpec(kind="fpn", levels=(-2, -1), width=32, depth=1),
        head=TaskAlignedSpec(width=32, depth=1),
    )  # fmt: skip
    recipe = Recipe(batch_size=16, base_lr=2e-3, warmup=0.3, augment=AugmentSpec(strength=0.2, hflip=False))
    data = open_data("tiled.yaml")
    train_detector(
        Source(spec, recipe, {}), data, Path("best"), TrainingOptions(epochs=6), resume=False, report=lambda *_: None
    )
    ask = ["best", "--data", str(folder), "--json"]
    tiled = json.loads(CliRunner().invoke(eval_command, ask, catch_exceptions=False).stdout)
    assert tiled["max_detections"] == 100 * 29**2 and tiled["images"] == 1
    assert tiled["ap50"] > 0.3
    run = ["best", str(folder / "val0.tif"), "--out", "found", "--json", "--score", "0.4"]
    found = json.loads(CliRunner().invoke(predict_command, run, catch_exceptions=False).stdout)
    (entry,) = found["predictions"]
    truth = len(data.images("val")[0].boxes)
    assert (entry["width"], entry["height"]) == (1440, 1440)
    assert 0.3 * truth < found["boxes"] < 1.5 * truth
    assert (Path("found") / "0000-val0.png").is_file()
