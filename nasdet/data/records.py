"""The values that a data set consists of. They are small, so that they can be sent to other processes; pixels are in
`nasdet.data.cache`."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from nasdet.data.masks import Mask, Patch
from nasdet.data.tiles import Tile
from nasdet.space.tiling import Tiling

Boxes = npt.NDArray[np.float32]
AnyBoxes = npt.NDArray[np.floating]
Labels = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Pixels = npt.NDArray[Any]
"""`(height, width, channels)` uint8 or uint16."""

Action = Literal["skipped", "repaired", "reported"]
SPLITS = ("train", "val", "test")


@dataclasses.dataclass(frozen=True)
class Defect:
    """One kind of fault in the annotations or images, counted."""

    kind: str
    count: int
    examples: tuple[str, ...]
    """Up to five, each naming file and object."""
    action: Action


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """Facts about a data set, which `open_data` finds out once."""

    source: str
    name: str
    layout: str
    """coco, voc or yolo."""
    classes: tuple[str, ...]
    channels: int
    bits: int
    """8 or 16, as stored."""
    mean: tuple[float, ...]
    """Of each channel over the training split, in stored units."""
    std: tuple[float, ...]
    splits: dict[str, int]
    """Images, or their tiles, per split: train, val and, where there is one, test."""
    split_rule: str
    aspect: float
    """Median of width / height."""
    fingerprint: str
    """Hash over pixels, boxes, masks, classes and splits."""
    defects: tuple[Defect, ...] = ()
    notes: tuple[str, ...] = ()
    """Choices made while reading that a person should know of."""
    masks: bool = False
    """Whether objects have masks beside their boxes."""
    tiling: Tiling | None = None
    """How images are cut into tiles; None: they are not."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True, eq=False)
class ImageRecord:
    """One image and its objects, in pixels of the image as read (after EXIF rotation)."""

    id: int
    path: Path
    width: int
    height: int
    boxes: Boxes
    """`(n, 4)` float32 xyxy, inside the image."""
    labels: Labels
    """`(n,)` int64 in 0..K-1."""
    crowd: Flags
    """`(n,)` whether the box is a region to be ignored."""
    area: npt.NDArray[np.float32]
    """`(n,)` pixels, of the object's mask where the annotation states it, else of its box."""
    group: str = ""
    """Images of equal group (patient, flight) stay in one split; empty: on its own."""
    digest: str = ""
    """Hash of the file's bytes."""
    masks: tuple[Mask | None, ...] = ()
    """One per box in pixels, None where the object has none; empty if no object of the image has one."""
    tile: Tile | None = None
    """The part of the image that this record is of; its pixels are those of the part."""


class Target(NamedTuple):
    """Objects of one cached image in canvas pixels."""

    boxes: Boxes
    labels: Labels
    crowd: Flags
    masks: tuple[Mask | None, ...] | None = None
    """One per box, None where the object has none; None if masks were not asked for."""


class Objects(NamedTuple):
    """The objects in a training sample."""

    boxes: Boxes
    """`(n, 4)` xyxy canvas pixels."""
    labels: Labels
    """`(n,)`, -2 for regions to be ignored."""
    masks: tuple[Patch | None, ...] | None = None
    """One per box, None where the object has none; None if masks were not asked for."""

    def taken(self, keep: Flags) -> Objects:
        """The objects at `keep` (n,)."""
        masks = None if self.masks is None else tuple(itertools.compress(self.masks, keep))
        return Objects(self.boxes[keep], self.labels[keep], masks)

    @classmethod
    def join(cls, parts: Sequence[Objects]) -> Objects:
        """The objects of all parts of one canvas."""
        masks = [part.masks for part in parts if part.masks is not None]
        return cls(
            np.concatenate([part.boxes for part in parts]),
            np.concatenate([part.labels for part in parts]),
            tuple(itertools.chain(*masks)) if masks else None,
        )


class RawObject(NamedTuple):
    """One object as an annotation file states it, unchecked."""

    box: tuple[float, float, float, float]
    """xyxy in pixels of `RawImage.size`, or as shares of the image if `RawImage.relative`."""
    label: int
    crowd: bool
    area: float | None
    where: str
    mask: Mask | None = None
    """In the unit of the box."""


@dataclasses.dataclass
class RawImage:
    """One image as an annotation file states it, unchecked."""

    path: Path
    split: str
    """train, val, test, or empty where the layout does not say."""
    objects: list[RawObject]
    size: tuple[int, int] | None = None
    """Stated width and height."""
    relative: bool = False
    """Whether boxes are shares of the image instead of pixels."""
    id: int | None = None
    group: str = ""


@dataclasses.dataclass
class RawData:
    """What a reader found in a folder."""

    layout: str
    classes: tuple[str, ...]
    images: list[RawImage]
    notes: list[str] = dataclasses.field(default_factory=list)
