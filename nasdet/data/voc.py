"""The Pascal VOC layout: one XML file per image.

One decision: coordinates are taken as they are (no shift by one pixel, xmax is the right edge), as today's tools mean
them; the original 1-based ones differ by at most a pixel.

Found are `Annotations/*.xml` with `ImageSets/Main/{train,val,test}.txt`, and XML files beside their images, in one
folder or in `train/`, `valid/`, `test/`. Objects marked difficult are regions to be ignored, as in VOC's own protocol.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from nasdet.data.defects import DefectLog
from nasdet.data.files import ImageFinder, read_lines, split_of
from nasdet.data.images import is_image
from nasdet.data.records import SPLITS, RawData, RawImage, RawObject
from nasdet.errors import InputError

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def find_voc(root: Path) -> list[Path]:
    """Annotation files of the VOC layout below a folder."""
    folder = root / "Annotations"
    if folder.is_dir():
        found = sorted(folder.rglob("*.xml"))
        if found:
            return found
    beside = [p for pattern in ("*.xml", "*/*.xml", "*/*/*.xml") for p in root.glob(pattern)]
    return sorted(p for p in beside if _is_voc(p))


def read_voc(
    root: Path, log: DefectLog, *, parts: dict[str, Path] | None = None, images: Path | None = None,
    classes: tuple[str, ...] | None = None,
) -> RawData:  # fmt: skip
    """Read a folder in VOC layout.

    Args:
        root: the folder.
        log: where faults are counted.
        parts: list of names, or folder of XML files, of each split; found by name if None.
        images: folder of the images, if not one of the usual ones.
        classes: names in order of label; default: all that occur, sorted.
    """
    raw = RawData("voc", (), [])
    finder = ImageFinder(root, [images] if images else [])
    lists = parts or _image_sets(root, raw.notes)
    files = _split_files(root, lists, log, finder)
    if not files:
        raise InputError("no VOC annotation file (*.xml)", where=str(root))
    names: dict[str, int] = {name: label for label, name in enumerate(classes or ())}
    for path, split in files:
        image = _read_file(path, split, finder, names, log, open_classes=classes is None)
        if image:
            raw.images.append(image)
    raw.classes = tuple(sorted(names)) if classes is None else classes
    if not raw.classes:
        raise InputError("no object in any VOC file", where=str(root), remedy="annotate some objects")
    if classes is None:
        _sort_labels(raw, names)
    if not lists:
        _count_unannotated(files, raw, log)
    return raw


def _is_voc(path: Path) -> bool:
    with path.open("rb") as file:
        return b"<annotation" in file.read(2048)


def _split_files(root: Path, lists: dict[str, Path], log: DefectLog, finder: ImageFinder) -> list[tuple[Path, str]]:
    """Annotation files with their split, in order of split and name."""
    everything = find_voc(root)
    if not lists:
        return [(p, split_of(p.parent.name) if p.parent != root else "") for p in everything]
    chosen: list[tuple[Path, str]] = []
    for split, part in lists.items():
        if part.is_dir():
            chosen += [(p, split) for p in sorted(part.rglob("*.xml"))]
            continue
        by_stem = {p.stem: p for p in sorted(everything, key=lambda p: split_of(p.parent.name) == split)}
        for stem in dict.fromkeys(line if line in by_stem else _stem(line) for line in read_lines(part)):
            if stem in by_stem:
                chosen.append((by_stem[stem], split))
            else:
                known = "its image is there" if finder.find_stem(stem) else "nor its image"
                log.add("missing annotation file", f"{part.name}: {stem}.xml ({known})", "skipped")
    return chosen


def _image_sets(root: Path, notes: list[str]) -> dict[str, Path]:
    """The split lists of `ImageSets/Main`; trainval counts as train where there is no train."""
    folder = root / "ImageSets" / "Main"
    lists = {split_of(p.stem): p for p in sorted(folder.glob("*.txt")) if p.stem in ("train", "val", "valid", "test")}
    if "train" not in lists and (folder / "trainval.txt").is_file():
        lists["train"] = folder / "trainval.txt"
        lists.pop("val", None)
        notes.append("trainval.txt is taken for train")
    return {split: lists[split] for split in SPLITS if split in lists}


def _stem(line: str) -> str:
    name = line.split()[0]
    return Path(name).stem if is_image(Path(name)) or name.endswith(".xml") else name


def _read_file(
    path: Path, split: str, finder: ImageFinder, names: dict[str, int], log: DefectLog, *, open_classes: bool
) -> RawImage | None:
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise InputError(f"is not valid XML ({error})", where=str(path), remedy="write the file again") from None
    file_name = (root.findtext("filename") or "").strip()
    image = finder.find_stem(path.stem, split=split, prefer=path.parent)
    image = image or (finder.find(file_name, split=split, prefer=path.parent) if file_name else None)
    if image is None:
        log.add("missing image", f"{path.name}: {file_name or path.stem}", "skipped")
        return None
    raw = RawImage(image, split, [], _size(root))
    for number, element in enumerate(root.iter("object"), 1):
        where = f"{path.name}, object {number}"
        name = (element.findtext("name") or "").strip()
        if not name or (name not in names and not open_classes):
            log.add("unknown class", f"{where}: {name!r}", "skipped")
            continue
        box = _box(element)
        if box is None:
            log.add("malformed annotation", f"{where}: bndbox {_box_text(element)}", "skipped")
            continue
        label = names.setdefault(name, len(names))
        difficult = (element.findtext("difficult") or "0").strip() not in ("0", "")
        raw.objects.append(RawObject(box, label, difficult, None, where))
    return raw


def _size(root: ElementTree.Element) -> tuple[int, int] | None:
    """Stated width and height; None where the file states none, or zeros as some tools do."""
    try:
        width, height = (int(float(root.findtext(f"size/{k}") or 0)) for k in ("width", "height"))
    except ValueError:
        return None
    return (width, height) if width > 0 and height > 0 else None


def _box(element: ElementTree.Element) -> tuple[float, float, float, float] | None:
    try:
        x1, y1, x2, y2 = (float(element.findtext(f"bndbox/{corner}", "")) for corner in _CORNERS)
    except ValueError:
        return None
    return x1, y1, x2, y2


def _box_text(element: ElementTree.Element) -> str:
    return str([element.findtext(f"bndbox/{corner}") for corner in _CORNERS])


def _sort_labels(raw: RawData, names: dict[str, int]) -> None:
    """Renumber labels, given in order of appearance, in order of name."""
    rank = {names[name]: label for label, name in enumerate(raw.classes)}
    for image in raw.images:
        image.objects = [obj._replace(label=rank[obj.label]) for obj in image.objects]


def _count_unannotated(files: list[tuple[Path, str]], raw: RawData, log: DefectLog) -> None:
    """Report images in folders of annotated images that have no XML; they are left out."""
    known = {image.path for image in raw.images}
    stems = {path.stem for path, _ in files}
    for folder in sorted({path.parent for path in known}):
        for path in sorted(folder.iterdir()):
            if is_image(path) and path not in known and path.stem not in stems:
                log.add("image without annotation file", path.name, "reported")
