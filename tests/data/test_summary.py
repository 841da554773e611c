"""The description of a data set and its contact sheet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nasdet.data import Dataset
from nasdet.data.contact_sheet import class_colours, draw_contact_sheet, to_rgb
from nasdet.data.summary import describe, suggest_size
from nasdet.errors import InputError


def test_description_is_json_and_counts(digits: Dataset) -> None:
    facts = json.loads(json.dumps(describe(digits)))
    assert facts["objects"]["train"]["boxes"] == sum(len(r.boxes) for r in digits.images("train"))
    assert sum(c["train"] for c in facts["class_counts"].values()) == facts["objects"]["train"]["boxes"]
    sizes = facts["box_sizes"]
    assert sizes["small"] + sizes["medium"] + sizes["large"] == pytest.approx(1)
    assert facts["suggested_size"] == 96
    assert not any("pre-training" in line for line in facts["advice"])


def test_advice_on_few_images(coco_folder: Any, opens: Any) -> None:
    facts = describe(opens(coco_folder.write()))
    assert any("14 training images, fewer than 1000: if they are photographs" in a for a in facts["advice"])


def test_suggestion_for_blood_cells(shared_data: Path, opens: Any) -> None:
    assert suggest_size(opens(shared_data / "bccd")) in (224, 256, 320)


def test_contact_sheet(digits: Dataset, tmp_path: Path) -> None:
    path = draw_contact_sheet(digits, tmp_path / "sheets" / "digits.png", split="val", images=7, columns=4, tile=150)
    with Image.open(path) as sheet:
        pixels = np.asarray(sheet)
    assert pixels.shape[1] >= 4 * 150
    for label in set(digits.images("val")[0].labels):
        assert (pixels == class_colours(10)[label]).all(2).any()


def test_contact_sheet_that_cannot_be_written(digits: Dataset, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot write the contact sheet"):
        draw_contact_sheet(digits, tmp_path / "a.nothing", images=1)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_any_image_becomes_a_picture(channels: int, dtype: type) -> None:
    image = to_rgb(np.random.default_rng(0).integers(0, 200, (20, 30, channels)).astype(dtype))
    assert (image.mode, image.size) == ("RGB", (30, 20))


def test_colours_differ() -> None:
    assert len(set(class_colours(80))) == 80
