"""`nasdet.train` in this process, on a few images, and what it takes."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import nasdet
from nasdet.api.training import source_of
from nasdet.export import Bundle
from nasdet.space.specs import Recipe
from nasdet.trial import TrialRecord
from tests.trainers.conftest import tiny_spec


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Sixteen images of two classes as a YOLO folder."""
    folder = tmp_path / "set"
    for split, count in (("train", 12), ("val", 4)):
        (folder / "images" / split).mkdir(parents=True)
        (folder / "labels" / split).mkdir(parents=True)
        for number in range(count):
            pixels = np.random.default_rng(number).integers(0, 256, (64, 64), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "images" / split / f"{number}.png")
            (folder / "labels" / split / f"{number}.txt").write_text(f"{number % 2} 0.5 0.5 0.4 0.4\n")
    (folder / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [dot, ring]\n")
    return folder


def test_a_detector_is_trained_and_goes_on(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[tuple[str, int, bool]] = []
    threads = torch.get_num_threads()
    spec = tiny_spec().to_json()

    def on_epoch_end(trial: str, epoch: int, metrics: dict[str, float]) -> None:
        seen.append((trial, epoch, metrics["loss"] > 0))
        raise RuntimeError("no disk")  # ends nothing

    detector = nasdet.train(spec, data, "out", epochs=2, seed=3, on_epoch_end=on_epoch_end)
    assert seen == [("out", 1, True), ("out", 2, True)] and torch.get_num_threads() == threads
    printed = capsys.readouterr()
    assert printed.out.count("no disk") == 1 and "epoch    2/2" in printed.out and printed.err == ""
    assert detector.path == Path("out") and detector.classes == ("dot", "ring") and detector.spec.head.classes == 2
    assert detector.training is not None and detector.training["epochs"] == 2 and detector.card["seed"] == 3
    assert detector.predict(data / "images" / "val" / "0.png").size == (64, 64)
    with pytest.raises(nasdet.InputError, match="holds a training already"):
        nasdet.train(spec, data, "out", epochs=3)
    stream = io.StringIO()
    longer = nasdet.train(spec, data, "out", epochs=3, resume=True, progress=stream)
    assert longer.training is not None and longer.training["epochs"] == 3 and "epoch    3/3" in stream.getvalue()


def test_everything_that_can_be_trained(digits_bundle: Bundle, tmp_path: Path) -> None:
    spec, recipe = digits_bundle.spec, digits_bundle.recipe
    (tmp_path / "spec.json").write_text(json.dumps(spec.to_json()))
    record = TrialRecord("t3", 3, "complete", {}, spec.to_json(), recipe.to_json())
    member = {"trial": "t3", "values": {}, "params": {}, "spec": spec.to_json(), "recipe": recipe.to_json()}
    for what in (digits_bundle.path, nasdet.load(digits_bundle.path), record, member):
        source = source_of(what)
        assert (source.spec, source.recipe) == (spec, recipe)
    for what in (spec, spec.to_json(), tmp_path / "spec.json", str(tmp_path / "spec.json")):
        source = source_of(what)
        assert (source.spec, source.recipe) == (spec, Recipe())
    assert source_of("dsod300").card == {"system": "dsod300"} and source_of(record).card == {"trial": "t3"}


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("dsod3000", "no such bundle, specification or system"),
        ({"neck": {"kind": "fpm"}}, "unknown neck 'fpm'"),
        (TrialRecord("t4", 4, "infeasible", {}), "t4: has no architecture to train"),
    ],
)
def test_what_cannot_be_trained(what: object, message: str) -> None:
    with pytest.raises(nasdet.InputError) as error:
        source_of(what)  # type: ignore[arg-type]
    assert message in str(error.value)


def test_arguments_that_exclude_each_other() -> None:
    with pytest.raises(nasdet.InputError, match="exclude each other"):
        nasdet.train("dsod300", "digits", "out", epochs=3, time_limit="1m")
