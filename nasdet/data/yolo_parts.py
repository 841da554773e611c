"""Which images a data set in YOLO layout has, and in which split: folders, list files, or what a data.yaml names.

A path that a file states may come from another machine or from a tool that writes it relative to its own folder. It is
looked up as it is written below the data folder, then by its last parts, images also by their name alone. Drives, roots
and `..` at its beginning count for nothing: nothing outside the data folder is read because a file says so.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from nasdet.data.data_yaml import Part
from nasdet.data.defects import DefectLog
from nasdet.data.files import composed, list_images, read_lines, split_of
from nasdet.data.images import is_image
from nasdet.errors import InputError
from nasdet.files import exists

_FOUND_BY = {"part": "the last parts of their paths", "name": "their names alone"}


def path_parts(stated: str) -> tuple[str, ...]:
    """The parts of a path as any machine writes it, without drive, root and leading `..`.

    >>> path_parts("C:\\\\data\\\\images"), path_parts("../train/./images/")
    (('data', 'images'), ('train', 'images'))
    """
    text = re.sub(r"^[A-Za-z]:", "", stated.strip().replace("\\", "/"))
    return tuple(part for part in posixpath.normpath(text).split("/") if part not in ("", ".", ".."))


def find_below(stated: str, folders: Iterable[Path]) -> Path | None:
    """The file or folder below one of `folders` that a path means: as it is written, else by its last parts.

    The last part alone does not do if the one before it names a split: `../test/images` is not `images`.
    """
    parts = path_parts(stated)
    for start in range(max(1, len(parts))):
        if start and split_of(parts[start - 1]) and not any(map(split_of, parts[start:])):
            continue
        for folder in folders:
            if found := _inside(folder, parts[start:]):
                return found
    return None


def _inside(folder: Path, parts: Sequence[str]) -> Path | None:
    """The path `parts` below a folder; the case of letters and how they are composed may differ."""
    if exists(folder.joinpath(*parts)):
        return folder.joinpath(*parts)
    path: Path | None = folder
    for part in parts:
        alike = [p for p in sorted(path.iterdir()) if _key(p.name) == _key(part)] if path and path.is_dir() else []
        path = next((p for p in alike if p.name == part), alike[0] if alike else None)
    return path


def _key(name: str) -> str:
    return composed(name).casefold()


class SplitReader:
    """Finds the images of every split below a folder, and says in notes what was not as it is written."""

    def __init__(self, root: Path, base: Path, where: Path, log: DefectLog, notes: list[str]) -> None:
        self._root, self._where, self._log, self._notes = root, where, log, notes
        self._folders = list(dict.fromkeys((base, root)))
        self._known: dict[str, Path | None] = {}
        """Images below the root by the last parts of their paths; None where several have the same."""

    def read(self, parts: dict[str, Part]) -> list[tuple[Path, str]]:
        """Images with their split, in order of split and path; the first split that names an image keeps it."""
        found: dict[Path, str] = {}
        for split, part in parts.items():
            images = self._images(part, split)
            if images is None:
                continue
            again = sum(path in found for path in images)
            if again:
                others = "all of them" if again == len(images) else f"{again} of its {len(images)} images"
                self._notes.append(f"{split}: {others} belong to an earlier split already, and count there")
            for path in images:
                found.setdefault(path, split)
        return list(found.items())

    def _images(self, part: Part, split: str) -> list[Path] | None:
        """The images of a split; None for a test split that is not there, which is noted."""
        images: list[Path] = []
        missing = []
        for entry in part if isinstance(part, list) else [part]:
            path = find_below(entry, self._folders)
            if path is None:
                missing.append(entry)
            else:
                images += self._expand(path)
        looked = f"looked for {missing[0]!r} and for its last parts below {self._root}" if missing else ""
        if split == "test" and not images:
            what = f"is not there ({looked})" if looked else f"{part!r} holds no images"
            self._notes.append(f"test {what}; the split is left out")
            return None
        if missing:
            remedy = f"{looked}; state the folder of the data as `path:` if it is another one"
            raise InputError(f"no such folder or list {missing[0]!r}", where=f"{self._where}: {split}", remedy=remedy)
        if not images:
            raise InputError("no images", where=f"{self._where}: {split}", remedy=f"looked at {part!r} in {self._root}")
        return sorted(dict.fromkeys(images))

    def _expand(self, path: Path) -> list[Path]:
        if path.is_dir():
            return list_images(path)
        return [path] if is_image(path) else self._listed(path)

    def _listed(self, path: Path) -> list[Path]:
        """The images that a list file names."""
        lines, images = read_lines(path), []
        how: Counter[str] = Counter()
        for line in lines:
            image = self._as_written(line, path.parent) or self._by_last_parts(line, how)
            if image is None:
                self._log.add("missing image", f"{path.name}: {line}", "skipped")
            else:
                images.append(image)
        if lines and not images:
            remedy = f"looked for {lines[0]!r}, for the last parts of its path and for its name below {self._root}"
            raise InputError(f"none of the {len(lines)} images that it lists is there", where=str(path), remedy=remedy)
        for key, count in how.items():
            self._notes.append(f"{path.name}: {count} of {len(lines)} images were found by {_FOUND_BY[key]}")
        return images

    def _as_written(self, line: str, beside: Path) -> Path | None:
        parts = path_parts(line)
        paths = (folder.joinpath(*parts) for folder in (*self._folders, beside))
        return next((path for path in paths if exists(path) and path.is_file()), None)

    def _by_last_parts(self, line: str, how: Counter[str]) -> Path | None:
        if not self._known:
            for path in list_images(self._root):
                own = path.relative_to(self._root).parts
                for start in range(len(own)):
                    key = _key("/".join(own[start:]))
                    self._known[key] = None if key in self._known else path
        parts = path_parts(line)
        for start in range(len(parts)):
            if image := self._known.get(_key("/".join(parts[start:]))):
                how["name" if start == len(parts) - 1 else "part"] += 1
                return image
        return None
