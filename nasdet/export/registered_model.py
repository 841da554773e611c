"""The code of a registered model, as MLflow stores it. It imports nothing of nasdet and unpickles nothing; the
predict_onnx.py that is stored beside the ONNX file finds the objects."""

from __future__ import annotations

import base64
import importlib.util
import warnings
from pathlib import Path
from typing import Any

import mlflow
import numpy as np

DATA_URI = "data:"
# An image may be anything that can be read, which MLflow remarks upon each time that it looks at the hint below.
warnings.filterwarnings("ignore", message=".*Any type hint is inferred as AnyType")


class RegisteredDetector(mlflow.pyfunc.PythonModel):
    """Images in, objects out."""

    def load_context(self, context: Any) -> None:
        """Open the bundle's files among the artifacts."""
        folder = Path(context.artifacts["bundle"])
        spec = importlib.util.spec_from_file_location("nasdet_predict_onnx", folder / "predict_onnx.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self.detector = module.OnnxDetector(folder)

    def predict(
        self, context: Any, model_input: list[Any], params: dict[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """Objects of each image: `boxes` (xyxy pixels of the image), `labels` (class names), `scores`.

        Args:
            context: of MLflow.
            model_input: images in a list or in the first column of a table: file names, bytes of files, arrays
                (h, w, channels), or, over HTTP, "data:...;base64,..." texts.
            params: `score`, the least score that is kept.
        """
        score = float((params or {}).get("score", 0.3))
        images = model_input.iloc[:, 0] if hasattr(model_input, "iloc") else model_input
        return [self._objects(image, score) for image in images]

    def _objects(self, image: Any, score: float) -> dict[str, Any]:
        boxes, labels, scores = self.detector(_readable(image), score)
        return {"boxes": boxes.tolist(), "labels": labels, "scores": scores.tolist()}


def _readable(image: Any) -> Any:
    """What `OnnxDetector` takes; nested lists of whole numbers are pixels."""
    if isinstance(image, str) and image.startswith(DATA_URI):
        return base64.b64decode(image.partition(",")[2])
    if isinstance(image, list | tuple):
        pixels = np.asarray(image)
        return pixels.astype(np.uint8 if pixels.max(initial=0) < 256 else np.uint16)
    return image


mlflow.models.set_model(RegisteredDetector())
