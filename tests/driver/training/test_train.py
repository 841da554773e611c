from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any, TextIO

import pytest
import torch
from click.testing import CliRunner

from nasdet.cli.train import command
from nasdet.data import open_data
from nasdet.data.writers import write_folder
from nasdet.driver.resources import Node
from nasdet.driver.training import train as driver
from nasdet.driver.training.request import Source, TrainingOptions
from nasdet.driver.training.train import train_detector
from nasdet.errors import InputError, NasdetError
from nasdet.export import read_bundle, write_bundle
from nasdet.export.bundle import open_bundle_data
from nasdet.models import build_detector
from nasdet.models.heads import TaskAlignedHead
from nasdet.models.pretrained import InitReport
from nasdet.space import load_recipe, recipe_names
from nasdet.space.heads import FcosSpec
from nasdet.space.necks import PyramidSpec
from nasdet.space.specs import InputSpec
from nasdet.trainers import full_training as full
from nasdet.trainers.full_training import History
from nasdet.trainers.job_server import Event
from nasdet.trainers.messages import Reply
from nasdet.trainers.training_state import read_checkpoint
from tests.driver.conftest import Inbox
from tests.trainers.conftest import few_digits, tiny_recipe, tiny_spec

SOURCE = Source(tiny_spec(), tiny_recipe(), {})
OUT = Path("out")


@pytest.fixture(autouse=True)
def quick_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    """No evaluation in this process; workers on Ray have their own, whole one."""
    names = ("ap", "ap50", "ap75", "ap_s", "ap_m", "ap_l", "ar100")
    monkeypatch.setattr(full, "evaluate", lambda *_, **__: dict.fromkeys(names, 0.5))
    monkeypatch.setattr(driver, "thread_count", lambda spec, most: 1)


def train(
    *, source: Source = SOURCE, data: str = "digits", resume: bool = False, report: Any = None, **asked: Any
) -> dict[str, Any]:
    dataset = open_bundle_data(data, source.card)
    show = report or (lambda reply, terminal: None)
    return train_detector(source, dataset, OUT, TrainingOptions(**asked), resume=resume, report=show)


def interrupt(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def losses() -> list[float]:
    return [epoch["loss"] for epoch in History.read(OUT / "training").epochs]


@pytest.mark.ray
@pytest.mark.timeout(240)
def test_two_workers_train_one_detector_from_relative_folders(ray_is_up: None) -> None:
    replies: list[Reply] = []

    def report(reply: Reply, terminal: TextIO) -> None:
        replies.append(reply)
        print("for the user", file=terminal)
        print("for the log", file=sys.__stderr__, flush=True)

    write_folder(open_data("digits"), "yolo", "set")
    source = Source(tiny_spec(kind="syncbn"), tiny_recipe(), {})
    result = train(source=source, data="set", epochs=2, workers=2, report=report)
    assert [r.kind for r in replies] == ["epoch", "epoch", "rung"]
    assert result["epochs"] == 2
    assert losses()[1] < losses()[0]
    bundle = read_bundle(OUT)
    assert bundle.metrics["values"]["ap"] == result["ap"]
    assert bundle.metrics["data"] == str(Path("set").absolute())
    log = (OUT / "training" / "log.txt").read_text()
    assert "for the log" in log and "for the user" not in log
    assert not (OUT / "training" / "ray").exists()


def test_a_mask_head_needs_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TaskAlignedHead, "wants_masks", True, raising=False)
    with pytest.raises(InputError, match="no object has a mask"):
        train()
    assert not OUT.exists()


def test_a_resume_goes_on_as_it_was_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(full, "train_epoch", skip_epoch)
    source = Source(SOURCE.spec, SOURCE.recipe, {"data_seed": 3, "study": "s"})
    with pytest.raises(KeyboardInterrupt):
        train(source=source, epochs=2, seed=5, report=interrupt)
    assert losses() == [6.0]
    assert train(source=source, resume=True)["epochs"] == 2
    assert losses() == [6.0, 7.0]
    metrics = read_bundle(OUT).metrics
    assert metrics["data_seed"] == 3 and metrics["study"] == "s" and metrics["seed"] == 5


