"""`nasdet export`: one trial of a study as a bundle, or a trained bundle as ONNX."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nasdet.cli.options import complete_path

if TYPE_CHECKING:
    from nasdet.data import Dataset
    from nasdet.export import Bundle
    from nasdet.search import StudyStore
    from nasdet.space.specs import DetectorSpec
    from nasdet.trial import TrialRecord

CHECKED_IMAGES = 8


@click.command("export")
@click.argument("study", required=False, metavar="[STUDY|BUNDLE]", shell_complete=complete_path)
@click.option(
    "--pick",
    "rule",
    default="knee",
    show_default=True,
    help="knee, best, fastest, smallest, a trial, or bounds such as 'latency_ms<5' (the best within them).",
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder to write; of a BUNDLE none.")
@click.option("--onnx", is_flag=True, help="Also write model.onnx and model_nms.onnx, checked against PyTorch.")
@click.option("--register", "name", metavar="NAME", help="Also put it into MLflow's Model Registry; implies --onnx.")
@click.option("--data", metavar="SRC", help="Of a BUNDLE: images to check on; left out: what it was made on.")
@click.option("--tracking-uri", metavar="URI", help="Of a BUNDLE: where to register; left out: where its study is.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    study: str | None,
    rule: str,
    out: Path | None,
    onnx: bool,
    name: str | None,
    data: str | None,
    tracking_uri: str | None,
    as_json: bool,
) -> None:
    """Write a trial of STUDY (a folder or a name; left out: the newest) as a bundle. Of a BUNDLE that nasdet train or
    an earlier export made, write the ONNX files into it, and with --register put it into the Model Registry.

    knee is the member of the front that gives up least: with every objective scaled to 0..1 between the front's ends,
    the one farthest from the line (plane) through those ends.

    \b
    Example:
      nasdet export --pick knee --out detector --register blood-cells
      nasdet export digits-1 --pick 'latency_ms<5 and params_m<=2' --out fast --onnx
      nasdet export final --onnx
      nasdet export final --register blood-cells
    """
    from nasdet.cli.output import print_json
    from nasdet.errors import InputError
    from nasdet.export.bundle import is_bundle
    from nasdet.search import open_study

    if study is not None and is_bundle(Path(study)):
        if out is not None or not (onnx or name):
            remedy = f"{shlex.join(['nasdet', 'export', study])} --onnx, or --register NAME"
            raise InputError("is a bundle already: it can get ONNX files or be registered", where=study, remedy=remedy)
        finished = _finish_bundle(Path(study), name, data, tracking_uri)
        print_json(finished) if as_json else click.echo("\n".join([*_told_onnx(finished), *_told_version(finished)]))
        return
    for option, value in (("--data", data), ("--tracking-uri", tracking_uri)):
        if value is not None:
            raise InputError("is for a BUNDLE; a study knows its own", where=option, remedy="leave it out")
    if out is None:
        raise InputError("no folder to write", where="--out", remedy="add --out DIR")
    store = open_study(study)
    report = _export_trial(store, rule, out, onnx or name is not None, name)
    print_json(report) if as_json else click.echo(_told(report, store))


def _export_trial(store: StudyStore, rule: str, out: Path, onnx: bool, name: str | None) -> dict[str, Any]:
    """The picked trial as a bundle in `out`, with ONNX files and registered if that is asked for."""
    from nasdet.errors import InputError
    from nasdet.export import pick, read_bundle
    from nasdet.export.bundle import check_free
    from nasdet.search.records.trust import Trust
    from nasdet.space.specs import DetectorSpec

    if store.config.get("objective"):
        remedy = f"{shlex.join(['nasdet', 'pareto', str(store.dir)])} lists the parameters"
        raise InputError("is the study of a function, which has no detector to export", where=store.name, remedy=remedy)
    record = pick(store.records(), store.objectives, rule)
    again = name is not None and _holds(out, store, record)
    if not again:
        check_free(out, overwrite=False)
    if onnx:
        _check_onnx(None if record.spec is None else DetectorSpec.model_validate(record.spec), name)
    bundle = read_bundle(out) if again else _write(store, record, out)
    report: dict[str, Any] = {"trial": record.trial, "bundle": str(out), "values": record.values}
    trust = Trust(store.dir, store.records(), store.objectives)
    if rivals := trust.rivals(record.trial):
        report["rivals"] = [
            {"trial": r.trial, "chance": 1 - (trust.chance(record.trial, r.trial) or 0.0), "values": r.values}
            for r in rivals
        ]
    if onnx:
        report["onnx"] = _onnx(_data(store), bundle)
    if name is not None:
        from nasdet.driver.model_registry import register_trial

        report["registered"] = register_trial(store, read_bundle(out), _data(store), name, rule.strip())
    return report


def _holds(out: Path, store: StudyStore, record: TrialRecord) -> bool:
    """Whether an earlier export of this trial stands in the folder, as after a registration that failed."""
    from nasdet.export import read_bundle
    from nasdet.export.bundle import is_bundle

    if not is_bundle(out):
        return False
    card = read_bundle(out).metrics
    return (card.get("study"), card.get("trial"), card.get("epochs")) == (store.name, record.trial, record.epochs)


def _finish_bundle(folder: Path, name: str | None, data: str | None, tracking_uri: str | None) -> dict[str, Any]:
    """The ONNX files of a bundle, checked on the data that it was trained on or on `data`, and its registration."""
    from nasdet.errors import InputError
    from nasdet.export import read_bundle
    from nasdet.export.bundle import open_bundle_data

    bundle = read_bundle(folder)
    _check_onnx(bundle.spec, name)
    source = data or bundle.metrics.get("data")
    if not source:
        raise InputError("does not say which data it was made on", where=str(folder), remedy="add --data SRC")
    dataset = open_bundle_data(source, bundle.metrics)
    report: dict[str, Any] = {"bundle": str(folder), "onnx": _onnx(dataset, bundle)}
    if name is not None:
        from nasdet.driver.model_registry import register_bundle

        report["registered"] = register_bundle(read_bundle(folder), dataset, name, tracking_uri)
    return report


def _check_onnx(spec: DetectorSpec | None, name: str | None) -> None:
    """Refuse what cannot be exported or registered before anything is written."""
    from nasdet.export.export_onnx import check_exportable, check_onnx_extra
    from nasdet.export.model_registry import check_name

    check_onnx_extra()
    if name is not None:
        check_name(name)
    if spec is not None:
        check_exportable(spec)


def _write(store: StudyStore, record: TrialRecord, out: Path) -> Bundle:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from nasdet.errors import InputError
    from nasdet.export import write_bundle
    from nasdet.export.bundle import TILE
    from nasdet.space.specs import DetectorSpec, Recipe
    from nasdet.tracking import run_ids

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
        "data": config.get("data", ""),
        "data_seed": store.space.data.seed,
        "max_bad": store.space.data.max_bad,
        TILE: config.get(TILE, {}),
        "split": "val",
        "epochs": record.epochs,
        "latency": config.get("latency", {}),
        "seed": store.space.budget.seed,
        "values": record.values,
        "mlflow_run_id": run_ids(store.dir).get(record.trial, ""),
    }
    spec, recipe = DetectorSpec.model_validate(record.spec), Recipe.model_validate(record.recipe)
    classes = config.get("classes") or _data(store).info.classes
    return write_bundle(out, spec=spec, recipe=recipe, state_dict=state, classes=classes, card=card)


def _onnx(dataset: Dataset, bundle: Bundle) -> dict[str, Any]:
    from nasdet.data import eval_loader
    from nasdet.export.bundle import note_in_card
    from nasdet.export.export_onnx import export_onnx

    image = bundle.spec.input
    split = dataset.cached("val", image.height, image.width)
    batches = eval_loader(split, batch_size=CHECKED_IMAGES, rank=0, world=1, fill=image.mean)
    check = dataclasses.asdict(export_onnx(bundle.load_detector(), next(iter(batches)).images, bundle.path))
    note_in_card(bundle, onnx=check)
    return check


def _data(store: StudyStore) -> Any:
    from nasdet.data import open_data

    data = store.space.data
    return open_data(store.config["data"], seed=data.seed, max_bad=data.max_bad)


def _rival(report: dict[str, Any], rival: dict[str, Any], store: StudyStore) -> str:
    """A cheaper trial that may be as accurate."""
    named = [o.name for o in store.objectives if rival["values"][o.name] != report["values"][o.name]]
    figures = ", ".join(f"{n} {rival['values'][n]:.4g} instead of {report['values'][n]:.4g}" for n in named)
    chance = f"{rival['chance']:.0%} chance to be the more accurate one"
    return f"note: {rival['trial']} costs less and cannot be told apart in accuracy ({chance}): {figures}"


def _told_onnx(report: dict[str, Any]) -> list[str]:
    if (check := report.get("onnx")) is None:
        return []
    where = f"on {check['images']} images, boxes to {check['box_pixels']:.2g} px, scores to {check['score']:.2g}"
    threads = f"{check['threads']} thread" + "s" * (check["threads"] > 1)
    return [
        f"model.onnx and model_nms.onnx agree with PyTorch {where}",
        f"{check['ms']:.3g} ms per image with ONNX Runtime on this CPU, {threads}; README.md shows the use",
    ]


def _told_version(report: dict[str, Any]) -> list[str]:
    if (made := report.get("registered")) is None:
        return []
    alias = f", alias {made['alias']}" if made["alias"] else ""
    return [
        f"registered: {made['name']} version {made['version']}{alias}, in MLflow at {made['tracking_uri']}",
        f"load it: mlflow.pyfunc.load_model('{made['uri']}').predict(['image.png'])",
    ]


def _told(report: dict[str, Any], store: StudyStore) -> str:
    values = ", ".join(f"{k} {v:.4g}" for k, v in report["values"].items())
    lines = [f"{report['trial']} ({values}) -> {report['bundle']}"]
    if rivals := report.get("rivals"):
        lines.append(_rival(report, rivals[0], store))
    lines += [*_told_onnx(report), *_told_version(report)]
    bundle = report["bundle"]
    data = store.config.get("data", "DATA")
    full = shlex.join(["nasdet", "train", bundle, "--data", data, "--out", f"{bundle}-full"])
    return "\n".join([*lines, f"train it in full: {full}"])
