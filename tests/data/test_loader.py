"""Batches: deterministic, the same for every number of workers, of the right form."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from nasdet.data import Batch, CachedSplit, Dataset, TrainBatches, eval_loader, train_loader
from nasdet.data.masks import Polygons, Runs
from nasdet.space.specs import AugmentSpec

FULL = AugmentSpec(strength=1.0, hflip=True, vflip=True, mosaic=0.5, mixup=0.5)
PLAIN = AugmentSpec(strength=0.0, hflip=False)


def loader(dataset: Dataset, *, batch: int = 16, rank: int = 0, world: int = 1, **options: object) -> TrainBatches:
    settings = {"augment": FULL, "epoch": 1, "seed": 3, "fill": dataset.info.mean} | options
    split = dataset.cached(str(settings.pop("split", "val")), 96, 96)
    return train_loader(split, batch_size=batch, rank=rank, world=world, **settings)  # type: ignore[arg-type]


def equal(first: Batch, second: Batch) -> bool:
    pairs = zip(vars(first).values(), vars(second).values(), strict=True)
    return all(a is b if a is None or b is None else torch.equal(a, b) for a, b in pairs)


def rows(batches: list[Batch]) -> list[tuple[int, bytes, bytes]]:
    """Index, pixels and objects of every image, in order; padding left out."""
    found = []
    for batch in batches:
        for i in range(len(batch.indices)):
            real = batch.labels[i] != -1
            objects = torch.cat([batch.boxes[i][real], batch.labels[i][real, None].float()], 1)
            found.append((int(batch.indices[i]), batch.images[i].numpy().tobytes(), objects.numpy().tobytes()))
    return found


@pytest.mark.parametrize("world", [2, 4])
def test_global_batch_does_not_depend_on_the_world(digits: Dataset, world: int) -> None:
    single = list(loader(digits, batch=16))
    ranks = [list(loader(digits, batch=16 // world, rank=r, world=world)) for r in range(world)]
    assert len(single) == 150 // 16
    for step, batch in enumerate(single):
        assert rows([own[step] for own in ranks]) == rows([batch])


def test_seed_epoch_and_position_decide(digits: Dataset) -> None:
    first = loader(digits)
    assert all(equal(a, b) for a, b in zip(first, loader(digits), strict=True))
    assert equal(first.batch(5), list(first)[5])
    assert not equal(first.batch(0), loader(digits, epoch=2).batch(0))
    assert not equal(first.batch(0), loader(digits, seed=4).batch(0))


def test_each_epoch_augments_anew(digits: Dataset) -> None:
    one = digits.cached("val", 96, 96).share(1e-6)
    first, second = (
        train_loader(one, augment=FULL, batch_size=1, epoch=epoch, seed=3, fill=digits.info.mean).batch(0)
        for epoch in (1, 2)
    )
    assert torch.equal(first.indices, second.indices) and not torch.equal(first.images, second.images)


def test_epoch_sees_every_image_once(digits: Dataset) -> None:
    batches = loader(digits, batch=15)
    indices = torch.cat([b.indices for b in batches])
    assert len(batches) == 10
    assert sorted(indices.tolist()) == list(range(150))


def test_small_split_repeats_images_differently(digits: Dataset) -> None:
    batches = loader(digits, batch=200)
    assert len(batches) == 1
    batch = next(iter(batches))
    assert len(batch.indices) == 200
    first, again = 0, 150
    assert batch.indices[first] == batch.indices[again]
    assert not torch.equal(batch.images[first], batch.images[again])


def test_form_of_a_batch(digits: Dataset) -> None:
    batch = loader(digits).batch(0)
    assert batch.images.shape == (16, 1, 96, 96)
    assert batch.images.dtype == torch.uint8
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert batch.boxes.dtype == torch.float32
    assert batch.labels.dtype == batch.indices.dtype == torch.int64
    assert batch.boxes.shape == (*batch.labels.shape, 4)
    padded = batch.labels == -1
    assert (batch.boxes[padded] == 0).all()
    sides = batch.boxes[~padded][:, 2:] - batch.boxes[~padded][:, :2]
    assert (sides >= 2).all()
    assert batch.boxes.min() >= 0
    assert batch.boxes.max() <= 96
    moved = batch.to("cpu")
    assert equal(moved, batch)


def test_without_augmentation_training_equals_evaluation(digits: Dataset) -> None:
    split = digits.cached("val", 96, 96)
    shown = {}
    for batch in eval_loader(split, batch_size=16, fill=digits.info.mean):
        shown |= {row[0]: row for row in rows([batch])}
    for row in rows(list(loader(digits, augment=PLAIN))):
        assert shown[row[0]] == row


@pytest.mark.parametrize("world", [1, 2, 4])
def test_evaluation_shares_out_every_image(digits: Dataset, world: int) -> None:
    split = digits.cached("test", 96, 96)
    shares = []
    for rank in range(world):
        own = eval_loader(split, batch_size=16, rank=rank, world=world, fill=(0.0,))
        batches = list(own)
        assert len(own) == len(batches)
        shares.append(torch.cat([b.indices for b in batches]).tolist())
        assert shares[-1] == list(range(rank, 150, world))
    assert sorted(itertools.chain(*shares)) == list(range(150))


def test_padding_shows_the_fill(digits: Dataset) -> None:
    split = digits.cached("val", 96, 160)
    batch = next(iter(eval_loader(split, batch_size=2, fill=(77.3,))))
    assert (batch.images[:, :, :, 96:] == 77).all()
    assert split.image(0).shape == (96, 96, 1)


def test_worker_processes_give_the_same(digits: Dataset) -> None:
    for a, b in zip(loader(digits, workers=2), loader(digits), strict=True):
        assert equal(a, b)


def test_stopping_early_and_errors_in_the_thread(digits: Dataset) -> None:
    threads = torch.get_num_threads()
    batches = iter(loader(digits))
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    assert torch.get_num_threads() == threads
    broken = loader(digits)
    broken.batch = lambda step: 1 // (1 - step)  # type: ignore[method-assign, assignment, return-value]
    with pytest.raises(ZeroDivisionError):
        list(broken)


def test_deep_images_are_float(digits: Dataset) -> None:
    split = digits.cached("val", 96, 96)
    split.dtype = np.dtype(np.uint16)
    batch = next(iter(eval_loader(split, batch_size=2, fill=(0.0,))))
    assert batch.images.dtype == torch.float32


def test_crowds_are_labelled(shared_data: object, opens: object, tmp_path: object) -> None:
    dataset = opens(shared_data / "coco60")  # type: ignore[operator]
    split = dataset.cached("train", 256, 256)
    crowds = sum(int(r.crowd.sum()) for r in dataset.images("train"))
    evaluated = eval_loader(split, batch_size=16, fill=(0.0,) * 3)
    assert sum(int((b.labels == -2).sum()) for b in evaluated) == crowds == 3
    trained = train_loader(split, augment=PLAIN, batch_size=33, epoch=0, seed=0, fill=(0.0,) * 3)
    assert sum(int((b.labels == -2).sum()) for b in trained) == 3


@pytest.fixture
def masked(shared_data: Path, opens: Callable[..., Dataset], tmp_path: Path) -> CachedSplit:
    source = tmp_path / "coco60.yaml"
    annotations = "annotations/instances_train_source_ids.json"
    source.write_text(f"root: {shared_data / 'coco60'}\nformat: coco\ntrain: {annotations}\n")
    return opens(source).cached("train", 160, 160)


@pytest.mark.parametrize("augment", [PLAIN, FULL, AugmentSpec(strength=0.5, hflip=True, vflip=True)])
def test_masks_lie_in_their_boxes(masked: CachedSplit, augment: AugmentSpec) -> None:
    """Each mask fills its box to the edges, up to the rounding of pixels, whatever was done to the image."""
    batches = train_loader(masked, augment=augment, batch_size=8, epoch=0, seed=5, fill=(0.0,) * 3, masks=True)
    close = total = 0
    for batch in batches:
        assert batch.masks is not None and batch.masks.dtype == torch.bool
        assert batch.masks.shape == (*batch.labels.shape, 160, 160)
        assert not batch.masks[batch.labels == -1].any()
        real = batch.labels >= 0
        for mask, box in zip(batch.masks[real], batch.boxes[real], strict=True):
            if not mask.any():
                assert (box[2:] - box[:2]).min() < 8  # thinner than a pixel
                continue
            rows, columns = torch.nonzero(mask, as_tuple=True)
            tight = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
            outside = torch.cat([box[:2] - tight[:2], tight[2:] - box[2:]])
            assert outside.max() <= 1.5
            close += int((tight - box).abs().max() <= 1.5)
            total += 1
    assert total > 100
    assert close / total > 0.8  # a part that was cut away may have held an edge of the rest's box


def test_samples_are_the_same_with_masks_and_without(masked: CachedSplit) -> None:
    def first(**options: bool) -> Batch:
        return train_loader(
            masked, augment=FULL, batch_size=16, epoch=0, seed=5, fill=(0.0,) * 3, **options
        ).batch(0)  # fmt: skip

    plain, with_masks = first(), first(masks=True)
    assert plain.masks is None
    assert with_masks.masks is not None
    assert with_masks.to("cpu").masks is not None
    assert equal(plain, dataclasses.replace(with_masks, masks=None))


def test_no_mask_is_drawn_unless_asked_for(masked: CachedSplit, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("drawn")

    for kind in (Polygons, Runs):
        monkeypatch.setattr(kind, "show", refuse)
        monkeypatch.setattr(kind, "scaled", refuse)
    for batches in (
        train_loader(masked, augment=FULL, batch_size=8, epoch=0, seed=5, fill=(0.0,) * 3),
        eval_loader(masked, batch_size=8, fill=(0.0,) * 3),
    ):
        assert all(batch.masks is None for batch in batches)


def test_crowd_runs_come_as_masks(masked: CachedSplit) -> None:
    batches = train_loader(masked, augment=PLAIN, batch_size=len(masked), epoch=0, seed=0, fill=(0.0,) * 3, masks=True)
    batch = batches.batch(0)
    crowds = batch.labels == -2
    assert batch.masks is not None and crowds.any()
    assert batch.masks[crowds].flatten(1).any(1).all()
