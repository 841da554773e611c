from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from nasdet.data import Batch, Dataset, TrainBatches, train_loader
from nasdet.errors import TrialFailure
from nasdet.space.specs import AugmentSpec, Recipe
from nasdet.trainers import loop
from nasdet.trainers.loop import parallel, train_epoch
from nasdet.trainers.ranks import Ranks
from nasdet.trainers.training_state import Training
from tests.trainers.conftest import tiny_recipe, tiny_spec

CPU = torch.device("cpu")


def start(recipe: Recipe, **norm: Any) -> Training:
    return Training.start(tiny_spec(**norm), recipe, seed=5, device=CPU)


def epoch(training: Training, data: Dataset) -> dict[str, float]:
    ranks = Ranks(CPU)
    return train_epoch(training, parallel(training, ranks), data.cached("train", 64, 64), ranks)


@pytest.mark.parametrize("kind", ["gn", "bn"])
def test_loss_falls(digits: Dataset, kind: str) -> None:
    training = start(tiny_recipe(batch_size=10, base_lr=1e-2), kind=kind)
    first, *_, last = [epoch(training, digits)["loss"] for _ in range(3)]
    assert last < 0.85 * first


def test_reports_the_ratio_of_positives_to_negatives(digits: Dataset) -> None:
    means = epoch(start(tiny_recipe()), digits)
    points = 16**2 + 8**2  # strides 4 and 8 of 64 pixels
    assert means["positives"] + means["negatives"] == pytest.approx(points, rel=1e-4)
    assert 0 < means["positive_ratio"] == pytest.approx(means["positives"] / means["negatives"], rel=1e-6)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "lamb", "muon"])
def test_resume_is_exact(digits: Dataset, tmp_path: Path, optimizer: str) -> None:
    recipe = tiny_recipe(optimizer=optimizer, epochs=4, batch_size=10, data_share=0.25)
    whole = start(recipe, kind="bn")
    expected = [epoch(whole, digits) for _ in range(3)]
    broken = start(recipe, kind="bn")
    epoch(broken, digits)
    broken.save(tmp_path / "last.pt", note="kept")
    again = start(recipe, kind="bn")
    assert again.load(tmp_path / "last.pt")["note"] == "kept"
    assert [epoch(again, digits) for _ in range(2)] == expected[1:]
    for name, tensor in whole.evaluated.state_dict().items():
        assert torch.equal(tensor, again.evaluated.state_dict()[name]), name


def test_divergence_fails_with_a_reason(digits: Dataset) -> None:
    training = start(tiny_recipe(optimizer="sgd", batch_size=6, base_lr=1e9, clip_norm=0.0, warmup=0.0))
    with pytest.raises(TrialFailure, match=r"the loss is not finite in epoch 1, step \d+ \(learning rate"):
        epoch(training, digits)


def test_batch_must_split(digits: Dataset) -> None:
    training = start(tiny_recipe(batch_size=30, accumulate=4))
    with pytest.raises(TrialFailure, match="batch_size 30 cannot be split over 1 workers x 4 micro-batches"):
        epoch(training, digits)


def test_statistics_of_a_part_of_the_batch(digits: Dataset) -> None:
    whole, parts = (start(tiny_recipe(images_per_statistic=n), kind="bn") for n in (30, 5))
    assert epoch(whole, digits)["loss"] == epoch(start(tiny_recipe(), kind="bn"), digits)["loss"]
    assert epoch(parts, digits)["loss"] != epoch(whole, digits)["loss"]
    with pytest.raises(TrialFailure, match="4 images per statistic cannot be formed: 1 workers hold 30"):
        epoch(start(tiny_recipe(images_per_statistic=4), kind="bn"), digits)


def test_accumulation_steps_also_where_images_are_few(digits: Dataset) -> None:
    training = start(tiny_recipe(batch_size=160, accumulate=2))  # micro-batches of 80, and 60 images
    before = {name: value.clone() for name, value in training.detector.state_dict().items()}
    epoch(training, digits)
    assert training.step == 1
    assert any(not torch.equal(before[name], value) for name, value in training.detector.state_dict().items())


def test_accumulation_makes_the_same_number_of_steps(digits: Dataset) -> None:
    plain, parts = (start(tiny_recipe(batch_size=10, accumulate=n)) for n in (1, 2))
    epoch(plain, digits)
    means = epoch(parts, digits)
    assert plain.step == parts.step == 6
    assert means["loss"] < 10


