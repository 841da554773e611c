"""Finding the image files that annotation files name.

One decision: a name is only a hint. It is looked up as written in the folders where images usually lie, then by its
last parts (the longest first), then by the name alone if that is unique below the folder of the data. So nothing
outside of this folder is ever read because an annotation file says so: `..`, absolute paths and addresses count for
their last parts only. How many images were found otherwise than as written is told in notes.
"""

from __future__ import annotations

import functools
import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from nasdet.data.files import split_below, split_of, walk
from nasdet.data.images import SUFFIXES, is_image
from nasdet.errors import InputError

_PLACES = ("", "images", "Images", "JPEGImages", "data", "img", "imgs", "images/default", "train2017", "val2017",
           "test2017")  # fmt: skip
_INNER = ("", "images", "data", "JPEGImages", "img")
"""Places of images in the folder of a split."""
_NO_IMAGE = {".json", ".xml", ".txt", ".csv", ".yaml", ".yml", ".md", ".zip"}
_HOW = {
    "spelling": "found under their decoded name",
    "case": "found under a name that differs in case, in Unicode form or by its suffix",
    "parts": "found by the last parts of their name",
    "name": "found by their name alone, which is unique below the folder",
}


class _Match(NamedTuple):
    """A file whose path ends as a name does."""

    shared: int
    """Last parts that are equal, but for case and Unicode form."""
    same: bool
    """Whether the file's name is equal letter by letter."""
    path: str


class ImageFinder:
    """Looks names of images up below a folder; see the head of this file.

    Args:
        root: folder of the data.
        extra: folders that the user names for the images; they go first.
    """

    def __init__(self, root: Path, extra: Iterable[Path] = ()) -> None:
        self.root, self._named = root, [p for p in extra if p.is_dir()]
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, str] = {}
        self._order: dict[tuple[str, tuple[Path, ...]], list[Path]] = {}
        self._listing: dict[Path, dict[str, Path]] = {}

    def find(self, name: str, *, split: str = "", near: Sequence[Path] = ()) -> Path | None:
        """The file of this name, or None.

        Args:
            name: as an annotation file writes it.
            split: folders that are named after another split come last.
            near: folders to look in before the usual ones (`around`).
        """
        spellings = list(_spellings(name))
        for spelling in spellings:
            for folder in self._folders(split, near) if _is_plain(spelling) else ():
                path = f"{folder}/{spelling}"
                if os.path.isfile(path):  # noqa: PTH113 (three times as quick, and false for names that cannot be)
                    if spelling not in (name, _slashes(name)):
                        self._count("spelling", name, path)
                    return Path(path)
        matches = self._best(spellings, split)
        if len(matches) != 1:
            return None
        match = matches[0]
        how = "case" if not match.same else "parts" if match.shared > 1 else "name"
        self._count(how, name, match.path)
        return Path(match.path)

    def find_stem(self, stem: str, *, split: str = "", near: Sequence[Path] = ()) -> Path | None:
        """The image of this name without suffix in the folders near and usual, or None; see `find`."""
        for folder in self._folders(split, near):
            base = folder / stem
            found = self._images_in(base.parent).get(base.name)
            if found is not None:
                return found
        return None

    def around(self, folder: Path) -> tuple[Path, ...]:
        """Where the images of annotation files in `folder` usually lie: beside them, and in the folders of images of
        this folder and those above, nearest first; `a/Annotations/train` has them in `a/JPEGImages/train`."""
        inner = folder.relative_to(self.root).parts if folder.is_relative_to(self.root) else ()
        found = [folder]
        for depth in range(len(inner), -1, -1):
            base, below = self.root.joinpath(*inner[:depth]), inner[depth + 1 :]
            for place in _PLACES:
                found += [base.joinpath(place, *below), base / place]
        return tuple(p for p in dict.fromkeys(found) if p.is_dir())

    def explain(self, name: str, split: str = "") -> str:
        """Why a name was not found, if more can be said than that it is not there, to be put after the name."""
        spellings = list(_spellings(name))
        if several := self._best(spellings, split):
            return f" ({len(several)} files have it: {', '.join(self._short(m.path) for m in several[:2])})"
        stems = {_key(PurePosixPath(s).stem) for s in spellings}
        other = next((path for stem in stems for path in self._stems.get(stem, ())), None)
        return f" (but {self._short(other)} is there)" if other else ""

    def refuse(self, count: int, example: str) -> InputError:
        """The error for annotation files of which no image is there."""
        images = sum(is_image(Path(path)) for paths in self._index.values() for path in paths)
        return InputError(
            f"no image can be read: missing image {count}x, such as {example}; looked among {images} image files "
            "below this folder",
            where=str(self.root), remedy="put the images there, or name their folder in a data YAML (images: PATH)",
        )  # fmt: skip

    def notes(self) -> list[str]:
        """How many images were found otherwise than as written."""
        return [f"{self._counts[how]} images {text}: {self._examples[how]}" for how, text in _HOW.items()
                if self._counts[how]]  # fmt: skip

    def _count(self, how: str, name: str, path: str) -> None:
        self._counts[how] += 1
        self._examples.setdefault(how, f"{name} is {self._short(path)}")

    def _short(self, path: str) -> str:
        return os.path.relpath(path, self.root)

    def _folders(self, split: str, near: Sequence[Path]) -> list[Path]:
        """Where to look: equal names may occur in the folders of several splits (0001.jpg in train and in val)."""
        key = (split, tuple(near))
        if key not in self._order:
            places = [*near, *self._usual]
            places.sort(key=lambda p: bool(split) and split_below(p, self.root) not in ("", split))
            self._order[key] = list(dict.fromkeys([*self._named, *places]))
        return self._order[key]

    @functools.cached_property
    def _usual(self) -> list[Path]:
        found = [self.root / place for place in _PLACES]
        for top in (self.root / "images", self.root):
            splits = sorted(d for d in top.iterdir() if d.is_dir() and split_of(d.name)) if top.is_dir() else []
            found += [d / inner for inner in _INNER for d in splits]
        return [p for p in dict.fromkeys(found) if p.is_dir()]

    def _images_in(self, folder: Path) -> dict[str, Path]:
        if folder not in self._listing:
            paths = sorted(folder.iterdir(), reverse=True) if folder.is_dir() else []
            self._listing[folder] = {p.stem: p for p in paths if is_image(p)}
        return self._listing[folder]

    @functools.cached_property
    def _index(self) -> dict[str, list[str]]:
        """All files below the folder, and below those that the user names, by name."""
        found: dict[str, list[str]] = defaultdict(list)
        outside = [p for p in self._named if not p.resolve().is_relative_to(self.root.resolve())]
        for top in (self.root, *outside):
            for path in walk(top):
                if path.suffix.lower() not in _NO_IMAGE:
                    found[_key(path.name)].append(str(path))
        return found

    @functools.cached_property
    def _stems(self) -> dict[str, list[str]]:
        """The image files by name without suffix."""
        found: dict[str, list[str]] = defaultdict(list)
        for name, paths in self._index.items():
            if is_image(Path(name)):
                found[PurePosixPath(name).stem] += paths
        return found

    def _best(self, spellings: list[str], split: str) -> list[_Match]:
        """The files whose paths share most last parts with the name; several if that does not decide."""
        for spelling in spellings:
            parts = _last_parts(spelling)
            paths = self._index.get(_key(parts[-1]), []) if parts else []
            if parts and not paths and PurePosixPath(parts[-1]).suffix.lower() not in SUFFIXES:
                paths = self._stems.get(_key(parts[-1]), [])
            matches = [_match(path, parts) for path in paths]
            if matches:
                most = max(m.shared for m in matches)
                best = self._of_split([m for m in matches if m.shared == most], split)
                return list({os.path.realpath(m.path): m for m in best}.values()) if len(best) > 1 else best
        return []

    def _of_split(self, matches: list[_Match], split: str) -> list[_Match]:
        """Of several files those with the very name, those in folders of the split, those in folders of no split."""
        exact = [m for m in matches if m.same]
        matches = exact or matches
        for wanted in (split, "") if split and len(matches) > 1 else ():
            own = [m for m in matches if split_below(Path(m.path), self.root) == wanted]
            if own:
                return own
        return matches


