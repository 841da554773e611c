"""What the workers of one training tell each other. One decision: they exchange failures at step boundaries by a small
all-reduce, because a rank that raises alone leaves the others hanging in the next collective."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

import torch
import torch.distributed as dist

from nasdet.data import UnreadableImage
from nasdet.errors import NasdetError, StorageFault, TrialFailure
from nasdet.log import in_short, traceback_of

T = TypeVar("T")


STORAGE_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE, errno.ENODEV)
"""Errors of a disk that is full, read-only or gone."""


NO_LOADER = ("DataLoader worker", "DataLoader timed out")
"""What PyTorch says of them."""
NO_MEMORY = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "cannot allocate memory",
    "bad_alloc",
    "could not create a primitive",
)
"""What allocators say; oneDNN, which has no room for a convolution, the last."""


class _Failure(NamedTuple):
    """Why a rank cannot go on."""

    reason: str
    traceback: str
    is_storage: bool
    """Whether files cannot be read or written, which is not the candidate's fault."""


class Ranks:
    """The workers of a training; also valid, and free, for a single process without `torch.distributed`."""

    def __init__(self, device: torch.device) -> None:
        active = dist.is_available() and dist.is_initialized()
        self.world = dist.get_world_size() if active else 1
        self.rank = dist.get_rank() if active else 0
        self.device = device
        self._failure: _Failure | None = None
        # Objects and flags travel over gloo even where gradients travel over NCCL: a NCCL collective would first wait
        # for everything that is queued on the GPU.
        separate = self.world > 1 and device.type == "cuda" and dist.get_backend() != "gloo"
        self._objects: Any = dist.new_group(backend="gloo") if separate else None

    def add_failure(self, reason: str, error: Exception | None = None) -> None:
        """Note a failure of this rank, and what it came from, for the next `raise_failures`; the first one counts."""
        self._failure = self._failure or _Failure(
            reason, traceback_of(error) if error else "", error is not None and is_storage_fault(error)
        )

    def raise_failures(self) -> None:
        """Raise `TrialFailure`, or `StorageFault`, on every rank if any rank has failed, with all reasons, and all
        tracebacks as notes.

        All ranks call this at the same point of their work, so none of them is in another collective meanwhile.
        """
        failures = [self._failure]
        self._failure = None
        if self.world > 1:
            # Nearly always nobody has failed: one number is reduced, and objects are gathered only after a failure.
            flag = torch.tensor([float(failures[0] is not None)])
            dist.all_reduce(flag, group=self._objects)
            if not flag.item():
                return
            failures = self.gather(failures[0])
        found = [failure for failure in failures if failure is not None]
        if not found:
            return
        kind = StorageFault if any(failure.is_storage for failure in found) else TrialFailure
        error = kind("; ".join(dict.fromkeys(failure.reason for failure in found)))
        for rank, failure in enumerate(failures):
            if failure is not None and failure.traceback:
                error.add_note(f"on worker {rank}: {failure.traceback}")
        raise error

    @contextlib.contextmanager
    def failing_together(self) -> Iterator[None]:
        """Raise `TrialFailure` on every rank if the block, which must not communicate, fails on any."""
        try:
            yield
        except Exception as error:
            self.add_failure(explain(error), error)
        self.raise_failures()

    def iterate(self, items: Iterable[T]) -> Iterator[T]:
        """Iterate over `items` of this rank; if making one fails on any rank, all ranks raise `TrialFailure`. Only the
        death of a process that makes them is raised on this rank alone."""
        iterator = iter(items)
        while True:
            item, end = None, False
            try:
                item = next(iterator)
            except StopIteration:
                end = True
            except Exception as error:
                if is_lost_loader(error):
                    raise
                self.add_failure(f"worker {self.rank}: {explain(error)}", error)
            self.raise_failures()
            if end:
                return
            yield item  # type: ignore[misc]

    def gather(self, value: T) -> list[T]:
        """The value of every rank, on every rank."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        dist.all_gather_object(values, value, group=self._objects)
        return values

    def broadcast(self, value: T) -> T:
        """Rank 0's value."""
        if self.world == 1:
            return value
        box: list[Any] = [value]
        dist.broadcast_object_list(box, 0, group=self._objects)
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
    text = " ".join(str(error).split())
    if isinstance(error, NasdetError):
        return text or type(error).__name__
    if is_out_of_memory(error):
        return "out of memory; a smaller batch, input or width would fit"
    return in_short(error)


def is_lost_loader(error: Exception) -> bool:
    """Whether a process that prepares batches was killed, or hangs."""
    return isinstance(error, RuntimeError) and any(words in str(error) for words in NO_LOADER)


def is_storage_fault(error: Exception) -> bool:
    """Whether a disk is full, read-only or gone, or an image of the data set is."""
    return isinstance(error, StorageFault | UnreadableImage) or (
        isinstance(error, OSError) and error.errno in STORAGE_FAULTS
    )


def is_out_of_memory(error: Exception) -> bool:
    """Whether the memory of the device or of the process did not suffice."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    text = str(error).lower()  # of an allocator, or of another worker
    return any(words in text for words in NO_MEMORY)
