"""The COCO layout: JSON files with images, annotations and categories.

Labels are the ranks of the category ids, so that sparse ids (COCO's own 1..90) need no table; where files number the
same names differently, names count.

Found are `annotations/*.json`, `<split>/_annotations.coco.json` (Roboflow), else JSON files beside the images
(`labels.json` of FiftyOne, `<split>/annotations.json`). The split is taken from the name of the file, else of its
folder (`instances_train.json`, `train2017.json`, `valid/`).
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nasdet.data.coco_categories import category_labels
from nasdet.data.coco_ids import Ids, shown, whole
from nasdet.data.defects import DefectLog
from nasdet.data.files import read_bytes, read_json, split_below, split_of
from nasdet.data.image_finder import ImageFinder
from nasdet.data.masks import BadMask, Mask, parse_segmentation
from nasdet.data.records import SPLITS, RawData, RawImage, RawObject
from nasdet.errors import InputError

_LISTS = ("images", "annotations", "categories")
_PATTERNS = (
    # of the first group that holds a COCO file, all are read
    ("[aA]nnotation*/*.json", "*/_annotations.coco.json"),
    ("*.json",),
    ("*/*.json", "*/[aA]nnotation*/*.json", "*/*/_annotations.coco.json"),
    ("*/*/*.json", "*/*/[aA]nnotation*/*.json"),
)
_MOST_FILES = 100
"""JSON files looked into in a group: one file an image is another layout."""
_LARGEST_ID = 1 << 63
_PLAIN = {int, float}
_UNKNOWN = RawImage(Path(), "", [])
"""Stands for an image that no entry names."""


@dataclasses.dataclass
class _AnnotationFile:
    """One annotation file, parsed."""

    path: Path
    split: str
    content: dict[str, Any]


def find_coco(root: Path) -> list[Path]:
    """Annotation files of the COCO layout below a folder."""
    first: list[Path] = []
    for patterns in _PATTERNS:
        listed = sorted({p for pattern in patterns for p in root.glob(pattern) if not p.name.startswith(".")})
        lists = {p: _lists_named_in(p) for p in listed[:_MOST_FILES] if p.is_file()}
        if any(len(names) == len(_LISTS) for names in lists.values()):
            speaking = [p for p, names in lists.items() if "images" in names and len(names) > 1]
            return listed if patterns == _PATTERNS[0] and len(listed) <= _MOST_FILES else speaking
        first = first or listed
    # files in annotations/ that hold something else are the data only if nothing else is there
    other = any(root.glob("[aA]nnotation*/*.xml")) or (root / "labels").is_dir()
    return [] if other or len(first) > _MOST_FILES else [p for p in first if p.parent != root]


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
    classes, labels = category_labels([(s.path, s.content) for s in sources], notes)
    raw = RawData("coco", classes, [], notes)
    finder = ImageFinder(root, [images] if images else [])
    for source, own in zip(sources, labels, strict=True):
        _note_empty(source, notes)
        raw.images += _read_source(source, own, finder, log, group)
    missing = log.count({"missing image"})
    if missing and not raw.images:
        raise finder.refuse(missing, next(d.examples[0] for d in log.defects() if d.kind == "missing image"))
    notes += finder.notes()
    return raw


def _lists_named_in(path: Path) -> set[str]:
    """Which of COCO's lists a file speaks of, in any encoding; it is not parsed yet."""
    content = read_bytes(path)
    if b"\0" in content[:8]:
        content = content.replace(b"\0", b"")
    return {name for name in _LISTS if f'"{name}"'.encode() in content}


def _is_coco(content: Any) -> bool:
    return isinstance(content, dict) and all(isinstance(content.get(k), list) for k in _LISTS)


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
    return ", ".join(repr(k) for k in _LISTS if not isinstance(content.get(k), list))


