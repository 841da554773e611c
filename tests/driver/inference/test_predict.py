"""What a bundle finds in single images: boxes and masks in the image's own pixels."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from scipy import ndimage

from nasdet.data import Tiling, open_data, read_image
from nasdet.data.contact_sheet import to_rgb
from nasdet.data.large_images import open_scene
from nasdet.driver.inference import predict as inspect
from nasdet.driver.inference.predict import detect_image, detect_tiles, draw, listed
from nasdet.evaluation import unpack
from nasdet.models import Detections
from nasdet.space.specs import InputSpec
from tests.scenes import write_scenes

FOUND = Detections(
    boxes=torch.tensor([[10.0, 5.0, 30.0, 25.0], [-5.0, 20.0, 15.0, 60.0]]),
    scores=torch.tensor([0.9, 0.5]),
    labels=torch.tensor([1, 0]),
)
CLASSES = ("cell", "dust")
MASKED = FOUND._replace(masks=torch.ones(2, 28, 28))


def test_boxes_are_cut_to_the_image_and_masks_are_not_moved() -> None:
    plain, masked = (listed(found, CLASSES, 40, 60) for found in (FOUND, MASKED))
    assert json.loads(json.dumps(masked)) == masked
    assert [{k: v for k, v in entry.items() if k != "mask"} for entry in masked] == plain
    assert plain[1] == {"class": "cell", "score": 0.5, "box": [0.0, 20.0, 15.0, 40.0]}
    pixels = unpack(masked[1]["mask"])
    assert pixels.shape == (40, 60)
    assert pixels[20:40, 0:15].all() and pixels.sum() == 20 * 15


def test_masks_are_tinted() -> None:
    pixels = np.full((40, 60, 3), 128, np.uint8)
    plain, masked = (np.asarray(draw(to_rgb(pixels), listed(f, CLASSES, 40, 60), CLASSES)) for f in (FOUND, MASKED))
    assert (plain[23, 18:28] == 128).all()
    assert (masked[23, 18:28] != 128).any(1).all()
    assert (masked[:, 40:] == plain[:, 40:]).all()


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_boxes_come_in_the_pixels_of_the_image(scale: float) -> None:
    class Detector(torch.nn.Linear):
        spec = SimpleNamespace(input=SimpleNamespace(height=40, width=60, channels=3, mean=(0.0,) * 3))

        def detect(self, images: torch.Tensor, *, score_threshold: float) -> list[Detections]:
            assert images.shape == (1, 3, 40, 60) and score_threshold == 0.3
            return [MASKED]

    image = np.zeros((int(40 / scale), int(60 / scale), 3), np.uint8)
    found = detect_image(Detector(1, 1), image, score=0.3)  # type: ignore[arg-type]
    torch.testing.assert_close(found.boxes, FOUND.boxes / scale)
    assert found.masks is MASKED.masks


class Blobs(torch.nn.Linear):
    """Finds the bright connected regions of each canvas: a detector that needs no training."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__(1, 1)
        size = InputSpec(height=height, width=width, channels=1, mean=(0.0,))
        self.spec = SimpleNamespace(input=size, head=SimpleNamespace(nms_iou=0.6))

    def detect(self, images: torch.Tensor, *, score_threshold: float) -> list[Detections]:
        return [self._found(image[0].numpy()) for image in images]

    def _found(self, canvas: np.ndarray) -> Detections:
        regions = ndimage.find_objects(ndimage.label(canvas > 128)[0])
        boxes = [[x.start, y.start, x.stop, y.stop] for y, x in regions if (y.stop - y.start) * (x.stop - x.start) > 25]
        found = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
        return Detections(found, torch.full((len(found),), 0.9), torch.zeros(len(found), dtype=torch.long))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes") / "set"
    return write_scenes(folder, open_data("digits"), side=8, scenes={"val": 1}, suffix=".tif") / "val0.tif"


@pytest.mark.parametrize("canvas", [(256, 256), (128, 256)])
def test_tiles_find_what_the_whole_image_shows(scene: Path, canvas: tuple[int, int]) -> None:
    whole = detect_image(Blobs(768, 768), read_image(scene), score=0.3)  # type: ignore[arg-type]
    tiled = detect_tiles(Blobs(*canvas), open_scene(scene), Tiling(256, 64), score=0.3)  # type: ignore[arg-type]
    small = (whole.boxes[:, 2:] - whole.boxes[:, :2]).amax(1) <= 64
    assert small.sum() > 150 and small.float().mean() > 0.97
    found = {tuple(box) for box in tiled.boxes.tolist()}
    assert len(found) == len(tiled.boxes)
    assert {tuple(box) for box in whole.boxes[small].double().tolist()} <= found
    assert len(found) - int(small.sum()) <= 2 * int((~small).sum())  # larger ones come in pieces


def test_memory_of_prediction_does_not_grow_with_the_image(scene: Path, tmp_path: Path) -> None:
    pixels, peaks = read_image(scene)[..., 0], []
    for times in (1, 2, 4):  # the first warms up
        path = tmp_path / f"{times}.tif"
        tifffile.imwrite(path, np.tile(pixels, (times, times)))
        tracemalloc.start()
        detect_tiles(Blobs(256, 256), open_scene(path), Tiling(256, 64), score=0.3)  # type: ignore[arg-type]
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < 1.5 * peaks[1]


def test_files_of_a_tiled_prediction(scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspect, "LARGEST", 400)
    bundle = SimpleNamespace(spec=Blobs(256, 256).spec, classes=("digit",), load_detector=lambda _: Blobs(256, 256))
    result = inspect.predict_images(bundle, [scene], tmp_path, score=0.3, tiling=Tiling(256, 64))  # type: ignore[arg-type]
    (entry,) = json.loads((tmp_path / "predictions.json").read_text())
    assert (entry["width"], entry["height"], len(entry["boxes"])) == (768, 768, result["boxes"])
    assert max(box["box"][2] for box in entry["boxes"]) > 700
    with Image.open(tmp_path / "0000-val0.png") as picture:
        assert picture.size == (384, 384)
