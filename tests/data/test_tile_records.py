"""Tiles as records: which objects they teach, which they leave out, and that no image is in two splits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nasdet.data import Dataset, ImageRecord, Tiling, read_image
from nasdet.data.cache import resize
from nasdet.data.masks import Window, stack
from nasdet.data.tile_records import SHOWN, cut_record, cut_records
from nasdet.data.tiles import Tile, grid
from nasdet.errors import InputError

CANVAS = (128, 128)
TILING = Tiling(256, 64)


def test_objects_are_learnt_where_half_of_them_shows(cells: Dataset) -> None:
    ignored = learnt = 0
    for record in cells.images("val")[:30]:
        for tile in grid(record.height, record.width, TILING, CANVAS):
            cut = cut_record(record, tile)
            corner, extent = tile.extent[[0, 1, 0, 1]], tile.extent
            inner = np.clip(record.boxes, extent[[0, 1, 0, 1]], extent[[2, 3, 2, 3]])
            share = (inner[:, 2:] - inner[:, :2]).prod(1) / (record.boxes[:, 2:] - record.boxes[:, :2]).prod(1)
            for box, label, part in zip(inner, record.labels, share, strict=True):
                rows = np.flatnonzero((abs(cut.boxes + corner - box) < 1e-3).all(1) & (cut.labels == label))
                assert part < SHOWN or (len(rows) and not cut.crowd[rows].all())
                if 0.05 < part < SHOWN - 1e-3:
                    assert len(rows) and cut.crowd[rows].any()
            assert len(cut.boxes) <= (share > 0).sum()
            assert (cut.boxes >= 0).all() and (cut.boxes <= [tile.width, tile.height] * 2).all()
            ignored, learnt = ignored + cut.crowd.sum(), learnt + (~cut.crowd).sum()
    assert learnt > 300 and ignored > 100


def test_regions_to_ignore_stay_such_and_areas_are_cut() -> None:
    boxes = np.array([[0, 0, 200, 200], [90, 10, 110, 30]], np.float32)
    record = ImageRecord(
        1, Path("a.png"), 200, 200, boxes, np.array([0, 1]), np.array([True, False]), np.array([900, 400], np.float32)
    )
    cut = cut_record(record, Tile(0, 0, 100, 100, 100, 100, (0, 0, 0, 0), 200, 200))
    assert cut.crowd.tolist() == [True, False]
    assert cut.boxes.tolist() == [[0, 0, 100, 100], [90, 10, 100, 30]]
    assert cut.area.tolist() == [225, 200]
    assert (cut.width, cut.height, cut.id) == (100, 100, 1)


def test_every_object_that_fits_the_overlap_is_learnt_whole(cells: Dataset) -> None:
    for record in cells.images("val"):
        seen = [
            cut.boxes[~cut.crowd] + cut.tile.extent[[0, 1, 0, 1]]
            for cut in cut_records([record], Tiling(256, 128), CANVAS)
            if cut.tile
        ]
        found = np.concatenate(seen)
        for box in record.boxes[(record.boxes[:, 2:] - record.boxes[:, :2]).max(1) <= 128]:
            assert (abs(found - box) < 1e-3).all(1).any()


def test_masks_are_those_of_the_whole_image(shared_data: Path, opens: Callable[..., Dataset], tmp_path: Path) -> None:
    source = tmp_path / "coco60.yaml"
    annotations = "annotations/instances_train_source_ids.json"
    source.write_text(f"root: {shared_data / 'coco60'}\nformat: coco\ntrain: {annotations}\n")
    compared = 0
    for record in opens(source).images("train"):
        if not record.masks or min(record.height, record.width) < 300:
            continue
        tile = Tile(40, 60, 200, 220, 220, 220, (0, 0, 0, 0), record.height, record.width)
        cut, window = cut_record(record, tile), Window(record.height, record.width, 40, 60, 200, 220, 200, 220)
        inner = np.clip(record.boxes, [60, 40, 60, 40], [280, 240, 280, 240])
        shown = np.flatnonzero(((inner[:, 2:] - inner[:, :2]) >= 0.5).all(1))
        for row, own in zip(shown, cut.masks, strict=True):
            mask = record.masks[row]
            if mask and own:
                planes = np.zeros((2, 200, 220), np.bool_)
                stack([mask.show(window), own.show(Window(200, 220, 0, 0, 200, 220, 200, 220))], planes)
                assert (planes[0] != planes[1]).mean() < 0.002
                compared += 1
    assert compared > 30


def test_tiles_without_objects_are_sampled_by_content(cells: Dataset) -> None:
    records = cells.images("train")[:40]
    tiles = cut_records(records, Tiling(96, 24), CANVAS)
    bare = [t for t in tiles if t.crowd.all()]
    full = len(tiles) - len(bare)
    assert len(bare) > 200
    kept = cut_records(records, Tiling(96, 24, empty=0.1), CANVAS, sample=True)
    empty = [t for t in kept if t.crowd.all()]
    assert len(kept) - len(empty) == full
    assert len(empty) == int(full / 9) and len(empty) / len(kept) == pytest.approx(0.1, abs=1e-3)
    again = cut_records(records[::-1], Tiling(96, 24, empty=0.1), CANVAS, sample=True)
    assert {t.digest for t in again} == {t.digest for t in kept}
    assert not any(t.crowd.all() for t in cut_records(records, Tiling(96, 24, empty=0.0), CANVAS, sample=True))


def test_no_image_is_in_two_splits(few_digits: Dataset) -> None:
    digits = few_digits
    tiled = digits.tiled(Tiling(64, 16))
    splits = {split: tiled.cached(split, 64, 64) for split in ("train", "val")}
    files = {split: {r.path for r in cached.records} for split, cached in splits.items()}
    assert not files["train"] & files["val"]
    assert len(splits["val"]) == 4 * len(digits.images("val"))
    assert {split: len(cached) for split, cached in splits.items()} == {s: tiled.info.splits[s] for s in splits}
    assert tiled.coco("val") == digits.coco("val")
    assert tiled.info.fingerprint != digits.info.fingerprint
    assert tiled.tiled(Tiling(64, 16)).info == tiled.info


@pytest.mark.parametrize("limit", [1 << 30, 0])
def test_pixels_of_the_cache_are_those_of_the_part(few_cells: Dataset, limit: int) -> None:
    split = few_cells.tiled(TILING).cached("test", *CANVAS, cache_limit=limit)
    assert split.decodes_on_demand == (limit == 0)
    for i in (0, 5, 11, len(split) - 1):
        record, tile = split.records[i], split.records[i].tile
        assert tile is not None
        whole = read_image(record.path)[tile.top : tile.top + tile.height, tile.left : tile.left + tile.width]
        np.testing.assert_array_equal(split.image(i), resize(whole, 128, 128))
        boxes, _ = split.in_original(i, split.target(i).boxes.astype(np.float64))
        np.testing.assert_allclose(boxes - tile.extent[[0, 1, 0, 1]], record.boxes, atol=1e-3)
        assert (split.scale(i), split.original_size(i)) == (0.5, (480, 640))


def test_a_data_yaml_asks_for_tiles(coco_folder: object, opens: Callable[..., Dataset], tmp_path: Path) -> None:
    root = coco_folder.write()  # type: ignore[attr-defined]
    source = tmp_path / "data.yaml"
    source.write_text(f"root: {root}\ntile: {{size: 32, overlap: 8, empty: 0.5}}\n")
    info = opens(source).info
    assert info.tiling == Tiling(32, 8, 0.5) and info.aspect == 1
    assert info.to_json()["tiling"] == {"size": 32, "overlap": 8, "empty": 0.5}
    for text, message in (("{overlap: 8}", "tile"), ("{size: 32, overlap: 20}", "more than half"), ("{size: 8}", "16")):
        source.write_text(f"root: {root}\ntile: {text}\n")
        with pytest.raises(InputError, match=message):
            opens(source)
