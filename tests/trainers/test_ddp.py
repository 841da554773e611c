"""Two workers are one: DDP, synchronised BN, loss normalisers and the sampler together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from nasdet.data import Batch, open_data, train_loader
from nasdet.errors import TrialFailure
from nasdet.space.specs import DetectorSpec
from nasdet.trainers.driver_link import Link
from nasdet.trainers.full_training import FullJob, FullTraining
from nasdet.trainers.loop import backward, optimizer_step, parallel
from nasdet.trainers.ranks import Ranks
from nasdet.trainers.training_state import Training
from tests.trainers.conftest import few_digits, tiny_recipe, tiny_spec
from tests.workers import join, run_workers

STEPS = 6
HEADS: dict[str, dict[str, Any]] = {
    "tal": {},
    "ssd": {"kind": "ssd", "first_scale": 0.25, "min_scale": 0.5, "classes": 10},
    "retinanet": {"kind": "retinanet", "width": 16, "depth": 1, "tower_norm": True, "classes": 10},
    "fcos": {"kind": "fcos", "width": 16, "depth": 1, "classes": 10},
    "rcnn": {
        "kind": "rcnn",
        "fc_width": 32,
        "mask_width": 16,
        "roi_batch": 16,
        "mask": True,
        "cascade": True,
        "classes": 10,
    },
}
CPU = torch.device("cpu")


GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def spec_of(head: str) -> DetectorSpec:
    """The tiny detector under a head of this kind."""
    spec = tiny_spec(kind="syncbn").to_json()
    return DetectorSpec.model_validate({**spec, "head": HEADS[head] or spec["head"]})


def train_steps(precision: str, device: torch.device, path: Path, head: str = "tal") -> None:
    """A few SGD steps of this process's share; rank 0 writes the weights."""
    ranks = Ranks(device)
    recipe = tiny_recipe(optimizer="sgd", base_lr=0.01, batch_size=8, drop_path=0.0, precision=precision, ema=0.0)
    training = Training.start(spec_of(head), recipe, seed=1, device=device)
    model = parallel(training, ranks)
    batches = train_loader(
        open_data(few_digits()).cached("train", 64, 64),
        augment=recipe.augment,
        batch_size=8 // ranks.world,
        epoch=0,
        seed=1,
        rank=ranks.rank,
        world=ranks.world,
        fill=(60.0,),
    )
    training.detector.train()
    for _, batch in zip(range(STEPS), batches, strict=False):
        backward(training, model, batch)
        optimizer_step(training)
    if ranks.rank == 0:
        torch.save(training.detector.state_dict(), path)


def worker(rank: int, store: str, task: Callable[..., None], *argument: Any) -> None:
    join(rank, store, world=2)
    try:
        task(*argument)
    finally:
        dist.destroy_process_group()


def run(task: Callable[..., None], *argument: Any) -> None:
    """Run `task` in two workers of a group, which meet at a file in the test's folder."""
    run_workers(worker, str(Path("store").absolute()), task, *argument, count=2)


@pytest.mark.parametrize(
    ("precision", "device", "tolerance"),
    [
        ("fp64", "cpu", 1e-9),
        ("fp32", "cpu", 1e-4),
        pytest.param("fp64", "cuda:0", 1e-9, marks=GPU),  # both workers on one GPU, which gloo allows
    ],
)
def test_two_workers_equal_one(tmp_path: Path, precision: str, device: str, tolerance: float) -> None:
    few_digits()
    run(train_steps, precision, torch.device(device), tmp_path / "two.pt")
    train_steps(precision, torch.device(device), tmp_path / "one.pt")
    one, two = (torch.load(tmp_path / f"{n}.pt", weights_only=True, map_location=CPU) for n in ("one", "two"))
    worst = max((one[name].double() - two[name].double()).abs().max().item() for name in one)
    assert worst <= tolerance
    start = Training.start(tiny_spec(kind="syncbn"), tiny_recipe(), seed=1, device=CPU).detector.state_dict()
    moved = max((one[n].double() - start[n].double()).abs().max().item() for n in one)
    assert moved > 1e-3


@pytest.mark.parametrize("head", ["ssd", "retinanet", "fcos"])
def test_two_workers_equal_one_under_every_dense_head(tmp_path: Path, head: str) -> None:
    few_digits()
    run(train_steps, "fp64", CPU, tmp_path / "two.pt", head)
    train_steps("fp64", CPU, tmp_path / "one.pt", head)
    one, two = (torch.load(tmp_path / f"{n}.pt", weights_only=True) for n in ("one", "two"))
    assert max((one[name].double() - two[name].double()).abs().max().item() for name in one) <= 1e-9


