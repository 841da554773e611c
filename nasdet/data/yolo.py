"""The YOLO layout: one text file per image with rows `class cx cy w h` in shares of the image.

If there is a `data.yaml`, it says where the splits are; an image without a label file has no objects.

`labels/` lies parallel to `images/`, or the text files beside the images. Rows with more values are polygons, of which
the extent is the box. Shares refer to the upright image.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from nasdet.data.data_yaml import Part, read_yaml
from nasdet.data.defects import DefectLog
from nasdet.data.files import list_images, read_lines, read_text, split_of
from nasdet.data.images import is_image
from nasdet.data.masks import Mask, parse_polygons
from nasdet.data.records import RawData, RawImage, RawObject
from nasdet.errors import InputError

_YAML_NAMES = ("data.yaml", "data.yml", "dataset.yaml")
_CLASS_FILES = ("classes.txt", "labels/classes.txt", "obj.names")


def find_yolo(root: Path) -> Path | None:
    """The file or folder that shows the YOLO layout, or None."""
    for name in _YAML_NAMES:
        if (root / name).is_file():
            return root / name
    others = [p for p in sorted([*root.glob("*.yaml"), *root.glob("*.yml")]) if _has_names(p)]
    if others:
        return others[0]
    return root / "labels" if (root / "labels").is_dir() and (root / "images").is_dir() else None


def read_yolo(
    root: Path, log: DefectLog, *, data_yaml: Path | None = None, parts: dict[str, Part] | None = None,
    classes: tuple[str, ...] | None = None,
) -> RawData:  # fmt: skip
    """Read a folder in YOLO layout.

    Args:
        root: the folder.
        log: where faults are counted.
        data_yaml: file with names and parts, if not found in the folder.
        parts: folder, list file, or several of either, of each split; the YAML's if None.
        classes: names in order of label; the YAML's if None.
    """
    found = data_yaml or find_yolo(root)
    stated = read_yaml(found) if found and found.suffix in (".yaml", ".yml") else {}
    where = found if stated and found else root
    base = _base(root, stated, where)
    notes: list[str] = []
    names = classes or _names(stated, where) or _class_file(root, notes)
    parts = parts or {split_of(key): stated[key] for key in ("train", "val", "valid", "test") if stated.get(key)}
    listed = _listed(parts, base, where, log) if parts else [(p, _folder_split(p, root)) for p in _all_images(root)]
    if not listed:
        raise InputError("no images", where=str(where), remedy="put them under images/, or name them in data.yaml")
    raw = RawData("yolo", (), [], notes)
    for path, split in listed:
        raw.images.append(RawImage(path, split, _read_labels(path, len(names) if names else None, log), relative=True))
    raw.classes = names or _numbered(raw)
    _count_orphans(raw, log)
    return raw


def _has_names(path: Path) -> bool:
    try:
        content = read_yaml(path)
    except InputError:
        return False
    return "names" in content and ("train" in content or "val" in content)


def _base(root: Path, stated: dict[str, Any], where: Path) -> Path:
    """The folder that parts are relative to: `path` if it exists, else the YAML's own."""
    path = Path(str(stated.get("path") or ".")).expanduser()
    candidate = path if path.is_absolute() else where.parent / path if where.is_file() else root / path
    return candidate if candidate.is_dir() else (where.parent if where.is_file() else root)


def _names(stated: dict[str, Any], where: Path) -> tuple[str, ...] | None:
    names = stated.get("names")
    if names is None:
        if stated:
            raise InputError("no key 'names'", where=str(where), remedy="list the class names in order of their number")
        return None
    if isinstance(names, dict):
        if sorted(map(str, names)) != sorted(str(i) for i in range(len(names))):
            raise InputError(f"names must be numbered 0 to {len(names) - 1}, got {list(names)[:10]}", where=str(where))
        names = [names[key] for key in sorted(names, key=int)]
    if not isinstance(names, list) or not names:
        raise InputError(f"names must be a list or a mapping of number to name, got {names!r}", where=str(where))
    count = stated.get("nc", len(names))
    if count != len(names):
        raise InputError(f"nc is {count}, but {len(names)} names are listed", where=str(where))
    if len(set(map(str, names))) < len(names):
        raise InputError("a class name is listed twice", where=f"{where}: names")
    return tuple(map(str, names))


def _class_file(root: Path, notes: list[str]) -> tuple[str, ...] | None:
    for name in _CLASS_FILES:
        if (root / name).is_file():
            return tuple(read_lines(root / name))
    notes.append("no class names found (data.yaml or classes.txt); classes are called by their number")
    return None