def _spellings(name: str) -> Iterator[str]:
    """The ways in which a name may be meant: as written, with slashes, without an address's query, decoded."""
    plain = _slashes(name)
    tried = [name, plain]
    if "?" in plain:
        # Label Studio serves files as /data/local-files/?d=FOLDER/NAME.
        query = parse_qs(urlsplit(plain).query) if plain.count("?") == 1 else {}
        tried += map(_slashes, query.get("d", []))
        tried.append(plain.partition("?")[0])
    for form in list(tried):
        if "%" in form:
            once = unquote(form)
            tried += [once, unquote(once)]
    yield from dict.fromkeys(tried)


def _slashes(name: str) -> str:
    """The name with the slashes of POSIX and without a leading `./`."""
    return re.sub(r"^(\./)+", "", name.replace("\\", "/"))


def _is_plain(name: str) -> bool:
    """Whether a name can be looked up as written: it leads nowhere but down."""
    return bool(name) and not name.startswith(("/", "~")) and ".." not in name.split("/") and "\0" not in name


def _last_parts(name: str) -> list[str]:
    """The folders and the name after the last `..`."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    back = max((i for i, part in enumerate(parts) if part == ".."), default=-1)
    return parts[back + 1 :]


def _key(name: str) -> str:
    """Equal for names that differ in case, in Unicode form, or as .jpg and .jpeg only."""
    folded = unicodedata.normalize("NFC", name).casefold()
    return re.sub(r"\.(jpe|tif)(g|f)$", lambda m: ".jpg" if m[1] == "jpe" else ".tif", folded)


def _match(path: str, parts: list[str]) -> _Match:
    own = path.split("/")[::-1]
    shared = 1  # the name itself, perhaps but for its suffix
    for ours, theirs in zip(own[1:], parts[-2::-1], strict=False):
        if _key(ours) != _key(theirs):
            break
        shared += 1
    return _Match(shared, own[0] == parts[-1], path)
