"""Boxes, masks and class names drawn on an image.

Pillow draws them and not torchvision: torchvision writes a caption inside its box, where it hides a small object, and
paints black where masks overlap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from nasdet.data.contact_sheet import class_colours, preview, to_rgb
from nasdet.data.large_images import ImageLike, Scene, scene_of
from nasdet.evaluation import unpack

if TYPE_CHECKING:
    from nasdet.driver.inference.detections import Detections

CAPTION = 12
"""Pixels of a caption's letters."""
TINT = 110
"""Opacity of a mask's colour, of 255."""
LARGEST = 4096
"""Pixels of the longer side of a picture; larger images are drawn scaled down."""


def picture_of(image: ImageLike | Scene, limit: int | None) -> tuple[Image.Image, float]:
    """An image as an RGB picture of at most `limit` pixels on its longer side, and the picture's scale."""
    scene = scene_of(image)
    if limit is None or max(scene.height, scene.width) <= limit:
        return to_rgb(scene.part(0, 0, scene.height, scene.width)), 1.0
    return preview(scene, limit)


def draw(picture: Image.Image, scale: float, found: Detections) -> Image.Image:
    """Draw what was found onto the picture of its image, which is `scale` times as large; masks only at scale 1."""
    palette = class_colours(len(found.classes))
    colours = [palette[label] for label in found.labels]
    if scale == 1:
        for code, colour in zip(found.mask_codes or (), colours, strict=False):
            tint = Image.new("RGB", picture.size, colour)
            picture.paste(tint, mask=Image.fromarray(unpack(code) * np.uint8(TINT)))
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(CAPTION)
    for one, colour in zip(found, colours, strict=True):
        x1, y1, x2, y2 = (scale * one.box).tolist()
        pen.rectangle((x1, y1, x2, y2), outline=colour, width=2)
        # The caption stands above the box, or inside it where there is no room above.
        text = f"{one.name} {one.score:.2f}"
        top = y1 - CAPTION - 3 if y1 >= CAPTION + 3 else y1
        pen.rectangle((x1, top, x1 + pen.textlength(text, font) + 4, top + CAPTION + 3), fill=colour)
        pen.text((x1 + 2, top), text, (255, 255, 255), font=font)
    return picture
