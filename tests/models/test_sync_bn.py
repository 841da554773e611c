"""SyncBN over gloo workers against batch normalisation of the concatenated batch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from timm.layers import BatchNormAct2d
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from nasdet.models import Targets, build_detector
from nasdet.models.sync_bn import SyncBatchNormAct2d, set_statistics
from nasdet.space.specs import DetectorSpec, InputSpec, NormSpec
from tests.workers import join, run_workers

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


def _work(rank: int, folder: str) -> None:
    join(rank, f"{folder}/store", world=2)
    _normalise(rank, folder)
    _train(rank, folder)
    _share(rank, folder)
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two workers wrote."""
    path = tmp_path_factory.mktemp("workers")
    run_workers(_work, str(path), count=2)
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


PER_WORKER = 4
KINDS = {"bn": BatchNormAct2d, "syncbn": SyncBatchNormAct2d}
CHOICES = [(kind, images) for kind in KINDS for images in (8, 4, 2)]  # all, one worker's, half of one worker's


def _shared_inputs() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    shape = (2 * PER_WORKER, 6, 4, 5)
    x = torch.randn(shape, dtype=torch.float64, generator=generator) * 3 + 100
    return x, torch.randn(shape, dtype=torch.float64, generator=generator)


def _share(rank: int, folder: str) -> None:
    """Trial after trial in one process group, as a warm worker group does."""
    for kind, images in CHOICES:
        rows = slice(rank * PER_WORKER, (rank + 1) * PER_WORKER)
        x, grad = (v[rows].contiguous(memory_format=torch.channels_last) for v in _shared_inputs())
        x.requires_grad_()
        layer = _layer(KINDS[kind])
        set_statistics(layer, images, batch=PER_WORKER)
        y = layer(x)
        y.backward(grad)
        values = (y.detach(), x.grad, layer.weight.grad, layer.bias.grad, dict(layer.named_buffers()))
        torch.save(values, f"{folder}/{kind}{images}-{rank}")


@pytest.mark.parametrize(("kind", "images"), CHOICES)
def test_as_many_images_per_statistic_as_asked_for(folder: Path, kind: str, images: int) -> None:
    parts = [torch.load(folder / f"{kind}{images}-{rank}") for rank in range(2)]
    x, grad = _shared_inputs()
    x.requires_grad_()
    layers = [_layer(nn.BatchNorm2d) for _ in range(len(x) // images)]
    y = torch.cat([layer(part).relu() for layer, part in zip(layers, x.split(images), strict=True)])
    y.backward(grad)
    close = {"rtol": 1e-9, "atol": 1e-9}
    torch.testing.assert_close(torch.cat([p[0] for p in parts]), y.detach(), **close)
    torch.testing.assert_close(torch.cat([p[1] for p in parts]), x.grad, **close)
    for index, name in ((2, "weight"), (3, "bias")):
        wanted = sum(layer.get_parameter(name).grad for layer in layers)
        torch.testing.assert_close(parts[0][index] + parts[1][index], wanted, **close)
    for name in ("running_mean", "running_var"):  # the mean over workers is what is evaluated
        wanted = torch.stack([layer.get_buffer(name) for layer in layers]).mean(0)
        torch.testing.assert_close((parts[0][4][name] + parts[1][4][name]) / 2, wanted, **close)


def _neighbours(rank: int, folder: str) -> None:
    join(rank, f"{folder}/store", world=4)
    x, grad = (v[2 * rank : 2 * rank + 2] for v in _shared_inputs())
    x.requires_grad_()
    for _ in range(2):  # the second trial of a warm worker group finds the groups made
        layer = _layer(BatchNormAct2d)
        set_statistics(layer, 4, batch=2)
        x.grad = None
        y = layer(x)
        y.backward(grad)
    torch.save((y.detach(), x.grad), f"{folder}/{rank}")
    dist.destroy_process_group()


def test_neighbouring_workers_share_a_statistic(tmp_path: Path) -> None:
    run_workers(_neighbours, str(tmp_path), count=4)
    found = [torch.load(tmp_path / str(rank)) for rank in range(4)]
    x, grad = _shared_inputs()
    x.requires_grad_()
    y = torch.cat([_layer(nn.BatchNorm2d)(part).relu() for part in x.split(4)])
    y.backward(grad)
    torch.testing.assert_close(torch.cat([f[0] for f in found]), y.detach(), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(torch.cat([f[1] for f in found]), x.grad, rtol=1e-9, atol=1e-9)


def test_parts_of_an_odd_batch_are_nearly_equal() -> None:
    layer = _layer(BatchNormAct2d)
    set_statistics(layer, 2, batch=4)
    x = _shared_inputs()[0][:7]
    pieces = x.tensor_split(4)
    parts = [part.sub(part.mean((0, 2, 3), keepdim=True)) for part in pieces]
    with torch.no_grad():
        layer.bias.zero_()
        layer.weight.fill_(1)
    layer.act = nn.Identity()
    torch.testing.assert_close(layer(x).sign(), torch.cat(parts).sign())
    spread = torch.stack([part.var((0, 2, 3)) for part in pieces]).mean(0)
    torch.testing.assert_close(layer.running_var, 0.9 + 0.1 * spread)


def test_statistics_of_a_whole_worker_and_zero_change_nothing() -> None:
    x = _shared_inputs()[0]
    for images in (0, 8):
        layer, plain = _layer(BatchNormAct2d), _layer(BatchNormAct2d)
        set_statistics(layer, images, batch=8)
        assert torch.equal(layer(x), plain(x))
        assert torch.equal(layer.running_var, plain.running_var)


@pytest.mark.parametrize("training", [True, False])
def test_alone_it_is_plain_batch_norm(training: bool) -> None:
    ours, plain = _layer(SyncBatchNormAct2d).train(training), _layer(nn.BatchNorm2d).train(training)
    x, _ = _inputs()
    torch.testing.assert_close(ours(x), plain(x).relu())
