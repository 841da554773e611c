"""What was found, as other tools read it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from nasdet.driver.inference.detections import Detections
from nasdet.driver.inference.prediction_files import earlier_files, image_files, write_results
from nasdet.errors import InputError
from nasdet.evaluation.mask_encoding import encode

CLASSES = ("cell", "dust")


def predictions(mask: bool) -> list[tuple[dict, Detections]]:
    code = encode(np.ones((10, 20), bool), 5, 10, 40, 60)
    boxes = np.array([[10.0, 5.0, 30.0, 15.0], [0.0, 20.0, 15.5, 40.0]])
    scores = np.array([0.9, 0.512345678], np.float32)
    found = Detections(boxes, scores, np.array([1, 0]), CLASSES, (40, 60), None, (code, code) if mask else None)
    images = {"width": 60, "height": 40}
    both = (("a/x.png", found), ("b/x.png", found[:0]))
    return [({"file": file, **images, "boxes": own.to_json()}, own) for file, own in both]


@pytest.mark.parametrize("mask", [False, True])
def test_pycocotools_opens_the_results(tmp_path: Path, mask: bool) -> None:
    write_results(predictions(mask), CLASSES, tmp_path)
    coco = COCO(str(tmp_path / "coco_images.json"))
    results = coco.loadRes(str(tmp_path / "coco_results.json"))
    first, second = results.loadAnns(results.getAnnIds(imgIds=[1]))
    assert first["bbox"] == [10.0, 5.0, 20.0, 10.0] and np.float32(first["score"]) == np.float32(0.9)
    assert np.float32(second["score"]) == np.float32(0.512345678)  # every digit
    assert coco.loadCats(second["category_id"])[0]["name"] == "cell"
    assert not mask or results.annToMask(first).sum() == 200


def test_rows_and_table(tmp_path: Path) -> None:
    write_results(predictions(False), CLASSES, tmp_path)
    rows = (tmp_path / "labels" / "0000-x.txt").read_text().splitlines()
    assert rows[0] == "1 0.333333 0.250000 0.333333 0.250000 0.9000" and len(rows) == 2
    assert (tmp_path / "labels" / "0001-x.txt").read_text() == ""
    with (tmp_path / "predictions.csv").open() as file:
        table = list(csv.DictReader(file))
    assert table[1] == {
        "file": "a/x.png", "class": "cell", "score": "0.5123", "x1": "0.0", "y1": "20.0", "x2": "15.5", "y2": "40.0"
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


def test_a_folder_of_folders_is_looked_into(tmp_path: Path) -> None:
    for name in ("scans/a/1.png", "scans/b/c/2.png", "found/0000-1.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(path)
    assert [f.name for f in image_files([Path("scans")])] == ["1.png", "2.png"]
    assert [f.name for f in image_files([tmp_path], leave_out=[Path("found/0000-1.png")])] == ["1.png", "2.png"]
    Image.new("L", (4, 4)).save(tmp_path / "scans" / "0.png")
    assert [f.name for f in image_files([Path("scans")])] == ["0.png"]
    (tmp_path / "empty" / "folder").mkdir(parents=True)
    with pytest.raises(InputError, match="empty: no images in this folder, nor in folders inside it"):
        list(image_files([Path("empty")]))


def test_what_an_earlier_run_wrote(tmp_path: Path) -> None:
    write_results(predictions(False), CLASSES, tmp_path)
    names = ("0000-x.png", "labels/0000-x.txt", "0001-x.png", "labels/0001-x.txt")
    assert earlier_files(tmp_path) == [tmp_path / name for name in names]


@pytest.mark.parametrize(
    "text", ["", "{", "{}", "[1]", '[{"file": 1}]', "[" * 10**5, '[{"other": "format"}]', "null", '{"file": "x"}']
)
def test_a_file_of_the_users_is_no_list_of_what_was_written(tmp_path: Path, text: str) -> None:
    (tmp_path / "predictions.json").write_text(text)
    assert earlier_files(tmp_path) == []


def test_no_entry_leads_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "predictions.json").write_text(json.dumps([{"file": "../../x/../y.png"}, {"file": "/etc/.."}]))
    assert {path.parent for path in earlier_files(tmp_path)} == {tmp_path, tmp_path / "labels"}
