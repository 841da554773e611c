"""Activation checkpointing: activations inside a part of the network are not kept but computed again for the gradient.

One decision: a backbone runs its parts by `run`, and whether a part recomputes is an attribute of it that
`Detector.set_recompute` sets. Specifications, weights and exports are the same with and without.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def run(part: nn.Module, *inputs: Tensor) -> Tensor:
    """`part(*inputs)`; if `part` was switched on and trains, only `inputs` are kept for the gradient.

    The second pass ends as soon as the last tensor that the gradient needs has been computed: a convolution at the end
    of `part` is not computed again. It leaves running statistics as they are, and draws the same random numbers.
    """
    if not (getattr(part, "recompute", False) and part.training and torch.is_grad_enabled()):
        output: Tensor = part(*inputs)
        return output
    return checkpoint(  # type: ignore[no-any-return]
        part,
        *inputs,
        use_reentrant=False,
        preserve_rng_state=_draws(part),
        context_fn=lambda: (nullcontext(), _scratch_buffers(part)),
    )


def set_recompute(model: nn.Module, on: bool) -> None:
    """Let every part of `model` that is run by `run` recompute its activations (`on`) or keep them."""
    for module in model.modules():
        module.recompute = on  # type: ignore[assignment]


def _draws(part: nn.Module) -> bool:
    """Whether `part` draws random numbers while it trains; keeping their state costs time."""
    return any(getattr(m, "drop_prob", None) or isinstance(m, nn.Dropout) for m in part.modules())


@contextmanager
def _scratch_buffers(part: nn.Module) -> Iterator[None]:
    """Copies in place of the buffers: running statistics are updated once per step, not twice."""
    kept: list[tuple[dict[str, Any], str, Tensor]] = []
    for module in part.modules():
        for name, buffer in module._buffers.items():
            if buffer is not None:
                kept.append((module._buffers, name, buffer))
                module._buffers[name] = buffer.clone()
    try:
        yield
    finally:
        for buffers, name, buffer in kept:
            buffers[name] = buffer
