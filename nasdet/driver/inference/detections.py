"""`Detections`: the objects found in one image, as NumPy arrays in pixels of that image."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np
import numpy.typing as npt
from PIL import Image

from nasdet.data.large_images import ImageLike
from nasdet.evaluation import paste, unpack
from nasdet.evaluation.mask_encoding import Code

if TYPE_CHECKING:
    from nasdet.models import Detections as FoundOnCanvas


class Detection(NamedTuple):
    """One object: what iterating over `Detections` gives."""

    box: npt.NDArray[np.float64]
    """`(4,)` xyxy pixels of the image."""
    score: float
    label: int
    """Class id, from 0."""
    name: str
    """Class name."""


@dataclasses.dataclass(frozen=True, eq=False)
class Detections:
    """The objects found in one image, best first.

    Example:
        >>> found = nasdet.load("best").predict("image.png")
        >>> sure = found[found.scores > 0.5]
        >>> for box, score, label, name in sure:
        ...     print(name, score, box)
        >>> sure.plot().save("found.png")
    """

    boxes: npt.NDArray[np.float64]
    """`(N, 4)` xyxy in pixels of the image: x to the right, y down, (0, 0) the top left corner of the image; cut to the
    image."""
    scores: npt.NDArray[np.float32]
    """`(N,)` in 0..1."""
    labels: npt.NDArray[np.int64]
    """`(N,)` class ids, from 0, in the order of `classes`."""
    classes: tuple[str, ...]
    """All class names of the detector."""
    size: tuple[int, int]
    """Height and width of the image in pixels."""
    image: ImageLike | None = None
    """The image itself, or its path; what `plot` draws on."""
    mask_codes: tuple[Code, ...] | None = None
    """COCO's run-length code of each object's mask; None if the detector finds no masks."""

    @classmethod
    def of(
        cls, found: FoundOnCanvas, classes: Sequence[str], height: int, width: int, image: ImageLike | None = None
    ) -> Detections:
        """From what a network found, in pixels of a `height` x `width` image; its boxes may leave the image."""
        corners = found.boxes.double().cpu().numpy()
        codes = None
        if found.masks is not None:
            codes = paste(found.masks.float().cpu().numpy(), corners, height, width)
        return cls(
            boxes=np.clip(corners, 0, [width, height, width, height]),
            scores=found.scores.float().cpu().numpy(),
            labels=found.labels.cpu().numpy().astype(np.int64),
            classes=tuple(classes),
            size=(height, width),
            image=image,
            mask_codes=codes,
        )

    @property
    def names(self) -> list[str]:
        """Class name of each object."""
        return [self.classes[label] for label in self.labels]

    @property
    def masks(self) -> npt.NDArray[np.bool_] | None:
        """`(N, h, w)` masks at the size of the image; None if the detector finds no masks."""
        if self.mask_codes is None:
            return None
        decoded = [unpack(code).astype(np.bool_) for code in self.mask_codes]
        return np.stack(decoded) if decoded else np.zeros((0, *self.size), np.bool_)

    def __len__(self) -> int:
        return len(self.boxes)

    def __iter__(self) -> Iterator[Detection]:
        return (self[number] for number in range(len(self)))

    @overload
    def __getitem__(self, chosen: int) -> Detection: ...
    @overload
    def __getitem__(self, chosen: slice | Sequence[int] | npt.NDArray[Any]) -> Detections: ...
    def __getitem__(self, chosen: int | slice | Sequence[int] | npt.NDArray[Any]) -> Detection | Detections:
        """One object by its number, or the objects that a slice, a list of numbers or a boolean array selects."""
        if isinstance(chosen, int | np.integer):
            label = int(self.labels[chosen])
            return Detection(self.boxes[chosen], float(self.scores[chosen]), label, self.classes[label])
        numbers = np.arange(len(self))[chosen]
        codes = None if self.mask_codes is None else tuple(self.mask_codes[number] for number in numbers)
        arrays = {name: getattr(self, name)[numbers] for name in ("boxes", "scores", "labels")}
        return dataclasses.replace(self, **arrays, mask_codes=codes)

    def to_json(self) -> list[dict[str, Any]]:
        """The entries of predictions.json, one per object: `class`, `score`, `box` (xyxy pixels) and, where there are
        masks, `mask` (COCO's run-length code)."""
        entries: list[dict[str, Any]] = [
            {"class": name, "score": round(score, 4), "box": [round(v, 2) for v in box]}
            for box, score, name in zip(self.boxes.tolist(), self.scores.tolist(), self.names, strict=True)
        ]
        for entry, code in zip(entries, self.mask_codes or (), strict=False):
            entry["mask"] = {**code, "counts": code["counts"].decode()}
        return entries

    def to_supervision(self) -> Any:
        """The same as `supervision.Detections`, with the class names under `data["class_name"]`.

        Raises:
            ImportError: the package supervision is not installed.
        """
        supervision: Any = importlib.import_module("supervision")
        return supervision.Detections(
            xyxy=self.boxes.astype(np.float32),
            mask=self.masks,
            confidence=self.scores,
            class_id=self.labels.astype(int),
            data={"class_name": np.array(self.names, dtype=str)},
        )

    def plot(self, image: ImageLike | None = None) -> Image.Image:
        """The image with boxes, class names, scores and masks, as a Pillow picture that a notebook shows.

        Args:
            image: what to draw on; left out: the image that was predicted, which is read again if it is a file. Images
                of more than 4096 pixels are drawn scaled down, without masks.

        Raises:
            ValueError: there is no image to draw on.
            InputError: its file cannot be read any more.
        """
        from nasdet.driver.inference.drawing import LARGEST, draw, picture_of

        chosen = self.image if image is None else image
        if chosen is None:
            raise ValueError("these detections know no image: give one to plot()")
        return draw(*picture_of(chosen, LARGEST), self)
