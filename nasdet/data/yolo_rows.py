"""The rows of YOLO label files: what each one is, and the objects that they become.

A row is a class and four values, the box, or more: a polygon, or a box and its keypoints. Which of them cannot be seen
from one row, so all rows of a data set are read before the first becomes an object.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from nasdet.data.defects import DefectLog
from nasdet.data.files import read_text
from nasdet.data.masks import Mask, parse_polygons
from nasdet.data.records import RawObject

_OVER = 0.02
"""Share of the image by which a box and its keypoints may leave it."""
_LOOKED_AT = 500
"""Rows whose outlines are looked at, to tell polygons from keypoints."""
_SIMPLE_OUTLINES = 0.9
"""Share of the outlines without a crossing from which on rows are polygons."""


class Row(NamedTuple):
    """One row of a label file."""

    file: str
    line: int
    label: str
    """As it is written: a number, or the name of a class."""
    values: tuple[float, ...]

    @property
    def where(self) -> str:
        """File and line, for messages."""
        return f"{self.file}, line {self.line}"


class RowStyle(NamedTuple):
    """How the rows of a data set that have more than four values are to be read."""

    keypoints: frozenset[int] = frozenset()
    """Numbers of values of rows that are a box and its keypoints."""
    scored: bool = False
    """Whether rows of five values are a box and its score."""


def read_rows(path: Path, log: DefectLog, spelling: Counter[str]) -> list[Row]:
    """The rows of a label file; those that cannot be read are counted.

    Args:
        path: the file.
        log: where faults are counted.
        spelling: where unusual ways to write rows are counted.
    """
    rows = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        fields = line.split() if "," not in line and ";" not in line else _split_at_commas(line, spelling)
        if fields:
            row = _read_row(fields, path.name, number)
            if row is None:
                log.add("malformed annotation", f"{path.name}, line {number}: {' '.join(fields)[:60]!r}", "skipped")
            else:
                rows.append(row)
    return rows


def looks_like_labels(path: Path) -> bool:
    """Whether the first row of a text file is one of a label file."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            line = next((line for line in file.read(10_000).splitlines() if line.strip()), "")
    except (OSError, UnicodeDecodeError):
        return False
    row = _read_row(_split_at_commas(line, Counter()), path.name, 1)
    return row is not None and len(row.values) >= 4


def _split_at_commas(line: str, spelling: Counter[str]) -> list[str]:
    """The fields of a line in which commas are separators (`0, 0.5`, `0,0.5`) or decimal points (`0 0,5`)."""
    words = line.replace(";", " ").split()
    joined = [word for word in words if "," in word.rstrip(",")]
    if joined and len(words) > 4 and not any("." in word for word in joined):
        spelling["decimal commas"] += 1
        return [word.replace(",", ".") for word in words]
    if joined or "," in line or ";" in line:
        spelling["commas or semicolons between their values"] += 1
    return line.replace(",", " ").replace(";", " ").split()


def _read_row(fields: list[str], file: str, line: int) -> Row | None:
    """The row with these fields; the name of a class may be several words. None if that is none."""
    try:
        return Row(file, line, fields[0], tuple(map(float, fields[1:]))) if len(fields) > 4 else None
    except ValueError:
        numeric = len(fields)
        while numeric and is_number(fields[numeric - 1]):
            numeric -= 1
        label, values = " ".join(fields[:numeric]), tuple(map(float, fields[numeric:]))
        return Row(file, line, label, values) if len(values) >= 4 else None


