"""`nasdet export`: one trial of a study as a bundle, or a trained bundle as ONNX."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nasdet.cli.options import complete_path

if TYPE_CHECKING:
    from nasdet.search import StudyStore


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
@click.option("--data", metavar="SRC", help="Images to check ONNX files on; left out: what the detector was made on.")
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
    from nasdet.driver.export_trial import export_trial, finish_bundle
    from nasdet.errors import InputError
    from nasdet.export import is_bundle, read_bundle
    from nasdet.search import open_study

    if study is not None and is_bundle(Path(study)):
        if out is not None or not (onnx or name):
            remedy = f"{shlex.join(['nasdet', 'export', study])} --onnx, or --register NAME"
            raise InputError("is a bundle already: it can get ONNX files or be registered", where=study, remedy=remedy)
        report = finish_bundle(read_bundle(study), data, register=name, tracking_uri=tracking_uri)
        print_json(report) if as_json else click.echo("\n".join([*_onnx_lines(report), *_version_lines(report)]))
        return
    if tracking_uri is not None:
        raise InputError("is for a BUNDLE; a study knows its own", where="--tracking-uri", remedy="leave it out")
    if data is not None and not (onnx or name):
        raise InputError(
            "is for --onnx and --register: nothing else needs images", where="--data", remedy="leave it out"
        )
    if out is None:
        raise InputError("no folder to write", where="--out", remedy="add --out DIR")
    store = open_study(study)
    report = export_trial(store, rule, out, onnx=onnx, register=name, data=data)
    print_json(report) if as_json else click.echo("\n".join(_lines(report, store)))


def _rival_line(report: dict[str, Any], rival: dict[str, Any], store: StudyStore) -> str:
    """A cheaper trial that may be as accurate."""
    named = [o.name for o in store.objectives if rival["values"][o.name] != report["values"][o.name]]
    figures = ", ".join(f"{n} {rival['values'][n]:.4g} instead of {report['values'][n]:.4g}" for n in named)
    chance = f"{rival['chance']:.0%} chance to be the more accurate one"
    return f"note: {rival['trial']} costs less and cannot be told apart in accuracy ({chance}): {figures}"


def _onnx_lines(report: dict[str, Any]) -> list[str]:
    if (check := report.get("onnx")) is None:
        return []
    where = f"on {check['images']} images, boxes to {check['box_pixels']:.2g} px, scores to {check['score']:.2g}"
    threads = f"{check['threads']} thread" + "s" * (check["threads"] > 1)
    return [
        f"model.onnx and model_nms.onnx agree with PyTorch {where}",
        f"{check['ms']:.3g} ms per image with ONNX Runtime on this CPU, {threads}; README.md shows the use",
    ]


def _version_lines(report: dict[str, Any]) -> list[str]:
    if (made := report.get("registered")) is None:
        return []
    alias = f", alias {made['alias']}" if made["alias"] else ""
    return [
        f"registered: {made['name']} version {made['version']}{alias}, in MLflow at {made['tracking_uri']}",
        f"load it: mlflow.pyfunc.load_model('{made['uri']}').predict(['image.png'])",
    ]


def _lines(report: dict[str, Any], store: StudyStore) -> list[str]:
    values = ", ".join(f"{k} {v:.4g}" for k, v in report["values"].items())
    lines = [f"{report['trial']} ({values}) -> {report['bundle']}"]
    if rivals := report.get("rivals"):
        lines.append(_rival_line(report, rivals[0], store))
    lines += [*_onnx_lines(report), *_version_lines(report)]
    bundle = report["bundle"]
    full = shlex.join(["nasdet", "train", bundle, "--data", store.config.data, "--out", f"{bundle}-full"])
    return [*lines, f"train it in full: {full}"]
