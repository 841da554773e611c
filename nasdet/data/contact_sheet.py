"""A picture of a data set: images with their boxes and class names.

Every image is drawn as the loader reads it, so that wrong boxes, rotations and bit depths can be seen. Names stand
above their boxes; torchvision's `draw_bounding_boxes` writes them inside, where they would hide small objects.
"""

from __future__ import annotations

import colorsys
import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from nasdet.data.cache import fit_image, resize, with_channels
from nasdet.data.dataset import Dataset
from nasdet.data.images import read_image
from nasdet.data.large_images import Scene
from nasdet.data.records import ImageRecord, Pixels
from nasdet.errors import InputError

Colour = tuple[int, int, int]
_PAPER: Colour = (250, 250, 250)
_INK: Colour = (40, 40, 40)
_QUIET: Colour = (120, 120, 120)
_IGNORED: Colour = (150, 150, 150)
_GAP, _MARGIN, _CAPTION, _HEADER, _LEGEND_ROW = 14, 24, 20, 64, 26
_MOST_LABELS = 12
"""Boxes in an image above which class names are left to the legend."""
_WHOLE_LEGEND = 12
"""Classes above which the legend lists only those on the sheet."""
_PREVIEW_ROWS = 16
"""Rows of a preview that are made at once."""


def draw_contact_sheet(
    dataset: Dataset, path: str | Path, *, split: str = "train", images: int = 20, columns: int = 5, tile: int = 300
) -> Path:
    """Write a PNG (or any format Pillow knows by suffix) and return its path.

    Args:
        dataset: what to draw.
        path: the file.
        split: train, val or test.
        images: how many, spread evenly over the split.
        columns: images in a row.
        tile: pixels across an image on the sheet; its height follows from the data set's aspect.
    """
    records = dataset.images(split)
    chosen = [records[i] for i in np.linspace(0, len(records) - 1, min(images, len(records))).round().astype(int)]
    columns = min(columns, len(chosen))
    colours = class_colours(len(dataset.info.classes))
    width = max(2 * _MARGIN + columns * (tile + _GAP) - _GAP, 640)
    legend = _legend_rows(dataset, _legend_labels(dataset, chosen), width)
    tall = round(tile / min(max(dataset.info.aspect, 0.6), 1.6))
    top = _HEADER + len(legend) * _LEGEND_ROW + 8
    rows = math.ceil(len(chosen) / columns)
    sheet = Image.new("RGB", (width, top + rows * (tall + _CAPTION + _GAP) + _MARGIN - _GAP), _PAPER)
    _draw_header(sheet, dataset, split, len(chosen))
    _draw_legend(sheet, legend, colours, dataset)
    for number, record in enumerate(chosen):
        corner = (_MARGIN + number % columns * (tile + _GAP), top + number // columns * (tall + _CAPTION + _GAP))
        _draw_tile(sheet, corner, record, dataset, (tile, tall), colours)
    return _save(sheet, Path(path))


def class_colours(count: int) -> list[Colour]:
    """Distinct colours, the same for every data set of as many classes."""
    hues = [(0.58 + i * 0.618034) % 1 for i in range(count)]
    shades = [colorsys.hsv_to_rgb(h, 0.85 - 0.3 * (i // 8 % 2), 0.92 - 0.25 * (i // 4 % 2)) for i, h in enumerate(hues)]
    return [(round(r * 255), round(g * 255), round(b * 255)) for r, g, b in shades]


def to_rgb(pixels: Pixels) -> Image.Image:
    """`(h, w, C)` of any depth as a picture: 16 bits stretched from the 1st to the 99th percentile, the first three of
    more bands as red, green and blue, the first of two as gray."""
    bands = pixels[:, :, :3] if pixels.shape[2] >= 3 else np.repeat(pixels[:, :, :1], 3, axis=2)
    if bands.dtype != np.uint8:
        low, high = np.percentile(bands, (1, 99))
        bands = np.clip((bands.astype(np.float32) - low) * (255 / max(high - low, 1)), 0, 255).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(bands))


def preview(scene: Scene, limit: int) -> tuple[Image.Image, float]:
    """A large image as a picture of at most `limit` pixels on its longer side, and its scale; 16 bits are stretched
    strip by strip, so that the image is never held whole."""
    step = max(1, math.ceil(max(scene.height, scene.width) / limit))
    across = math.ceil(scene.width / step)
    picture = Image.new("RGB", (across, math.ceil(scene.height / step)))
    top = 0
    for strip in scene.strips(_PREVIEW_ROWS * step):
        part = to_rgb(resize(strip, math.ceil(len(strip) / step), across))
        picture.paste(part, (0, top))
        top += part.height
    return picture, 1 / step


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _draw_header(sheet: Image.Image, dataset: Dataset, split: str, shown: int) -> None:
    info, draw = dataset.info, ImageDraw.Draw(sheet)
    draw.text((_MARGIN, 14), info.name, _INK, font=_font(22))
    records = dataset.images(split)
    boxes = sum(len(r.boxes) for r in records)
    channels = "channel" if info.channels == 1 else "channels"
    text = f"{split}: {shown} of {len(records)} images, {boxes} boxes, {len(info.classes)} classes, "
    draw.text((_MARGIN, 42), text + f"{info.channels} {channels} of {info.bits} bits", _QUIET, font=_font(14))


def _legend_labels(dataset: Dataset, chosen: list[ImageRecord]) -> list[int]:
    labels = range(len(dataset.info.classes))
    if len(labels) <= _WHOLE_LEGEND:
        return list(labels)
    return sorted({int(label) for record in chosen for label in record.labels})


def _legend_rows(dataset: Dataset, labels: list[int], width: int) -> list[list[tuple[int, int]]]:
    """Classes in at most four rows of the legend, each as (label, left edge in pixels)."""
    rows: list[list[tuple[int, int]]] = [[]]
    x = _MARGIN
    for label in labels:
        need = 22 + round(_font(14).getlength(dataset.info.classes[label])) + 18
        if x + need > width - _MARGIN and rows[-1]:
            if len(rows) == 4:
                break
            rows.append([])
            x = _MARGIN
        rows[-1].append((label, x))
        x += need
    return rows


def _draw_legend(
    sheet: Image.Image, rows: list[list[tuple[int, int]]], colours: list[Colour], dataset: Dataset
) -> None:
    draw = ImageDraw.Draw(sheet)
    for number, row in enumerate(rows):
        y = _HEADER + number * _LEGEND_ROW + 4
        for label, x in row:
            draw.rectangle((x, y + 2, x + 13, y + 15), fill=colours[label])
            draw.text((x + 20, y), dataset.info.classes[label], _INK, font=_font(14))


def _draw_tile(
    sheet: Image.Image,
    corner: tuple[int, int],
    record: ImageRecord,
    dataset: Dataset,
    tile: tuple[int, int],
    colours: list[Colour],
) -> None:
    pixels = with_channels(read_image(record.path, alpha=dataset.info.channels == 4), dataset.info.channels, "")
    fitted, scale = fit_image(pixels, tile[1], tile[0])
    picture = to_rgb(fitted)
    draw_boxes(picture, record, scale, dataset.info.classes, colours)
    x = corner[0] + (tile[0] - picture.width) // 2
    y = corner[1] + (tile[1] - picture.height) // 2
    draw = ImageDraw.Draw(sheet)
    draw.rectangle((corner[0] - 1, corner[1] - 1, corner[0] + tile[0], corner[1] + tile[1]), fill=(236, 236, 236))
    sheet.paste(picture, (x, y))
    name = record.path.name if len(record.path.name) <= 34 else f"...{record.path.name[-31:]}"
    caption = f"{name}  {record.width}x{record.height}"
    draw.text((corner[0], corner[1] + tile[1] + 3), caption, _QUIET, font=_font(12))


def draw_boxes(
    picture: Image.Image, record: ImageRecord, scale: float, classes: tuple[str, ...], colours: list[Colour]
) -> None:
    """Draw the objects of a record on its scaled picture; names only where few boxes leave room for them."""
    draw = ImageDraw.Draw(picture)
    order = np.argsort(-record.area, kind="stable")
    colour = [_IGNORED if crowd else colours[label] for label, crowd in zip(record.labels, record.crowd, strict=True)]
    for i in order:
        draw.rectangle(tuple(float(v) for v in record.boxes[i] * scale), outline=colour[i], width=2)
    for i in order if len(order) <= _MOST_LABELS else ():
        name = classes[record.labels[i]] + (" (ignored)" if record.crowd[i] else "")
        left, top = (record.boxes[i] * scale).tolist()[:2]
        draw_caption(draw, left, top, name, colour[i], picture.width)


def draw_caption(
    draw: ImageDraw.ImageDraw, left: float, top: float, text: str, colour: Colour, width: int, size: int = 12
) -> None:
    """Write a caption above the corner of a box, or inside the box at the top of the picture, `width` pixels wide."""
    font = _font(size)
    wide, high = round(font.getlength(text)) + 6, size + 3
    x = max(0, min(round(left), width - wide))
    y = round(top) - high if top >= high else round(top)
    draw.rectangle((x, y, x + wide, y + high), fill=colour)
    luminance = 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2]
    draw.text((x + 3, y), text, (0, 0, 0) if luminance > 140 else (255, 255, 255), font=font)


def _save(sheet: Image.Image, path: Path) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(path)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot write the contact sheet ({error})", where=str(path)) from None
    return path