def is_number(text: str) -> bool:
    """Whether a text spells a number, `nan` and `inf` included."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def choose_style(rows: Iterable[Row], shape: Sequence[int] | None) -> RowStyle:
    """Decide what rows of more than four values are.

    Args:
        rows: of the whole data set.
        shape: keypoints, and values of each, where the data YAML states them (`kpt_shape`).
    """
    by_count: dict[int, list[tuple[float, ...]]] = {}
    for row in rows:
        by_count.setdefault(len(row.values), []).append(row.values)
    total = sum(map(len, by_count.values()))
    fifth = [values[4] for values in by_count.get(5, ())]
    scored = 2 * len(fifth) >= total and all(0 <= value <= 1 for value in fifth)
    if shape:
        return RowStyle(frozenset({4 + 2 * shape[0], 4 + 3 * shape[0]}), scored)
    longer = [count for count in by_count if count > 5]
    if len(longer) == 1 and _are_keypoints(np.array(by_count[longer[0]])):
        return RowStyle(frozenset(longer), scored)
    return RowStyle(scored=scored)


def _are_keypoints(values: npt.NDArray[np.float64]) -> bool:
    """Whether rows (n, more than 5) can only be boxes with keypoints, not polygons."""
    if not np.isfinite(values).all():
        return False
    centre, size, rest = values[:, :2], values[:, 2:4], values[:, 4:]
    low, high = centre - size / 2, centre + size / 2
    third = rest[:, 2::3] if rest.shape[1] % 3 == 0 else None
    # 1. An odd number of values is no polygon: with three values a keypoint, the third is its visibility (0, 1 or 2, or
    #    a score where a detector wrote the row).
    if values.shape[1] % 2:
        return third is not None and bool(((third >= 0) & (third <= 2)).all())
    # 2. Of an even number, the first four are a box that lies in the image, and the third values nothing but 0, 1 and
    #    2: in polygons they would be coordinates between them.
    if not ((size > 0) & (low > -_OVER) & (high < 1 + _OVER)).all():
        return False
    if third is not None and np.isin(third, (0, 1, 2)).all():
        return True
    # 3. Two values a keypoint: as many as a polygon has. Keypoints lie in their box, or are (0, 0) where there is none,
    #    and the outline through centre, size and keypoints crosses itself in many rows; outlines of objects do not.
    points = rest.reshape(len(rest), -1, 2)
    inside = ((points > (low - _OVER)[:, None]) & (points < (high + _OVER)[:, None])).all(2)
    if not (inside | (points == 0).all(2)).all():
        return False
    outlines = values[:_LOOKED_AT].reshape(len(values[:_LOOKED_AT]), -1, 2)
    return float(np.mean([not _crosses_itself(outline) for outline in outlines])) < _SIMPLE_OUTLINES


def _crosses_itself(outline: npt.NDArray[np.float64]) -> bool:
    """Whether two sides of the closed polygon (n, 2) cross each other."""
    start, end = outline, np.roll(outline, -1, 0)

    def side(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """On which side of each edge (rows) each point (columns) lies: the sign of the cross product."""
        edge = (end - start)[:, None]
        to_point = points[None] - start[:, None]
        return np.sign(edge[..., 0] * to_point[..., 1] - edge[..., 1] * to_point[..., 0])

    # Two edges cross if the ends of each lie on different sides of the other; neighbours share an end, where it is 0.
    apart = side(start) * side(end) < 0
    return bool((apart & apart.T).any())


def to_objects(rows: Iterable[Row], labels: dict[str, int | None], style: RowStyle, log: DefectLog) -> list[RawObject]:
    """The objects of one image; rows of unknown classes and of impossible lengths are counted.

    Args:
        rows: of its label file.
        labels: label of every class as rows spell it, None if there is no such class; fractions are left out.
        style: what rows of more than four values are.
        log: where faults are counted.
    """
    objects = []
    for row in rows:
        count = len(row.values)
        boxed = count == 4 or count in style.keypoints or (count == 5 and style.scored)
        if row.label not in labels or not (boxed or (count >= 6 and count % 2 == 0)):
            log.add("malformed annotation", f"{row.where}: {count + 1} values, class {row.label}", "skipped")
        elif (label := labels[row.label]) is None:
            log.add("unknown class", f"{row.where}: class {row.label}", "skipped")
        else:
            objects.append(_to_object(row, label, boxed))
    return objects


def _to_object(row: Row, label: int, boxed: bool) -> RawObject:
    if boxed:
        x, y, w, h = row.values[:4]
        return RawObject((x - w / 2, y - h / 2, x + w / 2, y + h / 2), label, False, None, row.where)
    values = list(row.values)
    box = (min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2]))
    mask: Mask | None = parse_polygons([values]) if all(map(math.isfinite, values)) else None
    return RawObject(box, label, False, None, row.where, mask)
