"""The pixel cache: keyed by content, shared, atomic, limited."""

from __future__ import annotations

import multiprocessing
import pickle
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nasdet.data import Dataset, fit_image, fitted_size, open_data, read_image
from nasdet.data.records import Target


def files(root: Path) -> list[Path]:
    return sorted((root / "pixels").glob("*.npy"))


def test_images_and_targets(digits: Dataset) -> None:
    split = digits.cached("val", 64, 128)
    record = digits.images("val")[3]
    pixels, scale = fit_image(read_image(record.path), 64, 128)
    np.testing.assert_array_equal(split.image(3), pixels)
    assert (len(split), split.channels, split.image(3).shape) == (150, 1, (64, 64, 1))
    assert split.scale(3) == scale == pytest.approx(64 / 96)
    assert split.original_size(3) == (96, 96)
    assert split.image_id(3) == record.id
    target = split.target(3)
    assert isinstance(target, Target)
    np.testing.assert_allclose(target.boxes, record.boxes * scale, rtol=1e-6)
    np.testing.assert_array_equal(target.labels, record.labels)


@pytest.mark.parametrize(("height", "width"), [(480, 640), (100, 1000), (1000, 3), (96, 96)])
def test_fitted_size_keeps_the_aspect(height: int, width: int) -> None:
    rows, columns, scale = fitted_size(height, width, 96, 128)
    assert rows <= 96 and columns <= 128 and (rows == 96 or columns == 128)
    assert abs(rows - height * scale) <= 0.5 or rows == 1
    assert abs(columns - width * scale) <= 0.5 or columns == 1


def test_written_once_and_keyed_by_content(coco_folder: Any, tmp_path: Path) -> None:
    root, cache = coco_folder.write(), tmp_path / "cache"
    open_data(root, cache_root=cache).cached("train", 32, 32)
    (first,) = files(cache)
    before = first.stat().st_ino
    moved = tmp_path / "moved"
    shutil.copytree(root, moved)
    open_data(moved, cache_root=cache).cached("train", 32, 32)
    assert [p.stat().st_ino for p in files(cache)] == [before]
    open_data(root, cache_root=cache).cached("train", 64, 32)
    open_data(root, cache_root=cache).cached("train", 32, 64)
    assert len(files(cache)) == 3
    assert not list((cache / "pixels").glob("*.tmp"))


def test_what_a_killed_decoder_left_is_removed(coco_folder: Any, tmp_path: Path) -> None:
    data = open_data(coco_folder.write(), cache_root=tmp_path)
    data.cached("train", 32, 32)
    (file,) = files(tmp_path)
    left, other = file.with_name(f"{file.stem}-x.tmp"), file.with_name("other-x.tmp")
    file.rename(left)
    other.touch()
    data.cached("train", 32, 32)
    assert file.exists() and other.exists() and not left.exists()


def test_changed_image_is_seen(coco_folder: Any, tmp_path: Path) -> None:
    root, cache = coco_folder.write(), tmp_path / "cache"
    before = open_data(root, cache_root=cache).info
    shutil.copyfile(root / "images" / "im002.png", root / "images" / "im001.png")
    after = open_data(root, cache_root=cache).info
    assert before.fingerprint != after.fingerprint


def test_above_the_limit_images_are_decoded_on_demand(digits: Dataset) -> None:
    mapped = digits.cached("val", 96, 96)
    streamed = digits.cached("val", 96, 96, cache_limit=1000)
    assert streamed.decodes_on_demand and not mapped.decodes_on_demand
    for i in (0, 7, 149):
        np.testing.assert_array_equal(mapped.image(i), streamed.image(i))


def test_oldest_arrays_make_room(coco_folder: Any, tmp_path: Path) -> None:
    dataset = open_data(coco_folder.write(), cache_root=tmp_path / "cache")
    kept = dataset.cached("train", 32, 32, cache_limit=10**6)
    (oldest,) = files(tmp_path / "cache")
    time.sleep(0.02)
    dataset.cached("train", 64, 64, cache_limit=10**6)
    limit = 14 * 128 * 128 * 3 + 14 * 64 * 64 * 3 + 5000
    time.sleep(0.02)
    dataset.cached("train", 128, 128, cache_limit=limit)
    assert len(files(tmp_path / "cache")) == 2 and not oldest.exists()
    assert kept.image(0).shape == (21, 32, 3)


def test_pickle_holds_no_pixels(digits: Dataset) -> None:
    split = digits.cached("train", 96, 96)
    content = pickle.dumps(split)
    assert len(content) < 1_500_000
    np.testing.assert_array_equal(pickle.loads(content).image(5), split.image(5))
    again = pickle.loads(pickle.dumps(digits))
    assert again.info == digits.info


def test_pages_cannot_be_changed(digits: Dataset) -> None:
    split = digits.cached("val", 96, 96)
    before = split.image(0).copy()
    split.image(0)[:] = 0
    np.testing.assert_array_equal(digits.cached("val", 96, 96).image(0), before)


def _open_and_sum(root: Path, cache: Path, results: Any) -> None:
    split = open_data(root, cache_root=cache).cached("train", 96, 128)
    results.put((int(sum(split.image(i).sum(dtype=np.int64) for i in range(len(split)))), str(split._path)))


def test_processes_that_start_at_once_share_one_file(coco_folder: Any, tmp_path: Path) -> None:
    root, cache = coco_folder.write(), tmp_path / "cache"
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    processes = [context.Process(target=_open_and_sum, args=(root, cache, results)) for _ in range(2)]
    for process in processes:
        process.start()
    found = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(10)
    assert found[0] == found[1]
    assert len(files(cache)) == 1
    assert not list((cache / "pixels").glob("*.tmp"))


def test_shares_of_a_split_are_nested_and_show_the_same_pixels(digits: Dataset) -> None:
    whole = digits.cached("val", 64, 64)
    half, tenth = whole.share(0.5), whole.share(0.1)
    ids = [{part.image_id(i) for i in range(len(part))} for part in (whole, half, tenth)]
    assert [len(part) for part in ids] == [150, 75, 15] and ids[2] < ids[1] < ids[0]
    digests = sorted(record.digest for record in whole.records)
    assert sorted(record.digest for record in tenth.records) == digests[:15]
    assert whole.share(1.0) is whole and len(whole.share(1e-6)) == 1
    places = {whole.image_id(i): i for i in range(len(whole))}
    for part in (half, pickle.loads(pickle.dumps(tenth)), half.share(0.2)):
        for i in range(len(part)):
            place = places[part.image_id(i)]
            assert np.array_equal(part.image(i), whole.image(place))
            assert np.array_equal(part.target(i).boxes, whole.target(place).boxes)
