"""`nasdet eval`."""

from __future__ import annotations

from pathlib import Path

import click

from nasdet.cli.options import data_option, tile_options

KEYS = ("ap", "ap50", "ap75", "ap_s", "ap_m", "ap_l", "ar100", "images", "images_per_second")

COUNTS = ("images", "max_detections")


@click.command("eval")
@click.argument("bundle", type=click.Path(path_type=Path))
@data_option
@click.option("--split", default="val", show_default=True, help="train, val or test.")
@click.option("--scales", default="1", show_default=True, metavar="S,S", help="Test at several sizes: 0.75,1,1.5.")
@click.option("--flip", is_flag=True, help="Test every image mirrored left-right as well.")
@tile_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def command(
    bundle: Path, data: str, split: str, scales: str, flip: bool, tile: str | None, overlap: int | None, as_json: bool
) -> None:
    """COCO metrics of BUNDLE on a split of a data set; AP in 0..1, boxes in pixels of the original images.

    With --tile, or where the data or the bundle asks for it, images are seen in overlapping tiles and judged whole;
    max_detections is then the number of boxes of an image and class that count, also for ar100.

    The AP of each class follows, -1 where the split has none of it.

    Bundles with a mask head also print mask_ap and the other figures of masks, if the data has masks.

    \b
    Example:
      nasdet eval best --data digits --split test
      nasdet eval best --data ./my_images --scales 0.75,1,1.5 --flip
      nasdet eval best --data ./flights --tile 640
    """
    from nasdet.api.detector import load
    from nasdet.cli.options import parse_numbers
    from nasdet.cli.output import print_json
    from nasdet.evaluation import CLASS, MASK

    sizes = parse_numbers(scales, "--scales")
    figures = load(bundle).evaluate(data, split, scales=sizes, flip=flip, tile=tile, overlap=overlap)
    keys = (*KEYS, *(key for key in figures if key.startswith(MASK) or key == "max_detections"))
    classes = {key.removeprefix(CLASS): value for key, value in figures.items() if key.startswith(CLASS)}
    if as_json:
        chosen = {key: figures[key] for key in keys}
        print_json({**chosen, "scales": list(sizes), "flip": flip, "classes": classes})
        return
    for key in keys:
        click.echo(f"{key:<18} {figures[key]:.4f}" if key not in COUNTS else f"{key:<18} {figures[key]:.0f}")
    for name, value in classes.items():
        click.echo(f"{'ap ' + name:<18} {value:.4f}")
