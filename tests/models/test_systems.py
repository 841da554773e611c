"""The systems of `space/presets`: every kind of part trains and detects, every system has its published size."""

from __future__ import annotations

import pytest
import torch

from nasdet.models import Targets, build_detector, count_costs
from nasdet.models.costs import published_count
from nasdet.space.presets import SYSTEMS, tiny_spec
from nasdet.space.specs import DetectorSpec
from tests.systems import COVER


@pytest.mark.parametrize("name", COVER)
def test_tiny_variant_trains_and_detects(name: str) -> None:
    spec = tiny_spec(SYSTEMS[name], head={"classes": 3})
    torch.manual_seed(0)
    detector = build_detector(spec)
    height, width = spec.input.height, spec.input.width
    images = torch.randint(0, 256, (2, spec.input.channels, height, width), dtype=torch.uint8)
    boxes = torch.tensor([[[8, 8, 40, 44], [30, 20, 60, 62]], [[4, 10, 50, 50], [0, 0, 0, 0]]]).float()
    labels = torch.tensor([[0, 2], [1, -1]])
    masks = torch.zeros(2, 2, height, width, dtype=torch.bool) if detector.head.wants_masks else None
    if masks is not None:
        masks[:, :, 20:40, 30:50] = True
    losses = detector(images, Targets(boxes, labels, masks))
    assert losses["loss"].isfinite() and {"positives", "negatives"} <= set(losses)
    losses["loss"].backward()
    wrong = [n for n, p in detector.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not wrong
    for found in detector.eval().detect(images):
        assert (found.boxes >= 0).all() and (found.boxes[:, 0::2] <= width).all()
        assert ((found.scores > 0) & (found.scores <= 1)).all() and (found.labels < 3).all()


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("ssd300_vgg16", [38, 19, 10, 5, 3, 1]),
        ("pelee304", [19, 19, 10, 5, 3, 1]),
        ("scratchdet_root_resnet34", [38, 19, 10, 5, 3, 3]),
    ],
)
def test_published_levels(name: str, cells: list[int]) -> None:
    spec = SYSTEMS[name].spec
    with torch.device("meta"):
        levels = build_detector(spec).eval().features(torch.empty(1, 3, spec.input.height, spec.input.width))
    assert [x.shape[-1] for x in levels] == cells


@pytest.mark.parametrize("name", SYSTEMS)
def test_published_sizes(name: str) -> None:
    """Of the full network; the small one that tests train is built and run on the meta device."""
    system = SYSTEMS[name]
    assert DetectorSpec.model_validate(system.spec.to_json()) == system.spec
    if system.published_params:
        assert published_count(system.spec, system.counts) == pytest.approx(system.published_params, rel=0.01)
    if system.published_macs:
        assert count_costs(system.spec).macs == pytest.approx(system.published_macs, rel=0.03)
    assert count_costs(tiny_spec(system)).macs > 0
