"""The YOLO layout: one text file per image with rows `class cx cy w h` in shares of the upright image.

A `data.yaml`, or Darknet's `obj.data`, says where the splits are and what the classes are called; without one, folders
say it, and `classes.txt`. An image without a label file has no objects, and is counted in a note.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nasdet.data.data_yaml import Part, read_yaml
from nasdet.data.defects import DefectLog
from nasdet.data.files import list_images, read_lines, split_of
from nasdet.data.images import is_image
from nasdet.data.records import RawData, RawImage
from nasdet.data.yolo_classes import Classes, class_file, number_classes, stated_classes
from nasdet.data.yolo_labels import IMAGE_FOLDERS, LABEL_FOLDERS, LabelFinder, count_orphans, find_by_name
from nasdet.data.yolo_parts import SplitReader, find_below
from nasdet.data.yolo_rows import Row, RowStyle, choose_style, looks_like_labels, read_rows, to_objects
from nasdet.errors import InputError

_YAML_NAMES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
_SPLIT_KEYS = ("train", "training", "val", "valid", "validation", "test", "testing")


Labels = dict[Path, Path | None]


def find_yolo(root: Path) -> Path | None:
    """The file or folder that shows the YOLO layout, or None."""
    named = [root / name for name in _YAML_NAMES if (root / name).is_file()]
    others = [p for p in sorted([*root.glob("*.yaml"), *root.glob("*.yml")]) if _has_names(p)]
    found = [*named, *others, *sorted(root.glob("*.data"))]
    if found:
        return found[0]
    folders = {p.name.lower(): p for p in root.iterdir() if p.is_dir()}
    labels = next((folders[name] for name in sorted(folders) if name in LABEL_FOLDERS), None)
    return labels if labels and folders.keys() & IMAGE_FOLDERS else None


def has_label_rows(root: Path) -> bool:
    """Whether an image below a folder has a label file: beside it, in a folder of labels, or of its name alone."""
    finder, images = LabelFinder(root), list_images(root)
    found = any((path := finder.find(image)) and looks_like_labels(path) for image in images)
    return found or bool(find_by_name(images, root))


def read_yolo(
    root: Path, log: DefectLog, *, data_yaml: Path | None = None, parts: dict[str, Part] | None = None,
    images: str | None = None, classes: tuple[str, ...] | None = None,
) -> RawData:  # fmt: skip
    """Read a folder in YOLO layout.

    Args:
        root: the folder.
        log: where faults are counted.
        data_yaml: YOLO's own YAML if the user named it; its `path` is then followed wherever it leads.
        parts: folder, list file, or several of either, of each split; the YAML's if None.
        images: folder of the images where no parts are named; all folders if None.
        classes: names in order of label; the YAML's if None.
    """
    found = data_yaml or find_yolo(root)
    stated = _read_stated(found) if found and found.is_file() else {}
    where = found if found and stated else root
    root, base = _folders(root, stated, data_yaml)
    raw, finder = RawData("yolo", (), [], []), LabelFinder(root)
    given = Classes.listed(classes, str(where)) if classes else stated_classes(stated, where, (root, base))
    parts = parts or _stated_parts(stated, where) or _listed_parts(root)
    if parts:
        listed = SplitReader(root, base, where, log, raw.notes).read(parts)
    else:
        inside = find_below(images, [root]) if images else root
        if inside is None:
            raise InputError(f"{images!r} is not in {root}", where=str(where), remedy="let `root` be a folder above it")
        listed = _images_by_folder(root, inside, finder, raw.notes)
    if not listed:
        raise InputError("no images", where=str(where), remedy="put them under images/, or name them in data.yaml")
    labels = _find_labels(listed, root, finder, raw.notes)
    spelling: Counter[str] = Counter()
    rows = {image: read_rows(path, log, spelling) if path else [] for image, path in labels.items()}
    style = choose_style((row for own in rows.values() for row in own), _keypoint_shape(stated, where))
    spelling += _extra_values(rows.values(), style)
    given = given or class_file(root, [path.parent for path in labels.values() if path])
    if given is None and stated:
        raise InputError("no key 'names'", where=str(where), remedy="list the class names in order of their number")
    raw.classes, numbers = number_classes(given, rows.values(), raw.notes, root)
    for image, split in listed:
        if image in labels:
            raw.images.append(RawImage(image, split, to_objects(rows.pop(image), numbers, style, log), relative=True))
    raw.notes += [f"{count} rows have {what}" for what, count in spelling.items()]
    count_orphans(labels, finder, log)
    return raw


def _has_names(path: Path) -> bool:
    try:
        content = read_yaml(path)
    except InputError:
        return False
    return "names" in content and any(key in content for key in _SPLIT_KEYS)


def _read_stated(path: Path) -> dict[str, Any]:
    """What a data.yaml states, or Darknet's obj.data (`train = data/train.txt`), in the keys of the former."""
    if path.suffix != ".data":
        return read_yaml(path)
    pairs = (line.split("=", 1) for line in read_lines(path) if "=" in line)
    stated = {key.strip(): value.strip() for key, value in pairs}
    return {"nc" if key == "classes" else key: value for key, value in stated.items()}


