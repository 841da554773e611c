"""Images ImageNet never saw, from search to prediction: four 16-bit channels, and one channel of 8 bits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from PIL import Image

from nasdet.cli import eval as eval_command
from nasdet.cli import export, predict
from nasdet.driver.study.detector_search import start_search
from nasdet.driver.study.options import SearchOptions
from tests.driver.conftest import tiny_space

KEPT = {"train": 24, "val": 8, "test": 8}


def four_channels(path: Path, rgb: np.ndarray) -> None:
    """Red, green, blue and their mean in 12 of 16 bits, as a planar TIFF."""
    bands = np.concatenate([rgb, rgb.mean(2, keepdims=True)], 2).astype(np.uint16) * 16
    tifffile.imwrite(
        path.with_suffix(".tif"), np.moveaxis(bands, 2, 0), planarconfig="separate", photometric="minisblack"
    )


def one_channel(path: Path, rgb: np.ndarray) -> None:
    Image.fromarray(rgb.mean(2).astype(np.uint8)).save(path.with_suffix(".png"))


WRITERS = {"tif": four_channels, "png": one_channel}


def make_set(bccd: Path, folder: Path, kind: str) -> Path:
    """A COCO folder of a few blood-cell images, half their size, rewritten by a writer."""
    (folder / "annotations").mkdir(parents=True)
    (folder / "images").mkdir()
    for split, count in KEPT.items():
        coco = json.loads((bccd / "annotations" / f"instances_{split}.json").read_text())
        images = coco["images"][:count]
        for image in images:
            source = Image.open(bccd / image["file_name"]).convert("RGB")
            pixels = np.asarray(source.resize((image["width"] // 2, image["height"] // 2)))
            name = Path(image["file_name"]).stem
            WRITERS[kind](folder / "images" / name, pixels)
            image.update(file_name=f"{name}.{kind}", width=pixels.shape[1], height=pixels.shape[0])
        kept = {image["id"] for image in images}
        found = [a for a in coco["annotations"] if a["image_id"] in kept]
        for annotation in found:
            annotation["bbox"] = [v / 2 for v in annotation["bbox"]]
            annotation["area"] /= 4
        out = {**coco, "images": images, "annotations": found}
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(out))
    return folder


def invoke(command: Any, *arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(command, [*arguments, "--json"], catch_exceptions=False)
    return dict(json.loads(result.stdout))


@pytest.mark.parametrize(("kind", "channels"), [("tif", 4), ("png", 1)])
def test_search_export_eval_predict(
    without_ray: None, shared_data: Path, tmp_path: Path, kind: str, channels: int
) -> None:
    folder = make_set(shared_data / "bccd", tmp_path / "set", kind)
    space = tiny_space("budget.trials=1", "fixed.input.shape=auto", "fixed.input.size=96")
    summary = start_search(space, SearchOptions(data=str(folder), study=tmp_path / "study"))
    image = summary.front[0].spec["input"]
    assert image["channels"] == channels and len(image["mean"]) == channels
    assert image["height"] < image["width"]  # follows the images' aspect
    assert (max(image["mean"]) > 255) == (kind == "tif")
    told = invoke(export.command, str(tmp_path / "study"), "--pick", "best", "--out", str(tmp_path / "b"))
    figures = invoke(eval_command.command, str(tmp_path / "b"), "--data", str(folder))
    assert figures["ap"] == pytest.approx(told["values"]["ap"], abs=1e-4)
    assert figures["images"] == KEPT["val"]
    files = [str(f) for f in sorted((folder / "images").iterdir())[:3]]
    found = invoke(predict.command, str(tmp_path / "b"), *files, "--out", str(tmp_path / "p"), "--score", "0.0")
    assert found["images"] == 3 and found["boxes"] > 0
    for entry in found["predictions"]:
        assert (entry["width"], entry["height"]) == (320, 240)
        for box in entry["boxes"]:
            x1, y1, x2, y2 = box["box"]
            assert 0 <= x1 <= x2 <= 320 and 0 <= y1 <= y2 <= 240
    assert len(list((tmp_path / "p").glob("*.png"))) == 3
