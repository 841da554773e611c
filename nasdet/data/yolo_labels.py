"""Which label file belongs to an image of the YOLO layout.

It has the image's name and lies in `labels/` in place of the last `images/` of its path, else beside the image, else in
any folder called `labels` above it. No file outside the data folder is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from nasdet.data.defects import DefectLog
from nasdet.data.files import composed, split_of, walk
from nasdet.data.images import is_image
from nasdet.data.yolo_rows import looks_like_labels

IMAGE_FOLDERS = {"images", "image", "imgs", "img", "jpegimages"}
LABEL_FOLDERS = {"labels", "label", "yolo_labels", "labels_yolo"}
_NO_LABELS = {"classes", "train", "val", "valid", "test", "trainval", "notes", "names", "labels", "predefined_classes"}


class LabelFinder:
    """Finds label files below a folder; every folder is listed once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._listed: dict[Path, dict[str, Path]] = {}
        self._subfolders: dict[Path, list[Path]] = {}
        self._places: dict[Path, list[Path]] = {}

    def find(self, image: Path) -> Path | None:
        """The label file of an image below the root, or None."""
        for folder in self._folders(image.parent):
            if found := _named(self.files(folder), image):
                return found
        return None

    def files(self, folder: Path) -> dict[str, Path]:
        """The text files in a folder by their name without suffix, as it is and with case folded."""
        if folder not in self._listed:
            named = {}
            for path in sorted(folder.iterdir()) if folder.is_dir() else []:
                if path.suffix.lower() == ".txt" and not path.name.startswith("."):
                    named[composed(path.stem)] = path
            self._listed[folder] = {stem.casefold(): path for stem, path in named.items()} | named
        return self._listed[folder]

    def places(self, image: Path) -> str:
        """Where a label file of an image is looked for first, for messages."""
        folders = [*self._parallel(image.parent, "labels")[:1], image.parent]
        named = [(folder / f"{image.stem}.txt").relative_to(self._root).as_posix() for folder in folders]
        return f"{' and '.join(named)} (and any folder called labels above)"

    def _folders(self, folder: Path) -> list[Path]:
        """Where label files of the images in a folder may lie, the usual places first."""
        if folder not in self._places:
            parts = folder.relative_to(self._root).parts
            places = [*self._parallel(folder), folder]
            for i in range(len(parts), -1, -1):
                for labels in self._label_folders(self._root.joinpath(*parts[:i])):
                    places += [labels.joinpath(*parts[i + 1 :]), labels.joinpath(*parts[i:]), labels]
            self._places[folder] = [place for place in dict.fromkeys(places) if place.is_dir()]
        return self._places[folder]

    def _parallel(self, folder: Path, name: str = "") -> list[Path]:
        """The folders that lie as `folder` does, with `labels` for `images`, the last one of its path first."""
        parts = folder.relative_to(self._root).parts
        found = []
        for i in [i for i, part in enumerate(parts) if part.lower() in IMAGE_FOLDERS][::-1]:
            above = self._root.joinpath(*parts[:i])
            found += [labels.joinpath(*parts[i + 1 :]) for labels in self._label_folders(above)]
            found += [above.joinpath(name, *parts[i + 1 :])] if name else []
        return found

    def _label_folders(self, above: Path) -> list[Path]:
        if above not in self._subfolders:
            inside = sorted(above.iterdir()) if above.is_dir() else []
            self._subfolders[above] = [p for p in inside if p.name.lower() in LABEL_FOLDERS and p.is_dir()]
        return self._subfolders[above]


def _named(files: dict[str, Path], image: Path) -> Path | None:
    """The file that is named after an image: `a.txt` or `a.jpg.txt`, in whatever form its letters are composed."""
    stem, name = composed(image.stem), composed(image.name)
    return files.get(stem) or files.get(name) or files.get(stem.casefold())


def find_by_name(images: Iterable[Path], root: Path) -> dict[Path, Path]:
    """Label files of images for which none lies where it is looked for: the text file below the root with the name of
    the image, if there is one only, or only one in a folder of the same split."""
    by_stem: dict[str, list[Path]] = {}
    for path in walk(root):
        if path.suffix.lower() == ".txt" and path.stem.lower() not in _NO_LABELS:
            by_stem.setdefault(composed(path.stem), []).append(path)
    found = {}
    for image in images:
        candidates = by_stem.get(composed(image.stem), [])
        if len(candidates) > 1:
            split = _split_below(image, root)
            candidates = [path for path in candidates if _split_below(path, root) == split]
        if len(candidates) == 1 and looks_like_labels(candidates[0]):
            found[image] = candidates[0]
    return found


def _split_below(path: Path, root: Path) -> str:
    return next(filter(None, map(split_of, path.relative_to(root).parent.parts)), "")


def count_orphans(labels: dict[Path, Path | None], finder: LabelFinder, log: DefectLog) -> None:
    """Count label files that no image belongs to, in the folders of those that were found, and files that several
    images share (`a.jpg` and `a.png`).

    Args:
        labels: label file of each image.
        finder: that has found them.
        log: where faults are counted.
    """
    owners: dict[Path, Path] = {}
    image_folders: dict[Path, set[Path]] = {}
    for image, path in labels.items():
        if path is None:
            continue
        if path in owners:
            log.add("label file of several images", f"{path.name}: {owners[path].name} and {image.name}", "reported")
        owners[path] = image
        image_folders.setdefault(path.parent, set()).add(image.parent)
    stems: dict[Path, set[str]] = {}
    for folder, pictures in image_folders.items():
        for parent in pictures - stems.keys():
            stems[parent] = _image_stems(parent)
        known = set[str]().union(*(stems[parent] for parent in pictures))
        for path in dict.fromkeys(finder.files(folder).values()):
            stem = path.stem
            if path in owners or composed(stem).casefold() in known or _is_no_label(stem):
                continue
            if folder not in pictures or looks_like_labels(path):
                log.add("missing image", f"{path.name} has no image", "skipped")


def _image_stems(folder: Path) -> set[str]:
    images: Sequence[Path] = [p for p in folder.iterdir() if is_image(p)]
    return {composed(p.stem).casefold() for p in images} | {composed(p.name).casefold() for p in images}


def _is_no_label(stem: str) -> bool:
    return stem.lower() in _NO_LABELS or stem.lower().startswith("readme")