def test_a_resume_keeps_the_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(full, "train_epoch", skip_epoch)
    with pytest.raises(KeyboardInterrupt):
        train(time_limit=1.0, report=interrupt)
    result = train(resume=True)
    assert 3 < result["epochs"] < 200
    assert train(resume=True)["epochs"] == result["epochs"]  # it is over
    assert train(resume=True, time_limit=2.0)["epochs"] > result["epochs"]


def test_a_resume_keeps_the_number_of_threads_as_far_as_there_are_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    def threads_of(cores: int, choose: Any, **asked: Any) -> int:
        monkeypatch.setattr(driver, "this_machine", lambda: Node(cores))
        monkeypatch.setattr(driver, "thread_count", choose)
        seen: list[int] = []
        monkeypatch.setattr(full, "train_epoch", lambda *a: [seen.append(torch.get_num_threads()), skip_epoch(*a)][1])
        train(**asked)
        assert json.loads((OUT / "training" / "job.json").read_text())["threads"] == seen[-1]
        return seen[-1]

    assert threads_of(4, lambda spec, most: most - 1, epochs=1) == 3
    assert threads_of(8, None, resume=True, epochs=2) == 3
    assert threads_of(2, None, resume=True, epochs=3) == 2


def test_a_resume_may_ask_for_another_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(full, "train_epoch", skip_epoch)
    train(epochs=1)
    assert train(resume=True)["epochs"] == 1  # it is over
    with pytest.raises(InputError, match="--time-limit: the training has taken"):
        train(resume=True, time_limit=0.001)
    assert train(resume=True, epochs=2)["epochs"] == 2
    with pytest.raises(InputError, match="--epochs: 2 epochs are done already; give more, or leave it out"):
        train(resume=True, epochs=1)
    with pytest.raises(KeyboardInterrupt):
        train(resume=True, time_limit=5.0, report=interrupt)
    assert 3 < read_checkpoint(OUT / "training" / "last.pt")["recipe"]["epochs"] < 10_000
    assert json.loads((OUT / "training" / "job.json").read_text())["job"]["time_limit"] == 5.0
    with pytest.raises(InputError, match="--epochs: 3 epochs are done already"):
        train(resume=True, epochs=3)


def test_a_named_recipe_replaces_the_bundle_s_and_brings_its_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(full, "train_epoch", skip_epoch)
    named = load_recipe("rethinking_1x")
    assert train(recipe=named)["epochs"] == 12
    bundle = read_bundle(OUT)
    assert bundle.recipe == named.recipe
    image, info = bundle.spec.input, open_data("digits").info
    assert (image.channels, image.mean, image.std) == (info.channels, info.mean, info.std)  # of these data
    assert bundle.metrics["recipe"].startswith("rethinking_1x: He et al. 2019")
    assert "rethinking_1x" in (OUT / "README.md").read_text()


def test_a_resume_keeps_the_named_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(full, "train_epoch", skip_epoch)
    named = load_recipe("lsj_100")
    with pytest.raises(KeyboardInterrupt):
        train(recipe=named, epochs=2, report=interrupt)
    with pytest.raises(InputError, match="another architecture or recipe"):
        train(recipe=load_recipe("lsj_200").model_copy(update={"recipe": tiny_recipe()}), resume=True)
    assert train(resume=True)["epochs"] == 2
    assert train(resume=True, recipe=named, epochs=3)["epochs"] == 3
    assert read_bundle(OUT).recipe == named.recipe.model_copy(update={"epochs": 3})


