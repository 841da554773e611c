"""Data sets of all layouts, and their YAML."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import assume, example, given
from hypothesis import strategies as st
from PIL import Image

from nasdet.data import open_data
from nasdet.data.masks import Window
from nasdet.data.summary import describe
from tests.fuzz.guard import Guard
from tests.fuzz.strategies import JUNK, LEAVES, WORDS, as_json, damaged, damaged_text, deep

Again = Callable[[Callable[[], None]], None]
IMAGES = 4
SIDE = 24


def write_images(folder: Path) -> None:
    folder.mkdir(parents=True)
    for number in range(IMAGES):
        pixels = np.random.default_rng(number).integers(0, 256, (SIDE, SIDE + 8, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")


def open_and_use(guard: Guard, source: Path) -> None:
    """Open a data set and ask of it all that is asked before training."""
    with guard.example():
        data = open_data(source, cache_root=guard.folder / "cache")
        describe(data)
        for split in data.info.splits:
            json.dumps(data.coco(split))
            pixels = data.cached(split, 32, 32, cache_limit=0)
            for i in range(len(pixels)):
                pixels.image(i)
                target = pixels.target(i, masks=True)
                assert np.isfinite(target.boxes).all() and (target.boxes >= 0).all()
                for mask in target.masks or ():
                    if mask is not None:
                        mask.show(Window(SIDE, SIDE + 8, 0, 0, SIDE, SIDE + 8, 32, 32))


COCO: dict[str, Any] = {
    "images": [{"id": i + 1, "file_name": f"{i}.png", "width": SIDE + 8, "height": SIDE} for i in range(IMAGES)],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 9, 8], "area": 72, "iscrowd": 0},
        {"id": 2, "image_id": 2, "category_id": 2, "bbox": [3, 2, 7.5, 8], "area": 40, "iscrowd": 1},
        {"id": 3, "image_id": 2, "category_id": 1, "bbox": [1, 1, 4, 4], "segmentation": [[1, 1, 5, 1, 5, 5]]},
        {"id": 4, "image_id": 3, "category_id": 2, "bbox": [0, 0, 9, 9],
         "segmentation": {"size": [SIDE, SIDE + 8], "counts": [5, 90, SIDE * (SIDE + 8) - 95]}},
        {"id": 5, "image_id": 4, "category_id": 2, "bbox": [2, 2, 20, 20], "iscrowd": 0,
         "segmentation": {"size": [4, 4], "counts": "0b0"}},
    ],
    "categories": [{"id": 1, "name": "a", "supercategory": "x"}, {"id": 2, "name": "b", "supercategory": "x"}],
}  # fmt: skip


def test_coco(guard: Guard, again: Again, tmp_path: Path) -> None:
    write_images(tmp_path / "set" / "images")
    path = tmp_path / "set" / "annotations.json"

    @given(
        st.one_of(damaged(COCO).map(as_json), JUNK.map(as_json), damaged_text(json.dumps(COCO, indent=1)).map(_bytes))
    )
    @example(as_json(COCO))
    @example(b"[" * 100_000)
    @example(b'{"images": [], "annotations": [], "categories": ' + b"[" * 100_000)
    @example(b'{"images": [{"id": ' + b"1" * 5000 + b"}]}")
    def check(content: bytes) -> None:
        path.write_bytes(content)
        open_and_use(guard, tmp_path / "set")

    again(check)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


YOLO_YAML = "path: .\ntrain: images\nval: images\nnames:\n  0: a\n  1: b\nnc: 2\n"
ROWS = "0 0.5 0.5 0.2 0.3\n1 0.1 0.2 0.1 0.1\n0 0.1 0.1 0.5 0.1 0.5 0.5\n"
NUMBERS = st.one_of(
    st.floats(-2, 2).map(str), st.sampled_from(["0", "1", "nan", "inf", "-1", "1e400", "0,5", "x", "١"])
)
ROW = st.lists(NUMBERS, max_size=12).map(" ".join)


def test_yolo(guard: Guard, again: Again, tmp_path: Path) -> None:
    root = tmp_path / "set"
    write_images(root / "images")
    (root / "labels").mkdir()

    @given(
        st.one_of(st.just(YOLO_YAML), damaged_text(YOLO_YAML)),
        st.lists(st.one_of(damaged_text(ROWS), st.lists(ROW, max_size=5).map("\n".join)), max_size=IMAGES),
    )
    @example(YOLO_YAML, [ROWS] * 4)
    @example("names: &a [*a]\ntrain: images\n", [ROWS])
    @example(_bomb("names"), [ROWS])
    @example("names: !!python/object/apply:os.system ['touch run']\ntrain: images\n", [ROWS])
    @example("names: " + "[" * 50_000, [])
    @example("names: [a, b]\ntrain: ../../../../etc\nval: /etc\n", [ROWS])
    def check(yaml: str, labels: list[str]) -> None:
        (root / "data.yaml").write_bytes(_bytes(yaml))
        for number in range(IMAGES):
            path = root / "labels" / f"{number}.txt"
            path.write_bytes(_bytes(labels[number])) if number < len(labels) else path.unlink(missing_ok=True)
        open_and_use(guard, root)

    again(check)


def _bomb(key: str) -> str:
    """Nine aliases of nine aliases of ..., which are 9^9 words when they are written out."""
    lines = ["l0: &l0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 9)]
    return "\n".join([*lines, f"{key}: *l8", "train: images", ""])


VOC = f"""<?xml version="1.0" encoding="UTF-8"?>
<annotation><folder>x</folder><filename>0.png</filename>
<size><width>{SIDE + 8}</width><height>{SIDE}</height><depth>3</depth></size>
<object><name>a</name><difficult>0</difficult><pose>u</pose>
<bndbox><xmin>2</xmin><ymin>3</ymin><xmax>12.5</xmax><ymax>14</ymax></bndbox></object>
<object><name>b</name><difficult>1</difficult>
<bndbox><xmin>5</xmin><ymin>3</ymin><xmax>15</xmax><ymax>14</ymax></bndbox></object>
</annotation>
"""
LAUGHS = (
    '<?xml version="1.0"?>\n<!DOCTYPE a [<!ENTITY l0 "lol">'
    + "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    + "]>\n<annotation><filename>&l9;</filename><object><name>&l9;</name></object></annotation>"
)
OUTSIDE = (
    '<?xml version="1.0"?>\n<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">'
    '<!ENTITY % p SYSTEM "http://127.0.0.1:9/x.dtd"> %p;]>\n<annotation><filename>&e;</filename></annotation>'
)


def test_voc(guard: Guard, again: Again, tmp_path: Path) -> None:
    root = tmp_path / "set"
    write_images(root / "JPEGImages")
    (root / "Annotations").mkdir()

    @given(st.lists(damaged_text(VOC, st.one_of(WORDS, st.just("<object>"))), min_size=1, max_size=IMAGES))
    @example([VOC] * IMAGES)
    @example([LAUGHS])
    @example([OUTSIDE])
    @example(["<annotation>" + "<a>" * 100_000])
    @example(["<annotation>" + "<a>" * 5000 + "</a>" * 5000 + "</annotation>"])
    def check(files: list[str]) -> None:
        for number in range(IMAGES):
            text = files[number] if number < len(files) else VOC
            (root / "Annotations" / f"{number}.xml").write_bytes(_bytes(text))
        open_and_use(guard, root)

    again(check)


DATA_YAML = """format: coco
root: .
name: cells
train: annotations/a.json
images: images
channels: 3
bits: 8
group: {regex: '([0-9])'}
split: [0.5, 0.3, 0.2]
max_bad: 0.9
tile: {size: 32, overlap: 8, empty: 0.2}
"""
KEYS = (
    "format",
    "root",
    "name",
    "train",
    "val",
    "test",
    "images",
    "classes",
    "channels",
    "bits",
    "group",
    "split",
    "max_bad",
)


@st.composite
def data_yamls(draw: st.DrawFn) -> str:
    keys = draw(st.dictionaries(st.sampled_from((*KEYS, "tile", "names", "nc")), st.one_of(JUNK, LEAVES), max_size=4))
    return "\n".join(f"{key}: {json.dumps(value)}" for key, value in keys.items())


ROOT = re.compile(r"""\b(root|path)["']?\s*:\s*["']?\s*[/~.]""")
PART = re.compile(r"""\b(train|val|test|images)["']?\s*:[\s"'\[-]*[/~.]""")
OF_YOLO = re.compile(r"\b(names|nc)\b")


def is_elsewhere(text: str) -> bool:
    """Whether a data YAML says that the data lies elsewhere, where it is read then, since the user
    names the file. YOLO's, which tools write, may only say so of the root."""
    return bool(ROOT.search(text) or (PART.search(text) and not OF_YOLO.search(text)))


def test_data_yaml(guard: Guard, again: Again, tmp_path: Path) -> None:
    root = tmp_path / "set"
    write_images(root / "images")
    (root / "annotations").mkdir()
    (root / "annotations" / "a.json").write_bytes(as_json(COCO))
    path = root / "set.yaml"

    @given(st.one_of(damaged_text(DATA_YAML), data_yamls(), st.text(max_size=60)))
    @example(DATA_YAML)
    @example('names: {"": []}')
    @example("train: [[]]\nnc:")
    @example(_bomb("classes"))
    @example("a: " * 5000)
    @example("{" * 20_000)
    @example("root: " + deep(3000))
    @example("root: &a {b: *a}")
    @example("name: !!timestamp 2020-99-99")
    @example("bits: " + "1" * 5000)
    @example("? [a, b]\n: 1")
    @example("x" * 3_000_000)
    @example("images: /etc")
    @example("images: ../../../../../etc")
    def check(text: str) -> None:
        assume(not is_elsewhere(text))
        path.write_bytes(_bytes(text))
        open_and_use(guard, path)

    again(check)


def test_links_and_paths_out_of_the_folder_are_not_followed_for_their_own_sake(guard: Guard, tmp_path: Path) -> None:
    """A file that names a path outside of the folder gets nothing from there, though something is there."""
    write_images(tmp_path / "secret")
    outside = tmp_path / "secret" / "0.png"
    root = tmp_path / "set"
    write_images(root / "images")
    for name in (str(outside), "../secret/0.png", "images/../../secret/0.png", f"file://{outside}"):
        content = {**COCO, "images": [{**COCO["images"][0], "file_name": name}, *COCO["images"][1:]]}
        (root / "a.json").write_bytes(as_json(content))
        data = open_data(root, cache_root=tmp_path / "cache")
        assert all(r.path.is_relative_to(root) for split in data.info.splits for r in data.images(split)), name


def test_a_loop_of_links_ends(guard: Guard, tmp_path: Path) -> None:
    root = tmp_path / "set"
    write_images(root / "images")
    (root / "images" / "loop").symlink_to(root)
    (root / "images" / "self.png").symlink_to(root / "images" / "self.png")
    (root / "labels").mkdir()
    (root / "labels" / "0.txt").write_text(ROWS)
    (root / "labels" / "1.txt").write_text(ROWS)
    for link in (root / "labels" / "loop", root / "loop"):
        link.symlink_to(root)
    open_and_use(guard, root)
    with contextlib.suppress(OSError):
        shutil.rmtree(root / "loop")


def test_many_objects_in_one_image(guard: Guard, tmp_path: Path) -> None:
    """Pairs of boxes are never all compared."""
    root = tmp_path / "set"
    write_images(root / "images")
    objects = [{"id": i, "image_id": 1 + i % 2, "category_id": 1, "bbox": [1, 1, 5, 5]} for i in range(20_000)]
    (root / "a.json").write_bytes(as_json({**COCO, "annotations": objects}))
    open_and_use(guard, root)
