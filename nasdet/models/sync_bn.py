"""Batch normalisation over the images of all workers, or over as many images as a recipe asks for, on every backend.

One decision: torch's own kernel on CUDA; for gloo on CPUs a function with one gather forward and one all-reduce
backward that merges means and variances exactly (Chan et al. 1979), so that workers may have different numbers of
images. A layer holds numbers only and looks up its process group, because groups can be neither copied nor saved.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
import torch.distributed as dist
from timm.layers import BatchNormAct2d
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules._functions import SyncBatchNorm as CudaSyncBatchNorm


class SyncBatchNormAct2d(BatchNormAct2d):  # type: ignore[misc]
    """timm's `BatchNormAct2d` whose training statistics are those of the images of `ranks` workers, or of a part.

    Equals batch normalisation of the concatenated batch, forward and backward (1e-9 in float64), running statistics
    included. With one worker, and in eval mode, it is plain batch normalisation. All workers must run it the same
    number of times and in the same order. Gradients of weight and bias are this worker's share; DDP reduces them.

    `ranks`: how many neighbouring workers share statistics, 0: all. `images`: if `ranks` is 1, how many images of this
    worker share statistics, 0: all. Both are set by `set_statistics`.
    """

    ranks: int = 0
    images: int = 0

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `(B, C, H, W)`; B may differ between workers."""
        parts = max(1, round(len(x) / self.images)) if self.images else 1
        workers = self._workers() if self.training else 1
        if not self.training or (workers == 1 and parts == 1):
            plain: Tensor = super().forward(x)
            return plain
        self.num_batches_tracked.add_(1)
        normalised = self._in_parts(x, parts) if workers == 1 else self._over_workers(x, workers)
        activated: Tensor = self.act(self.drop(normalised))
        return activated

    def _workers(self) -> int:
        """Workers that share statistics."""
        world = dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
        return self.ranks or world

    def _over_workers(self, x: Tensor, workers: int) -> Tensor:
        args = (self.weight, self.bias, self.running_mean, self.running_var, self.eps, self.momentum)
        group = _group_of(workers)
        if x.is_cuda:
            normalised: Tensor = CudaSyncBatchNorm.apply(x, *args, group, workers)
        else:
            normalised = _GatheredBatchNorm.apply(x, *args, group)
        return normalised

    def _in_parts(self, x: Tensor, parts: int) -> Tensor:
        """Each part by its own statistics; the running ones take their mean, as over groups of workers."""
        means, variances = (v.expand(parts, -1).clone() for v in (self.running_mean, self.running_var))
        normalised = [
            nn.functional.batch_norm(part, mean, variance, self.weight, self.bias, True, self.momentum, self.eps)
            for part, mean, variance in zip(x.tensor_split(parts), means, variances, strict=True)
        ]
        self.running_mean.copy_(means.mean(0))
        self.running_var.copy_(variances.mean(0))
        return torch.cat(normalised)


def set_statistics(model: nn.Module, images: int, *, batch: int) -> None:
    """Let every batch normalisation of `model` compute its statistics over `images` images while it trains.

    All workers must call this together, before the first step: it makes process groups where they are needed.

    Args:
        model: changed in place; plain `BatchNormAct2d` layers become `SyncBatchNormAct2d` where `images` asks for it.
        images: fewer than `batch` split the batch into parts, more join neighbouring workers; 0: layers stay as built.
        batch: images of one worker in one forward pass.
    """
    if images == 0:
        return
    split, joined = images < batch, max(1, images // batch)
    assert (batch % images if split else images % batch) == 0, f"{images} images per statistic, {batch} per worker"
    for module in model.modules():
        if type(module) is BatchNormAct2d:
            module.__class__ = SyncBatchNormAct2d
        if isinstance(module, SyncBatchNormAct2d):
            module.ranks, module.images = joined, images if split else 0
    if joined > 1:
        _group_of(joined)


def _group_of(ranks: int) -> dist.ProcessGroup:
    """This worker's group of `ranks` neighbours; all workers make it together, once in the life of the world group."""
    world = dist.group.WORLD
    assert world is not None
    return world if ranks == dist.get_world_size() else _groups(world, ranks)


@functools.lru_cache(maxsize=16)
def _groups(world: dist.ProcessGroup, ranks: int) -> dist.ProcessGroup:
    """`world` is the key only: a new one makes new groups."""
    own, _ = dist.new_subgroups(ranks)
    assert own is not None
    return own


class _GatheredBatchNorm(torch.autograd.Function):
    """y = (x - mean) / sqrt(var + eps) * weight + bias with mean and var over all workers, biased in y."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        running_mean: Tensor,
        running_var: Tensor,
        eps: float,
        momentum: float,
        group: dist.ProcessGroup,
    ) -> Tensor:
        mean, var, total = _global_statistics(x, weight.dtype, group)
        # Running statistics take the unbiased variance, as torch's do.
        running_mean.lerp_(mean, momentum)
        running_var.lerp_(var * (total / (total - 1).clamp(min=1)), momentum)
        ctx.save_for_backward(x, weight, mean, var, total)
        ctx.eps, ctx.group = eps, group
        return torch.native_batch_norm(x, weight, bias, mean, var, False, 0.0, eps)[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, var, total = ctx.saved_tensors
        # With xhat = (x - mean) / std and sums over all n positions of all workers:
        #   dx = weight / std * (grad - sum(grad) / n - xhat * sum(grad * xhat) / n)
        args = (weight, mean, var, None, None, False, ctx.eps, [True, True, True])
        # torch's kernel with fixed statistics gives the first term and the two sums over this worker's positions.
        dx, d_weight, d_bias = torch.ops.aten.native_batch_norm_backward(grad.to(x.dtype), x, *args)
        sums = torch.stack([d_weight, d_bias])  # (2, C): sum of grad * xhat, sum of grad
        dist.all_reduce(sums, group=ctx.group)
        # The other two terms as one linear function of x: dx -= x * slope + offset.
        inv_std = torch.rsqrt(var + ctx.eps)
        through_var, through_mean = weight * inv_std * sums / total
        slope = through_var * inv_std
        offset = through_mean - slope * mean
        shape = (1, -1, 1, 1)
        slope, offset = (v.view(shape).to(dx.dtype) for v in (slope, offset))
        dx = dx.addcmul_(x, slope, value=-1).sub_(offset)
        return dx, d_weight, d_bias, None, None, None, None, None


def _global_statistics(x: Tensor, dtype: torch.dtype, group: dist.ProcessGroup) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (C,), biased variance (C,) and number of values per channel () over the workers of `group`."""
    # Two passes of sums over rows of channels: torch.var_mean takes 13 times as long in channels-last on a CPU.
    rows = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1]).to(dtype)
    mean = rows.mean(0)
    var = (rows - mean).square_().mean(0)
    count = torch.full((1,), x.numel() // x.shape[1], dtype=dtype)
    local = torch.cat([mean, var, count])
    gathered = [torch.empty_like(local) for _ in range(dist.get_world_size(group))]
    dist.all_gather(gathered, local, group=group)
    # The mean of all is the weighted mean; the variance that within workers plus that between their means.
    stacked = torch.stack(gathered)  # (workers, 2C + 1)
    means, variances, counts = stacked[:, : len(mean)], stacked[:, len(mean) : -1], stacked[:, -1:]
    total = counts.sum()
    merged = (means * counts).sum(0) / total
    spread = ((variances + (means - merged).square()) * counts).sum(0) / total
    return merged, spread, total
