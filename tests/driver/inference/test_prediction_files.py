"""What was found, as other tools read it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from nasdet.driver.inference.prediction_files import image_files, write_results
from nasdet.errors import InputError
from nasdet.evaluation.mask_encoding import encode

CLASSES = ("cell", "dust")


def entries(mask: bool) -> list[dict]:
    code = encode(np.ones((10, 20), bool), 5, 10, 40, 60)
    extra = {"mask": {**code, "counts": code["counts"].decode()}} if mask else {}
    found = [
        {"class": "dust", "score": 0.9, "box": [10.0, 5.0, 30.0, 15.0], **extra},
        {"class": "cell", "score": 0.5, "box": [0.0, 20.0, 15.5, 40.0], **extra},
    ]
    images = {"width": 60, "height": 40}
    return [{"file": "a/x.png", **images, "boxes": found}, {"file": "b/x.png", **images, "boxes": []}]


@pytest.mark.parametrize("mask", [False, True])
def test_pycocotools_opens_the_results(tmp_path: Path, mask: bool) -> None:
    write_results(entries(mask), ["0000-x", "0001-x"], CLASSES, tmp_path)
    coco = COCO(str(tmp_path / "coco_images.json"))
    results = coco.loadRes(str(tmp_path / "coco_results.json"))
    first, second = results.loadAnns(results.getAnnIds(imgIds=[1]))
    assert first["bbox"] == [10.0, 5.0, 20.0, 10.0] and first["score"] == 0.9
    assert coco.loadCats(second["category_id"])[0]["name"] == "cell"
    assert not mask or results.annToMask(first).sum() == 200


def test_rows_and_table(tmp_path: Path) -> None:
    write_results(entries(False), ["0000-x", "0001-x"], CLASSES, tmp_path)
    rows = (tmp_path / "labels" / "0000-x.txt").read_text().splitlines()
    assert rows[0] == "1 0.333333 0.250000 0.333333 0.250000 0.9000" and len(rows) == 2
    assert (tmp_path / "labels" / "0001-x.txt").read_text() == ""
    with (tmp_path / "predictions.csv").open() as file:
        table = list(csv.DictReader(file))
    assert table[1] == {
        "file": "a/x.png", "class": "cell", "score": "0.5", "x1": "0.0", "y1": "20.0", "x2": "15.5", "y2": "40.0"
    }  # fmt: skip
    assert json.loads((tmp_path / "coco_images.json").read_text())["images"][1]["id"] == 2


def test_patterns(tmp_path: Path) -> None:
    for name in ("a/1.png", "b/c/2.png", "b/notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(path) if name.endswith("png") else path.touch()
    assert [f.name for f in image_files([Path("**/*.png")])] == ["1.png", "2.png"]
    for pattern in ("x/*.png", "b/*"):
        with pytest.raises(InputError, match="no image matches this pattern"):
            list(image_files([Path(pattern)]))
