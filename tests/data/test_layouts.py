"""The three layouts hold the same data: written, read back, and on real files."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from scipy.optimize import linear_sum_assignment

from nasdet.data import Dataset
from nasdet.data.images import read_image
from nasdet.data.writers import WRITERS, write_folder
from nasdet.errors import InputError

Opens = Callable[..., Dataset]


def objects(dataset: Dataset, split: str, crowds: bool = True) -> dict[str, list[tuple[Any, ...]]]:
    """Boxes by image name, each as (class name, rounded corners), sorted."""
    found = {}
    for record in dataset.images(split):
        keep = range(len(record.boxes)) if crowds else np.flatnonzero(~record.crowd)
        names = [dataset.info.classes[record.labels[i]] for i in keep]
        found[record.path.stem] = sorted(
            (name, *map(float, record.boxes[i])) for name, i in zip(names, keep, strict=True)
        )
    return found


def assert_same_boxes(first: Dataset, second: Dataset, tolerance: float, crowds: bool = True) -> None:
    assert first.info.splits == second.info.splits
    assert sorted(first.info.classes) == sorted(second.info.classes)
    for split in first.info.splits:
        left, right = objects(first, split, crowds), objects(second, split, crowds)
        assert left.keys() == right.keys()
        for name in left:
            assert [row[0] for row in left[name]] == [row[0] for row in right[name]]
            for label in {row[0] for row in left[name]}:
                ours, theirs = (np.array([r[1:] for r in rows[name] if r[0] == label]) for rows in (left, right))
                distance = abs(ours[:, None] - theirs[None]).max(2)
                assert distance[linear_sum_assignment(distance)].max() <= tolerance


@pytest.mark.parametrize("layout", WRITERS)
def test_digits_survive_every_layout(
    few_digits: Dataset, few_digits_in: dict[str, Path], opens: Opens, layout: str
) -> None:
    digits, again = few_digits, opens(few_digits_in[layout])
    assert again.info.layout == layout
    assert again.info.classes == digits.info.classes
    assert (again.info.mean, again.info.std) == (digits.info.mean, digits.info.std)
    assert not again.info.defects
    assert_same_boxes(digits, again, 0.01)


@pytest.mark.parametrize(
    ("name", "layout"),  # VOC names classes by their boxes only, and coco60 has classes without
    [*(("cells", layout) for layout in WRITERS), ("coco60", "coco"), ("coco60", "yolo")],
)
def test_real_data_survive_every_layout(
    shared_data: Path, few_cells: Dataset, opens: Opens, tmp_path: Path, name: str, layout: str
) -> None:
    first = few_cells if name == "cells" else opens(shared_data / name)
    again = opens(write_folder(first, layout, tmp_path / "out"))
    assert_same_boxes(first, again, 1.0, crowds=layout == "coco")


def test_names_with_spaces_survive_voc_lists(coco_folder: Any, opens: Opens, tmp_path: Path) -> None:
    for entry in coco_folder.content["images"]:
        old = coco_folder.root / "images" / entry["file_name"]
        entry["file_name"] = f"Screenshot {old.name}"
        old.rename(old.with_name(entry["file_name"]))
    dataset = opens(coco_folder.write())
    again = opens(write_folder(dataset, "voc", tmp_path / "voc"))
    assert again.info.splits == dataset.info.splits


def test_real_voc_and_coco_forms_agree(shared_data: Path, cells: Dataset, opens: Opens, tmp_path: Path) -> None:
    coco = cells
    assert coco.info.layout == "coco"
    source = tmp_path / "voc.yaml"
    source.write_text(f"format: voc\nroot: {shared_data / 'bccd'}\n")
    voc = opens(source)
    assert voc.info.layout == "voc"
    assert coco.info.splits == {"train": 205, "val": 87, "test": 72}
    assert_same_boxes(coco, voc, 1.0)


def test_real_yolo_form(shared_data: Path, opens: Opens) -> None:
    coco, yolo = opens(shared_data / "coco60"), opens(shared_data / "coco60" / "data.yaml")
    assert yolo.info.layout == "yolo"
    assert yolo.info.classes == coco.info.classes
    assert yolo.info.splits == coco.info.splits
    assert_same_boxes(coco, yolo, 1.0, crowds=False)


def test_crowds_become_difficult_in_voc(shared_data: Path, opens: Opens, tmp_path: Path) -> None:
    again = opens(write_folder(opens(shared_data / "coco60"), "voc", tmp_path / "voc"))
    assert sum(int(r.crowd.sum()) for s in again.info.splits for r in again.images(s)) == 5


@pytest.fixture
def voc(few_digits_in: dict[str, Path], tmp_path: Path) -> Path:
    """The small digits in VOC's layout, to be changed."""
    return Path(shutil.copytree(few_digits_in["voc"], tmp_path / "voc"))


