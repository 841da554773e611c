"""Objects in images with a bundle's model_nms.onnx; needs numpy, Pillow and onnxruntime, nothing else.

This file stands alone: a bundle's README shows it whole, and the model registry stores it. Use:

    python predict_onnx.py BUNDLE IMAGE...
"""

import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

MODES = {1: "L", 3: "RGB", 4: "RGBA"}


class OnnxDetector:
    """The detector of a bundle, on ONNX Runtime.

    Args:
        bundle: folder with spec.json, classes.json and model_nms.onnx.
        providers: of ONNX Runtime.
    """

    def __init__(self, bundle: str | Path, providers: Sequence[str] = ("CPUExecutionProvider",)) -> None:
        self.input = json.loads(Path(bundle, "spec.json").read_text())["input"]
        self.classes = json.loads(Path(bundle, "classes.json").read_text())
        self.session = onnxruntime.InferenceSession(str(Path(bundle, "model_nms.onnx")), providers=list(providers))

    def __call__(self, image: Any, score: float = 0.3) -> tuple[np.ndarray, list[str], np.ndarray]:
        """Boxes (n, 4) xyxy in pixels of the image, class names (n), scores (n), best first.

        `image` is a file name, the bytes of a file, or an array (h, w) or (h, w, channels) of uint8 or uint16.
        """
        pixels = self.pixels(image)
        canvas, scale = self.canvas(pixels)
        names = ["boxes", "labels", "scores"]
        boxes, labels, scores = (o[0] for o in self.session.run(names, {"images": canvas}))
        keep = scores > score
        height, width = pixels.shape[:2]
        boxes = np.clip(boxes[keep] / scale, 0, [width, height, width, height])
        return boxes, [self.classes[label] for label in labels[keep]], scores[keep]

    def pixels(self, image: Any) -> np.ndarray:
        """The image (h, w, channels) in stored units, upright."""
        channels = self.input["channels"]
        if not isinstance(image, np.ndarray):
            image = self.decode(image, MODES.get(channels))
        image = image[:, :, None] if image.ndim == 2 else image
        image = np.repeat(image, 3, 2) if image.shape[2] == 1 and channels == 3 else image
        if image.shape[2] != channels or image.dtype not in (np.uint8, np.uint16):
            raise ValueError(
                f"{image.shape[2]} channels of {image.dtype} where {channels} of uint8 or uint16 are wanted"
            )
        return np.asarray(image)

    @staticmethod
    def decode(file: Any, mode: str | None) -> np.ndarray:
        """An image file as an array; other formats and band counts than Pillow's are for the caller to read."""
        content = file if isinstance(file, bytes) else Path(file).read_bytes()
        with Image.open(io.BytesIO(content)) as opened:
            bits = content[24] if opened.format == "PNG" else max(getattr(opened, "tag_v2", {}).get(258, (8,)))
            if bits > 8 and opened.mode[0] not in "IF":
                raise ValueError("16-bit colour, of which Pillow reads 8 bits: give the image as an array of uint16")
            upright = ImageOps.exif_transpose(opened)
        if upright.mode.startswith("I"):
            return np.asarray(upright).astype(np.uint16)
        return np.asarray(upright.convert(mode) if mode else upright)

    def canvas(self, pixels: np.ndarray) -> tuple[np.ndarray, float]:
        """The image fitted into the detector's canvas, top-left, (1, channels, H, W) float32, and its scale."""
        size = self.input
        scale = min(size["height"] / pixels.shape[0], size["width"] / pixels.shape[1])
        rows = min(size["height"], max(1, round(pixels.shape[0] * scale)))
        columns = min(size["width"], max(1, round(pixels.shape[1] * scale)))
        canvas = np.empty((1, size["channels"], size["height"], size["width"]), np.float32)
        canvas[:] = np.reshape(size["mean"], (1, -1, 1, 1))
        for band in range(size["channels"]):
            # Pillow resizes whole numbers as bytes or not at all: 16 bits go as floats, rounded afterwards.
            plane = pixels[:, :, band] if pixels.dtype == np.uint8 else pixels[:, :, band].astype(np.float32)
            sized = Image.fromarray(np.ascontiguousarray(plane)).resize((columns, rows), Image.Resampling.BILINEAR)
            canvas[0, band, :rows, :columns] = np.round(np.asarray(sized))
        return canvas, scale


if __name__ == "__main__":
    detector = OnnxDetector(sys.argv[1])
    for name in sys.argv[2:]:
        for box, label, score in zip(*detector(name), strict=True):
            print(name, label, f"{score:.4f}", *(f"{side:.2f}" for side in box))
