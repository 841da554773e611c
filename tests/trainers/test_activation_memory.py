"""Whether a training recomputes: as its recipe says, or where a step would not fit; alike on all workers."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from nasdet.data import Dataset
from nasdet.models.costs import count_params
from nasdet.models.training_memory import saved_per_image
from nasdet.space.presets import SYSTEMS
from nasdet.trainers import activation_memory as memory
from nasdet.trainers.activation_memory import MOST_PER_PIXEL, RESERVE, needed_bytes, set_training_memory
from nasdet.trainers.loop import parallel, train_epoch
from nasdet.trainers.ranks import Ranks
from nasdet.trainers.training_state import Training
from tests.trainers.conftest import tiny_recipe, tiny_spec

CPU = torch.device("cpu")


def start(**changes: Any) -> Training:
    return Training.start(tiny_spec(kind="bn"), tiny_recipe(**changes), seed=5, device=CPU)


class OtherWorker(Ranks):
    """Two workers, of which the other one says `answer`."""

    def __init__(self, answer: bool) -> None:
        super().__init__(CPU)
        self.answer = answer

    def gather(self, value: Any) -> list[Any]:
        return [value, self.answer]


@pytest.mark.parametrize(("choice", "short", "expected"), [
    ("on", False, True), ("off", True, False), ("auto", True, True), ("auto", False, False),
])  # fmt: skip
def test_the_choice(choice: str, short: bool, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    training = start(recompute=choice)
    enough = int(needed_bytes(training, 30, saved_per_image(training.spec)) / (1 - RESERVE)) + 1
    monkeypatch.setattr(memory, "free_bytes", lambda device: enough - 2 if short else enough)
    set_training_memory(training, Ranks(CPU), 30)
    assert training.recompute is expected
    assert all(stage.recompute is expected for stage in training.detector.backbone.stages)


@pytest.mark.parametrize("other", [False, True])
def test_all_workers_recompute_if_one_must(other: bool) -> None:
    training = start()
    set_training_memory(training, OtherWorker(other), 2)
    assert training.recompute is other


def test_workers_of_one_machine_share_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    training = start()
    enough = int(needed_bytes(training, 30, saved_per_image(training.spec)) / (1 - RESERVE)) + 1
    monkeypatch.setattr(memory, "free_bytes", lambda device: enough)
    assert memory.fits(training, Ranks(CPU), 30)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert not memory.fits(training, Ranks(CPU), 30)


@pytest.mark.parametrize(("precision", "factor"), [("fp32", 1), ("bf16", 0.5), ("fp64", 2)])
def test_activations_count_in_the_precision_of_the_recipe(precision: str, factor: float) -> None:
    training = start(precision=precision)
    assert needed_bytes(training, 11, 1000) - needed_bytes(training, 10, 1000) == 1000 * factor


def test_gradients_and_the_states_of_the_optimiser_count() -> None:
    sgd, adamw = (needed_bytes(start(optimizer=name), 0, 0) for name in ("sgd", "adamw"))
    assert adamw == 1.5 * sgd == 3 * 4 * count_params(start().detector)


@pytest.mark.parametrize("name", SYSTEMS)
def test_no_preset_keeps_more_than_what_is_taken_for_granted(name: str) -> None:
    spec = SYSTEMS[name].spec
    assert saved_per_image(spec) <= MOST_PER_PIXEL * spec.input.height * spec.input.width


def test_an_epoch_is_the_same_and_says_that_it_recomputed(digits: Dataset) -> None:
    split, ranks, means = digits.cached("train", 64, 64), Ranks(CPU), []
    for choice in ("off", "on"):
        training = start(recompute=choice, epochs=1)
        means.append(train_epoch(training, parallel(training, ranks), split, ranks))
    kept, recomputed = means
    assert recomputed.pop("recompute") == 1
    assert recomputed == pytest.approx(kept, rel=1e-4)