def test_xml_beside_the_images(few_digits: Dataset, voc: Path, opens: Opens, tmp_path: Path) -> None:
    for split, folder in (("train", "train"), ("val", "valid"), ("test", "test")):
        target = tmp_path / "flat" / folder
        target.mkdir(parents=True)
        for stem in (voc / "ImageSets/Main" / f"{split}.txt").read_text().split():
            shutil.move(voc / "Annotations" / f"{stem}.xml", target)
            shutil.move(voc / "JPEGImages" / f"{stem}.png", target)
    assert_same_boxes(few_digits, opens(tmp_path / "flat"), 0.01)


def test_voc_lists_and_files_that_miss(voc: Path, opens: Opens) -> None:
    lists = voc / "ImageSets/Main"
    stems = (lists / "train.txt").read_text().split()
    (voc / "Annotations" / f"{stems[0]}.xml").unlink()
    (voc / "JPEGImages" / f"{stems[1]}.png").unlink()
    (lists / "trainval.txt").write_text("\n".join(stems + (lists / "val.txt").read_text().split()))
    (lists / "train.txt").unlink()
    info = opens(voc).info
    assert {d.kind: d.count for d in info.defects} == {"missing annotation file": 1, "missing image": 1}
    assert "trainval.txt is taken for train" in info.notes
    assert info.split_rule.startswith("15% of the stated training images by content for val")
    assert info.splits["train"] + info.splits["val"] == 73


def test_voc_object_defects(voc: Path, opens: Opens) -> None:
    path = sorted((voc / "Annotations").glob("train*.xml"))[0]
    text = path.read_text()
    path.write_text(text.replace("<xmin>", "<xmin>x", 1))
    other = sorted((voc / "Annotations").glob("train*.xml"))[1]
    text = other.read_text()
    other.write_text(text.replace("<name>", "<name></name><old>", 1).replace("</name>\n", "</old>\n", 1))
    defects = {d.kind: d for d in opens(voc).info.defects}
    assert {kind: d.count for kind, d in defects.items()} == {"malformed annotation": 1, "unknown class": 1}
    assert defects["malformed annotation"].examples[0].startswith(f"{path.name}, object 1: bndbox")


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ("1 0.5 0.5 0 0.2", "zero-size box"),
        ("1 1.5 0.5 0.2 0.2", "box outside the image"),
        ("1 0.9 0.5 0.4 0.2", "box partly outside the image"),
        ("10 0.5 0.5 0.2 0.2", "unknown class"),
        ("-1 0.5 0.5 0.2 0.2", "unknown class"),
        ("1 0.5 0.5 0.2", "malformed annotation"),
        ("1 0.5 x 0.2 0.2", "malformed annotation"),
        ("1.5 0.5 0.5 0.2 0.2", "malformed annotation"),
        ("1 nan 0.5 0.2 0.2", "NaN or infinite box"),
        ("1 0.5 0.5 -0.2 0.2", "reversed box"),
    ],
)
def test_yolo_rows(few_digits_in: dict[str, Path], opens: Opens, row: str, kind: str) -> None:
    yolo_digits = few_digits_in["yolo"]
    path = sorted((yolo_digits / "labels" / "train").glob("*.txt"))[0]
    before = path.read_text()
    path.write_text(before + row + "\n")
    try:
        defects = opens(yolo_digits).info.defects
    finally:
        path.write_text(before)
    assert [(d.kind, d.count) for d in defects] == [(kind, 1)]
    assert defects[0].examples[0].startswith(f"{path.name}, line {len(before.splitlines()) + 1}")


