"""`nasdet export`: a trial of a study as a bundle, the ONNX files of a bundle, and a bundle in the Model Registry."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from nasdet.data import Dataset, open_data
from nasdet.errors import InputError
from nasdet.export import Bundle, is_bundle, pick, read_bundle, write_bundle
from nasdet.export.bundle import TILE, check_free, open_bundle_data
from nasdet.export.export_onnx import add_onnx_files, check_exportable, check_onnx_extra
from nasdet.export.model_registry import check_name
from nasdet.search import StudyStore
from nasdet.search.records.summary import Trust
from nasdet.space.specs import DetectorSpec, Recipe
from nasdet.tracking import run_ids
from nasdet.trial import TrialRecord


def export_trial(
    store: StudyStore, rule: str, out: Path, *, onnx: bool = False, register: str | None = None, data: str | None = None
) -> dict[str, Any]:
    """Write one trial of a study as a bundle.

    Args:
        store: the study.
        rule: which trial, as `nasdet.export.pick` takes it: knee, best, fastest, smallest, a trial's name, or bounds.
        out: folder of the bundle. It must be empty or new, unless it holds this very trial and `register` is given, as
            after a registration that failed.
        onnx: also write the ONNX files, checked against PyTorch on validation images.
        register: also make it a version of the registered model of this name; implies `onnx`.
        data: images to check the ONNX files on; None: the study's, which may have moved.

    Returns:
        `trial`, `bundle`, `values`; `rivals`, cheaper trials that may be as accurate, if there are any; `onnx`, the
        fields of `OnnxCheck`; `registered`, as `nasdet.driver.model_registry.register_trial` returns it.

    Raises:
        InputError: no trial fits the rule, its weights were not kept, or `out` or the name cannot be used.
        NasdetError: the ONNX files differ from PyTorch, or MLflow does not take the model.
    """
    if store.config.objective:
        remedy = f"{shlex.join(['nasdet', 'pareto', str(store.dir)])} lists the parameters"
        raise InputError("is the study of a function, which has no detector to export", where=store.name, remedy=remedy)
    record = pick(store.records(), store.objectives, rule)
    is_there = register is not None and _holds(out, store, record)
    if not is_there:
        check_free(out, overwrite=False)
    wants_onnx = onnx or register is not None
    if wants_onnx:
        _check_onnx(None if record.spec is None else DetectorSpec.model_validate(record.spec), register)
    dataset = _data(store, data) if wants_onnx or not store.config.classes else None
    classes = dataset.info.classes if dataset and not store.config.classes else store.config.classes
    bundle = read_bundle(out) if is_there else _write(store, record, out, classes)
    report: dict[str, Any] = {"trial": record.trial, "bundle": str(out), "values": record.values}
    trust = Trust(store.dir, store.records(), store.objectives)
    if rivals := trust.rivals(record.trial):
        report["rivals"] = [
            {"trial": r.trial, "chance": 1 - (trust.chance(record.trial, r.trial) or 0.0), "values": r.values}
            for r in rivals
        ]
    if dataset and wants_onnx:
        report["onnx"] = dataclasses.asdict(add_onnx_files(bundle, dataset))
    if dataset and register is not None:
        from nasdet.driver.model_registry import register_trial

        report["registered"] = register_trial(store, read_bundle(out), dataset, register, rule.strip())
    return report


def finish_bundle(
    bundle: Bundle, data: str | None = None, *, register: str | None = None, tracking_uri: str | None = None
) -> dict[str, Any]:
    """Write the ONNX files of a bundle that is there, and register it if a name is given.

    Args:
        bundle: of a training or an earlier export.
        data: images to check the files on; None: the data set that the bundle was trained on.
        register: name of the registered model.
        tracking_uri: where to register; None: where the bundle's study is tracked.

    Returns, raises: as `export_trial`, without the trial.
    """
    _check_onnx(bundle.spec, register)
    dataset = bundle_data(bundle, data)
    report: dict[str, Any] = {"bundle": str(bundle.path), "onnx": dataclasses.asdict(add_onnx_files(bundle, dataset))}
    if register is not None:
        from nasdet.driver.model_registry import register_bundle

        report["registered"] = register_bundle(read_bundle(bundle.path), dataset, register, tracking_uri)
    return report


def bundle_data(bundle: Bundle, data: str | None = None) -> Dataset:
    """The data set `data`, or the one that the bundle was trained on, split and cut into tiles as then; the same
    classes in another order are put in the bundle's."""
    source = data or bundle.metrics.get("data")
    if not source:
        raise InputError("does not say which data it was made on", where=str(bundle.path), remedy="add --data SRC")
    return open_bundle_data(source, bundle.metrics).in_class_order(bundle.classes)


def _holds(out: Path, store: StudyStore, record: TrialRecord) -> bool:
    """Whether the folder holds an earlier export of this trial."""
    if not is_bundle(out):
        return False
    card = read_bundle(out).metrics
    return (card.get("study"), card.get("trial"), card.get("epochs")) == (store.name, record.trial, record.epochs)


def _check_onnx(spec: DetectorSpec | None, name: str | None) -> None:
    """Refuse what cannot be exported or registered before anything is written."""
    check_onnx_extra()
    if name is not None:
        check_name(name)
    if spec is not None:
        check_exportable(spec)


def _write(store: StudyStore, record: TrialRecord, out: Path, classes: Sequence[str]) -> Bundle:
    weights = store.checkpoint(record.trial)
    if not weights.is_file():
        remedy = "weights are kept for the front: nasdet pareto lists it"
        raise InputError(f"the weights of {record.trial} were not kept", where=str(store.dir), remedy=remedy)
    try:
        state = load_file(weights)
    except (SafetensorError, OSError) as error:
        raise InputError(f"the weights of {record.trial} cannot be read ({error})", where=str(weights)) from None
    config = store.config
    card = {
        "study": store.name,
        "space": store.space.name,
        "trial": record.trial,
        "state": record.state,
        "data": config.data,
        "data_seed": store.space.data.seed,
        "max_bad": store.space.data.max_bad,
        TILE: config.tile or {},
        "split": "val",
        "epochs": record.epochs,
        "latency": config.latency or {},
        "seed": store.space.budget.seed,
        "values": record.values,
        "mlflow_run_id": run_ids(store.dir).get(record.trial, ""),
    }
    spec, recipe = DetectorSpec.model_validate(record.spec), Recipe.model_validate(record.recipe)
    return write_bundle(out, spec=spec, recipe=recipe, state_dict=state, classes=classes, card=card)


def _data(store: StudyStore, moved: str | None) -> Dataset:
    """The study's data set, or the same at another place."""
    stated = store.space.data
    try:
        return open_data(moved or store.config.data, seed=stated.seed, max_bad=stated.max_bad, tile=stated.tile)
    except InputError as error:
        if moved or Path(store.config.data).exists():
            raise
        raise InputError(error.what, where=error.where, remedy="if the data moved, say where: --data SRC") from None
