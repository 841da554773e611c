"""Batches for training and evaluation.

One decision: the training sample at position p of epoch e is a function of (seed, e, p), and ranks divide the positions
among themselves, so that the global batch is the same for every number of workers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from nasdet.data.augment import blank, sample
from nasdet.data.cache import CachedSplit
from nasdet.data.geometry import CROWD
from nasdet.data.masks import stack
from nasdet.data.records import DatasetInfo, Objects, Pixels
from nasdet.errors import InputError
from nasdet.space.specs import AugmentSpec

LOADER_TIMEOUT = 600.0
"""Seconds after which a process that prepares a batch is taken to hang: a disk that does not answer, or too little
shared memory (/dev/shm)."""
PADDING = -1
"""Label of rows without a box."""


@dataclasses.dataclass
class Batch:
    """Images and objects of one step of one worker."""

    images: Tensor
    """`(B, C, H, W)` uint8, or float32 for 16-bit images, stored units, channels last in memory."""
    boxes: Tensor
    """`(B, M, 4)` float32 xyxy canvas pixels, zero where padded; M >= 1."""
    labels: Tensor
    """`(B, M)` int64; -1: padding, -2: region to be ignored."""
    indices: Tensor
    """`(B,)` int64 indices into the split."""
    masks: Tensor | None = None
    """`(B, M, H, W)` bool canvas pixels, row by row as the boxes, if the loader was asked for them. Empty where padded,
    and where an object states no mask or shows none: it has only a box to learn from."""

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Self:
        """The batch on another device."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Self:
        """The batch in page-locked memory (called by torch's loader)."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Self:
        masks = None if self.masks is None else change(self.masks)
        return type(self)(change(self.images), change(self.boxes), change(self.labels), change(self.indices), masks)


Sample = tuple[Objects, int]
"""Objects of a sample and its index into the split."""


class TrainBatches:
    """The batches of one rank in one epoch; `len` is the number of steps."""

    def __init__(
        self, split: CachedSplit, *, augment: AugmentSpec, batch_size: int, epoch: int, seed: int, rank: int,
        world: int, fill: tuple[float, ...], workers: int = 0, least: int = 1, masks: bool = False,
    ) -> None:  # fmt: skip
        self._least, self._masks = least, masks
        self._split, self._augment, self._blank, self._workers = split, augment, blank(split, fill), workers
        self._batch_size, self._rank = batch_size, rank
        self._seed, self._epoch = seed, epoch
        self._global_batch = batch_size * world
        self._order = np.random.default_rng((seed, epoch)).permutation(len(split))

    def __len__(self) -> int:
        return max(self._least, len(self._split) // self._global_batch)

    def __iter__(self) -> Iterator[Batch]:
        return _run(self.batch, len(self), self._workers)

    def batch(self, step: int) -> Batch:
        """The batch of one step."""
        first = step * self._global_batch + self._rank * self._batch_size
        images = _canvases(self._blank, self._batch_size)
        return collate(images, [self._draw(first + i, images[i]) for i in range(self._batch_size)])

    def _draw(self, position: int, canvas: Pixels) -> Sample:
        index = int(self._order[position % len(self._order)])
        rng = np.random.default_rng((self._seed, self._epoch, position))
        return sample(self._split, index, self._augment, rng, canvas, masks=self._masks), index


class EvalBatches:
    """The share of one rank of a split, in order, without augmentation; the last batch may be smaller."""

    def __init__(self, split: CachedSplit, *, batch_size: int, rank: int, world: int, fill: tuple[float, ...]) -> None:
        self._split, self._blank, self._batch_size = split, blank(split, fill), batch_size
        self._indices = range(rank, len(split), world)

    def __len__(self) -> int:
        return -(-len(self._indices) // self._batch_size)

    def __iter__(self) -> Iterator[Batch]:
        return _run(self.batch, len(self), 0)

    def batch(self, step: int) -> Batch:
        """The batch of one step."""
        own = self._indices[step * self._batch_size : (step + 1) * self._batch_size]
        images = _canvases(self._blank, len(own))
        return collate(images, [self._draw(index, canvas) for index, canvas in zip(own, images, strict=True)])

    def _draw(self, index: int, canvas: Pixels) -> Sample:
        pixels, target = self._split.image(index), self._split.target(index)
        canvas[: pixels.shape[0], : pixels.shape[1]] = pixels
        return Objects(target.boxes, np.where(target.crowd, CROWD, target.labels)), index


def train_loader(
    split: CachedSplit, *, augment: AugmentSpec, batch_size: int, epoch: int, seed: int, rank: int = 0, world: int = 1,
    fill: tuple[float, ...], workers: int = 0, least: int = 1, masks: bool = False,
) -> TrainBatches:  # fmt: skip
    """Augmented batches of one epoch.

    The last part of an epoch that fills no global batch (batch_size x world) is left out; if the whole split is
    smaller, there are `least` steps and images repeat in them, each time augmented anew.

    Args:
        split: cached training images.
        augment: what is done to them.
        batch_size: images of this rank in a step.
        epoch: each epoch has its own order and augmentation.
        seed: of order and augmentation.
        rank: of this process.
        world: number of processes.
        fill: value of each channel where the canvas shows no image, in stored units.
        workers: processes that prepare batches; 0: this one does, which has no core to spare on a CPU.
        least: steps of the shortest epoch.
        masks: whether batches have masks; M masks of an image take M x height x width bytes.

    Raises:
        InputError: masks are asked for and no object of the data set has one.
    """
    if masks and not split.info.masks:
        raise no_masks(split.info)
    return TrainBatches(
        split, augment=augment, batch_size=batch_size, epoch=epoch, seed=seed, rank=rank, world=world, fill=fill,
        workers=workers, least=least, masks=masks,
    )  # fmt: skip


def no_masks(info: DatasetInfo) -> InputError:
    """The error of training a mask head on a data set that has boxes only."""
    return InputError(
        "no object has a mask, which this detector learns beside the box", where=info.source,
        remedy="choose a detector without mask head, or data with masks (COCO segmentations, YOLO polygons)",
    )  # fmt: skip


def eval_loader(
    split: CachedSplit, *, batch_size: int, rank: int = 0, world: int = 1, fill: tuple[float, ...]
) -> EvalBatches:
    """Images rank, rank + world, ... of a split in order, at the top left of the canvas, without augmentation."""
    return EvalBatches(split, batch_size=batch_size, rank=rank, world=world, fill=fill)


def collate(images: Pixels, drawn: Sequence[Sample]) -> Batch:
    """One batch from canvases `(B, H, W, C)` and the objects and index of each."""
    most = max(1, max(len(objects.labels) for objects, _ in drawn))
    boxes = np.zeros((len(drawn), most, 4), np.float32)
    labels = np.full((len(drawn), most), PADDING, np.int64)
    for row, (own, _) in enumerate(drawn):
        boxes[row, : len(own.boxes)], labels[row, : len(own.boxes)] = own.boxes, own.labels
    indices = torch.tensor([index for _, index in drawn])
    masks = _masks([objects for objects, _ in drawn], (most, *images.shape[1:3]))
    return Batch(
        torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(boxes), torch.from_numpy(labels), indices, masks
    )


def _masks(drawn: Sequence[Objects], shape: tuple[int, ...]) -> Tensor | None:
    """`(B, M, H, W)` of all images, or None if the first has none."""
    if drawn[0].masks is None:
        return None
    masks = np.zeros((len(drawn), *shape), np.bool_)
    for objects, planes in zip(drawn, masks, strict=True):
        own = objects.masks or ()
        stack(own, planes[: len(own)])
    return torch.from_numpy(masks)


def _canvases(blank_canvas: Pixels, count: int) -> Pixels:
    """`(count, H, W, C)` empty canvases in one block of memory."""
    images = np.empty((count, *blank_canvas.shape), blank_canvas.dtype)
    images[:] = blank_canvas
    return images


class _Steps(Dataset[Batch]):
    """Batches by step, as torch's DataLoader takes them for its worker processes."""

    def __init__(self, make: Callable[[int], Batch], steps: int) -> None:
        self._make, self._steps = make, steps

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, step: int) -> Batch:
        return self._make(step)


def _run(make: Callable[[int], Batch], steps: int, workers: int) -> Iterator[Batch]:
    if workers > 0:
        source, pin = _Steps(make, steps), torch.cuda.is_available()
        return iter(DataLoader(source, batch_size=None, num_workers=workers, pin_memory=pin, timeout=LOADER_TIMEOUT))
    return (make(step) for step in range(steps))
