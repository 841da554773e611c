"""Batch normalisation over the images of all workers, on every backend.

One decision: torch's own kernel on CUDA, and for gloo on CPU a function with one gather forward and one all-reduce
backward that merges means and variances exactly (Chan et al.), so that workers may hold different numbers of images.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from timm.layers import BatchNormAct2d
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.modules._functions import SyncBatchNorm as CudaSyncBatchNorm


class SyncBatchNormAct2d(BatchNormAct2d):  # type: ignore[misc]
    """timm's `BatchNormAct2d` whose training statistics are those of the images of all workers.

    Equals batch normalisation of the concatenated batch, forward and backward (1e-9 in float64), running statistics
    included. With one worker, and in eval mode, it is plain batch normalisation. Every worker must run it equally
    often and in the same order. Gradients of weight and bias are this worker's share; DDP reduces them.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `(B, C, H, W)`; B may differ between workers."""
        if not (self.training and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
            plain: Tensor = super().forward(x)
            return plain
        self.num_batches_tracked.add_(1)
        args = (self.weight, self.bias, self.running_mean, self.running_var, self.eps, self.momentum)
        if x.is_cuda:
            group = dist.group.WORLD
            normalised = CudaSyncBatchNorm.apply(x, *args, group, dist.get_world_size())
        else:
            normalised = _GatheredBatchNorm.apply(x, *args)
        activated: Tensor = self.act(self.drop(normalised))
        return activated


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
    ) -> Tensor:
        mean, var, total = _global_statistics(x, weight.dtype)
        running_mean.lerp_(mean, momentum)
        running_var.lerp_(var * (total / (total - 1).clamp(min=1)), momentum)
        ctx.save_for_backward(x, weight, mean, var, total)
        ctx.eps = eps
        return torch.native_batch_norm(x, weight, bias, mean, var, False, 0.0, eps)[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, var, total = ctx.saved_tensors
        args = (weight, mean, var, None, None, False, ctx.eps, [True, True, True])
        # With fixed statistics: dx = grad * weight / std, and the sums over this worker's positions.
        dx, d_weight, d_bias = torch.ops.aten.native_batch_norm_backward(grad.to(x.dtype), x, *args)
        sums = torch.stack([d_weight, d_bias])  # (2, C): sum of grad * xhat, sum of grad
        dist.all_reduce(sums)
        inv_std = torch.rsqrt(var + ctx.eps)
        through_var, through_mean = weight * inv_std * sums / total
        slope = through_var * inv_std
        offset = through_mean - slope * mean
        shape = (1, -1, 1, 1)
        slope, offset = (v.view(shape).to(dx.dtype) for v in (slope, offset))
        dx = dx.addcmul_(x, slope, value=-1).sub_(offset)
        return dx, d_weight, d_bias, None, None, None, None


def _global_statistics(x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (C,), biased variance (C,) and number of values per channel () over all workers."""
    # Two passes of sums over rows of channels: torch.var_mean takes 13 times as long in channels-last on a CPU.
    rows = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1]).to(dtype)
    mean = rows.mean(0)
    var = (rows - mean).square_().mean(0)
    count = torch.full((1,), x.numel() // x.shape[1], dtype=dtype)
    local = torch.cat([mean, var, count])
    gathered = [torch.empty_like(local) for _ in range(dist.get_world_size())]
    dist.all_gather(gathered, local)
    stacked = torch.stack(gathered)  # (workers, 2C + 1)
    means, variances, counts = stacked[:, : len(mean)], stacked[:, len(mean) : -1], stacked[:, -1:]
    total = counts.sum()
    merged = (means * counts).sum(0) / total
    spread = ((variances + (means - merged).square()) * counts).sum(0) / total
    return merged, spread, total
