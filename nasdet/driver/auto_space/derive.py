"""From the figures of data set and machine to a search space, with a reason for each of its values.

One decision: the space lies around one start point, whose input size and finest stride show the small objects well and
whose width is what the time allows; ranges that reach far beyond it spend the time on candidates that cannot be trained
in it. The rules are reasoned; `benchmarks/start_points.py` compares what they choose with other points.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

from nasdet.driver.auto_space.data_facts import FEW_BOXES, DataFacts
from nasdet.driver.auto_space.start_space import ROOM, Start, space_around

FULL_TRAININGS = 8
"""Full trainings that the time has room for on each worker group."""
CELLS = 2.0
"""Cells of the finest level that the side of a small object should have."""
COARSE, FINE = 8, 4
"""Strides of the finest level between which is chosen."""
ENLARGED = 1.5
"""How far images may be enlarged for that."""
LEAST_INPUT, MOST_INPUT = 256, 1280
"""Sides of an input in pixels between which the size is chosen; smaller images keep their own size."""
WIDTHS = (16, 24, 32, 40, 48, 64)
"""Channels of the first stage, from which the start point takes one."""
USUAL_WIDTH = 32
IMAGES = (2_000, 8_000)
"""Fewest and most images that a candidate's full training should see."""
IMAGES_PER_GMAC = 10_000
"""Images for each 1e9 multiply-adds of the network at which a training of given length ended best, on two data sets
(docs/log.md): twice the time is for 1.4 times the network and 1.4 times the images."""
EPOCHS = (3, 60)
"""Fewest and most epochs of a candidate."""
STEPS = 1_000
"""Optimiser steps that a candidate's training should have, and twice as many the only one; small data sets get small
batches for it."""
BATCHES = (4, 8, 16, 32)

Cost = Callable[[int, int, int], float]
"""1e9 multiply-adds of an image from input size, finest stride and width of the start point."""


@dataclasses.dataclass(frozen=True)
class Time:
    """What may be spent."""

    search: float
    """Seconds of the search."""
    groups: int
    """Candidates that train at once."""
    rate: float
    """1e9 multiply-adds of forward passes that one of them trains in a second, with all that belongs to a step."""
    training: float | None = None
    """Seconds of the training of the winner afterwards; None: there is none."""

    @property
    def candidate(self) -> float:
        """Seconds that a candidate's full training may take."""
        return min(self.search * self.groups / FULL_TRAININGS, self.search / 3)


@dataclasses.dataclass(frozen=True)
class Derived:
    """A search space, and why it is so."""

    raw: dict[str, Any]
    """As `nasdet.space.parse_space` takes it."""
    reasons: dict[str, str]
    """A sentence for each dotted path of `raw` that was decided."""

    @property
    def summary(self) -> str:
        """The reasons of the start point and of the length, as sentences."""
        deciding = ("data", "space.input.size", "space.backbone.width", "budget")
        return " ".join(f"{self.reasons[path][0].upper()}{self.reasons[path][1:]}." for path in deciding)


def derive(data: DataFacts, time: Time, cost: Cost) -> Derived:
    """The space for these data in this time.

    Args:
        data: the data set.
        time: what may be spent.
        cost: of the start point.
    """
    stride, wanted = _finest_stride(data)
    size, width = _size_and_width(data, time, stride, wanted, cost)
    gflops = cost(size, stride, width)
    seen = time.rate * time.candidate / gflops
    if time.training is not None and seen < _least_images(data):
        return _without_search(data, time, stride, wanted, cost)
    epochs = round(min(IMAGES[1], seen) / data.train)
    epochs = min(EPOCHS[1], max(EPOCHS[0], epochs))
    start = Start(size, stride, width, not data.characters, _batch(epochs * data.train), epochs)
    raw = _raw(data, time, start, gflops)
    return Derived(raw, _reasons(data, time, start, wanted, gflops))


def _without_search(data: DataFacts, time: Time, stride: int, wanted: int, cost: Cost) -> Derived:
    """The space of a search that ends after an epoch of its start point, which the whole time then trains."""
    seconds = time.search + (time.training or 0.0)
    size, width = _size_and_width(data, dataclasses.replace(time, training=seconds), stride, wanted, cost)
    gflops = cost(size, stride, width)
    images = time.rate * seconds / gflops
    start = Start(size, stride, width, not data.characters, _batch(images / 2), epochs=1)
    raw = _raw(data, time, start, gflops)
    raw["budget"]["trials"] = 1
    candidate = time.rate * time.candidate / gflops
    reasons = _reasons(data, time, start, wanted, gflops) | {
        "space.backbone.width": (
            f"around {start.width} channels: in all of the time a training sees about {images:.0f} images at "
            f"{gflops:.2g} GMACs each ({time.rate:.3g} GMACs/s here, training included)"
        ),
        "space.recipe.batch_size": f"around {start.batch}: {images / start.batch:.0f} steps in the training",
        "budget": (
            f"no search: a candidate would see {candidate:.0f} images, fewer than the {_least_images(data)} by which "
            "candidates can be told apart; the start point is trained for all of the time"
        ),
    }
    return Derived(raw, reasons)


