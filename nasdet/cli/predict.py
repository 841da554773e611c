"""`nasdet predict`."""

from __future__ import annotations

from pathlib import Path

import click

from nasdet.cli.options import tile_options

SHOWN = 5
"""Images that a message names."""


@click.command("predict")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="IMAGE|FOLDER|PATTERN...")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for pictures and boxes.")
@click.option("--score", default=0.3, show_default=True, type=click.FloatRange(0, 1), help="Least score that is kept.")
@tile_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def command(
    bundle: Path,
    images: tuple[Path, ...],
    out: Path,
    score: float,
    tile: str | None,
    overlap: int | None,
    as_json: bool,
) -> None:
    """Find objects in images and draw them; OUT/predictions.json holds the boxes in pixels of the images.

    --tile cuts large images into overlapping tiles of SIZE pixels on the longer side, each resized to the detector's
    input: choose it so that objects have the size they had in training (auto: the size of the tiles that
    it was trained on, else the input's). A bundle that was trained on tiles cuts images as then without --tile.

    A folder stands for the images in it, or, if it holds none, for those in its sub-folders. An image that cannot be
    read is skipped and named, and the command ends with exit code 2 when everything else is written. What an earlier
    predict wrote into OUT is deleted.

    The same boxes go to predictions.csv, to coco_results.json (with coco_images.json: COCO's result format) and to
    labels/*.txt (YOLO's rows and the score).

    \b
    Example:
      nasdet predict best ./new_images --out found
      nasdet predict best drone.tif --tile 640 --out found
      nasdet predict best 'scans/**/*.png' --out found
    """
    from nasdet.api.detector import load
    from nasdet.cli.output import print_json
    from nasdet.errors import InputError

    result = load(bundle).predict_files(images, out, score=score, tile=tile, overlap=overlap)
    if as_json:
        print_json(result)
    else:
        click.echo(f"{result['boxes']} boxes in {result['images']} images -> {out}")
    if skipped := result["skipped"]:
        named = "; ".join(skipped[:SHOWN]) + (f"; and {len(skipped) - SHOWN} more" if len(skipped) > SHOWN else "")
        raise InputError(f"{len(skipped)} of {len(skipped) + result['images']} images were skipped: {named}")
