"""SyncBN over gloo workers against batch normalisation of the concatenated batch."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from nasdet.models import Targets, build_detector
from nasdet.models.sync_bn import SyncBatchNormAct2d
from nasdet.space.specs import DetectorSpec, InputSpec, NormSpec

SHARES = (3, 5)  # images of each worker: unequal on purpose


def _inputs() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = (sum(SHARES), 6, 4, 5)
    x = torch.randn(shape, dtype=torch.float64, generator=generator) * 3 + 100
    return x, torch.randn(shape, dtype=torch.float64, generator=generator)


def _layer(kind: type[nn.Module]) -> nn.Module:
    layer = kind(6).double()
    with torch.no_grad():
        layer.weight.copy_(torch.linspace(-1, 2, 6))
        layer.bias.copy_(torch.linspace(0, 1, 6))
    return layer


def _join(rank: int, store: str) -> None:
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)


def _work(rank: int, folder: str) -> None:
    _join(rank, f"{folder}/store")
    _normalise(rank, folder)
    _train(rank, folder)
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two workers wrote."""
    path = tmp_path_factory.mktemp("workers")
    mp.spawn(_work, (str(path),), nprocs=2)
    return path


def _normalise(rank: int, folder: str) -> None:
    rows = slice(0, SHARES[0]) if rank == 0 else slice(SHARES[0], None)
    x, grad = (v[rows].contiguous(memory_format=torch.channels_last) for v in _inputs())
    x.requires_grad_()
    layer = _layer(SyncBatchNormAct2d)
    y = layer(x)
    y.backward(grad * (y > 0))
    torch.save(
        (y.detach(), x.grad, layer.weight.grad, layer.bias.grad, dict(layer.named_buffers())), f"{folder}/{rank}"
    )
    rough = x.detach().bfloat16().requires_grad_()
    half = layer.float()(rough)
    half.sum().backward()
    assert half.dtype == torch.bfloat16 and rough.grad is not None and rough.grad.isfinite().all()
    if rank == 0:
        layer.eval()(rough[:1])  # no collective in eval mode: it would hang


def test_equals_batch_norm_of_the_concatenated_batch(folder: Path) -> None:
    parts = [torch.load(folder / str(rank)) for rank in range(2)]
    x, grad = _inputs()
    x.requires_grad_()
    layer = _layer(nn.BatchNorm2d)
    y = layer(x).relu()
    y.backward(grad * (y > 0))
    close = {"rtol": 1e-9, "atol": 1e-9}
    torch.testing.assert_close(torch.cat([p[0] for p in parts]), y.detach(), **close)
    torch.testing.assert_close(torch.cat([p[1] for p in parts]), x.grad, **close)
    torch.testing.assert_close(parts[0][2] + parts[1][2], layer.weight.grad, **close)
    torch.testing.assert_close(parts[0][3] + parts[1][3], layer.bias.grad, **close)
    for part in parts:
        for name, value in layer.named_buffers():
            torch.testing.assert_close(part[4][name], value, **close)


def _batch(rows: slice) -> tuple[Tensor, Targets]:
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8, generator=generator)
    corner = torch.rand(4, 3, 2, generator=generator) * 40
    boxes = torch.cat([corner, corner + 8 + 14 * torch.rand(4, 3, 2, generator=generator)], -1)
    labels = torch.tensor([[0, 1, 2], [3, -1, -1], [-1, -1, -1], [4, 5, -2]])
    return images[rows], Targets(boxes[rows], labels[rows])


def _spec() -> DetectorSpec:
    return DetectorSpec(input=InputSpec(height=64, width=64), norm=NormSpec(kind="syncbn"))


def _gradients(model: nn.Module, rows: slice) -> dict[str, Tensor]:
    model(*_batch(rows))["loss"].backward()
    return {name.removeprefix("module."): p.grad for name, p in model.named_parameters() if p.grad is not None}


def _train(rank: int, folder: str) -> None:
    torch.manual_seed(0)
    model = DistributedDataParallel(build_detector(_spec()).double(), broadcast_buffers=False)
    grads = _gradients(model, slice(2 * rank, 2 * rank + 2))
    if rank == 0:
        torch.save(grads, f"{folder}/grads")


def test_detector_in_ddp_has_the_gradient_of_the_whole_batch(folder: Path) -> None:
    found = torch.load(folder / "grads")
    torch.manual_seed(0)
    wanted = _gradients(build_detector(_spec()).double(), slice(0, 4))
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=1e-7, atol=1e-9, msg=name)


@pytest.mark.parametrize("training", [True, False])
def test_alone_it_is_plain_batch_norm(training: bool) -> None:
    ours, plain = _layer(SyncBatchNormAct2d).train(training), _layer(nn.BatchNorm2d).train(training)
    x, _ = _inputs()
    torch.testing.assert_close(ours(x), plain(x).relu())
