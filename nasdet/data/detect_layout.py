"""Which layout a folder has.

One decision: where several are present, COCO goes before VOC before YOLO, because it states most (crowds, empty images,
areas), and the choice is noted.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from nasdet.data.classes import settle_classes
from nasdet.data.coco import find_coco, read_coco
from nasdet.data.data_yaml import DataSource, Part
from nasdet.data.defects import DefectLog
from nasdet.data.files import list_images
from nasdet.data.records import RawData
from nasdet.data.voc import find_voc, read_voc
from nasdet.data.voc_xml import is_cvat
from nasdet.data.yolo import find_yolo, has_label_rows, read_yolo
from nasdet.data.yolo_labels import IMAGE_FOLDERS, LABEL_FOLDERS
from nasdet.errors import InputError

_FINDERS = {"coco": find_coco, "voc": find_voc, "yolo": find_yolo}
_DEPTH = 3
"""Folders that hold nothing but one folder, as archives do when they are unpacked, one in the other."""


def read_layout(source: DataSource, log: DefectLog) -> RawData:
    """Read a data set in the layout that its YAML states, else in the one that is found."""
    if source.yolo_yaml:
        return read_yolo(source.root, log, data_yaml=source.yolo_yaml)
    given, (root, found) = source.root, _find(source)
    if not found:
        raise _nothing_found(given)
    source = dataclasses.replace(source, root=root)
    raw = _read(found[0], source, log)
    if not source.file.classes:
        settle_classes(raw, source.where)
    if len(found) > 1:
        raw.notes.insert(0, f"layouts found: {', '.join(found)}; {found[0]} is used")
    if root != given:
        raw.notes.insert(0, f"the data were found in {root.relative_to(given).as_posix()}/")
    if not raw.images and not log.defects():
        raise InputError("no images", where=source.where)
    return raw


def _find(source: DataSource) -> tuple[Path, list[str]]:
    """The layouts found, and the folder they are in: that of the source, or one in it if it holds nothing else."""
    root = source.root
    if source.file.format:
        return root, [source.file.format]
    for _ in range(_DEPTH):
        if found := [name for name, find in _FINDERS.items() if find(root)]:
            return root, found
        folders = [p for p in root.iterdir() if p.is_dir() and not p.name.startswith((".", "__MACOSX"))]
        if len(folders) != 1 or source.parts:
            break
        root = folders[0]
    return source.root, ["yolo"] if has_label_rows(source.root) else []


def _nothing_found(root: Path) -> InputError:
    images = len(list_images(root))
    remedy = "move the files so, or name them in a data YAML"
    if root.name.lower() in IMAGE_FOLDERS and any((root.parent / name).is_dir() for name in LABEL_FOLDERS):
        remedy = f"the labels seem to lie beside it: give {root.parent}"
    if any(is_cvat(path) for path in root.glob("*.xml")):
        remedy = "CVAT's own XML is not read: export COCO, Pascal VOC or YOLO from it"
    return InputError(
        f"no known layout ({images} images, but none of these: COCO (annotations/*.json, "
        "<split>/_annotations.coco.json, *.json), VOC (Annotations/*.xml, or .xml beside the images) and YOLO "
        "(data.yaml, images/ with labels/, or .txt beside the images))",
        where=str(root), remedy=remedy,
    )  # fmt: skip


def _read(layout: str, source: DataSource, log: DefectLog) -> RawData:
    file, root = source.file, source.root
    images = root / file.images if file.images else None
    if images is not None and not os.path.isdir(images):  # noqa: PTH112 (takes any text)
        raise InputError(f"no folder {str(images)!r}", where=f"{source.where}: images")
    if layout == "coco":
        return read_coco(
            root, log, parts={split: _one_file(part, split, source) for split, part in source.parts.items()} or None,
            images=images, group=file.group.field if file.group else "",
        )  # fmt: skip
    if file.group and file.group.field:
        raise InputError("`field` is for COCO only", where=f"{source.where}: group", remedy="use regex or csv")
    classes = tuple(file.classes) if file.classes else None
    if layout == "voc":
        parts = {split: _one_file(part, split, source) for split, part in source.parts.items()}
        return read_voc(root, log, parts=parts or None, images=images, classes=classes)
    return read_yolo(root, log, parts=source.parts or None, images=file.images, classes=classes)


def _one_file(part: Part, split: str, source: DataSource) -> Path:
    if isinstance(part, list):
        raise InputError("needs one path, not a list", where=f"{source.where}: {split}")
    path = source.root / part
    if not os.path.exists(path):  # noqa: PTH110
        raise InputError(f"no such file {str(path)!r}", where=f"{source.where}: {split}")
    return path