def test_yolo_polygons_lists_and_classes_file(few_digits_in: dict[str, Path], opens: Opens, tmp_path: Path) -> None:
    root = tmp_path / "set"
    shutil.copytree(few_digits_in["yolo"], root)
    (root / "data.yaml").unlink()
    label = sorted((root / "labels" / "train").glob("*.txt"))[0]
    label.write_text("3 0.1 0.2 0.5 0.2 0.5 0.6 0.1 0.6\n")
    plain = opens(root)
    assert plain.info.splits == {"train": 60, "val": 15, "test": 15}
    assert any("classes are called by their number" in note for note in plain.info.notes)
    (root / "classes.txt").write_text("\n".join("abcdefghij"))
    named = opens(root)
    assert named.info.classes == tuple("abcdefghij")
    record = next(r for r in named.images("train") if r.path.stem == label.stem)
    np.testing.assert_allclose(record.boxes, [[9.6, 19.2, 48, 57.6]], atol=1e-4)
    names = [f"images/train/{p.name}" for p in sorted((root / "images/train").iterdir())]
    (root / "train.txt").write_text("\n".join([*names[:40], "images/train/missing.png"]))
    (root / "data.yaml").write_text("train: [train.txt]\nval: images/val\nnames: {" + ", ".join(
        f"{i}: {c}" for i, c in enumerate("abcdefghij")) + "}\n")  # fmt: skip
    listed = opens(root)
    assert listed.info.splits == {"train": 40, "val": 15}
    assert [(d.kind, d.examples) for d in listed.info.defects] == [
        ("missing image", ("train.txt: images/train/missing.png",))
    ]


def test_16_bit_four_channel_tiff(few_cells: Dataset, opens: Opens, tmp_path: Path) -> None:
    plain = few_cells
    folder = write_folder(plain, "coco", tmp_path / "set")
    for path in sorted(folder.glob("images/*/*.jpg")):
        pixels = read_image(path).astype(np.uint16) * 257
        bands = np.concatenate([pixels, 65535 - pixels[:, :, :1]], 2)[::4, ::4]
        path.unlink()
        tifffile.imwrite(path.with_suffix(".tif"), bands, photometric="minisblack", planarconfig="contig")
    for path in (folder / "annotations").glob("*.json"):
        path.write_text(path.read_text().replace(".jpg", ".tif"))
    dataset = opens(folder)
    assert (dataset.info.channels, dataset.info.bits) == (4, 16)
    np.testing.assert_allclose(np.array(dataset.info.mean[:3]) / 257, plain.info.mean, rtol=0.01)
    np.testing.assert_allclose(dataset.info.mean[3], 65535 - dataset.info.mean[0], rtol=1e-4)
    assert {d.kind for d in dataset.info.defects} == {"boxes stated at another image scale", "near-duplicate boxes"}
    cached = dataset.cached("val", 96, 128)
    assert cached.image(0).dtype == np.uint16
    assert cached.image(0).shape == (96, 128, 4)


def test_gray_stays_one_channel_and_joins_colour(coco_folder: Any, opens: Opens, tmp_path: Path) -> None:
    from PIL import Image

    root = coco_folder.write()
    files = sorted((root / "images").iterdir())
    Image.open(files[0]).convert("L").save(files[0])
    mixed = opens(root)
    assert mixed.info.channels == 3
    for split in mixed.info.splits:
        cached = mixed.cached(split, 64, 64)
        assert all(cached.image(i).shape[2] == 3 for i in range(len(cached)))
    for path in files:
        Image.open(path).convert("L").save(path)
    assert opens(root).info.channels == 1
    (root / "colour.yaml").write_text("channels: 3\n")
    assert opens(root / "colour.yaml").info.channels == 3


def test_writers_refuse(digits: Dataset, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown layout 'kitti'; known: coco, voc, yolo"):
        write_folder(digits, "kitti", tmp_path / "a")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is not empty; give a new folder"):
        write_folder(digits, "coco", tmp_path)
