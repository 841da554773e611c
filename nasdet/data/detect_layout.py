"""Which layout a folder has.

One decision: where several are present, COCO goes before VOC before YOLO, because it states most (crowds, empty images,
areas), and the choice is noted.
"""

from __future__ import annotations

from pathlib import Path

from nasdet.data.coco import find_coco, read_coco
from nasdet.data.data_yaml import DataSource, Part
from nasdet.data.defects import DefectLog
from nasdet.data.records import RawData
from nasdet.data.voc import find_voc, read_voc
from nasdet.data.yolo import find_yolo, read_yolo
from nasdet.errors import InputError

_FINDERS = {"coco": find_coco, "voc": find_voc, "yolo": find_yolo}


def read_layout(source: DataSource, log: DefectLog) -> RawData:
    """Read a data set in the layout that its YAML states, else in the one that is found."""
    if source.yolo_yaml:
        return read_yolo(source.root, log, data_yaml=source.yolo_yaml)
    found = (
        [source.file.format] if source.file.format else [name for name, find in _FINDERS.items() if find(source.root)]
    )
    if not found:
        raise InputError(
            "no known layout: looked for COCO (annotations/*.json, <split>/_annotations.coco.json, *.json), VOC "
            "(Annotations/*.xml, or .xml beside the images) and YOLO (data.yaml, or images/ with labels/)",
            where=str(source.root), remedy="move the files so, or name them in a data YAML",
        )  # fmt: skip
    raw = _read(found[0], source, log)
    if len(found) > 1:
        raw.notes.insert(0, f"layouts found: {', '.join(found)}; {found[0]} is used")
    if not raw.images and not log.defects():
        raise InputError("no images", where=source.where)
    return raw


def _read(layout: str, source: DataSource, log: DefectLog) -> RawData:
    file, root = source.file, source.root
    images = root / file.images if file.images else None
    if images is not None and not images.is_dir():
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
    return read_yolo(root, log, parts=source.parts or None, classes=classes)


def _one_file(part: Part, split: str, source: DataSource) -> Path:
    if isinstance(part, list):
        raise InputError("needs one path, not a list", where=f"{source.where}: {split}")
    path = source.root / part
    if not path.exists():
        raise InputError(f"no such file {str(path)!r}", where=f"{source.where}: {split}")
    return path
