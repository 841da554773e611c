"""Splits by content: stable, seeded, groups whole."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nasdet.data import Dataset
from nasdet.data.splits import split_by_content

Opens = Callable[..., Dataset]
SHARES = (0.7, 0.15, 0.15)


def names(dataset: Dataset) -> dict[str, str]:
    return {r.digest: split for split in dataset.info.splits for r in dataset.images(split)}


def test_shares_and_seeds() -> None:
    keys = [f"k{i}" for i in range(1000)]
    split = split_by_content(keys, 0, SHARES)
    assert split is not None
    assert Counter(split) == {"train": 700, "val": 150, "test": 150}
    assert split == split_by_content(keys, 0, SHARES)
    assert split != split_by_content(keys, 1, SHARES)


def test_a_large_group_goes_where_its_middle_lies() -> None:
    keys = ["large"] * 10 + [f"k{i}" for i in range(10)]
    for seed in range(40):
        split = split_by_content(keys, seed, (0.4, 0.3, 0.3))
        assert split is not None
        assert split.count("train") <= (0.4 + 0.5 / 2) * len(keys) + 1e-9


def test_order_does_not_matter_and_additions_move_few() -> None:
    keys = [f"k{i}" for i in range(1000)]
    split = dict(zip(keys, split_by_content(keys, 0, SHARES) or [], strict=True))
    assert split == dict(zip(keys[::-1], split_by_content(keys[::-1], 0, SHARES) or [], strict=True))
    more = [*keys, *(f"new{i}" for i in range(50))]
    grown = dict(zip(more, split_by_content(more, 0, SHARES) or [], strict=True))
    assert sum(grown[k] != split[k] for k in keys) < 30


@pytest.mark.parametrize("count", range(2, 12))
def test_small_sets_have_train_and_val(count: int) -> None:
    split = split_by_content([str(i) for i in range(count)], 0, SHARES) or []
    assert {"train", "val"} <= set(split)


def test_groups_stay_whole() -> None:
    groups = [f"g{i % 37}" for i in range(400)]
    split = split_by_content(groups, 0, SHARES) or []
    home: dict[str, set[str]] = {}
    for group, name in zip(groups, split, strict=True):
        home.setdefault(group, set()).add(name)
    assert all(len(splits) == 1 for splits in home.values())
    assert split_by_content(["a"] * 5, 0, SHARES) is None


def test_folder_is_split_by_content(coco_folder: Any, opens: Opens, tmp_path: Path) -> None:
    first = opens(coco_folder.write())
    assert first.info.splits == {"train": 14, "val": 3, "test": 3}
    assert first.info.split_rule == "70/15/15 train/val/test by content, seed 0"
    moved = tmp_path / "moved"
    shutil.copytree(coco_folder.root, moved)
    second = opens(moved)
    assert names(second) == names(first)
    assert second.info.fingerprint == first.info.fingerprint
    assert names(opens(moved, seed=5)) != names(first)


GROUPS = {
    "regex": "group: {regex: '(\\d)\\.png'}",
    "csv": "group: {csv: groups.csv, image: file, column: patient}",
    "field": "group: {field: patient}",
}


@pytest.mark.parametrize("rule", GROUPS)
def test_group_rules(coco_folder: Any, opens: Opens, rule: str) -> None:
    rows = ["file,patient"]
    for entry in coco_folder.content["images"]:
        entry["patient"] = f"p{entry['id'] % 6}"
        rows.append(f"{entry['file_name']},p{entry['id'] % 6}")
    root = coco_folder.write()
    (root / "groups.csv").write_text("\n".join(rows))
    (root / "set.yaml").write_text(GROUPS[rule])
    dataset = opens(root / "set.yaml")
    count = 10 if rule == "regex" else 6
    assert f"{count} groups kept together" in dataset.info.split_rule
    home: dict[str, set[str]] = {}
    for split in dataset.info.splits:
        for record in dataset.images(split):
            home.setdefault(record.group, set()).add(split)
    assert len(home) == count
    assert all(len(splits) == 1 for splits in home.values())


def test_yaml_shares(coco_folder: Any, opens: Opens) -> None:
    coco_folder.write()
    (coco_folder.root / "set.yaml").write_text("split: [0.5, 0.5, 0]\nname: cells\n")
    info = opens(coco_folder.root / "set.yaml").info
    assert info.splits == {"train": 10, "val": 10}
    assert info.name == "cells"
