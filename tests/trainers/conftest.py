"""A tiny detector and recipe on a few of the built-in digits."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from nasdet.data import Dataset, default_cache_root, open_data
from nasdet.data.digits import IMAGES, write_digits
from nasdet.space.backbones import StagedSpec, StageSpec
from nasdet.space.heads import TaskAlignedSpec
from nasdet.space.necks import PyramidSpec
from nasdet.space.specs import AugmentSpec, DetectorSpec, InputSpec, NormSpec, Recipe
from nasdet.trainers.messages import GroupConfig


def tiny_spec(**norm: Any) -> DetectorSpec:
    return DetectorSpec(
        input=InputSpec(height=64, width=64, channels=1, mean=(60.0,), std=(36.0,)),
        backbone=StagedSpec(stem="conv3x3", stem_width=8, stages=(StageSpec(width=8), StageSpec(width=16))),
        neck=PyramidSpec(kind="fpn", levels=(-2, -1), width=16, depth=1),
        head=TaskAlignedSpec(width=16, depth=1, bins=4, classes=10),
        norm=NormSpec(**{"kind": "gn", "groups": 4, **norm}),
    )


def tiny_recipe(**changes: Any) -> Recipe:
    values = {
        "epochs": 3,
        "batch_size": 30,
        "base_lr": 2e-3,
        "drop_path": 0.1,
        "warmup": 0.5,
        "precision": "fp32",
        "augment": AugmentSpec(strength=0.3, hflip=False),
    }
    return Recipe(**{**values, **changes})


def few_digits() -> Path:
    """The folder of the first 60 training images and 20 validation images of the built-in digits."""
    folder = default_cache_root() / "few-digits"
    if not folder.exists():
        folder.mkdir(parents=True)
        with mock.patch.dict(IMAGES, train=60, val=20, test=1):
            write_digits(folder, seed=0)
    return folder


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return open_data(few_digits())


@pytest.fixture
def group() -> GroupConfig:
    return GroupConfig(
        source=str(few_digits()),
        data_seed=0,
        max_bad=0.05,
        device="cpu",
        threads=1,
        latency_device="cpu",
        latency_batch=1,
        latency_threads=1,
        cache_root=str(default_cache_root()),
    )
