"""The Pascal VOC layout: one XML file per image.

One decision: coordinates are taken as they are (no shift by one pixel, xmax is the right edge), as today's tools mean
them; the original 1-based ones differ by at most a pixel.

Found are XML files in folders named `Annotations` (or `annotations`, `xmls`) at any depth, with the split lists
`ImageSets/Main/{train,val,test}.txt` beside them, else XML files beside their images; without lists, folders name the
splits (`train/Annotations`, `Annotations/train`). Objects marked difficult are regions to be ignored, as in VOC's own
protocol.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from pathlib import Path, PurePosixPath

from nasdet.data.defects import DefectLog
from nasdet.data.files import read_lines, split_below, split_of, walk
from nasdet.data.image_finder import ImageFinder
from nasdet.data.images import is_image
from nasdet.data.records import SPLITS, RawData, RawImage, RawObject
from nasdet.data.voc_xml import BadXml, VocFile, is_voc, parse_voc, read_box
from nasdet.errors import InputError

_FOLDERS = {"annotations", "annotation", "xmls", "xml"}
_DAMAGED = "damaged annotation file"


def find_voc(root: Path) -> list[Path]:
    """Annotation files of the VOC layout below a folder."""
    files = [p for p in walk(root) if p.suffix.lower() == ".xml"]
    inside = [p for p in files if _FOLDERS & {part.lower() for part in p.relative_to(root).parts[:-1]}]
    if inside and any(map(is_voc, inside)):
        return sorted(inside)
    return sorted(p for p in files if is_voc(p))


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
    found = find_voc(root)
    lists = {split: [part] for split, part in parts.items()} if parts else _image_sets(root, found, raw.notes)
    files = _split_files(root, found, lists, log, finder, raw.notes)
    if not files:
        raise InputError("no VOC annotation file (*.xml)", where=str(root))
    reader = _Reader(finder, log, {name: label for label, name in enumerate(classes or ())}, classes is None)
    raw.images = [image for path, split in files if (image := reader.read(path, split))]
    if not raw.images:
        raise _nothing_read(files, log, finder)
    raw.classes = tuple(sorted(reader.names)) if classes is None else classes
    if not raw.classes:
        raise _no_object(files, log, root)
    if classes is None:
        _sort_labels(raw, reader.names)
    if not lists:
        _count_unannotated(files, raw, log)
    raw.notes += finder.notes()
    return raw


def _nothing_read(files: list[tuple[Path, str]], log: DefectLog, finder: ImageFinder) -> InputError:
    """The error for a set of which every image is missing or every file is damaged: the first cause."""
    missing, damaged = (
        next((d for d in log.defects() if d.kind == kind), None) for kind in ("missing image", _DAMAGED)
    )
    if damaged and (not missing or damaged.count > missing.count):
        return InputError(
            f"{damaged.count} of {len(files)} annotation files cannot be read, such as {damaged.examples[0]}",
            where=str(finder.root), remedy="write them again",
        )  # fmt: skip
    return finder.refuse(len(files), missing.examples[0] if missing else str(files[0][0]))


def _no_object(files: list[tuple[Path, str]], log: DefectLog, root: Path) -> InputError:
    faults = "; ".join(f"{d.kind} {d.count}x, such as {d.examples[0]}" for d in log.defects())
    return InputError(
        f"no object in any of {len(files)} VOC files" + (f": {faults}" if faults else ""), where=str(root),
        remedy="correct them" if faults else "annotate some objects",
    )  # fmt: skip


def _image_sets(root: Path, files: list[Path], notes: list[str]) -> dict[str, list[Path]]:
    """The split lists of `ImageSets/Main`, of every VOC folder; trainval counts as train where there is no train."""
    lists: dict[str, list[Path]] = defaultdict(list)
    bases = {
        base for folder in {p.parent for p in files} for base in (folder, *folder.parents) if base.is_relative_to(root)
    }
    for folder in sorted(base / "ImageSets" / inner for base in bases for inner in ("Main", "")):
        own = {split_of(p.stem): p for p in sorted(folder.glob("*.txt")) if p.stem in ("train", "val", "valid", "test")}
        if "train" not in own and (folder / "trainval.txt").is_file():
            own["train"] = folder / "trainval.txt"
            own.pop("val", None)
            notes.append("trainval.txt is taken for train")
        for split, path in own.items():
            lists[split].append(path)
    return {split: lists[split] for split in SPLITS if split in lists}


def _split_files(
    root: Path, found: list[Path], lists: dict[str, list[Path]], log: DefectLog, finder: ImageFinder, notes: list[str]
) -> list[tuple[Path, str]]:
    """Annotation files with their split, in order of split and name."""
    if not lists:
        return [(p, split_below(p.parent, root)) for p in found]
    chosen: dict[Path, str] = {}
    for split, parts in lists.items():
        by_stem = {p.stem: p for p in sorted(found, key=lambda p: split_below(p.parent, root) == split)}
        for part in parts:
            if part.is_dir():
                inside = sorted(p for p in walk(part) if p.suffix.lower() == ".xml")
                chosen |= {p: split for p in inside if p not in chosen}
                continue
            near = {p.stem: p for p in found if p.is_relative_to(_base_of(part))}
            for line in read_lines(part):
                stem = next((s for s in _stems(line) if s in near or s in by_stem), None)
                if stem is not None:
                    chosen.setdefault(near.get(stem) or by_stem[stem], split)
                elif not _is_absent(line):
                    stem = _stems(line)[-1]
                    known = "its image is there" if finder.find_stem(stem) else "nor its image"
                    log.add("missing annotation file", f"{part.name}: {stem}.xml ({known})", "skipped")
    unlisted = [p for p in found if p not in chosen]
    if unlisted and not any(part.is_dir() for parts in lists.values() for part in parts):
        notes.append(f"{len(unlisted)} annotation files are in no list and not used, such as {unlisted[0].name}")
    return list(chosen.items())


def _base_of(part: Path) -> Path:
    """The folder of a VOC set that a list in its `ImageSets` belongs to."""
    return next((p.parent for p in part.parents if p.name == "ImageSets"), part.parent)


def _stems(line: str) -> list[str]:
    """What a line of a list may mean: a name, which may have blanks; a file; the first of several columns."""
    first, _, last = line.rpartition(" ")
    named = first.strip() if last in ("1", "0", "-1") else line
    candidates = [line, named, named.split()[0]]
    return list(dict.fromkeys([*candidates, *map(_stem, candidates)]))


def _stem(name: str) -> str:
    plain = PurePosixPath(name.replace("\\", "/"))
    return plain.stem if is_image(Path(plain.name)) or plain.suffix.lower() == ".xml" else plain.name


def _is_absent(line: str) -> bool:
    """Whether a list of a class says that an image is none of its examples."""
    return line.split()[-1] == "-1" and len(line.split()) == 2


@dataclasses.dataclass
class _Reader:
    """Reads files one after another."""

    finder: ImageFinder
    log: DefectLog
    names: dict[str, int]
    """Label of each class."""
    open_classes: bool
    """Whether names that are not known yet become classes."""
    _near: dict[Path, tuple[Path, ...]] = dataclasses.field(default_factory=dict)

    def read(self, path: Path, split: str) -> RawImage | None:
        """One file; None if it is damaged or its image is missing, which is counted."""
        try:
            file = parse_voc(path)
        except BadXml as error:
            self.log.add(_DAMAGED, f"{path.name}: {error}", "skipped")
            return None
        for repair in file.repairs:
            self.log.add(repair, path.name, "repaired")
        image = self._image(path, file, split)
        if image is None:
            name = file.file_name or path.stem
            self.log.add("missing image", f"{path.name}: {name}{self.finder.explain(name, split)}", "skipped")
            return None
        raw = RawImage(image, split, [], file.size)
        for number, element in enumerate(file.objects(), 1):
            where = f"{path.name}, object {number}"
            name = (element.findtext("name") or "").strip()
            if not name or (name not in self.names and not self.open_classes):
                self.log.add("unknown class", f"{where}: {name!r}", "skipped")
                continue
            read = read_box(element)
            if read.box is None:
                self.log.add("malformed annotation", f"{where}: {read.fault}", "skipped")
                continue
            if read.fault:
                self.log.add(read.fault, where, "repaired")
            label = self.names.setdefault(name, len(self.names))
            difficult = (element.findtext("difficult") or "0").strip() not in ("0", "")
            raw.objects.append(RawObject(read.box, label, difficult, None, where, read.mask))
        return raw

    def _image(self, path: Path, file: VocFile, split: str) -> Path | None:
        """The image of the file's own name, else the one that it names, else that name anywhere."""
        if path.parent not in self._near:
            self._near[path.parent] = self.finder.around(path.parent)
        near = self._near[path.parent]
        return (
            self.finder.find_stem(path.stem, split=split, near=near)
            or (self.finder.find(file.file_name, split=split, near=near) if file.file_name else None)
            or self.finder.find(path.stem, split=split, near=near)
        )


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
