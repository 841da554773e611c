"""The COCO layout: JSON files with images, annotations and categories.

Labels are the ranks of the category ids, so that sparse ids (COCO's own 1..90) need no table.

Found are `annotations/*.json`, `<split>/_annotations.coco.json` (Roboflow) and JSON files beside the images; the split
is taken from the name (`instances_train.json`, `train2017.json`, `valid/`).
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from pathlib import Path
from typing import Any

from nasdet.data.defects import DefectLog
from nasdet.data.files import ImageFinder, read_json, split_of
from nasdet.data.masks import BadMask, Mask, parse_segmentation
from nasdet.data.records import SPLITS, RawData, RawImage, RawObject
from nasdet.errors import InputError


@dataclasses.dataclass
class _AnnotationFile:
    """One annotation file, parsed."""

    path: Path
    split: str
    content: dict[str, Any]


def find_coco(root: Path) -> list[Path]:
    """Annotation files of the COCO layout below a folder."""
    found = [*sorted((root / "annotations").glob("*.json")), *sorted(root.glob("*/_annotations.coco.json"))]
    return found or [p for p in sorted(root.glob("*.json")) if _is_coco(read_json(p))]


def read_coco(
    root: Path, log: DefectLog, *, parts: dict[str, Path] | None = None, images: Path | None = None, group: str = ""
) -> RawData:
    """Read a folder in COCO layout.

    Args:
        root: the folder.
        log: where faults are counted.
        parts: annotation file of each split (`""`: to be split); found by name if None.
        images: folder that file names are relative to, if not the usual ones.
        group: field of an image entry whose value names its group; empty for none.
    """
    notes: list[str] = []
    sources = _named_sources(parts) if parts else _found_sources(root, notes)
    categories = _categories(sources, notes)
    labels = {id_: label for label, id_ in enumerate(sorted(categories))}
    raw = RawData("coco", tuple(categories[i] for i in labels), [], notes)
    for source in sources:
        finder = ImageFinder(root, [p for p in (images, source.path.parent) if p])
        raw.images += _read_source(source, labels, finder, log, group)
    return raw


def _is_coco(content: Any) -> bool:
    return isinstance(content, dict) and all(
        isinstance(content.get(k), list) for k in ("images", "annotations", "categories")
    )


def _named_sources(parts: dict[str, Path]) -> list[_AnnotationFile]:
    sources = [_AnnotationFile(path, split, read_json(path)) for split, path in parts.items()]
    for source in sources:
        if not _is_coco(source.content):
            missing = _missing_keys(source.content)
            raise InputError(f"is not a COCO annotation file: no list {missing}", where=str(source.path))
    return sources


def _missing_keys(content: Any) -> str:
    if not isinstance(content, dict):
        return "of images, annotations and categories (the file holds no JSON object)"
    return ", ".join(repr(k) for k in ("images", "annotations", "categories") if not isinstance(content.get(k), list))


def _found_sources(root: Path, notes: list[str]) -> list[_AnnotationFile]:
    """The best file of each split; files that are not COCO detection files are passed over."""
    sources: list[_AnnotationFile] = []
    passed: list[str] = []
    for path in find_coco(root):
        content = read_json(path)
        if _is_coco(content):
            split = split_of(path.stem) or (split_of(path.parent.name) if path.parent != root else "")
            sources.append(_AnnotationFile(path, split, content))
        else:
            passed.append(f"{path.name} (no list {_missing_keys(content)})")
    if not sources:
        raise InputError(
            "no COCO annotation file" + (f": {'; '.join(passed)}" if passed else ""), where=str(root / "annotations")
        )
    chosen = [best for split in (*SPLITS, "") if (best := _best(sources, split, root, notes))]
    named = [s for s in chosen if s.split]
    if named and len(named) < len(chosen):
        notes.append(f"{chosen[-1].path.name} is not used: it names no split and others do")
    return named or chosen


def _best(sources: list[_AnnotationFile], split: str, root: Path, notes: list[str]) -> _AnnotationFile | None:
    """Of several files of one split: `instances*` before others, then the shortest name."""
    own = [s for s in sources if s.split == split]
    if len(own) > 1 and not split:
        names = ", ".join(s.path.name for s in own)
        raise InputError(
            f"several annotation files, and none names its split: {names}",
            where=str(root),
            remedy="rename them (instances_train.json) or name them in a data YAML",
        )
    own.sort(key=lambda s: (not s.path.stem.startswith("instances"), len(s.path.name), s.path.name))
    for other in own[1:]:
        notes.append(f"{other.path.name} is not used: {own[0].path.name} is taken for {split}")
    return own[0] if own else None


def _categories(sources: list[_AnnotationFile], notes: list[str]) -> dict[int, str]:
    """Name of each category id, the same in all files."""
    names: dict[int, str] = {}
    parents: set[str] = set()
    used: set[Any] = set()
    for source in sources:
        for entry in source.content["categories"]:
            if not isinstance(entry, dict) or not _is_id(entry.get("id")) or not entry.get("name"):
                raise InputError(f"a category needs a whole id and a name, got {entry!r}", where=str(source.path))
            id_, name = int(entry["id"]), str(entry["name"])
            if names.setdefault(id_, name) != name:
                raise InputError(
                    f"category {id_} is {name!r} here and {names[id_]!r} in another entry",
                    where=str(source.path),
                    remedy="give every category the same id in all files",
                )
            parents.add(str(entry.get("supercategory")))
        used |= {a.get("category_id") for a in source.content["annotations"] if isinstance(a, dict) and _hashable(a)}
    twice = [name for name, n in Counter(names.values()).items() if n > 1]
    if twice:
        raise InputError(f"category name {twice[0]!r} has several ids", where=str(sources[0].path))
    for id_, name in list(names.items()):
        if name in parents and id_ not in used and len(names) > 1 and list(names.values()).count(name) == 1:
            children = sum(name == str(e.get("supercategory")) for e in sources[0].content["categories"])
            if children == len(names) - 1:
                notes.append(f"category {name!r} is left out: it only groups the others")
                del names[id_]
    if not names:
        raise InputError("no categories", where=str(sources[0].path), remedy="list the classes under 'categories'")
    return names


def _hashable(annotation: dict[str, Any]) -> bool:
    return isinstance(annotation.get("category_id"), int | str | float | None)


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _read_source(
    source: _AnnotationFile, labels: dict[int, int], finder: ImageFinder, log: DefectLog, group: str
) -> list[RawImage]:
    """The images of one file with their objects; images that are missing stay out."""
    name = source.path.name
    by_id: dict[Any, RawImage | None] = {}
    images: list[RawImage] = []
    for entry in source.content["images"]:
        image = _read_image_entry(entry, source, finder, log, group)
        if isinstance(entry, dict) and isinstance(entry.get("id"), int | str):
            if entry["id"] in by_id:
                log.add("duplicate image id", f"{name}: image {entry['id']} ({entry.get('file_name')})", "skipped")
                continue
            by_id[entry["id"]] = image
        if image:
            images.append(image)
    seen: set[Any] = set()
    for annotation in source.content["annotations"]:
        _read_annotation(annotation, name, by_id, labels, log, seen)
    return images


def _read_image_entry(
    entry: Any, source: _AnnotationFile, finder: ImageFinder, log: DefectLog, group: str
) -> RawImage | None:
    if not isinstance(entry, dict) or not isinstance(entry.get("file_name"), str) or entry.get("id") is None:
        raise InputError(f"an image needs an id and a file_name, got {str(entry)[:80]}", where=str(source.path))
    path = finder.find(entry["file_name"], split=source.split)
    if path is None:
        log.add("missing image", f"{source.path.name}: {entry['file_name']}", "skipped")
        return None
    if group and group not in entry:
        raise InputError(
            f"image {entry['id']} has no field {group!r}, which `group` names", where=str(source.path),
            remedy="name a field that every image has",
        )  # fmt: skip
    stated: list[Any] = [entry.get("width"), entry.get("height")]
    size = (int(stated[0]), int(stated[1])) if all(map(_is_size, stated)) else None
    id_ = entry["id"] if _is_id(entry["id"]) else None
    return RawImage(path, source.split, [], size, id=id_, group=str(entry[group]) if group else "")


def _is_size(value: Any) -> bool:
    return isinstance(value, int | float) and value >= 1 and math.isfinite(value)


def _read_annotation(
    entry: Any, name: str, by_id: dict[Any, RawImage | None], labels: dict[int, int], log: DefectLog, seen: set[Any]
) -> None:
    if not isinstance(entry, dict) or not isinstance(entry.get("image_id"), int | str):
        return log.add("malformed annotation", f"{name}: {str(entry)[:60]}", "skipped")
    where = f"{name}: annotation {entry.get('id')}"
    if _is_id(entry.get("id")):
        if entry["id"] in seen:
            log.add("duplicate annotation id", where, "repaired")
        seen.add(entry["id"])
    if entry["image_id"] not in by_id:
        return log.add("annotation of an unknown image", f"{where}, image {entry['image_id']}", "skipped")
    image = by_id[entry["image_id"]]
    if image is None:
        return None
    label = labels.get(entry["category_id"]) if _is_id(entry.get("category_id")) else None
    if label is None:
        return log.add("unknown class", f"{where}, category {entry.get('category_id')}", "skipped")
    box = _box(entry)
    if box is None:
        return log.add("malformed annotation", f"{where}, bbox {entry.get('bbox')}", "skipped")
    area = entry.get("area")
    stated = float(area) if isinstance(area, int | float) and math.isfinite(area) and area > 0 else None
    crowd, where = bool(entry.get("iscrowd")), f"{image.path.name}, {where}"
    image.objects.append(RawObject(box, label, crowd, stated, where, _mask(entry, where, log)))
    return None


def _mask(entry: dict[str, Any], where: str, log: DefectLog) -> Mask | None:
    """The object's mask; a bad one is counted, and the object keeps its box."""
    try:
        return parse_segmentation(entry.get("segmentation"))
    except BadMask as error:
        log.add(str(error), where, "skipped")
        return None


def _box(entry: dict[str, Any]) -> tuple[float, float, float, float] | None:
    """xyxy from `bbox` (xywh), else the extent of the polygons; None if neither can be read."""
    box = entry.get("bbox")
    if isinstance(box, list) and len(box) == 4 and all(_number(v) for v in box):
        x, y, w, h = (math.nan if v is None else float(v) for v in box)
        return x, y, x + w, y + h
    polygons = entry.get("segmentation")
    if box in (None, []) and isinstance(polygons, list) and polygons and all(isinstance(p, list) for p in polygons):
        points = [v for p in polygons for v in p]
        if points and all(_number(v) for v in points):
            xs, ys = (
                [p[i] for p in polygons for i in range(0, len(p), 2)],
                [p[i] for p in polygons for i in range(1, len(p), 2)],
            )
            return float(min(xs)), float(min(ys)), float(max(xs)), float(max(ys))
    return None


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
