"""What only a GPU can show: the same network, losses and detections as on the CPU, and jobs from start to bundle."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from nasdet.data import open_data
from nasdet.export import read_bundle
from nasdet.models import Targets, build_detector, measure_latency
from nasdet.space.specs import DetectorSpec
from nasdet.trainers.driver_link import Link
from nasdet.trainers.full_training import FullJob
from nasdet.trainers.messages import GroupConfig, Reply, TrainJob
from nasdet.trainers.precision import native_bf16
from nasdet.trainers.worker import Runner
from tests.trainers.conftest import tiny_recipe, tiny_spec

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
CUDA = torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def _full_precision() -> Iterator[None]:
    """No TF32 in convolutions, where figures are compared with the CPU's."""
    with torch.backends.cudnn.flags(allow_tf32=False):
        yield


def job(tmp_path: Path, spec: DetectorSpec, **changes: object) -> TrainJob:
    values = {"trial": "t", "seed": 0, "stop": 2, "folder": str(tmp_path / "t"), "measure_latency": True, **changes}
    return TrainJob(spec=spec.to_json(), recipe=tiny_recipe(precision="auto").to_json(), **values)


@pytest.mark.parametrize("norm", ["bn", "gn", "syncbn"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_losses_and_gradients_equal_the_cpu(norm: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    here = build_detector(tiny_spec(kind=norm)).to(dtype).to(memory_format=torch.channels_last).train()
    there = copy.deepcopy(here).to(CUDA)
    images = torch.randint(0, 256, (4, 1, 64, 64), dtype=torch.uint8)
    targets = Targets(torch.tensor([[[8.0, 8, 30, 30], [20, 24, 60, 58]]] * 4, dtype=dtype), torch.tensor([[3, 7]] * 4))
    losses = [here(images, targets), there(images.to(CUDA), Targets(*(t.to(CUDA) for t in targets)))]
    for one in losses:
        one["loss"].backward()
    tolerance = 1e-9 if dtype == torch.float64 else 2e-3
    torch.testing.assert_close(losses[1]["loss"].cpu(), losses[0]["loss"], rtol=tolerance, atol=tolerance)
    for (name, a), b in zip(here.named_parameters(), there.parameters(), strict=True):
        scale = a.grad.abs().max()
        assert (a.grad - b.grad.cpu()).abs().max() <= tolerance * scale + 1e-7, name


def test_detections_equal_the_cpu() -> None:
    torch.manual_seed(0)
    here = build_detector(tiny_spec()).eval()
    images = torch.randint(0, 256, (2, 1, 64, 64), dtype=torch.uint8)
    there = copy.deepcopy(here).to(CUDA)
    for a, b in zip(here.detect(images), there.detect(images.to(CUDA)), strict=True):
        assert len(a.scores) == len(b.scores) > 0
        torch.testing.assert_close(b.scores.cpu(), a.scores, rtol=1e-4, atol=1e-5)


def test_a_search_job_and_its_continuation(group: GroupConfig, tmp_path: Path) -> None:
    replies: list[Reply] = []
    runner = Runner(dataclasses.replace(group, device="cuda", latency_device="cuda"), CUDA, Link(replies.append))
    runner.run(job(tmp_path, tiny_spec(kind="syncbn")))
    runner._warm = None  # what follows starts from the checkpoint
    runner.run(job(tmp_path, tiny_spec(kind="syncbn"), stop=3, measure_latency=False))
    assert [r.kind for r in replies] == ["latency", "epoch", "epoch", "rung", "epoch", "rung"]
    losses = [r.values["loss"] for r in replies if r.kind == "epoch"]
    assert losses[-1] < losses[0]
    assert replies[0].values["latency_ms"] > 0
    assert native_bf16("cuda")


def test_full_training_leaves_a_bundle(group: GroupConfig, tmp_path: Path) -> None:
    replies: list[Reply] = []
    full = FullJob(
        tiny_spec().to_json(),
        tiny_recipe(epochs=3, precision="auto").to_json(),
        0,
        str(tmp_path / "out"),
        {"data": "digits"},
    )
    Runner(dataclasses.replace(group, device="cuda"), CUDA, Link(replies.append)).run(full)
    assert replies[-1].kind == "rung"
    bundle = read_bundle(tmp_path / "out")
    data = open_data("digits", cache_root=Path(group.cache_root))
    assert bundle.classes == data.info.classes


def test_latency_repeats() -> None:
    first, second = (measure_latency(tiny_spec(), device="cuda") for _ in range(2))
    assert first.ms > 0
    assert abs(first.ratio / second.ratio - 1) < 0.2
