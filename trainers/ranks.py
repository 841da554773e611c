"""What the workers of one training say to each other. One decision: they agree on ok, failure and stop at step
boundaries by a small all-reduce, because a rank that raises alone leaves the others hanging in the next collective."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from nasdet.errors import NasdetError, TrialFailure

T = TypeVar("T")


class Ranks:
    """The workers of a training; also valid, and free, for a single process without `torch.distributed`."""

    def __init__(self, device: torch.device) -> None:
        active = dist.is_available() and dist.is_initialized()
        self.world = dist.get_world_size() if active else 1
        self.rank = dist.get_rank() if active else 0
        self.device = device
        self._trouble = ""
        # Words between workers go over gloo also where gradients go over NCCL: they do not wait for the GPU's queue.
        apart = self.world > 1 and device.type == "cuda" and dist.get_backend() != "gloo"
        self._words: Any = dist.new_group(backend="gloo") if apart else None

    def note(self, reason: str) -> None:
        """Report trouble of this rank at the next step boundary; the first reason counts."""
        self._trouble = self._trouble or reason

    def agree(self) -> None:
        """Raise `TrialFailure` on every rank, with all reasons, if any rank noted trouble."""
        reasons = [self._trouble]
        self._trouble = ""
        if self.world > 1:
            flag = torch.tensor([float(bool(reasons[0]))])
            dist.all_reduce(flag, group=self._words)
            if not flag.item():
                return
            reasons = self.gather(reasons[0])
        if any(reasons):
            raise TrialFailure("; ".join(dict.fromkeys(r for r in reasons if r)))

    @contextlib.contextmanager
    def alike(self) -> Iterator[None]:
        """Raise `TrialFailure` on every rank if the block, which must not communicate, fails on any."""
        try:
            yield
        except Exception as error:
            self.note(explain(error))
        self.agree()

    def together(self, items: Iterable[T]) -> Iterator[T]:
        """Iterate over `items` of this rank; if making one fails on any rank, all ranks raise `TrialFailure`."""
        iterator = iter(items)
        while True:
            item, end = None, False
            try:
                item = next(iterator)
            except StopIteration:
                end = True
            except Exception as error:
                self.note(f"{type(error).__name__} on worker {self.rank}: {error}")
            self.agree()
            if end:
                return
            yield item  # type: ignore[misc]

    def gather(self, value: T) -> list[T]:
        """The value of every rank, on every rank."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        dist.all_gather_object(values, value, group=self._words)
        return values

    def broadcast(self, value: T) -> T:
        """Rank 0's value."""
        if self.world == 1:
            return value
        box: list[Any] = [value]
        dist.broadcast_object_list(box, 0, group=self._words)
        return box[0]  # type: ignore[no-any-return]

    def mean_(self, tensors: Iterable[torch.Tensor]) -> None:
        """Replace floating point tensors by their mean over the ranks, in one collective."""
        floats = [t for t in tensors if t.is_floating_point()]
        if self.world == 1 or not floats:
            return
        flat = torch.cat([t.detach().double().flatten() for t in floats])
        dist.all_reduce(flat)
        flat /= self.world
        for tensor, part in zip(floats, flat.split([t.numel() for t in floats]), strict=True):
            tensor.copy_(part.view_as(tensor))


def explain(error: Exception) -> str:
    """One line of what went wrong, for a person."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, NasdetError):
        return text
    if isinstance(error, torch.OutOfMemoryError) or "out of memory" in text.lower() or isinstance(error, MemoryError):
        return "out of memory; a smaller batch, input or width would fit"
    return f"{type(error).__name__}: {text[:300]}"
