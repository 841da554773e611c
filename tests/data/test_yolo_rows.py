"""What the rows of YOLO label files are: boxes, polygons, boxes with keypoints or a score."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nasdet.data import Dataset
from nasdet.data.defects import DefectLog
from nasdet.data.yolo_rows import Row, RowStyle, choose_style, read_rows
from nasdet.errors import InputError
from tests.data.yolo_sets import HEIGHT, NAMES, WIDTH, RowWriter, assert_right, row, write_set

Opens = Callable[..., Dataset]
PARTS = "train: images/train\nval: images/val\n" + NAMES


def pose(count: int, values: int) -> RowWriter:
    """Rows with keypoints of two or three values, anywhere in the box, every fourth not marked."""

    def line(label: int, x: float, y: float, w: float, h: float) -> str:
        rng = np.random.default_rng(int(x * 97 + y))
        points = []
        for i in range(count):
            px, py = (x + w * rng.random()) / WIDTH, (y + h * rng.random()) / HEIGHT
            point = [px, py, 2] if i % 4 < 3 else [0, 0, 0]
            points += [f"{value:.6g}" for value in point[:values]]
        return " ".join([row(label, x, y, w, h), *points])

    return line


@pytest.mark.parametrize("stated", [True, False])
@pytest.mark.parametrize(("count", "values"), [(1, 3), (2, 3), (17, 3), (4, 2), (5, 2)])
def test_keypoints_are_counted_and_not_used(
    tmp_path: Path, opens: Opens, stated: bool, count: int, values: int
) -> None:
    yaml = PARTS + (f"kpt_shape: [{count}, {values}]\n" if stated else "")
    dataset = opens(write_set(tmp_path / "set", yaml, line=pose(count, values)))
    assert_right(dataset)
    assert dataset.info.notes == ("36 rows have keypoints, which are not used",)
    assert not dataset.info.masks


def quad(label: int, x: float, y: float, w: float, h: float) -> str:
    """The corners of a box, as oriented boxes are written."""
    corners = ((x, y), (x + w, y), (x + w, y + h), (x, y + h))
    return " ".join([str(label), *(f"{px / WIDTH:.6f} {py / HEIGHT:.6f}" for px, py in corners)])


def test_oriented_boxes_are_polygons(tmp_path: Path, opens: Opens) -> None:
    dataset = opens(write_set(tmp_path / "set", PARTS, line=quad))
    assert_right(dataset)
    assert dataset.info.masks and not dataset.info.notes


def test_polygons_with_as_many_points_each_stay_polygons() -> None:
    """Also if all of them could be a box in the image with keypoints in it."""
    angles = np.linspace(0, 2 * np.pi, 6, endpoint=False)
    points = np.stack([0.4 + 0.1 * np.cos(angles), 0.4 + 0.1 * np.sin(angles)], 1).ravel()
    rows = [Row("a.txt", i, "0", tuple(points + i / 1000)) for i in range(20)]
    assert choose_style(rows, None) == RowStyle()


def test_boxes_beside_polygons(tmp_path: Path, opens: Opens) -> None:
    dataset = opens(write_set(tmp_path / "set", PARTS, line=lambda label, *box: (quad if label else row)(label, *box)))
    assert_right(dataset)


def test_scores_are_counted_and_not_used(tmp_path: Path, opens: Opens) -> None:
    dataset = opens(write_set(tmp_path / "set", PARTS, line=lambda *box: row(*box) + " 0.93"))
    assert_right(dataset)
    assert dataset.info.notes == ("36 rows have a score, which is not used",)
    with pytest.raises(InputError, match=r"malformed annotation 36x, such as train0.txt, line 1: 6 values, class 0"):
        opens(write_set(tmp_path / "angle", PARTS, line=lambda *box: row(*box) + " -30"))


@pytest.mark.parametrize(
    ("line", "note"),
    [
        (lambda *box: row(*box).replace(".", ","), "36 rows have decimal commas"),
        (lambda *box: row(*box).replace(" ", ", "), "36 rows have commas or semicolons between their values"),
        (lambda *box: row(*box).replace(" ", ","), "36 rows have commas or semicolons between their values"),
        (lambda *box: row(*box).replace(" ", ";"), "36 rows have commas or semicolons between their values"),
        (lambda *box: row(*box).replace(" ", "\t") + "\r\n   ", None),
    ],
)
def test_spellings(tmp_path: Path, opens: Opens, line: RowWriter, note: str | None) -> None:
    dataset = opens(write_set(tmp_path / "set", PARTS, line=line))
    assert_right(dataset)
    assert dataset.info.notes == ((note,) if note else ())


def test_rows_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("0 0.5 0.5 0.2 0.2\n0 0.5 0.5\n0 0,5 0,5 0,2 0,2 \nred cell 0.5 0.5 0.2 0.2\n0 0.5 x 0.2 0.2\n\n")
    log, spelling = DefectLog(), Counter[str]()
    rows = read_rows(path, log, spelling)
    assert [(r.line, r.label, r.values) for r in rows] == [
        (1, "0", (0.5, 0.5, 0.2, 0.2)), (3, "0", (0.5, 0.5, 0.2, 0.2)), (4, "red cell", (0.5, 0.5, 0.2, 0.2))
    ]  # fmt: skip
    assert [(d.kind, d.count, d.examples[0]) for d in log.defects()] == [
        ("malformed annotation", 2, "a.txt, line 2: '0 0.5 0.5'")
    ]


@pytest.mark.parametrize("shape", ["17", "[17]", "[a, 3]", "[-1, 3]"])
def test_a_wrong_kpt_shape(tmp_path: Path, opens: Opens, shape: str) -> None:
    with pytest.raises(InputError, match=r"kpt_shape: needs two numbers, as in \[17, 3\]"):
        opens(write_set(tmp_path / "set", PARTS + f"kpt_shape: {shape}\n"))