def train_two_stages(path: Path) -> None:
    """Three steps with masks, of which worker 1 sees no object in the second; every worker writes its weights."""
    ranks = Ranks(CPU)
    recipe = tiny_recipe(optimizer="sgd", base_lr=0.01, batch_size=4, ema=0.0)
    training = Training.start(spec_of("rcnn"), recipe, seed=1, device=CPU)
    model = parallel(training, ranks)
    training.detector.train()
    for step in range(3):
        torch.manual_seed(10 * step + ranks.rank)
        boxes, labels = torch.tensor([[[8.0, 8, 40, 40]], [[20.0, 16, 60, 50]]]), torch.tensor([[3], [5]])
        masks = torch.zeros(2, 1, 64, 64, dtype=torch.bool)
        masks[:, :, 10:40, 22:38] = True
        if step == 1 and ranks.rank == 1:
            boxes, labels, masks = 0 * boxes, torch.full_like(labels, -1), masks & False
        image = torch.randint(0, 256, (2, 1, 64, 64), dtype=torch.uint8)
        backward(training, model, Batch(image, boxes, labels, torch.arange(2), masks))
        optimizer_step(training)
    torch.save(training.detector.state_dict(), path / f"{ranks.rank}.pt")


def test_workers_stay_equal_under_a_two_stage_head_and_without_objects(tmp_path: Path) -> None:
    run(train_two_stages, tmp_path)
    one, two = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert all(torch.equal(one[name], two[name]) for name in one if not name.startswith("running"))
    start = Training.start(spec_of("rcnn"), tiny_recipe(), seed=1, device=CPU).detector.state_dict()
    assert all(torch.isfinite(value).all() for value in one.values())
    assert sum(not torch.equal(one[name], start[name]) for name in one) > len(one) / 2


def fail_alone(path: Path) -> None:
    """Rank 1's third batch cannot be made: both ranks must raise, and the group must still work."""
    ranks = Ranks(CPU)

    def batches() -> Any:
        for i in range(5):
            if i == 2 and ranks.rank == 1:
                raise OSError("disk gone")
            yield i

    seen = []
    with pytest.raises(TrialFailure, match="worker 1: OSError: disk gone"):
        seen.extend(ranks.iterate(batches()))
    total = torch.ones(1)
    dist.all_reduce(total)
    (path / f"rank{ranks.rank}").write_text(f"{total.item()}")


def test_a_rank_failing_alone_fails_all_and_the_group_lives(tmp_path: Path) -> None:
    run(fail_alone, tmp_path)
    assert [(tmp_path / f"rank{r}").read_text() for r in (0, 1)] == ["2.0", "2.0"]


def prepare_alone(path: Path) -> None:
    """The weights to start from lie where rank 0 sees them and rank 1 does not."""
    ranks = Ranks(CPU)
    here = path / "weights.pth" if ranks.rank == 0 else path / "elsewhere.pth"
    if ranks.rank == 0:
        torch.save(Training.start(tiny_spec(), tiny_recipe(), seed=0, device=CPU).detector.state_dict(), here)
    recipe = tiny_recipe(init=str(here)).to_json()
    job = FullJob(tiny_spec().to_json(), recipe, 0, str(path / "out"), {})
    with pytest.raises(TrialFailure, match=r"elsewhere\.pth"):
        FullTraining(job, open_data(few_digits()), ranks, CPU, Link())
    ranks.raise_failures()
    (path / f"rank{ranks.rank}").touch()


def test_a_rank_that_cannot_load_the_start_fails_all(tmp_path: Path) -> None:
    run(prepare_alone, tmp_path)
    assert (tmp_path / "rank0").exists() and (tmp_path / "rank1").exists()


def mean_buffers(path: Path) -> None:
    ranks = Ranks(CPU)
    tensors = [torch.full((3,), float(ranks.rank)), torch.tensor([ranks.rank + 1.0])]
    ranks.mean_(tensors)
    torch.save(tensors, path / f"{ranks.rank}.pt")


def test_mean_over_ranks(tmp_path: Path) -> None:
    run(mean_buffers, tmp_path)
    for rank in (0, 1):
        first, second = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert first.tolist() == [0.5] * 3 and second.tolist() == [1.5]
