"""`nasdet train`."""

from __future__ import annotations

import contextlib
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nasdet.cli.options import data_option

if TYPE_CHECKING:
    from nasdet.data import Dataset
    from nasdet.errors import NasdetError
    from nasdet.space.specs import DetectorSpec
    from nasdet.study_summary import Summary


@click.command("train")
@click.argument("source", type=click.Path(path_type=Path), metavar="SPEC|BUNDLE|SYSTEM")
@data_option
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the trained bundle.")
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    help="Length of the training  [default: of --recipe, else 72, a 6x schedule]",
)
@click.option("--recipe", metavar="NAME|FILE", help="Train by this recipe instead of the bundle's; its length holds.")
@click.option(
    "--init", metavar="random|FILE|timm:NAME", help="What the weights start from  [default: of the recipe, else random]"
)
@click.option(
    "--teacher",
    type=click.Path(path_type=Path),
    metavar="BUNDLE",
    help="A detector trained on these data, which teaches.",
)
@click.option("--time-limit", metavar="TIME", help="Train as many epochs as fit: 20m, 1h30m.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes (DDP)  [default: 1]")
@click.option("--seed", type=int, help="Of weights, order and augmentation  [default: 0]")
@click.option("--resume", is_flag=True, help="Go on with the training in --out as it was started.")
@click.option("--address", metavar="RAY", help="Ray cluster to train on; left out: this machine.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def command(
    source: Path,
    data: str,
    out: Path,
    epochs: int | None,
    recipe: str | None,
    init: str | None,
    teacher: Path | None,
    time_limit: str | None,
    workers: int | None,
    seed: int | None,
    resume: bool,
    address: str | None,
    as_json: bool,
) -> None:
    """Train a bundle, a spec.json or a system by name from random initialisation; OUT is a bundle of the best weights.

    For comparison, --init loads a checkpoint first: .safetensors, .pth, .pt, a bundle, or timm's weights where they lie
    in the local cache (nothing is downloaded); OUT/training/init.json lists what matched and what did not.

    With --teacher the detector also learns what a larger one, trained from scratch on the same data, says of each
    image: its scores, and its distributions of box sides.

    \b
    Example:
      nasdet train best --data digits --out best-full --epochs 60
      nasdet train best --data ./my_images --out best-full --time-limit 2h --workers 2
      nasdet train best --data ./my_images --out best-lsj --recipe lsj_100 --epochs 50
      nasdet train best --data ./my_images --out best-mae --init mae_vit_base.pth
      nasdet train fast --data ./my_images --out fast-taught --teacher best-full

    \b
    Recipes of the literature (docs/training.md), and any YAML that extends one:
      dsod, scratchdet, rethinking_1x, rethinking_2x, rethinking_3x, rethinking_6x, rethinking_9x, megdet,
      lsj_100, lsj_200, lsj_400, vit_scratch, rsb_adamw, torchvision_new
    """
    from nasdet.api.arguments import seconds_of
    from nasdet.cli.output import print_json
    from nasdet.driver.training.progress import TrainingProgress
    from nasdet.driver.training.request import TrainingOptions, read_source
    from nasdet.driver.training.train import train_detector
    from nasdet.errors import InputError
    from nasdet.export.bundle import open_bundle_data
    from nasdet.space import load_recipe

    if epochs is not None and time_limit is not None:
        raise InputError("--epochs and --time-limit exclude each other", remedy="give one of them")
    named = load_recipe(recipe, where="--recipe") if recipe is not None else None
    options = TrainingOptions(
        epochs, seconds_of(time_limit, "--time-limit"), workers, seed, address, named, init, teacher
    )
    loaded = read_source(source)
    dataset = open_bundle_data(data, loaded.card)
    with contextlib.closing(TrainingProgress()) as shown:
        try:
            result = train_detector(
                loaded,
                dataset,
                out,
                options,
                resume=resume,
                report=shown.show,
                on_init=lambda report: shown.loaded(report, sys.stderr),
            )
        except KeyboardInterrupt:
            raise _interrupted(source, data, out) from None
    if as_json:
        print_json({"bundle": str(out), **result})
        return
    click.echo(
        f"best of {result['epochs']} epochs: epoch {result['epoch']:.0f}, AP {result['ap']:.4f}, "
        f"AP50 {result['ap50']:.4f} on val ({result['seconds']:.0f} s) -> {out}"
    )
    click.echo(f"next: {_next(loaded.spec, dataset, out, data)}")


def _next(spec: DetectorSpec, dataset: Dataset, out: Path, data: str) -> str:
    """The commands that follow: on the test split where there is one, ONNX where the detector can be exported."""
    from nasdet.export.export_onnx import NOT_EXPORTED

    commands = [["nasdet", "eval", str(out), "--data", data, *(["--split", "test"] * ("test" in dataset.info.splits))]]
    if spec.head.kind not in NOT_EXPORTED:
        commands.append(["nasdet", "export", str(out), "--onnx"])
    return "; ".join(map(shlex.join, commands))


def _interrupted(source: Path, data: str, out: Path) -> NasdetError:
    """The error that says how to go on with a training."""
    from nasdet.errors import NasdetError
    from nasdet.export.bundle import LAST, TRAINING

    if (out / TRAINING / LAST).exists():
        again = shlex.join(["nasdet", "train", str(source), "--data", data, "--out", str(out), "--resume"])
        error = NasdetError(f"interrupted; the last epoch is kept. Go on with: {again}")
    else:
        error = NasdetError("interrupted in the first epoch, nothing is kept; start again with the same command")
    error.exit_code = 130
    return error


def print_study_and_train(summary: Summary, as_json: bool, *, until: float | None = None) -> None:
    """Print a study whose search is over; then train what it was asked to train, and print what came of it.

    Args:
        summary: of the study.
        as_json: print one object with the key `trained`.
        until: see `train_winner`.
    """
    from nasdet.analysis.findings import findings
    from nasdet.cli.output import print_study
    from nasdet.search import StudyStore

    folder = Path(summary.folder)
    store = StudyStore.open(folder)
    found = [] if as_json else findings(store.records(), store.space)
    if not store.config.train:
        print_study(summary, as_json, found=found)
        return
    from nasdet.api.study import train_found
    from nasdet.driver.study.options import interrupted

    if not as_json:
        print_study(summary, as_json, found=found)
    click.echo("training in full; Ctrl-C keeps the last epoch", err=True)
    try:
        trained = train_found(folder, None, until=until)
    except KeyboardInterrupt:
        raise interrupted(folder) from None
    if as_json:
        print_study(summary, as_json, trained=trained)
        return
    judged = [(split, trained[split]) for split in ("val", "test") if trained[split]]
    figures = [f"AP {values['ap']:.4f}, AP50 {values['ap50']:.4f} on {split}" for split, values in judged]
    bundle = shlex.quote(trained["bundle"])
    onnx = " with model.onnx" if trained["onnx"] else ""
    click.echo(
        f"{trained['trial']} trained in full, {trained['val']['epochs']} epochs: {'; '.join(figures)} -> {bundle}{onnx}"
    )
    if weak := trained["weakest"]:
        click.echo(
            f"{weak['name']} is found worst, AP {weak['ap']:.3f} where the median of all classes is "
            f"{weak['median_ap']:.3f}, with {weak['boxes']} boxes to train on: more images of it may gain most"
        )
    click.echo(f"next: nasdet predict {bundle} IMAGES --out found")