def _found_sources(root: Path, notes: list[str]) -> list[_AnnotationFile]:
    """The best file of each split; files that are not COCO detection files are passed over, with a note."""
    sources: list[_AnnotationFile] = []
    passed: list[str] = []
    for path in find_coco(root):
        content = read_json(path)
        if _is_coco(content):
            split = split_of(path.stem) or split_below(path.parent, root)
            sources.append(_AnnotationFile(path, split, content))
            continue
        images = content.get("images") if isinstance(content, dict) else None
        count = f", {len(images)} images" if isinstance(images, list) and images else ""
        called = path.name if path.parent.name.lower().startswith("annotation") else path.relative_to(root)
        passed.append(f"{called} (no list {_missing_keys(content)}{count})")
    if not sources:
        raise InputError(
            "no COCO annotation file" + (f": {'; '.join(passed)}" if passed else ""), where=str(root / "annotations")
        )
    if passed:
        notes.append(f"not used, because they hold no annotated boxes: {'; '.join(passed)}")
    chosen = [best for split in (*SPLITS, "") if (best := _best(sources, split, root, notes))]
    named = [s for s in chosen if s.split]
    if named and len(named) < len(chosen):
        notes.append(f"{chosen[-1].path.name} is not used: it names no split and others do")
    return _without_part(named or chosen, notes)


def _best(sources: list[_AnnotationFile], split: str, root: Path, notes: list[str]) -> _AnnotationFile | None:
    """Of several files of one split: `instances*` before others, then the shortest name."""
    own = [s for s in sources if s.split == split]
    if len(own) > 1 and not split and sum(s.path.stem.startswith("instances") for s in own) != 1:
        alike = len({s.path.parent for s in own}) > 1
        names = ", ".join(str(s.path.relative_to(root)) if alike else s.path.name for s in own)
        raise InputError(
            f"several annotation files, and none names its split: {names}",
            where=str(root),
            remedy="rename them (instances_train.json) or name them in a data YAML",
        )
    own.sort(key=lambda s: (not s.path.stem.startswith("instances"), len(s.path.name), s.path.name))
    for other in own[1:]:
        notes.append(f"{other.path.name} is not used: {own[0].path.name} is taken for {split or 'all images'}")
    return own[0] if own else None


def _without_part(sources: list[_AnnotationFile], notes: list[str]) -> list[_AnnotationFile]:
    """Trainval is taken for train, and then val is a part of it."""
    by_split = {s.split: s for s in sources}
    train, val = by_split.get("train"), by_split.get("val")
    if train is None or not re.search(r"train(ing)?[^a-z]*val", train.path.stem.lower()):
        return sources
    notes.append(f"{train.path.name} is taken for train")
    if val and _file_names(val) & _file_names(train):
        notes.append(f"{val.path.name} is not used: its images are in {train.path.name}")
        sources = [s for s in sources if s is not val]
    return sources


def _file_names(source: _AnnotationFile) -> set[str]:
    return {str(e.get("file_name")) for e in source.content["images"] if isinstance(e, dict)}


def _note_empty(source: _AnnotationFile, notes: list[str]) -> None:
    if not source.content["images"]:
        notes.append(f"{source.path.name} lists no image")
    elif not source.content["annotations"]:
        notes.append(f"{source.path.name} lists {len(source.content['images'])} images and no annotation")


def _read_source(
    source: _AnnotationFile, labels: Ids[int], finder: ImageFinder, log: DefectLog, group: str
) -> list[RawImage]:
    """The images of one file with their objects; images that are missing stay out."""
    name, near = source.path.name, finder.around(source.path.parent)
    by_id: Ids[RawImage | None] = Ids()
    images: list[RawImage] = []

    def find(file_name: str) -> Path | None:
        return finder.find(file_name, split=source.split, near=near)

    for entry in source.content["images"]:
        _check_image_entry(entry, source, group)
        if entry["id"] in by_id:
            log.add("duplicate image id", f"{name}: image {entry['id']} ({shown(entry['file_name'])})", "skipped")
            continue
        image = _read_image_entry(entry, source, find, group)
        by_id.add(entry["id"], image)
        if image:
            images.append(image)
        else:
            why = finder.explain(str(entry["file_name"]), source.split)
            log.add("missing image", shown(f"{name}: {entry['file_name']}{why}"), "skipped")
    seen: set[Any] = set()
    # Each annotation goes as soon as it is read: a million of them take as much memory as the objects they become.
    annotations: list[Any] = source.content["annotations"]
    annotations.reverse()
    while annotations:
        _read_annotation(annotations.pop(), name, by_id, labels, log, seen)
    return images


