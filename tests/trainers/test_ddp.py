"""Two workers are one: DDP, synchronised BN, loss normalisers and the sampler together."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from nasdet.data import open_data, train_loader
from nasdet.errors import TrialFailure
from nasdet.trainers.loop import backward, optimizer_step, parallel
from nasdet.trainers.ranks import Ranks
from nasdet.trainers.training import Training
from tests.trainers.conftest import tiny_recipe, tiny_spec

STEPS = 20
CPU = torch.device("cpu")


GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def train_steps(precision: str, device: torch.device, path: Path) -> None:
    """20 SGD steps of this process's share; rank 0 writes the weights."""
    ranks = Ranks(device)
    recipe = tiny_recipe(optimizer="sgd", base_lr=0.01, batch_size=8, drop_path=0.0, precision=precision, ema=0.0)
    training = Training.start(tiny_spec(kind="syncbn"), recipe, seed=1, device=device)
    model = parallel(training, ranks)
    batches = train_loader(
        open_data("digits").cached("train", 64, 64),
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


def worker(rank: int, world: int, port: int, task: str, argument: Any) -> None:
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=world)
    try:
        globals()[task](*argument)
    finally:
        dist.destroy_process_group()


def run(world: int, task: str, *argument: Any) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.spawn(worker, (world, port, task, argument), nprocs=world)


@pytest.mark.parametrize(
    ("precision", "device", "tolerance"),
    [
        ("fp64", "cpu", 1e-9),
        ("fp32", "cpu", 1e-4),
        pytest.param("fp64", "cuda:0", 1e-9, marks=GPU),  # both workers on one GPU, which gloo allows
    ],
)
def test_two_workers_equal_one(tmp_path: Path, precision: str, device: str, tolerance: float) -> None:
    open_data("digits")
    run(2, "train_steps", precision, torch.device(device), tmp_path / "two.pt")
    train_steps(precision, torch.device(device), tmp_path / "one.pt")
    one, two = (torch.load(tmp_path / f"{n}.pt", weights_only=True, map_location=CPU) for n in ("one", "two"))
    worst = max((one[name].double() - two[name].double()).abs().max().item() for name in one)
    assert worst <= tolerance
    start = Training.start(tiny_spec(kind="syncbn"), tiny_recipe(), seed=1, device=CPU).detector.state_dict()
    moved = max((one[n].double() - start[n].double()).abs().max().item() for n in one)
    assert moved > 1e-3


def fail_alone(path: Path) -> None:
    """Rank 1's third batch cannot be made: both ranks must raise, and the group must still work."""
    ranks = Ranks(CPU)

    def batches() -> Any:
        for i in range(5):
            if i == 2 and ranks.rank == 1:
                raise OSError("disk gone")
            yield i

    seen = []
    with pytest.raises(TrialFailure, match="OSError on worker 1: disk gone"):
        seen.extend(ranks.together(batches()))
    total = torch.ones(1)
    dist.all_reduce(total)
    (path / f"rank{ranks.rank}").write_text(f"{total.item()}")


def test_a_rank_failing_alone_fails_all_and_the_group_lives(tmp_path: Path) -> None:
    run(2, "fail_alone", tmp_path)
    assert [(tmp_path / f"rank{r}").read_text() for r in (0, 1)] == ["2.0", "2.0"]


def mean_buffers(path: Path) -> None:
    ranks = Ranks(CPU)
    tensors = [torch.full((3,), float(ranks.rank)), torch.tensor([ranks.rank + 1.0])]
    ranks.mean_(tensors)
    torch.save(tensors, path / f"{ranks.rank}.pt")


def test_mean_over_ranks(tmp_path: Path) -> None:
    run(2, "mean_buffers", tmp_path)
    for rank in (0, 1):
        first, second = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert first.tolist() == [0.5] * 3 and second.tolist() == [1.5]