def _folders(root: Path, stated: dict[str, Any], data_yaml: Path | None) -> tuple[Path, Path]:
    """The data folder, and the folder in it that paths are relative to.

    The `path` of a YAML that the user named is followed wherever it leads, as the user's own wish; that of a YAML found
    in the folder only by its last parts.
    """
    path = str(stated.get("path") or "")
    if data_yaml and path:
        own = (data_yaml.parent / Path(path)).resolve()
        if own.is_dir():
            return own, own
    base = find_below(path, [root]) if path else None
    return root, base if base and base.is_dir() else root


def _stated_parts(stated: dict[str, Any], where: Path) -> dict[str, Part]:
    parts: dict[str, Part] = {}
    for key in _SPLIT_KEYS:
        value = stated.get(key)
        entries = value if isinstance(value, list) else [value]
        if value and not all(isinstance(entry, str) for entry in entries):
            raise InputError("needs a folder, a list file, or a list of these", where=f"{where}: {key}")
        if value:
            parts.setdefault(split_of(key), value)
    return parts


def _listed_parts(root: Path) -> dict[str, Part]:
    """The lists of images (`train.txt`, `val.txt`) that lie in the folder, as Darknet's tools write them."""
    found: dict[str, Part] = {}
    for key in _SPLIT_KEYS:
        path = root / f"{key}.txt"
        if path.is_file() and is_image(Path((read_lines(path) or [""])[0])):
            found.setdefault(split_of(key), path.name)
    return found if "train" in found else {}


def _images_by_folder(root: Path, folder: Path, finder: LabelFinder, notes: list[str]) -> list[tuple[Path, str]]:
    """The images in a folder; where there is a folder `images/`, those outside it only if they have a label file."""
    images = list_images(folder)
    parts = {path: path.relative_to(root).parts[:-1] for path in images}
    inside = {path for path in images if any(part.lower() in IMAGE_FOLDERS for part in parts[path])}
    kept = [path for path in images if path in inside or not inside or finder.find(path)]
    if len(kept) < len(images):
        notes.append(f"{len(images) - len(kept)} images outside images/ that have no label file are left out")
    return [(path, next(filter(None, map(split_of, parts[path])), "")) for path in kept]


def _find_labels(listed: list[tuple[Path, str]], root: Path, finder: LabelFinder, notes: list[str]) -> Labels:
    """The label file of each image, None where it has none. A test split without any is left out.

    Raises:
        InputError: no image of another split has a label file.
    """
    labels: Labels = {}
    for split in dict.fromkeys(split for _, split in listed):
        images = [path for path, own in listed if own == split]
        found = {image: finder.find(image) for image in images}
        if not any(found.values()):
            elsewhere = find_by_name(images, root)
            folders = ", ".join(sorted({p.parent.relative_to(root).as_posix() for p in elsewhere.values()}))
            if elsewhere:
                notes.append(f"{split or 'all images'}: label files were found by their names in {folders}")
            found |= elsewhere
        missing = [image for image in images if not found[image]]
        looked = f"looked for {finder.places(missing[0])}" if missing else ""
        if len(missing) < len(images):
            labels |= found
            if missing:
                text = "images have no label file and count as images without objects"
                notes.append(f"{split}{': ' * bool(split)}{len(missing)} of {len(images)} {text}; {looked}")
        elif split == "test":
            notes.append(f"test: none of its {len(images)} images has a label file, the split is left out; {looked}")
        else:
            of_split = f" of {split}" if split else ""
            raise InputError(
                f"none of the {len(images)} images{of_split} has a label file", where=str(root), remedy=looked
            )
    return labels


def _keypoint_shape(stated: dict[str, Any], where: Path) -> tuple[int, int] | None:
    shape = stated.get("kpt_shape")
    if shape is None:
        return None
    if not isinstance(shape, list) or len(shape) != 2 or not all(isinstance(n, int) and n >= 0 for n in shape):
        raise InputError("needs two numbers, as in [17, 3]", where=f"{where}: kpt_shape")
    return shape[0], shape[1]


def _extra_values(rows: Iterable[list[Row]], style: RowStyle) -> Counter[str]:
    """How many rows have values beside their box."""
    counts = Counter(len(row.values) for own in rows for row in own)
    keypoints = sum(count for length, count in counts.items() if length in style.keypoints)
    found = {"keypoints, which are not used": keypoints, "a score, which is not used": counts[5] * style.scored}
    return +Counter(found)
