"""`nasdet data`: look at a data set before training on it. It accepts and refuses what a search accepts and refuses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nasdet.cli.options import complete_path
from nasdet.cli.output import print_json

if TYPE_CHECKING:
    from rich.console import Console


@click.command("data")
@click.argument("src", shell_complete=complete_path)
@click.option("--split", default="train", show_default=True, help="Split drawn on the contact sheet.")
@click.option("--out", metavar="PATH", help="Contact sheet, or with --convert the new folder.")
@click.option("--convert", "layout", metavar="coco|voc|yolo", help="Write the data set in this layout to --out.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the split where no files name one.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def data(src: str, split: str, out: str | None, layout: str | None, seed: int, as_json: bool) -> None:
    """Check SRC and print images, classes, box sizes and defects; draw a contact sheet or convert it.

    SRC is 'digits' (built in), a folder in COCO, Pascal VOC or YOLO layout, or a YAML file naming the parts with the
    keys format, root, name, train, val, test, images, classes, channels, bits, group, tile, split, max_bad, of which
    all may be left out.

    \b
    Examples:
      nasdet data digits
      nasdet data cells/ --split val --out cells.png
      nasdet data cells/ --convert yolo --out cells-yolo
    """
    from nasdet.data import open_data
    from nasdet.data.contact_sheet import draw_contact_sheet
    from nasdet.data.summary import describe
    from nasdet.data.writers import losses, write_folder
    from nasdet.errors import InputError

    if layout and not out:
        raise InputError("--convert needs --out", remedy="name the folder to write")
    dataset = open_data(src, seed=seed)
    dataset.images(split)
    facts = describe(dataset)
    if layout:
        facts["written"] = str(write_folder(dataset, layout, str(out)))
        facts["notes"] = [*facts["notes"], *losses(dataset, layout)]
    else:
        path = Path(out or f"{dataset.info.name}-contact-sheet.png")
        facts["contact_sheet"] = str(draw_contact_sheet(dataset, path, split=split))
    print_json(facts) if as_json else _print(facts)


command = data


def _print(facts: dict[str, Any]) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    channels = f"{facts['channels']} channel{'s' * (facts['channels'] > 1)} of {facts['bits']} bits"
    console.print(f"[bold]{facts['name']}[/bold]: {facts['layout']} layout, {channels}, splits {facts['split_rule']}")
    mean, std = (", ".join(f"{v:.1f}" for v in facts[key]) for key in ("mean", "std"))
    console.print(f"mean {mean}; deviation {std} (training split)\n")
    _print_splits(console, facts)
    _print_classes(console, facts)
    _print_sizes(console, facts)
    _print_defects(console, facts)
    for note in (*facts["notes"], *facts["advice"]):
        console.print(f"- {note}", markup=False)
    for key, text in (("contact_sheet", "contact sheet"), ("written", "written")):
        if key in facts:
            console.print(f"\n{text}: {facts[key]}", markup=False, soft_wrap=True)


def _print_splits(console: Console, facts: dict[str, Any]) -> None:
    from rich.table import Table

    keys = ("images", "boxes", "ignore_regions", "empty_images", "groups")
    table = Table("split", *(key.replace("_", " ") for key in keys), box=None)
    for split, counts in facts["objects"].items():
        table.add_row(split, *(str(counts[key]) for key in keys))
    console.print(table, "")


def _print_classes(console: Console, facts: dict[str, Any]) -> None:
    from rich.markup import escape
    from rich.table import Table

    shown = sorted(facts["class_counts"].items(), key=lambda item: -sum(item[1].values()))
    table = Table("class", *(f"{split} boxes" for split in facts["splits"]), box=None)
    for name, counts in shown[:20]:
        table.add_row(escape(name), *map(str, counts.values()))
    console.print(table)
    if len(shown) > 20:
        console.print(f"and {len(shown) - 20} more classes")
    console.print()


def _print_sizes(console: Console, facts: dict[str, Any]) -> None:
    sizes = facts["box_sizes"]
    shares = ", ".join(f"{sizes[key]:.0%} {key}" for key in ("small", "medium", "large"))
    side = sizes["side_quantiles"]
    console.print(f"box sizes: {shares} (COCO's areas); side {side['5']} / {side['50']} / {side['95']} px (5/50/95%)\n")


def _print_defects(console: Console, facts: dict[str, Any]) -> None:
    from rich.markup import escape
    from rich.table import Table

    if not facts["defects"]:
        console.print("no defects found\n")
        return
    table = Table("defect", "count", "action", "such as", box=None)
    for defect in facts["defects"]:
        table.add_row(defect["kind"], str(defect["count"]), defect["action"], escape(defect["examples"][0]))
    console.print(table, "")