def _listed(parts: dict[str, Part], base: Path, where: Path, log: DefectLog) -> list[tuple[Path, str]]:
    """Images of each split, in order of path; the first split that names an image keeps it."""
    found: dict[Path, str] = {}
    for split, part in parts.items():
        for entry in part if isinstance(part, list) else [part]:
            for path in sorted(_expand(str(entry), base, where, split, log)):
                found.setdefault(path, split)
    return list(found.items())


def _expand(entry: str, base: Path, where: Path, split: str, log: DefectLog) -> list[Path]:
    path = Path(entry) if Path(entry).is_absolute() else base / entry
    if not path.exists() and entry.startswith("../"):
        path = base / entry.removeprefix("../")
    if path.is_dir():
        return list_images(path)
    if not path.is_file():
        raise InputError(f"no such folder or list {entry!r}", where=f"{where}: {split}", remedy=f"looked at {path}")
    if is_image(path):
        return [path]
    images = []
    for line in read_lines(path):
        image = next((p for p in (Path(line), path.parent / line, base / line) if p.is_file()), None)
        if image is None:
            log.add("missing image", f"{path.name}: {line}", "skipped")
        else:
            images.append(image)
    return images


def _all_images(root: Path) -> list[Path]:
    return list_images(root / "images") if (root / "images").is_dir() else list_images(root)


def _folder_split(path: Path, root: Path) -> str:
    parts = path.relative_to(root).parent.parts
    return next((split for part in parts if (split := split_of(part))), "")


def _label_file(image: Path) -> Path:
    """`labels/` in place of the last `images/` on the path, else beside the image, else in a `labels/` beside it."""
    parts = list(image.parts)
    places = [i for i, part in enumerate(parts[:-1]) if part == "images"]
    if places:
        parts[places[-1]] = "labels"
        return Path(*parts).with_suffix(".txt")
    beside = image.with_suffix(".txt")
    nested = image.parent / "labels" / beside.name
    return nested if nested.is_file() and not beside.is_file() else beside


def _read_labels(image: Path, classes: int | None, log: DefectLog) -> list[RawObject]:
    path = _label_file(image)
    if not path.is_file():
        return []
    objects = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if line.strip():
            found = _row(line.split(), f"{path.name}, line {number}", classes, log)
            objects += [found] if found else []
    return objects


def _row(fields: list[str], where: str, classes: int | None, log: DefectLog) -> RawObject | None:
    try:
        label, values = float(fields[0]), [float(v) for v in fields[1:]]
    except ValueError:
        log.add("malformed annotation", f"{where}: {' '.join(fields)[:60]!r}", "skipped")
        return None
    if not label.is_integer() or len(values) < 4 or (len(values) > 4 and (len(values) < 6 or len(values) % 2)):
        log.add("malformed annotation", f"{where}: {len(fields)} values, class {fields[0]}", "skipped")
        return None
    if label < 0 or (classes is not None and label >= classes):
        log.add("unknown class", f"{where}: class {int(label)}", "skipped")
        return None
    mask: Mask | None = None
    if len(values) == 4:
        x, y, w, h = values
        box = (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
    else:
        box = (min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2]))
        mask = parse_polygons([values]) if all(map(math.isfinite, values)) else None
    return RawObject(box, int(label), False, None, where, mask)


def _numbered(raw: RawData) -> tuple[str, ...]:
    largest = max((obj.label for image in raw.images for obj in image.objects), default=-1)
    if largest < 0:
        raise InputError("no object in any label file", where=str(raw.images[0].path.parent))
    return tuple(str(i) for i in range(largest + 1))


def _count_orphans(raw: RawData, log: DefectLog) -> None:
    """Count label files in `labels/` folders that no image file belongs to, listed or not."""
    for folder in sorted({path.parent for image in raw.images if "labels" in (path := _label_file(image.path)).parts}):
        pictures = _image_folder(folder)
        known = {p.stem for p in pictures.iterdir() if is_image(p)} if pictures.is_dir() else set()
        for path in sorted(folder.glob("*.txt")):
            if path.stem not in known and path.name != "classes.txt":
                log.add("missing image", f"{path.name} has no image", "skipped")


def _image_folder(labels: Path) -> Path:
    """The folder of images that a folder of labels belongs to, the reverse of `_label_file`."""
    parts = list(labels.parts)
    last = len(parts) - 1 - parts[::-1].index("labels")
    parallel = Path(*parts[:last], "images", *parts[last + 1 :])
    return parallel if parallel.is_dir() else labels.parent
