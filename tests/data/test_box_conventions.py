"""Boxes that are written in another convention than the layout's are named; right ones are never refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nasdet.data import Dataset
from nasdet.data.box_conventions import check_conventions
from nasdet.data.image_scan import Scan
from nasdet.data.records import RawImage, RawObject
from nasdet.errors import InputError
from tests.data.yolo_sets import HEIGHT, WIDTH, write_set

Opens = Callable[..., Dataset]
Boxes = list[list[float]]


def check(
    images: list[Boxes], layout: str = "coco", *, width: int = 640, height: int = 480, max_bad: float = 0.05,
    orientation: int = 1,
) -> None:  # fmt: skip
    """Check boxes as the layout's own reader passes them on: xyxy."""
    raw = []
    for number, own in enumerate(images):
        objects = [RawObject((x1, y1, x2, y2), 0, False, None, f"{number}, 1") for x1, y1, x2, y2 in own]
        raw.append(RawImage(Path(f"{number}.png"), "train", objects, relative=layout == "yolo"))
    check_conventions(raw, {i.path: Scan((0, 0), "", width, height, orientation) for i in raw}, layout, "set", max_bad)


def random_boxes(count: int, seed: int = 0, width: int = 640, height: int = 480) -> Boxes:
    """xyxy boxes of all sizes anywhere in an image."""
    rng = np.random.default_rng(seed)
    sides = rng.uniform(0.03, 0.6, (count, 2)) * (width, height)
    low = rng.uniform(0, 1, (count, 2)) * ((width, height) - sides)
    return np.hstack([low, low + sides]).tolist()


CORNERS, SIZES = r"corners \(x1, y1, x2, y2\)", r"corner and size \(x, y, width, height\)"
CENTRES = r"centre and size \(cx, cy, width, height\)"


@pytest.mark.parametrize(
    ("write", "read_as"),
    [
        (lambda x, y, w, h: f"{x / WIDTH} {y / HEIGHT} {(x + w) / WIDTH} {(y + h) / HEIGHT}", CORNERS),
        (lambda x, y, w, h: f"{x + w / 2} {y + h / 2} {w} {h}", CENTRES + " in pixels"),
        (lambda x, y, w, h: f"{x} {y} {x + w} {y + h}", CORNERS + " in pixels"),
        (lambda x, y, w, h: f"{x} {y} {w} {h}", SIZES + " in pixels"),
        (lambda x, y, w, h: f"{100 * x / WIDTH} {100 * y / HEIGHT} {100 * w / WIDTH} {100 * h / HEIGHT}",
         SIZES + " in percent of the image"),
    ],
)  # fmt: skip
def test_yolo(tmp_path: Path, opens: Opens, write: Callable[..., str], read_as: str) -> None:
    root = write_set(tmp_path / "set", line=lambda label, *box: f"{label} {write(*box)}")
    with pytest.raises(InputError, match=rf"\d+ of 36 boxes leave the image .* none when they are read as {read_as}"):
        opens(root)


def test_polygons_in_pixels(tmp_path: Path, opens: Opens) -> None:
    def line(label: int, x: float, y: float, w: float, h: float) -> str:
        return f"{label} {x} {y} {x + w} {y} {x + w} {y + h} {x} {y + h}"

    root = write_set(tmp_path / "set", line=line)
    with pytest.raises(InputError, match=r"36 of 36 boxes leave .* none when they are read as polygons in pixels"):
        opens(root)


@pytest.mark.parametrize(
    ("write", "read_as"),
    [
        (lambda x1, y1, x2, y2: (x1, y1, x2, y2), CORNERS),
        (lambda x1, y1, x2, y2: (y1, x1, y2, x2), r"corners with y first \(y1, x1, y2, x2\)"),
        (lambda x1, y1, x2, y2: (x1 / 640, y1 / 480, (x2 - x1) / 640, (y2 - y1) / 480), SIZES + " in shares of the im"),
        (lambda x1, y1, x2, y2: (x1 / 640, y1 / 480, x2 / 640, y2 / 480), CORNERS + " in shares of the image"),
        (lambda x1, y1, x2, y2: ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1), CENTRES),
    ],
)  # fmt: skip
def test_coco(write: Callable[..., tuple[float, ...]], read_as: str) -> None:
    stated = [write(*box) for box in random_boxes(300)]
    boxes = [[a, b, a + c, b + d] for a, b, c, d in stated]
    with pytest.raises(InputError, match=f"of 300 boxes .* and none when they are read as {read_as}"):
        check([boxes])
    check([boxes], max_bad=1.0)


