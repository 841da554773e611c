"""Bundles in MLflow's Model Registry. The model of a trial is linked to the trial's run, where the study is tracked; a
bundle that was trained in full gets a run of its own, there or at another store."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from nasdet.data import Dataset, read_image
from nasdet.driver.observers.mlflow_mirror import store_uri, write_missing
from nasdet.driver.redirect_output import redirect_output
from nasdet.errors import InputError, NasdetError
from nasdet.export import Bundle
from nasdet.export.model_registry import register
from nasdet.log import LOG
from nasdet.search import StudyStore, open_study, study_root
from nasdet.tracking import quiet_mlflow, record_bundle, relocate, run_ids
from nasdet.uris import check_tracking_uri, default_uri, public_uri, sqlite_path, tracking_uri


def register_trial(store: StudyStore, bundle: Bundle, dataset: Dataset, name: str, rule: str) -> dict[str, str]:
    """The bundle of a trial as a version of the registered model, where the study is tracked.

    Args:
        store: the study.
        bundle: of one of its trials, with model_nms.onnx.
        dataset: of the study; an image of its validation split is the model's input example.
        name: of the registered model.
        rule: by which the trial was picked.

    Returns:
        As `nasdet.export.model_registry.register`, and `tracking_uri` without a password.

    Raises:
        NasdetError: MLflow holds no run of the trial, refuses the model, or does not answer.
    """
    write_missing(store)
    uri = store_uri(store)
    if (path := sqlite_path(uri)) is not None:
        relocate(path)
    run_id = run_ids(store.dir).get(bundle.metrics["trial"], "")
    if not run_id:
        raise NasdetError(f"MLflow at {public_uri(uri)} holds no run of {bundle.metrics['trial']}")
    with redirect_output(store.dir / LOG), quiet_mlflow():
        made = register(bundle, name, _example(bundle, dataset), uri=uri, run_id=run_id, rule=rule)
    return {**made, "tracking_uri": public_uri(uri)}


def register_bundle(bundle: Bundle, dataset: Dataset, name: str, uri: str | None) -> dict[str, str]:
    """A bundle outside a study, such as one that `nasdet train` made, as a version of the registered model.

    Args:
        bundle: with model_nms.onnx.
        dataset: an image of its validation split is the model's input example.
        name: of the registered model.
        uri: where; None: where the study is tracked that its architecture comes from if that is here, else where
            `MLFLOW_TRACKING_URI` says, else SQLite beside the studies.

    Returns, raises: as `register_trial`; InputError: nothing can be tracked at the URI.
    """
    chosen = None if uri else _origin(bundle)
    if chosen is None:
        check_tracking_uri(uri)
        chosen = tracking_uri(uri) or default_uri(study_root() / "none")
    with (
        tempfile.TemporaryDirectory(prefix="nasdet-register-") as folder,
        redirect_output(Path(folder, LOG)),
        quiet_mlflow(),
    ):
        run_id = record_bundle(chosen, str(bundle.metrics.get("space") or "bundles"), bundle.path.name, bundle.metrics)
        made = register(bundle, name, _example(bundle, dataset), uri=chosen, run_id=run_id, rule="")
    return {**made, "tracking_uri": public_uri(chosen)}


def _origin(bundle: Bundle) -> str | None:
    """Where the study is tracked that a bundle's architecture comes from; None if it is not here."""
    try:
        return store_uri(open_study(bundle.metrics.get("study", "")))
    except InputError:
        return None


def _example(bundle: Bundle, dataset: Dataset) -> Any:
    """(h, w, C) pixels of the first validation image."""
    return read_image(dataset.images("val")[0].path, alpha=bundle.spec.input.channels == 4)
