"""What a head is, kind by kind. One decision: the number of classes is the only field that all heads share, because the
data set decides it; everything else belongs to one kind."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from nasdet.space.base import Positive, Spec, by_kind


class ClassesSpec(Spec):
    """Base of all heads."""

    classes: Positive = 10
    """Number of classes."""


class TaskAlignedSpec(ClassesSpec):
    """The project's one-stage head: classification and box towers over every level, task-aligned assignment."""

    kind: Literal["tal"] = "tal"
    width: Positive = 64
    """Channels of the towers."""
    depth: Annotated[int, Field(ge=0, le=8)] = 2
    """3x3 convolutions per tower."""
    shared: bool = True
    """Whether the levels share the tower's convolutions; norms are always per level."""
    bins: Annotated[int, Field(ge=1, le=32)] = 16
    """Bins per box side of distribution focal loss, each one stride wide; 1: the distance is regressed directly."""


HEAD_SPECS: tuple[type[Spec], ...] = (TaskAlignedSpec,)
"""All kinds of heads."""

HeadSpec = Annotated[TaskAlignedSpec, by_kind("head", HEAD_SPECS)]
"""A head of any kind; without `kind` a task-aligned one."""
