"""`nasdet predict`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("predict")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="IMAGE|FOLDER|PATTERN...")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for pictures and boxes.")
@click.option("--score", default=0.3, show_default=True, type=click.FloatRange(0, 1), help="Least score that is kept.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def command(bundle: Path, images: tuple[Path, ...], out: Path, score: float, as_json: bool) -> None:
    """Find objects in images and draw them; OUT/predictions.json holds the boxes in pixels of the images.

    The same boxes go to predictions.csv, to coco_results.json (with coco_images.json: COCO's result format) and to
    labels/*.txt (YOLO's rows and the score).

    \b
    Example:
      nasdet predict best ./new_images --out found
      nasdet predict best 'scans/**/*.png' --out found
    """
    from nasdet.cli.output import print_json
    from nasdet.driver.inspect import predict_images
    from nasdet.export import read_bundle

    result = predict_images(read_bundle(bundle), images, out, score=score)
    if as_json:
        print_json(result)
        return
    click.echo(f"{result['boxes']} boxes in {result['images']} images -> {out}")
