"""`nasdet.load` and `Detector`: use a trained detector from Python."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy.typing as npt
from PIL import Image

from nasdet.data.large_images import ImageLike
from nasdet.driver.inference.detections import Detections
from nasdet.export import Bundle, read_bundle

if TYPE_CHECKING:
    from nasdet.data import Dataset
    from nasdet.export.export_onnx import OnnxCheck
    from nasdet.models import Detector as Network
    from nasdet.space.specs import DetectorSpec, Recipe

Item = TypeVar("Item", bound=ImageLike)
SCORE = 0.3
"""Least score of a prediction where nothing else is asked for."""


def load(bundle: str | Path, *, device: str | None = None) -> Detector:
    """Open a trained detector.

    Args:
        bundle: a folder that `nasdet.train`, `Study.export`, `nasdet train` or `nasdet export` wrote.
        device: "cpu", "cuda" or "cuda:N"; left out: a GPU where there is one.

    Raises:
        nasdet.errors.InputError: the folder is missing, is not a bundle, is damaged, or was written by a newer version.

    Example:
        >>> detector = nasdet.load("best")
        >>> detector.predict("image.png").plot()
    """
    return Detector(read_bundle(bundle), device=device)


class Detector:
    """A trained detector in a bundle folder.

    Args:
        bundle: the bundle; see `nasdet.load`.
        device: where it runs; None: a GPU where there is one.

    Its weights are read when they are first needed. Arguments of the command line that a message names, such as
    `--data`, are those of the same name here.
    """

    def __init__(self, bundle: Bundle, *, device: str | None = None) -> None:
        self.bundle = bundle
        self.training: dict[str, Any] | None = None
        """Of a detector that `nasdet.train` returns: the figures of the best weights on the validation split, their
        `epoch`, `epochs` in all, `seconds`, and `init`, what was loaded from a checkpoint if anything."""
        self._device = device

    @property
    def path(self) -> Path:
        """The bundle's folder."""
        return self.bundle.path

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the labels."""
        return self.bundle.classes

    @property
    def spec(self) -> DetectorSpec:
        """The architecture."""
        return self.bundle.spec

    @property
    def recipe(self) -> Recipe:
        """How it was trained."""
        return self.bundle.recipe

    @property
    def metrics(self) -> dict[str, float]:
        """What was measured when the bundle was written, on the validation split: ap, ap50, ... in 0..1, latency_ms in
        milliseconds, params_m in 1e6 parameters, gflops in 1e9 multiply-adds; whatever is known of these."""
        return dict(self.bundle.metrics.get("values") or {})

    @property
    def card(self) -> Mapping[str, Any]:
        """All that is known of its origin: data, study, trial, epochs, seed, ...; the content of metrics.json."""
        return self.bundle.metrics

    @functools.cached_property
    def network(self) -> Network:
        """The PyTorch module in evaluation mode, on the device. It takes images `(B, C, H, W)` in stored units.

        Raises:
            nasdet.errors.InputError: the weights are damaged or are not those of the architecture.
        """
        from nasdet.driver.inference.evaluate import best_device

        return self.bundle.load_detector(self._device or str(best_device()))

    @overload
    def predict(
        self,
        images: str | Path | npt.NDArray[Any] | Image.Image,
        *,
        score: float = ...,
        tile: int | str | None = ...,
        overlap: int | None = ...,
    ) -> Detections: ...
    @overload
    def predict(
        self,
        images: list[Item] | tuple[Item, ...],
        *,
        score: float = ...,
        tile: int | str | None = ...,
        overlap: int | None = ...,
    ) -> list[Detections]: ...
    def predict(
        self,
        images: ImageLike | list[Item] | tuple[Item, ...],
        *,
        score: float = SCORE,
        tile: int | str | None = None,
        overlap: int | None = None,
    ) -> Detections | list[Detections]:
        """Find objects.

        Args:
            images: an image file, an array `(h, w)` or `(h, w, C)` of uint8 or uint16 in the order of bands of the
                training images (RGB, where OpenCV gives BGR), a Pillow image, or a list of these.
            score: least score that is kept, in 0..1.
            tile: cut images into overlapping tiles of this many pixels on the longer side, or "auto": the tiles that
                the detector was trained on, else tiles of the size of its input. Left out: as it was trained.
            overlap: pixels that neighbouring tiles share; left out: a quarter of a tile.

        Returns:
            The objects of the image, boxes in its own pixels; of a list of images a list.

        Raises:
            nasdet.errors.InputError: an image cannot be read or has other channels, or the tiles cannot be.

        Example:
            >>> for found in nasdet.load("best").predict(["a.png", "b.png"], score=0.5):
            ...     print(found.names, found.boxes)
        """
        from nasdet.driver.inference.predict import choose_tiling, predict_image
        from nasdet.driver.resources import cpu_count
        from nasdet.export.bundle import tiling_of
        from nasdet.torch_settings import torch_threads

        tiling = choose_tiling(self.bundle, tile, overlap) or tiling_of(self.bundle.metrics)
        several = list(images) if isinstance(images, list | tuple) else [images]
        with torch_threads(cpu_count()):
            found = [predict_image(self.network, image, self.classes, score=score, tiling=tiling) for image in several]
        return found if isinstance(images, list | tuple) else found[0]

    def predict_files(
        self,
        sources: str | Path | Sequence[str | Path],
        out: str | Path,
        *,
        score: float = SCORE,
        tile: int | str | None = None,
        overlap: int | None = None,
    ) -> dict[str, Any]:
        """Find objects in image files; write pictures, predictions.json and .csv, COCO results and YOLO rows.

        Images that cannot be read are skipped.

        Args:
            sources: image files, folders (or, if one holds no image, its sub-folders) and patterns such as
                "scans/**/*.png".
            out: folder to write; made if missing. What an earlier prediction wrote there is deleted.
            score: as for `predict`.
            tile: the same.
            overlap: the same.

        Returns:
            `images` and `boxes` (counts), `out`, `predictions`, the content of predictions.json, and `skipped`, why
            each image that is not among them could not be read.

        Raises:
            nasdet.errors.InputError: no image can be read, or `out` cannot be written.

        Example:
            >>> nasdet.load("best").predict_files("scans", "found")["boxes"]
        """
        from nasdet.driver.inference.predict import choose_tiling
        from nasdet.driver.inference.prediction_files import predict_files
        from nasdet.export.bundle import tiling_of

        tiling = choose_tiling(self.bundle, tile, overlap) or tiling_of(self.bundle.metrics)
        listed = [sources] if isinstance(sources, str | Path) else sources
        return predict_files(self.bundle, listed, Path(out), score=score, tiling=tiling, device=self._device)

    def evaluate(
        self,
        data: str | Path | None = None,
        split: str = "val",
        *,
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
        tile: int | str | None = None,
        overlap: int | None = None,
    ) -> dict[str, float]:
        """COCO metrics on a split of a data set.

        Args:
            data: "digits", a folder in COCO, Pascal VOC or YOLO layout, or a YAML file; left out: the data set that the
                detector was trained on.
            split: train, val or test.
            scales: test-time augmentation: sizes at which every image is seen, 1 being its own.
            flip: test-time augmentation: every image is seen mirrored left-right as well.
            tile: as for `predict`. Tiled images are judged whole, and the figures say how many boxes of an
                image counted (`max_detections`).
            overlap: the same.

        Returns:
            `ap` (IoU 0.50 to 0.95), `ap50`, `ap75`, `ap_s`, `ap_m`, `ap_l`, `ar100`, all in 0..1 and -1 where there is
            no object to judge by; `class_ap/NAME` of each class; `images`; `images_per_second`; from mask heads
            `mask_ap` and its like.

        Raises:
            nasdet.errors.InputError: there is no such data set or split, or its classes or channels are others.

        Example:
            >>> nasdet.load("best").evaluate("digits", "test")["ap50"]
        """
        from nasdet.driver.inference.evaluate import evaluate_bundle
        from nasdet.driver.inference.predict import choose_tiling
        from nasdet.trainers.test_time_augmentation import Transforms

        views, tiling = Transforms(tuple(scales), flip), choose_tiling(self.bundle, tile, overlap)
        dataset = self.dataset(data)
        seen = dataset.tiled(tiling) if tiling else dataset
        return evaluate_bundle(self.bundle, seen, split, views, self._device)

    def dataset(self, data: str | Path | None = None) -> Dataset:
        """A data set, split and cut into tiles as that of the training was.

        Args:
            data: as for `evaluate`.
        """
        from nasdet.driver.export_trial import bundle_data

        return bundle_data(self.bundle, None if data is None else str(data))

    def export_onnx(self, data: str | Path | None = None) -> OnnxCheck:
        """Write `model.onnx` and `model_nms.onnx` (with non-maximum suppression) into the bundle.

        Args:
            data: images on which the files are compared with PyTorch; left out: of the data set it was trained on.

        Returns:
            The largest differences, of boxes in pixels and of scores, and the time of one image in milliseconds.

        Raises:
            nasdet.errors.InputError: the extra `onnx` is not installed, the detector has two stages, or there is no
                data set.
            nasdet.errors.NasdetError: the files differ from PyTorch; they are not kept.

        Example:
            >>> nasdet.load("best").export_onnx().ms
        """
        from nasdet.export.export_onnx import add_onnx_files, check_exportable, check_onnx_extra

        check_onnx_extra("export_onnx()")
        check_exportable(self.spec)
        check = add_onnx_files(self.bundle, self.dataset(data))
        self.bundle = read_bundle(self.path)
        return check

    def register(self, name: str, *, data: str | Path | None = None, tracking_uri: str | None = None) -> dict[str, str]:
        """Make the detector the next version of a registered model in MLflow's Model Registry, with its ONNX files.

        Args:
            name: of the registered model; made if it is new.
            data: as for `export_onnx`.
            tracking_uri: MLflow store; left out: where the detector's study is tracked, else
                `MLFLOW_TRACKING_URI`, else SQLite beside the studies.

        Returns:
            `name`, `version`, `alias`, `uri` (for `mlflow.pyfunc.load_model`) and `tracking_uri`.

        Raises:
            nasdet.errors.InputError: the name cannot be, or as `export_onnx`.
            nasdet.errors.NasdetError: MLflow does not take it.

        Example:
            >>> nasdet.load("final").register("blood-cells")["version"]
        """
        from nasdet.driver.export_trial import finish_bundle

        source = None if data is None else str(data)
        made = finish_bundle(self.bundle, source, register=name, tracking_uri=tracking_uri)
        self.bundle = read_bundle(self.path)
        registered: dict[str, str] = made["registered"]
        return registered

    def __repr__(self) -> str:
        shown = {name: self.metrics[name] for name in ("ap", "latency_ms", "params_m") if name in self.metrics}
        figures = ", ".join(f"{name} {value:.4g}" for name, value in shown.items())
        return f"Detector({str(self.path)!r}, {len(self.classes)} classes{figures and ', ' + figures})"
