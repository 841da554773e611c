"""A bundle in MLflow's Model Registry, as a pyfunc over its model_nms.onnx. It is logged as code ("models from
code"), so that nothing is pickled, and loading it needs numpy, Pillow and ONNX Runtime, but neither nasdet nor
PyTorch."""

from __future__ import annotations

import base64
import contextlib
import io
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from nasdet.environment import environment
from nasdet.errors import InputError, NasdetError
from nasdet.export.bundle import CLASSES, METRICS, ONNX_NMS, README, SPEC, Bundle
from nasdet.export.model_card import STANDALONE
from nasdet.export.pick_trial import RULES

CODE = Path(__file__).with_name("registered_model.py")
REQUIREMENTS = ["mlflow>=3.10,<4", "numpy>=1.26", "onnxruntime>=1.20", "pillow>=11"]
STORED = (SPEC, CLASSES, METRICS, README, ONNX_NMS)
EXAMPLE_SIDE = 64
"""Pixels of an example that is no common image file."""


def check_name(name: str) -> None:
    """Raise `InputError` if MLflow would not take this name of a model."""
    if not name.strip() or re.search(r"[/:]", name):
        raise InputError(f"{name!r} cannot name a model", where="--register", remedy="leave out / and :")


def register(
    bundle: Bundle, name: str, pixels: npt.NDArray[Any], *, uri: str, run_id: str, rule: str
) -> dict[str, str]:
    """Make the bundle the next version of a registered model.

    Args:
        bundle: with model_nms.onnx.
        name: of the registered model; made if it is new.
        pixels: (h, w, C) uint8 or uint16, a real image: the input example.
        uri: MLflow's store.
        run_id: run of the trial, to which the model is linked.
        rule: by which the trial was picked; knee, best, fastest and smallest become aliases of this version.

    Returns:
        `name`, `version`, `alias` ("" if none) and `uri`, by which `mlflow.pyfunc.load_model` finds it.

    Raises:
        NasdetError: MLflow refuses it, or does not answer.
    """
    from mlflow import pyfunc
    from mlflow.models import Model
    from mlflow.tracking import MlflowClient

    alias = rule if rule in RULES else ""
    with _mlflow_at(uri), tempfile.TemporaryDirectory(prefix="nasdet-model-") as folder:
        client = MlflowClient()
        experiment = client.get_run(run_id).info.experiment_id
        model = client.create_logged_model(experiment, name="detector", source_run_id=run_id, model_type="detector")
        logged = Model.log(
            artifact_path=None,
            flavor=pyfunc,
            run_id=run_id,
            model_id=model.model_id,
            python_model=str(CODE),
            artifacts={"bundle": str(_files(bundle, Path(folder, "bundle")))},
            input_example=([_example(pixels)], {"score": 0.3}),
            pip_requirements=REQUIREMENTS,
        )
        _make(client, name)
        tags = {"nasdet.pick": rule, **_tags(bundle.metrics)}
        made = client.create_model_version(name, logged.model_uri, run_id, tags=tags, model_id=model.model_id)
        version = str(made.version)
        if alias:
            client.set_registered_model_alias(name, alias, version)
    where = f"models:/{name}@{alias}" if alias else f"models:/{name}/{version}"
    return {"name": name, "version": version, "alias": alias, "uri": where}


@contextlib.contextmanager
def _mlflow_at(uri: str) -> Iterator[None]:
    """MLflow's process-wide store, set and set back; what it raises becomes one line."""
    import mlflow
    from mlflow.exceptions import MlflowException

    before = mlflow.get_tracking_uri()
    with environment({"MLFLOW_TRACKING_URI": uri}):  # MLflow sets it as well
        mlflow.set_tracking_uri(uri)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        except MlflowException as error:
            raise NasdetError(f"MLflow did not register the model: {' '.join(str(error.message).split())}") from error
        finally:
            mlflow.set_tracking_uri(before)


def _files(bundle: Bundle, folder: Path) -> Path:
    folder.mkdir()
    for file in [*(bundle.path / name for name in STORED), STANDALONE]:
        shutil.copyfile(file, folder / file.name)
    return folder


def _example(pixels: npt.NDArray[Any]) -> Any:
    """The image as it travels over HTTP: a PNG where there is one for such pixels, else a part of it as numbers."""
    if pixels.dtype != np.uint8 or pixels.shape[2] not in (1, 3):
        return pixels[:EXAMPLE_SIDE, :EXAMPLE_SIDE].tolist()
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def _make(client: Any, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _tags(card: Mapping[str, Any]) -> dict[str, str]:
    values = {f"nasdet.{key}": str(card[key]) for key in ("study", "trial", "data") if card.get(key)}
    return values | {f"nasdet.{key}": f"{value:.6g}" for key, value in card.get("values", {}).items()}
