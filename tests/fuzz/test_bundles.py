"""Bundles, checkpoints and the results of earlier predictions."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from nasdet.api.detector import load
from nasdet.driver.export_trial import bundle_data
from nasdet.driver.inference.predict import choose_tiling
from nasdet.driver.inference.prediction_files import earlier_files
from nasdet.driver.training.request import TrainingRequest, read_source
from nasdet.errors import InputError
from nasdet.export import Bundle, read_bundle, write_bundle
from nasdet.export.bundle import tiling_of
from nasdet.models import build_detector
from nasdet.models.checkpoint import read_tensors
from nasdet.space.backbones import StagedSpec, StageSpec
from nasdet.space.heads import TaskAlignedSpec
from nasdet.space.necks import PyramidSpec
from nasdet.space.specs import DetectorSpec, InputSpec, Recipe
from nasdet.trainers.training_state import read_checkpoint
from tests.fuzz.guard import Guard
from tests.fuzz.strategies import JUNK, as_json, damaged, damaged_bytes, deep

Again = Callable[[Callable[[], None]], None]
SPEC = DetectorSpec(
    input=InputSpec(height=32, width=32, channels=1),
    backbone=StagedSpec(stem_width=4, stages=(StageSpec(width=4, stride=1), StageSpec(width=8), StageSpec(width=8))),
    neck=PyramidSpec(width=8),
    head=TaskAlignedSpec(classes=2, width=8, depth=1, bins=4),
)
CARD = {"data": "digits", "tile": {"size": 64, "overlap": 16}, "data_seed": 0, "max_bad": 0.1, "values": {"ap": 0.5}}


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    weights = build_detector(SPEC).state_dict()
    return write_bundle(tmp_path / "b", spec=SPEC, recipe=Recipe(), state_dict=weights, classes=("a", "b"), card=CARD)


def use(path: Path, *, weights: bool) -> None:
    """Open a bundle and ask of it what commands ask."""
    opened = read_bundle(path)
    choose_tiling(opened, "auto", None)
    tiling_of(opened.metrics)
    repr(load(path))
    read_source(path)
    if weights:
        opened.load_detector()


@pytest.mark.parametrize("name", ["spec.json", "recipe.json", "classes.json", "metrics.json"])
def test_json_of_a_bundle(guard: Guard, again: Again, bundle: Bundle, name: str) -> None:
    path = bundle.path / name
    good = json.loads(path.read_text())

    @given(st.one_of(damaged(good), damaged(good), JUNK).map(as_json))
    @example(deep(900).encode())
    @example(deep(3000).encode())
    @example(b"[" * 100_000)
    @example(b"1" * 5000)
    @example(b"\xff\xfe")
    def check(content: bytes) -> None:
        path.write_bytes(content)
        with guard.example():
            use(bundle.path, weights=name == "spec.json")

    again(check)


@pytest.mark.parametrize(
    "change",
    [
        {"input": {"height": 10**9, "width": 4}},
        {"backbone": {"stem_width": 10**6}},
        {"neck": {"width": 10**7}},
        {"backbone": {"stages": [{"width": 8, "depth": 64}] * 20_000}},
        {"backbone": {"kind": "dsod", "growth_rate": 10**7}},
        {"backbone": {"kind": "vgg", "depths": [10**9] * 5}},
        {"backbone": {"kind": "vit", "depth": 10**9}},
        {"backbone": {"kind": "vit", "width": 10**9}},
        {"head": {"kind": "task_aligned", "classes": 2, "width": 10**8}},
    ],
)
def test_specs_that_ask_for_too_much(guard: Guard, bundle: Bundle, change: dict[str, Any]) -> None:
    spec = SPEC.to_json()
    for part, values in change.items():
        spec[part] = {**({} if "kind" in values else spec[part]), **values}
    (bundle.path / "spec.json").write_text(json.dumps(spec))
    with guard.example(), pytest.raises(InputError):
        use(bundle.path, weights=True)


def test_weights(guard: Guard, again: Again, bundle: Bundle) -> None:
    path = bundle.path / "weights.safetensors"
    good = path.read_bytes()

    @given(damaged_bytes(good))
    @example((2**63).to_bytes(8, "little") + b"{}")
    @example((2**40).to_bytes(8, "little") + b"{}")
    @example(header({"a": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}}))
    @example(header({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}) + b"\0" * 16)
    @example(header({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}))
    def check(content: bytes) -> None:
        path.write_bytes(content)
        with guard.example():
            bundle.load_detector()
        with guard.example():
            read_tensors(str(bundle.path))

    again(check)


def header(tensors: dict[str, Any]) -> bytes:
    text = json.dumps(tensors).encode()
    return len(text).to_bytes(8, "little") + text


class Payload:
    """Runs a command when it is unpickled."""

    def __init__(self, run: str) -> None:
        self.run = run

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.run,)


def test_checkpoints_run_nothing(guard: Guard, tmp_path: Path) -> None:
    mark = tmp_path / "was-run"
    payload = Payload(f"touch {mark}")
    torch.save({"model": payload, "w": torch.ones(2)}, tmp_path / "zip.pth")
    torch.save(payload, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    (tmp_path / "bare.pth").write_bytes(pickle.dumps(payload))
    (tmp_path / "named.safetensors").write_bytes(pickle.dumps(payload))
    (tmp_path / "x.npy").write_bytes(pickle.dumps(payload))
    for path in sorted(tmp_path.iterdir()):
        with guard.example(), pytest.raises(InputError, match=r"cannot be read as weights"):
            read_tensors(str(path))
        with guard.example(), pytest.raises(InputError, match="damaged checkpoint"):
            read_checkpoint(path)
    assert not mark.exists()


def test_damaged_checkpoints(guard: Guard, again: Again, tmp_path: Path) -> None:
    good = tmp_path / "good.pth"
    torch.save({"model": {"w": torch.ones(3, 4), "b": torch.zeros(2)}, "epoch": 3}, good)
    path = tmp_path / "x.pth"

    @given(damaged_bytes(good.read_bytes()))
    def check(content: bytes) -> None:
        path.write_bytes(content)
        with guard.example():
            read_tensors(str(path))
        with guard.example():
            read_checkpoint(path)

    again(check)


def test_pickles_of_a_checkpoint(guard: Guard, again: Again, tmp_path: Path) -> None:
    """The zip is whole, and its pickle is anything."""
    good = tmp_path / "good.pth"
    torch.save({"w": torch.ones(3, 4)}, good)
    with zipfile.ZipFile(good) as file:
        parts = {name: file.read(name) for name in file.namelist()}
    (name,) = (name for name in parts if name.endswith("data.pkl"))
    path = tmp_path / "x.pth"

    @given(damaged_bytes(parts[name]))
    @example(pickle.dumps(Payload("true")))
    def check(content: bytes) -> None:
        with zipfile.ZipFile(path, "w") as file:
            for part, stored in parts.items():
                file.writestr(part, content if part == name else stored)
        with guard.example():
            read_tensors(str(path))

    again(check)


def test_job_of_a_training_and_earlier_predictions(guard: Guard, again: Again, tmp_path: Path) -> None:
    (tmp_path / "training").mkdir()

    @given(JUNK.map(as_json))
    @example(b"[" * 100_000)
    def check(content: bytes) -> None:
        (tmp_path / "training" / "job.json").write_bytes(content)
        (tmp_path / "predictions.json").write_bytes(content)
        with guard.example():
            earlier_files(tmp_path)
        with guard.example():
            TrainingRequest.read(tmp_path)

    again(check)


def test_the_data_that_a_bundle_names(guard: Guard, bundle: Bundle, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "x", ignore_errors=True)
    for data in (5, ["x"], "../../etc", "/etc/passwd", "\0", "x" * 5000, None, {"a": 1}):
        (bundle.path / "metrics.json").write_text(json.dumps({**CARD, "data": data, "tile": None}))
        with guard.example(), pytest.raises(InputError):
            bundle_data(read_bundle(bundle.path))
