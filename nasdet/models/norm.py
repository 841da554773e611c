"""Normalisation of the whole detector by one factory, and group normalisation whose gradient is quick on a CPU.

One decision: a norm carries its activation (timm's "norm-act" layer), because timm's blocks ask for such a layer, and
because only the factory then knows which norm and which activation a specification names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from timm.layers import BatchNormAct2d, GroupNormAct, LayerNormAct2d
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from nasdet.models.sync_bn import SyncBatchNormAct2d
from nasdet.space.specs import NormSpec

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "silu": nn.SiLU, "hardswish": nn.Hardswish}
MIN_GROUP_CHANNELS = 4  # a group of one channel on a 1x1 map would have no variance and pass no gradient
SLOW_BELOW = 16  # channels per group under which torch's gradient kernel does not vectorise

NormAct = Callable[..., nn.Module]


class NoNormAct(nn.Module):
    """The activation alone; the convolution before it has a bias."""

    act: nn.Module

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, H, W)`."""
        activated: Tensor = self.act(x)
        return activated


def group_count(channels: int, groups: int) -> int:
    """Largest divisor of `channels` that is at most `groups` and leaves 4 channels a group (1 group if none does)."""
    most = max(1, min(groups, channels // MIN_GROUP_CHANNELS))
    return next(g for g in range(most, 0, -1) if channels % g == 0)


def activation(name: str) -> nn.Module:
    """The activation of that name; relu works in place (its gradient needs the output only)."""
    return nn.ReLU(inplace=True) if name == "relu" else ACTIVATIONS[name]()


def make_norm_act(norm: NormSpec, act: str) -> NormAct:
    """A function `(channels, apply_act=True) -> module` that timm's `ConvNormAct` takes as `norm_layer`.

    Further keyword arguments that timm passes (device, dtype, act_kwargs, drop_layer) are for other layers and unused.
    """

    def norm_act(channels: int, apply_act: bool = True, **_: Any) -> nn.Module:
        layer = _build(norm, channels)
        layer.act = activation(act) if apply_act else nn.Identity()
        return layer

    return norm_act


def _build(norm: NormSpec, channels: int) -> nn.Module:
    layer: nn.Module
    if norm.kind == "gn":
        layer = FastGroupNormAct(channels, num_groups=group_count(channels, norm.groups), apply_act=False)
    elif norm.kind == "syncbn":
        layer = SyncBatchNormAct2d(channels, apply_act=False)
    elif norm.kind == "ln":
        layer = LayerNormAct2d(channels, apply_act=False)
    elif norm.kind == "none":
        layer = NoNormAct()
    else:
        layer = BatchNormAct2d(channels, apply_act=False)
    return layer


class FastGroupNormAct(GroupNormAct):  # type: ignore[misc]
    """timm's `GroupNormAct` with a quick gradient for few channels per group on a CPU in channels-last.

    torch's backward kernel walks such groups one value at a time (measured: 8 ms where the convolution before it takes
    1.4 ms). Sums per image and channel followed by two fused multiply-adds give the same gradient 10 to 20 times as
    fast. The forward pass, other layouts and other devices stay torch's own.
    """

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
        # With xhat = (x - mean) * inv_std and n values per image and group:
        #   dx = inv_std * (gamma * grad - mean_n(gamma * grad) - xhat * mean_n(gamma * grad * xhat))
        # Sums per image and channel are all that is needed; with them dx is linear in grad and x.
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
        # dx = grad * scale + x * slope + offset, as two fused multiply-adds
        scale, slope = gamma * inv_std, (-through_var * inv_std.square()).expand(by_group)
        offset = (-through_mean * inv_std).expand(by_group) - slope * mean
        scale, slope, offset = (v.reshape(images, channels, 1, 1).to(x.dtype) for v in (scale, slope, offset))
        dx = torch.addcmul(offset, grad, scale).addcmul_(x, slope)
        return dx, sum_grad_xhat.sum(0).view(-1), sum_grad.sum(0).view(-1), None, None
