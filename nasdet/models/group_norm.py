"""Group normalisation whose gradient is quick on a CPU in channels-last.

One decision: torch's backward kernel for channels-last walks groups of few channels one value at a time (measured:
8 ms where the convolution before it takes 1.4 ms); sums per image and channel followed by two fused multiply-adds give
the same gradient 10 to 20 times faster. Forward, other layouts and other devices stay torch's own.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.layers import GroupNormAct
from torch import Tensor
from torch.autograd.function import once_differentiable

SLOW_BELOW = 16  # channels per group under which torch's kernel does not vectorise


class FastGroupNormAct(GroupNormAct):  # type: ignore[misc]
    """timm's `GroupNormAct` with the quick backward where it applies."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `(B, C, H, W)` over each group of channels of each image."""
        if not (self.training and _is_slow(x, self.num_groups)):
            plain: Tensor = super().forward(x)
            return plain
        normalised = _QuickGroupNorm.apply(x, self.weight, self.bias, self.num_groups, self.eps)
        activated: Tensor = self.act(self.drop(normalised))
        return activated


def _is_slow(x: Tensor, groups: int) -> bool:
    few = x.shape[1] // groups < SLOW_BELOW
    return few and x.device.type == "cpu" and x.is_contiguous(memory_format=torch.channels_last)


class _QuickGroupNorm(torch.autograd.Function):
    """y = (x - mean) / sqrt(var + eps) * weight + bias with mean and var per image and group."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float) -> Tensor:
        images, channels, height, width = x.shape
        y, mean, inv_std = torch.native_group_norm(x, weight, bias, images, channels, height * width, groups, eps)
        ctx.save_for_backward(x, weight, mean, inv_std)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, inv_std = ctx.saved_tensors
        images, channels, height, width = x.shape
        groups = mean.shape[1]
        dtype = weight.dtype
        mean, inv_std = mean.to(dtype)[..., None], inv_std.to(dtype)[..., None]  # (B, G, 1)
        by_group = (images, groups, channels // groups)
        sum_grad = grad.sum((2, 3)).to(dtype).view(by_group)
        sum_grad_x = (grad * x).sum((2, 3)).to(dtype).view(by_group)
        sum_grad_xhat = (sum_grad_x - mean * sum_grad) * inv_std
        gamma = weight.view(1, groups, -1)
        count = by_group[2] * height * width
        through_var = (gamma * sum_grad_xhat).sum(-1, keepdim=True) / count
        through_mean = (gamma * sum_grad).sum(-1, keepdim=True) / count
        # dx = inv_std * (gamma * grad - through_mean - xhat * through_var) = grad * scale + x * slope + offset
        scale, slope = gamma * inv_std, (-through_var * inv_std.square()).expand(by_group)
        offset = (-through_mean * inv_std).expand(by_group) - slope * mean
        scale, slope, offset = (v.reshape(images, channels, 1, 1).to(x.dtype) for v in (scale, slope, offset))
        dx = torch.addcmul(offset, grad, scale).addcmul_(x, slope)
        return dx, sum_grad_xhat.sum(0).view(-1), sum_grad.sum(0).view(-1), None, None