def _least_images(data: DataFacts) -> int:
    """Images that a candidate must see in full for its result to say something."""
    return max(IMAGES[0], EPOCHS[0] * data.train)


def _batch(images: float) -> int:
    return max((b for b in BATCHES if images / b >= STEPS), default=BATCHES[0])


def _raw(data: DataFacts, time: Time, start: Start, gflops: float) -> dict[str, Any]:
    raw = space_around(start)
    raw["data"] = {"source": data.source}
    if data.tile:
        raw["data"]["tile"] = {"size": data.tile.size, "overlap": data.tile.shared}
    raw["constraints"] = [f"gflops <= {ROOM * gflops:.3g}"]
    raw["budget"] |= {"time_limit": round(time.search), "seed": 0}
    return raw


def _finest_stride(data: DataFacts) -> tuple[int, int]:
    """Stride of the finest level, and the input size that shows small objects well at it: the coarser stride where
    images are large enough for it, else the finer one."""
    own = min(MOST_INPUT, _multiple(data.long_side))
    stride = COARSE if size_for(data.small, COARSE) <= own else FINE
    most = min(MOST_INPUT, _multiple(own * ENLARGED))
    return stride, max(min(own, LEAST_INPUT), min(size_for(data.small, stride), most))


def size_for(side: float, stride: int) -> int:
    """Input size at which objects of this side, a share of the image's longer side, have `CELLS` cells of a level of
    this stride."""
    return _multiple(CELLS * stride / max(side, 1e-4), math.ceil)


def _size_and_width(data: DataFacts, time: Time, stride: int, wanted: int, cost: Cost) -> tuple[int, int]:
    """Of what the time allows, the best compromise between the wanted input size and the usual width."""
    most = math.sqrt(time.rate * (time.training or time.search) / IMAGES_PER_GMAC)
    if time.training is None:
        most = min(most, time.rate * time.candidate / _least_images(data))
    choices = [(size, width) for size in range(min(96, wanted), wanted + 1, 32) for width in WIDTHS]
    affordable = [choice for choice in choices if cost(choice[0], stride, choice[1]) <= most] or choices[:1]
    return max(affordable, key=lambda choice: choice[0] / wanted * _worth(choice[1]))


def _worth(width: int) -> float:
    """Of a width, in that of the usual one: what is beyond it counts less than what lacks."""
    return math.pow(width / USUAL_WIDTH, 0.5 if width < USUAL_WIDTH else 0.25)


def _multiple(pixels: float, how: Callable[[float], int] = round) -> int:
    return 32 * max(1, how(pixels / 32))


def _reasons(data: DataFacts, time: Time, start: Start, wanted: int, gflops: float) -> dict[str, str]:
    side, images = data.small * data.long_side, start.epochs * data.train
    shown, kind = data.small * start.size, "tiles" if data.tile else "images"
    size = (
        f"a tenth of the boxes are smaller than {side:.0f} px in {kind} of {data.long_side} px, {shown:.0f} px on an "
        f"input of {start.size}: {shown / start.stride:.1f} cells of stride {start.stride}"
    )
    if start.size < wanted:
        size += f"; {wanted} would show them well, but the time is too short for it"
    fine = "small objects need it" if start.stride == FINE else "small objects are large enough for it"
    images_or_tiles = f"tiles of {data.tile.size} px, which show small objects" if data.tile else "images"
    rare = f"; fewer than {FEW_BOXES} boxes have {', '.join(data.rare)}" if data.rare else ""
    trainings = time.search * time.groups * time.rate / (images * gflops)
    return {
        "data": f"{data.train} training {images_or_tiles}, {data.boxes:.1f} boxes each{rare}",
        "fixed.recipe.augment.hflip": (
            "a mirrored image is as likely" if start.flips else "flips turn letters and digits into others"
        ),
        ("space" if start.stride == FINE else "fixed")
        + ".neck.min_stride": f"finest level, stride {start.stride}: {fine}",
        "space.input.size": size,
        "space.backbone.width": (
            f"around {start.width} channels: in {time.candidate:.0f} s a candidate sees {images} images at "
            f"{gflops:.2g} GMACs each ({time.rate:.3g} GMACs/s here, training included)"
        ),
        "space.backbone.stem": "structure: as in quick",
        "space.recipe.batch_size": f"around {start.batch}: {images // start.batch} steps in a full training",
        "space.recipe.base_lr": "recipe: as in quick",
        "space.recipe.augment.vflip": "right for microscopes and drones, wrong where up and down differ",
        "objectives": "accuracy against the time of one image on one core",
        "constraints": f"at most {ROOM:g} times the start point: what costs more cannot be trained in the time",
        "budget": f"time for about {trainings:.0f} trainings in full; only one of three candidates gets that far",
        "points": "tried first",
    }
