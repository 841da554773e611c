"""How a training starts: at random with nothing loaded and nothing frozen, or from a checkpoint, once."""

from __future__ import annotations

import errno
from pathlib import Path
from unittest import mock

import pytest
import torch
from safetensors.torch import save_file
from timm.utils import ModelEmaV3

from nasdet.errors import InputError, TrialFailure
from nasdet.models import Detector, build_detector
from nasdet.models.pretrained import load_weights
from nasdet.trainers import training_state as module
from nasdet.trainers.training_state import Training
from tests.trainers.conftest import tiny_recipe, tiny_spec

CPU = torch.device("cpu")


@pytest.fixture
def checkpoint(tmp_path: Path) -> str:
    torch.manual_seed(99)
    weights = {name: t.contiguous() for name, t in build_detector(tiny_spec()).backbone.state_dict().items()}
    save_file(weights, tmp_path / "x.safetensors")
    return str(tmp_path / "x.safetensors")


def stem(training: Training) -> torch.Tensor:
    return training.detector.state_dict()["backbone.stem.conv.weight"]


def test_starts_from_a_checkpoint_in_weights_and_average(checkpoint: str) -> None:
    training = Training.start(tiny_spec(), tiny_recipe(init=checkpoint), seed=0, device=CPU)
    other = Training.start(tiny_spec(), tiny_recipe(init=checkpoint), seed=1, device=CPU)
    assert torch.equal(stem(training), stem(other))  # the file's, whatever the seed
    assert training.average is not None
    assert torch.equal(training.evaluated.state_dict()["backbone.stem.conv.weight"], stem(training))
    head = [t.detector.state_dict()["head.cls.predict.0.weight"] for t in (training, other)]
    assert not torch.equal(*head)


def test_a_resume_loads_nothing_again(checkpoint: str, tmp_path: Path) -> None:
    recipe = tiny_recipe(init=checkpoint)
    Training.start(tiny_spec(), recipe, seed=0, device=CPU).save(tmp_path / "last.pt")
    Path(checkpoint).unlink()
    resumed = Training.start(tiny_spec(), recipe, seed=0, device=CPU, resumed=True)
    resumed.load(tmp_path / "last.pt")
    with pytest.raises(InputError, match="no such checkpoint"):
        Training.start(tiny_spec(), recipe, seed=0, device=CPU)


def test_from_scratch_nothing_is_loaded(checkpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def build_loaded(spec: object) -> Detector:
        detector = build_detector(tiny_spec())
        load_weights(detector, checkpoint)
        return detector

    monkeypatch.setattr(module, "build_detector", build_loaded)
    with pytest.raises(TrialFailure, match=f"from random initialisation with weights of {checkpoint}"):
        Training.start(tiny_spec(), tiny_recipe(), seed=0, device=CPU)


def test_from_scratch_nothing_is_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    def build_frozen(spec: object) -> Detector:
        detector = build_detector(tiny_spec())
        detector.backbone.stem.requires_grad_(False)
        return detector

    monkeypatch.setattr(module, "build_detector", build_frozen)
    with pytest.raises(TrialFailure, match=r"parameters are frozen, such as backbone\.stem"):
        Training.start(tiny_spec(), tiny_recipe(), seed=0, device=CPU)


def test_a_damaged_checkpoint_costs_only_the_epochs_since_the_one_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, training = tmp_path / "checkpoint.pt", Training.start(tiny_spec(), tiny_recipe(), seed=0, device=CPU)
    for epoch in (1, 2):
        training.epoch = epoch
        training.save(path, keep_previous=True)

    def resumed() -> int:
        return Training.resume_or_start(tiny_spec(), tiny_recipe(), seed=0, device=CPU, path=path).epoch

    assert resumed() == 2
    path.write_bytes(path.read_bytes()[:1000])
    assert resumed() == 1 and "damaged checkpoint" in caplog.text
    path.unlink()
    assert resumed() == 1
    (tmp_path / "checkpoint.previous.pt").write_bytes(b"no")
    assert resumed() == 0


def test_what_a_killed_writer_left_goes_when_the_training_goes_on(tmp_path: Path) -> None:
    path, arguments = tmp_path / "t" / "checkpoint.pt", (tiny_spec(), tiny_recipe())
    Training.start(*arguments, seed=0, device=CPU).save(path)
    path.with_name("checkpoint.pt.4711-0badcafe.part").write_bytes(b"half")
    Training.resume_or_start(*arguments, seed=0, device=CPU, path=path)
    assert [file.name for file in path.parent.iterdir()] == ["checkpoint.pt"]


def test_a_disk_that_cannot_be_read_now_does_not_cost_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoint.pt"
    Training.start(tiny_spec(), tiny_recipe(), seed=0, device=CPU).save(path)
    for error in (OSError(errno.EIO, "Input/output error"), RuntimeError("DefaultCPUAllocator: can't allocate memory")):
        monkeypatch.setattr(torch, "load", mock.Mock(side_effect=error))
        with pytest.raises(type(error)):
            Training.resume_or_start(tiny_spec(), tiny_recipe(), seed=0, device=CPU, path=path)


def test_epochs_that_are_gone_are_spoken_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    arguments = (tiny_spec(), tiny_recipe())
    training = Training.resume_or_start(*arguments, seed=0, device=CPU, path=tmp_path / "checkpoint.pt", at_least=2)
    assert training.epoch == 0 and "epochs 1 to 2 are trained again" in caplog.text


@pytest.mark.parametrize("norm", ["gn", "bn"])
def test_the_average_is_that_of_timm(norm: str) -> None:
    training = Training.start(tiny_spec(kind=norm), tiny_recipe(ema=1.0), seed=0, device=CPU)
    assert training.average is not None
    timm = ModelEmaV3(training.detector, use_warmup=True, warmup_power=0.75)
    training.set_average_horizon(10)
    timm.decay = training.average.decay
    for step in range(1, 5):
        with torch.no_grad():
            for value in training.detector.state_dict().values():
                value.add_(1)
        for average in (training.average, timm):
            average.update(training.detector, step=step)
    ours, theirs = training.average.module.state_dict(), timm.module.state_dict()
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())
    assert not torch.equal(
        ours["head.cls.predict.0.weight"], training.detector.state_dict()["head.cls.predict.0.weight"]
    )