def _check_image_entry(entry: Any, source: _AnnotationFile, group: str) -> None:
    is_named = isinstance(entry, dict) and isinstance(entry.get("file_name"), str | int)
    if not is_named or not isinstance(entry.get("id"), int | float | str):
        raise InputError(f"an image needs an id and a file_name, got {shown(entry)[:80]}", where=str(source.path))
    if group and group not in entry:
        raise InputError(
            f"image {entry['id']} has no field {group!r}, which `group` names", where=str(source.path),
            remedy="name a field that every image has",
        )  # fmt: skip


def _read_image_entry(
    entry: dict[str, Any], source: _AnnotationFile, find: Callable[[str], Path | None], group: str
) -> RawImage | None:
    path = find(str(entry["file_name"]))
    if path is None:
        return None
    stated = [_number(entry.get("width")), _number(entry.get("height"))]
    size = (int(stated[0]), int(stated[1])) if all(1 <= v < math.inf for v in stated) else None
    id_ = whole(entry["id"])
    usable = id_ if id_ is not None and abs(id_) < _LARGEST_ID else None
    return RawImage(path, source.split, [], size, id=usable, group=str(entry[group]) if group else "")


def _read_annotation(
    entry: Any, name: str, by_id: Ids[RawImage | None], labels: Ids[int], log: DefectLog, seen: set[Any]
) -> None:
    if not isinstance(entry, dict) or not isinstance(entry.get("image_id"), int | float | str):
        return log.add("malformed annotation", f"{name}: {shown(entry)[:60]}", "skipped")
    id_ = entry.get("id")
    where = f"{name}: annotation {id_}"
    if isinstance(id_, int):
        if id_ in seen:
            log.add("duplicate annotation id", where, "repaired")
        seen.add(id_)
    image = by_id.get(entry["image_id"], _UNKNOWN)
    if image is _UNKNOWN:
        return log.add("annotation of an unknown image", f"{where}, image {shown(entry['image_id'])}", "skipped")
    if image is None:
        return None
    category = entry.get("category_id")
    label = labels.get(category, None) if isinstance(category, int | float | str) else None
    if label is None:
        return log.add("unknown class", f"{where}, category {shown(category)[:40]}", "skipped")
    where = f"{image.path.name}, {where}"
    mask = _mask(entry, where, log)
    box = _box(entry, mask, image.size)
    if box is None:
        return log.add("malformed annotation", f"{where}, bbox {shown(entry.get('bbox'))[:60]}", "skipped")
    area = _number(entry.get("area"))
    stated = area if 0 < area < math.inf else None
    ignored = _flag(entry.get("iscrowd")) or _flag(entry.get("ignore"))
    image.objects.append(RawObject(box, label, ignored, stated, where, mask))
    return None


def _mask(entry: dict[str, Any], where: str, log: DefectLog) -> Mask | None:
    """The object's mask; a bad one is counted, and the object keeps its box."""
    try:
        return parse_segmentation(entry.get("segmentation"))
    except BadMask as error:
        log.add(str(error), where, "skipped")
        return None


def _box(
    entry: dict[str, Any], mask: Mask | None, size: tuple[int, int] | None
) -> tuple[float, float, float, float] | None:
    """xyxy from `bbox` (xywh), else the extent of the mask; None if neither can be read."""
    stated = entry.get("bbox")
    if type(stated) is list and len(stated) == 4 and any(stated) and set(map(type, stated)) <= _PLAIN:
        # what nearly all are
        x, y, w, h = map(_number, stated)
        return x, y, x + w, y + h
    if stated in (None, [], "") or stated == [0, 0, 0, 0]:
        if mask is not None:
            return mask.box(size)
        if stated != [0, 0, 0, 0]:
            return None
    if isinstance(stated, str):
        stated = re.split(r"[\s,;]+", stated.strip("[]() \t"))
    if not isinstance(stated, list) or len(stated) != 4 or len({isinstance(v, str) for v in stated}) > 1:
        return None
    x, y, w, h = map(_number, stated)
    if any(v != v and not _is_nan(given) for v, given in zip((x, y, w, h), stated, strict=True)):
        return None
    return x, y, x + w, y + h


def _number(value: Any) -> float:
    """The number that a value is or spells; NaN if there is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf
    except ValueError:
        return math.nan


def _is_nan(value: Any) -> bool:
    return value != value or (isinstance(value, str) and value.strip().lower() == "nan")


def _flag(value: Any) -> bool:
    """Whether a field says yes, as a number or as text."""
    return bool(value) and str(value).strip().lower() not in ("0", "0.0", "false", "none", "null", "nan", "no")