def test_help_lists_every_recipe() -> None:
    text = CliRunner().invoke(command, ["--help"]).output
    assert [name for name in recipe_names() if name not in text] == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 1}, "--seed: the training was started with seed 0; leave it out"),
        ({"workers": 7}, "batch size 30 does not split over 7 workers"),
        ({"source": Source(tiny_spec(kind="bn"), tiny_recipe(), {})}, "another architecture or recipe; give the same"),
        ({"source": Source(tiny_spec(), tiny_recipe(ema=0), {})}, "another architecture or recipe; give the same"),
        ({"source": Source(tiny_spec(), tiny_recipe(), {"data_seed": 3})}, "other images, boxes, classes or splits"),
    ],
)
def test_a_resume_of_something_else_is_refused(started: None, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        train(resume=True, **changes)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> None:
    """A training that was interrupted after an epoch."""
    with monkeypatch.context() as patch:
        patch.setattr(full, "train_epoch", skip_epoch)
        with pytest.raises(KeyboardInterrupt):
            train(epochs=30, report=interrupt)


def skip_epoch(training: Any, *_: Any) -> dict[str, float]:
    time.sleep(0.01)
    training.epoch += 1
    return {"loss": float(training.seed + training.epoch)}


def test_an_end_in_the_first_epoch_leaves_the_folder_free(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(full, "train_epoch", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(epochs=30)
    assert (OUT / "training" / "job.json").exists()
    with pytest.raises(InputError, match="out: nothing to resume here; leave --resume out to start"):
        train(resume=True)
    monkeypatch.setattr(full, "train_epoch", skip_epoch)
    assert train(epochs=1)["epochs"] == 1


@pytest.fixture
def checkpoint() -> Path:
    """Weights of the same backbone for colour images, with a classifier and without one stage."""
    colour = InputSpec(height=64, width=64, channels=3)
    weights = build_detector(tiny_spec().model_copy(update={"input": colour})).backbone.state_dict()
    weights = {name: t for name, t in weights.items() if not name.startswith("stages.1")}
    torch.save({"model": {**weights, "fc.weight": torch.zeros(5, 16)}}, "mae.pth")
    return Path("mae.pth")


def test_from_a_checkpoint_with_the_list_of_what_was_loaded(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(full, "train_epoch", skip_epoch)
    said: list[InitReport] = []
    dataset = open_bundle_data("digits", {})
    options = TrainingOptions(epochs=2, init="mae.pth")
    with pytest.raises(KeyboardInterrupt):
        train_detector(SOURCE, dataset, OUT, options, resume=False, report=interrupt, on_init=said.append)
    kept = json.loads((OUT / "training" / "init.json").read_text())
    assert kept == json.loads(json.dumps(said[0].to_json())) and kept["source"] == str(checkpoint.absolute())
    assert kept["unmatched_file"] == [{"name": "model.fc.weight", "shape": [5, 16]}]
    assert {m["change"] for m in kept["matched"]} == {"", "3 input channels to 1"}
    checkpoint.unlink()  # a resume needs it no more
    assert train(resume=True)["init"] == kept
    bundle = read_bundle(OUT)
    assert bundle.recipe.init == kept["source"]
    assert f"from weights of {kept['source']} ({said[0].summary})" in (OUT / "README.md").read_text()
    with pytest.raises(InputError, match=r"--init: the training was started from .*mae\.pth; leave it out"):
        train(resume=True, init="random")


def teacher(*levels: int, classes: tuple[str, ...] = ()) -> Path:
    """A bundle of a wider neck, on the digits."""
    spec = tiny_spec().model_copy(update={"neck": PyramidSpec(kind="fpn", levels=levels, width=24, depth=1)})
    state, known = build_detector(spec).state_dict(), classes or open_data("digits").info.classes
    out = Path("teacher")
    write_bundle(out, spec=spec, recipe=tiny_recipe(), state_dict=state, classes=known, card={}, overwrite=True)
    return out


def test_a_teacher_is_learnt_from_also_after_an_interruption() -> None:
    data, taught = str(few_digits()), teacher(-2, -1)
    with pytest.raises(KeyboardInterrupt):
        train(data=data, epochs=2, teacher=taught, report=interrupt)
    with pytest.raises(InputError, match=r"--teacher: the training was started by .*teacher; leave it out"):
        train(data=data, resume=True, teacher=Path("other"))
    train(data=data, resume=True)
    epochs = History.read(OUT / "training").epochs
    assert len(epochs) == 2 and all(epoch["taught"] > 0 for epoch in epochs)
    assert read_bundle(OUT).metrics["teacher"] == str(taught.absolute())
    assert (
        f"from random initialisation, taught by the detector in {taught.absolute()}." in (OUT / "README.md").read_text()
    )


def test_who_cannot_teach_is_refused() -> None:
    with pytest.raises(InputError, match=r"--teacher teacher: it was trained on other classes or channels"):
        train(teacher=teacher(-1, classes=tuple("abcdefghij")))
    fcos = tiny_spec().model_copy(update={"head": FcosSpec(width=16, depth=1, classes=10)})
    with pytest.raises(InputError, match=r"only detectors with the head tal .* these have fcos and tal"):
        train(source=Source(fcos, tiny_recipe(), {}), teacher=teacher(-1))
    fine = tiny_spec().model_copy(update={"neck": PyramidSpec(kind="fpn", levels=(-2,), width=16, depth=1)})
    with pytest.raises(InputError, match=r"no level of it \(strides \[8\]\) has the stride of one here \(\[4\]\)"):
        train(source=Source(fine, tiny_recipe(), {}), teacher=teacher(-1))
    with pytest.raises(InputError, match="gone"):
        train(teacher=Path("gone"))
    assert not OUT.exists()


def test_from_scratch_there_is_no_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(full, "train_epoch", skip_epoch)
    source = Source(tiny_spec(), tiny_recipe(init="gone.pth"), {})
    with pytest.raises(InputError, match="no such checkpoint"):
        train(source=source, epochs=1)
    assert not OUT.exists()
    assert train(source=source, epochs=1, init="random")["init"] is None
    assert "from random initialisation." in (OUT / "README.md").read_text()


def test_what_was_loaded_is_said(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(full, "train_epoch", skip_epoch)
    Path("s.json").write_text(json.dumps(tiny_spec().to_json()))
    asked = ["s.json", "--data", "digits", "--out", "o", "--epochs", "1", "--init", "mae.pth", "--json"]
    result = CliRunner().invoke(command, asked, catch_exceptions=False)
    assert "tensors of the backbone, matched by names" in result.stderr
    assert "1 of the file not used: model.fc.weight [5, 16]" in result.stderr
    assert " of the backbone not loaded: backbone.stages.1" in result.stderr
    assert json.loads(result.stdout)["init"]["rule"] == "names"


@pytest.mark.parametrize(
    ("interrupted", "said"),
    [
        (
            "nasdet.trainers.full_training.train_epoch",
            "interrupted in the first epoch, nothing is kept; start again with the same command",
        ),
        (
            "nasdet.trainers.full_training.FullTraining._write_bundle",
            "the last epoch is kept. Go on with: nasdet train 's p.json' --data digits --out o --resume",
        ),
    ],
)
def test_ctrl_c_says_what_is_true(monkeypatch: pytest.MonkeyPatch, interrupted: str, said: str) -> None:
    Path("s p.json").write_text(json.dumps(tiny_spec().to_json()))
    monkeypatch.setattr(full, "train_epoch", skip_epoch)
    monkeypatch.setattr(interrupted, interrupt)
    with pytest.raises(NasdetError) as error:
        CliRunner().invoke(command, ["s p.json", "--data", "digits", "--out", "o"], catch_exceptions=False)
    assert said in str(error.value) and error.value.exit_code == 130


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (Source(tiny_spec(), tiny_recipe(batch_size=9), {}), "batch size 9 does not split over 2 workers"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_written(source: Source, message: str) -> None:
    with pytest.raises(InputError, match=message):
        train(source=source, epochs=1, workers=2)
    assert not OUT.exists()


def test_more_workers_than_cores_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "this_machine", lambda: Node(2))
    with pytest.raises(InputError, match="3 workers per trial but only 2 cores; use --workers 2"):
        train(epochs=1, workers=3)
    assert not OUT.exists()


def test_workers_that_fall_silent_end_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "SILENCE", 0.1)
    events = [Event("training", 0, Inbox(), reply) for reply in (Reply("up"), Reply("alive", seconds=0.2))]  # type: ignore[arg-type]

    class Server:
        def receive(self, timeout: float) -> Event | None:
            time.sleep(0.01)
            return events.pop(0) if events else None

    over = threading.Event()
    group = threading.Thread(target=over.wait, args=(30,))
    group.start()
    begin = time.monotonic()
    with pytest.raises(NasdetError, match=r"no progress for 0\.1 s; its last epoch is kept"):
        driver.follow(Server(), group, None, lambda reply: None)  # type: ignore[arg-type]
    assert time.monotonic() - begin > 0.3  # what it had asked for counts
    over.set()
    group.join()
