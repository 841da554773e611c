"""Every bundled space as a user meets it: what it samples runs, and a short search of it on the digits has a front."""

from __future__ import annotations

import random

import pytest
import torch

from nasdet.driver.study.detector_search import start_search
from nasdet.driver.study.options import SearchOptions
from nasdet.models import build_detector, count_costs
from nasdet.space import build_specs, bundled_spaces, load_space
from nasdet.space.specs import DetectorSpec

SPACES = sorted(bundled_spaces())
PAPER_SIZE = [name for name in SPACES if name.endswith(("_coco", "_voc"))]
SMALL = [name for name in SPACES if name not in PAPER_SIZE]


def architectures(name: str, samples: int, info) -> list[DetectorSpec]:
    """The distinct networks among this number of feasible samples."""
    space, rng = load_space(name), random.Random(3)
    found = []
    while len(found) < samples:
        built = build_specs(space, space.sample(rng), info)
        if not built.infeasible:
            found.append(built.candidate[0])
    return list(dict.fromkeys(found))


def assert_run(name: str, samples: int, info, done: set[tuple[str, ...]] | None = None) -> None:
    """Networks run forward without data (on the meta device), and those below paper size on an image; with `done`, on
    an image only one of each combination of kinds."""
    for spec in architectures(name, samples, info):
        assert count_costs(spec).gflops > 0
        kinds = tuple(part.kind for part in (spec.backbone, spec.neck, spec.head, spec.norm))
        if name in PAPER_SIZE or (done is not None and kinds in done):
            continue
        if done is not None:
            done.add(kinds)
        image = torch.rand(1, spec.input.channels, spec.input.height, spec.input.width) * 255
        with torch.inference_mode():
            found = build_detector(spec).eval()(image)
        tensors = [t for t in torch.utils._pytree.tree_leaves(found) if isinstance(t, torch.Tensor)]
        assert tensors and all(torch.isfinite(t).all() for t in tensors)


@pytest.fixture(scope="module")
def done() -> set[tuple[str, ...]]:
    """Combinations of kinds that have run on an image."""
    return set()


@pytest.mark.parametrize("name", SPACES)
def test_samples_run_forward(name, info, done):
    assert_run(name, 6, info, done)


@pytest.mark.slow
@pytest.mark.parametrize("name", SPACES)
def test_two_hundred_samples_run_forward(name, info):
    assert_run(name, 200, info)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SMALL if name != "quick"])
def test_a_short_search_ends_in_a_front(name, tmp_path):
    overrides = ["budget.trials=3", "budget.rungs=[]", "budget.epochs=2", "scheduler.kind=full", "resources.workers=1"]
    summary = start_search(load_space(name, overrides=overrides), SearchOptions(study=tmp_path / name))
    assert summary.trials.complete == 3
    assert summary.front
    assert max(member.values["ap"] for member in summary.front) > 0
