"""Writing a data set as a COCO, VOC or YOLO folder. Image files are linked or copied unchanged, so that no bit is lost;
only annotations are rewritten, in pixels of the upright image. What a layout cannot hold is counted by `losses`.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from nasdet.data.dataset import Dataset
from nasdet.data.records import ImageRecord
from nasdet.errors import InputError, nearest


def write_folder(dataset: Dataset, layout: str, out: str | Path) -> Path:
    """Write all splits in a layout and return the folder.

    Args:
        dataset: what to write.
        layout: a name in `WRITERS`: coco, voc or yolo.
        out: a folder that does not exist or is empty.
    """
    folder = Path(out)
    if layout not in WRITERS:
        raise InputError(f"unknown layout {layout!r}", remedy=nearest(layout, WRITERS))
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError("is not empty", where=str(folder), remedy="give a new folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        WRITERS[layout](dataset, folder)
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror})", where=str(folder)) from None
    return folder


def write_coco(dataset: Dataset, folder: Path) -> None:
    """`images/<split>/*` and `annotations/instances_<split>.json`."""
    (folder / "annotations").mkdir()
    for split in dataset.info.splits:
        content = dataset.coco(split)
        names = _place_images(dataset.images(split), folder / "images" / split)
        for entry, name in zip(content["images"], names, strict=True):
            entry["file_name"] = f"images/{split}/{name}"
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))


def write_voc(dataset: Dataset, folder: Path) -> None:
    """`JPEGImages/*`, `Annotations/*.xml` and `ImageSets/Main/<split>.txt`; ignore regions are marked difficult."""
    (folder / "Annotations").mkdir()
    lists = folder / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    taken: set[str] = set()
    for split in dataset.info.splits:
        records = dataset.images(split)
        names = _place_images(records, folder / "JPEGImages", taken)
        for record, name in zip(records, names, strict=True):
            tree = _voc_tree(record, name, dataset)
            ElementTree.indent(tree, "\t")
            tree.write(folder / "Annotations" / f"{Path(name).stem}.xml", encoding="utf-8")
        (lists / f"{split}.txt").write_text("".join(f"{Path(name).stem}\n" for name in names), encoding="utf-8")


def write_yolo(dataset: Dataset, folder: Path) -> None:
    """`images/<split>/*`, `labels/<split>/*.txt` and `data.yaml`; ignore regions are left out, rows cannot say them."""
    for split in dataset.info.splits:
        labels = folder / "labels" / split
        labels.mkdir(parents=True)
        records = dataset.images(split)
        for record, name in zip(records, _place_images(records, folder / "images" / split), strict=True):
            (labels / f"{Path(name).stem}.txt").write_text(_yolo_rows(record))
    # No `path`: the program that people open it with would take "." for its own folder. JSON's strings are YAML's too,
    # and quoted, so that a class called "yes" or "1.10" stays a name.
    lines = [f"{split}: images/{split}" for split in dataset.info.splits]
    names = [json.dumps(name, ensure_ascii=False) for name in dataset.info.classes]
    lines += ["names:", *(f"  {number}: {name}" for number, name in enumerate(names))]
    (folder / "data.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")


WRITERS: dict[str, Callable[[Dataset, Path], None]] = {"coco": write_coco, "voc": write_voc, "yolo": write_yolo}


def losses(dataset: Dataset, layout: str) -> list[str]:
    """What a layout cannot hold of a data set, with counts, one sentence each."""
    records = [r for split in dataset.info.splits for r in dataset.images(split)]
    lost: list[str] = []
    if layout == "coco":
        return lost
    regions = sum(int(r.crowd.sum()) for r in records)
    if regions and layout == "yolo":
        lost.append(f"{regions} regions to ignore (crowds, difficult objects) are not written: rows cannot say them")
    masks = sum(mask is not None for r in records for mask in r.masks)
    if masks:
        lost.append(f"{masks} masks are not written, their boxes are: only the COCO layout keeps masks here")
    areas = sum(int((r.area < 0.99 * (r.boxes[:, 2:] - r.boxes[:, :2]).prod(1)).sum()) for r in records)
    if areas:
        lost.append(f"{areas} stated areas are not written: the area of the box takes their place")
    groups = len({r.group for r in records if r.group})
    if groups:
        lost.append(f"{groups} groups of images are not written")
    present = np.unique(np.concatenate([r.labels for r in records]))
    absent = [name for label, name in enumerate(dataset.info.classes) if label not in present]
    if absent and layout == "voc":
        lost.append(f"classes without an object are not written: {', '.join(absent[:5])} ({len(absent)})")
    return lost


def _place_images(records: list[ImageRecord], folder: Path, taken: set[str] | None = None) -> list[str]:
    """Hard-link (or copy) the image files into a folder under names with distinct stems; return the names."""
    folder.mkdir(parents=True, exist_ok=True)
    taken = set() if taken is None else taken
    names = []
    for record in records:
        stem, number = record.path.stem, 1
        while stem in taken:
            number += 1
            stem = f"{record.path.stem}_{number}"
        taken.add(stem)
        names.append(stem + record.path.suffix)
        try:
            os.link(record.path, folder / names[-1])
        except OSError:
            shutil.copyfile(record.path, folder / names[-1])
    return names


def _voc_tree(record: ImageRecord, name: str, dataset: Dataset) -> ElementTree.ElementTree:
    root = ElementTree.Element("annotation")
    ElementTree.SubElement(root, "filename").text = name
    size = ElementTree.SubElement(root, "size")
    for key, value in (("width", record.width), ("height", record.height), ("depth", dataset.info.channels)):
        ElementTree.SubElement(size, key).text = str(value)
    for box, label, crowd in zip(record.boxes, record.labels, record.crowd, strict=True):
        element = ElementTree.SubElement(root, "object")
        ElementTree.SubElement(element, "name").text = dataset.info.classes[label]
        ElementTree.SubElement(element, "difficult").text = str(int(crowd))
        corners = ElementTree.SubElement(element, "bndbox")
        for key, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True):
            ElementTree.SubElement(corners, key).text = f"{float(value):.4f}".rstrip("0").rstrip(".")
    return ElementTree.ElementTree(root)


def _yolo_rows(record: ImageRecord) -> str:
    rows = []
    for box, label, crowd in zip(record.boxes, record.labels, record.crowd, strict=True):
        if not crowd:
            x1, y1, x2, y2 = (float(v) for v in box)
            shares = ((x1 + x2) / 2 / record.width, (y1 + y2) / 2 / record.height)
            sides = ((x2 - x1) / record.width, (y2 - y1) / record.height)
            rows.append(" ".join([str(int(label)), *(f"{v:.8f}" for v in (*shares, *sides))]) + "\n")
    return "".join(rows)