@pytest.mark.parametrize(
    ("write", "read_as"),
    [
        (lambda x1, y1, x2, y2: [x1, y1, x2 - x1, y2 - y1], SIZES),
        (lambda x1, y1, x2, y2: [x1 / 640, y1 / 480, x2 / 640, y2 / 480], CORNERS + " in shares of the image"),
    ],
)
def test_voc(write: Callable[..., list[float]], read_as: str) -> None:
    with pytest.raises(InputError, match=f"of 200 boxes .* none when they are read as {read_as}"):
        check([[write(*box) for box in random_boxes(200)]], "voc")


def test_one_split_in_another_convention(coco_folder: Any, opens: Opens) -> None:
    root = coco_folder.write("annotations/instances_train.json")
    for a in coco_folder.content["annotations"]:
        x, y, w, h = a["bbox"]
        a["bbox"] = [x, y, x + w, y + h]
    coco_folder.write("annotations/instances_val.json")
    with pytest.raises(InputError, match=f"of 100 boxes .* none when they are read as {CORNERS}, such as im001.png"):
        opens(root)


@pytest.mark.parametrize("layout", ["coco", "voc"])
def test_right_boxes_are_not_refused(layout: str) -> None:
    rng = np.random.default_rng(1)
    for seed in range(20):
        check([random_boxes(10, seed)], layout)
        check([[box] for box in random_boxes(10, seed)], layout)
    check([[[0, 0, 640, 480]]] * 5, layout)  # whole images
    check([[[-3, -2, 644, 483]]] * 5, layout)  # and slightly more
    check([[[10, 10, 646, 470]], [[20, 5, 645, 478]], [[12, 3, 648, 480]]], layout)  # large ones that leave slightly
    check([[[0, 0, 9, 9], [8, 5, 17, 13]]] * 5, layout, width=16, height=12)  # tiny images, rounded
    check([[[5, y, 600, y + 1] for y in range(20)]], layout)  # thin ones
    check([[[-90, 10, 100, 200]], [[560, 5, 720, 90]]], layout)  # two that leave by far
    shifted = np.array(random_boxes(400)) + rng.uniform(-6, 6, (400, 1))
    check([shifted.tolist()], layout)
    amodal = np.array(random_boxes(400))
    amodal[::9, 2] += 0.3 * (amodal[::9, 2] - amodal[::9, 0]) + (
        640 - amodal[::9, 2]
    )  # every ninth leaves to the right
    check([amodal.tolist()], layout)


@pytest.mark.parametrize("orientation", [6, 8])
def test_boxes_in_the_pixels_as_stored_of_turned_images(orientation: int) -> None:
    stored = random_boxes(100, width=480, height=640)  # of images of 640 x 480 when they are turned
    with pytest.raises(InputError, match=r"\d+ of 100 boxes leave their image when it is turned by its EXIF"):
        check([stored], orientation=orientation)
    check([random_boxes(100)], orientation=orientation)


def test_most_boxes_outside_are_named_without_another_convention() -> None:
    boxes = np.array(random_boxes(100)) + np.array([0, 0, 3000, 3000])
    with pytest.raises(InputError, match=rf"100 of 100 boxes leave the image when they are read as {SIZES} in pixels"):
        check([boxes.tolist()])


def test_boxes_of_which_little_is_left_count_as_bad(coco_folder: Any, opens: Opens) -> None:
    for number in range(1, 9):
        coco_folder.annotate(number, [50, 10, 30, 20])
    with pytest.raises(InputError, match=r"8 of 108 annotations are bad .*box mostly outside the image 8x"):
        opens(coco_folder.write())