def test_gradients_of_micro_batches_are_averaged(digits: Dataset) -> None:
    recipe = tiny_recipe(drop_path=0.0)
    batches = train_loader(
        digits.cached("train", 64, 64), augment=recipe.augment, batch_size=4, epoch=0, seed=1, fill=(60.0,)
    )
    gradients = []
    for parts in (1, 2):
        training = start(recipe.model_copy(update={"accumulate": parts}))
        for _ in range(parts):  # the same micro-batch again
            loop.backward(training, training.detector, batches.batch(0))
        gradients.append(torch.cat([p.grad.flatten() for p in training.detector.parameters() if p.grad is not None]))
    torch.testing.assert_close(*gradients)


def test_each_step_has_its_rate_and_each_epoch_its_order(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    images: list[list[int]] = []

    def noted(training: Training, model: torch.nn.Module, batch: Batch, **_: bool) -> dict[str, torch.Tensor]:
        rates.append(training.optimizer.param_groups[0]["lr"])
        images.append(batch.indices.tolist())
        return {"loss": torch.ones(())}

    monkeypatch.setattr(loop, "backward", noted)
    monkeypatch.setattr(loop, "optimizer_step", lambda training: torch.ones(()))
    training = start(tiny_recipe(epochs=4, batch_size=6, warmup=2.0, augment={"strength": 0.0}))
    for _ in range(2):
        epoch(training, digits)
    assert len(rates) == 20 and rates == sorted(set(rates))  # the learning rate rises during the warm-up
    assert images[:10] != images[10:]


def test_average_follows_the_weights(digits: Dataset) -> None:
    training = start(tiny_recipe(ema=1.0))
    before = {n: p.clone() for n, p in training.detector.named_parameters()}
    epoch(training, digits)
    assert training.evaluated is not training.detector
    moved = [(training.evaluated.get_parameter(n) - p).abs().sum().item() for n, p in before.items()]
    assert all(m > 0 for m in moved)
    assert start(tiny_recipe(ema=0.0)).average is None


def test_a_checkpoint_of_another_architecture_is_refused(tmp_path: Path) -> None:
    start(tiny_recipe()).save(tmp_path / "last.pt")
    other = start(tiny_recipe(), kind="bn")
    with pytest.raises(TrialFailure, match="belongs to another architecture"):
        other.load(tmp_path / "last.pt")


def test_weights_start_as_the_recipe_says() -> None:
    kinds = ("auto", "kaiming", "xavier", "trunc_normal")
    first = {kind: next(start(tiny_recipe(weight_init=kind)).detector.parameters()) for kind in kinds}
    deviation = {kind: float(weight.detach().std()) for kind, weight in first.items()}
    wanted = {"auto": (2 / 72) ** 0.5, "kaiming": (2 / 72) ** 0.5, "xavier": 1 / 3, "trunc_normal": 0.0176}
    assert deviation == pytest.approx(wanted, rel=0.2)  # 1 channel to 8, 3x3


def test_same_seed_same_weights() -> None:
    one, two = start(tiny_recipe()), start(tiny_recipe())
    assert all(torch.equal(a, b) for a, b in zip(one.detector.parameters(), two.detector.parameters(), strict=True))


def test_a_share_of_the_images_takes_as_many_steps(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    original = loop.backward

    def watched(training: Training, model: torch.nn.Module, batch: Batch, **options: bool) -> dict[str, torch.Tensor]:
        seen.extend(map(hash, (image.numpy().tobytes() for image in batch.images)))
        return original(training, model, batch, **options)

    monkeypatch.setattr(loop, "backward", watched)
    plain = {"strength": 0.0, "hflip": False}
    whole = start(tiny_recipe(augment=plain))
    epoch(whole, digits)
    images = len(set(seen))
    seen.clear()
    part = start(tiny_recipe(augment=plain, data_share=0.2))
    epoch(part, digits)
    assert part.step == whole.step and images > 50 and len(set(seen)) == 12


def test_small_images_come_first(digits: Dataset) -> None:
    training = start(tiny_recipe(epochs=3, progressive={"scale": 0.5, "share": 0.9}))
    points = []
    for _ in range(3):
        means = epoch(training, digits)
        points.append(round(means["positives"] + means["negatives"], 2))
        assert means["positives"] > 0
    assert points == [8**2 + 4**2, 8**2 + 4**2, 16**2 + 8**2]  # strides 4 and 8 of 32 and of 64 pixels


def test_strong_augmentation_ends_where_the_recipe_says(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []

    def noted(*arguments: Any, augment: AugmentSpec, **more: Any) -> TrainBatches:
        seen.append(augment.mosaic)
        return train_loader(*arguments, augment=augment, **more)

    monkeypatch.setattr(loop, "train_loader", noted)
    training = start(tiny_recipe(epochs=4, augment={"mosaic": 1.0, "plain_from": 0.5}))
    for _ in range(4):
        epoch(training, digits)
    assert seen == [1.0, 1.0, 0.0, 0.0]
