"""Large images made of the built-in digits. One decision: images of the set are laid side by side, so that a scene's
objects and background are those that a detector of digits knows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from nasdet.data import Dataset, read_image


def write_scenes(folder: Path, digits: Dataset, *, side: int, scenes: dict[str, int], suffix: str = ".png") -> Path:
    """Scenes of `side` x `side` images of 96 pixels as a COCO folder with a file for each split; returns the folder.

    Args:
        folder: to be made.
        digits: the built-in set.
        side: images in a row.
        scenes: how many for each split; they show its first images in turn.
        suffix: .png, or .tif for files of which parts can be read.
    """
    (folder / "annotations").mkdir(parents=True)
    for split, count in scenes.items():
        content: dict[str, Any] = {"images": [], "annotations": []}
        content["categories"] = [{"id": i + 1, "name": name} for i, name in enumerate(digits.info.classes)]
        records = digits.images(split)
        for scene in range(count):
            pixels = np.zeros((96 * side, 96 * side), np.uint8)
            name = f"{split}{scene}{suffix}"
            content["images"].append({"id": scene + 1, "file_name": name, "width": 96 * side, "height": 96 * side})
            for place in range(side * side):
                record = records[(scene * side * side + place) % len(records)]
                top, left = 96 * (place // side), 96 * (place % side)
                pixels[top : top + 96, left : left + 96] = read_image(record.path)[..., 0]
                for (x1, y1, x2, y2), label in zip(record.boxes.tolist(), record.labels.tolist(), strict=True):
                    own = {"id": len(content["annotations"]) + 1, "image_id": scene + 1, "category_id": label + 1}
                    content["annotations"].append({**own, "bbox": [x1 + left, y1 + top, x2 - x1, y2 - y1]})
            save = tifffile.imwrite if suffix == ".tif" else lambda path, p: Image.fromarray(p).save(path)
            save(folder / name, pixels)
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    return folder
