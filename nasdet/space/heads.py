"""What a head is, kind by kind. One decision: the number of classes is the only field that all heads share, because the
data set decides it; everything else belongs to one kind."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from nasdet.space.base import Positive, Probability, Spec, by_kind


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


class SsdSpec(ClassesSpec):
    """SSD's multibox (Liu et al. 2016): a softmax and a box for every default box of every level.

    The default boxes of a level have one scale, except a second square between this scale and the next one.
    """

    kind: Literal["ssd"] = "ssd"
    first_scale: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Scale of the first level's default boxes, a share of the canvas."""
    min_scale: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Scale of the second level's default boxes."""
    max_scale: Annotated[float, Field(gt=0, le=2)] = 0.9
    """Scale that the levels from the second one rise to in equal steps of whole percents."""
    aspect_ratios: tuple[tuple[Annotated[float, Field(gt=1)], ...], ...] = ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,))
    """Width over height of the default boxes of each level beside the two squares, each also upright: 2 gives 4 boxes
    per cell, 2 and 3 give 6. Levels beyond the last entry are like it."""
    kernel: Literal[1, 3] = 3
    """Of the convolutions that predict."""
    predict_norm: bool = False
    """Whether these convolutions have a norm instead of a bias (DSOD, ScratchDet)."""
    l2_norm: Literal["none", "first", "all"] = "none"
    """Levels whose cells are scaled to a length that is learnt per channel and starts at 20 (ParseNet): SSD's first
    one, all of DSOD's."""
    match_iou: Probability = 0.5
    """A default box with this IoU to an object learns it; so does the best one of every object."""
    negatives: Annotated[float, Field(gt=0)] = 3.0
    """Hardest negatives that count per positive of their image."""
    variances: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = (0.1, 0.2)
    """What offsets of a box's centre, relative to its default box, and logarithms of its size are divided by."""

    @field_validator("aspect_ratios")
    @classmethod
    def _some(cls, ratios: tuple[tuple[float, ...], ...]) -> tuple[tuple[float, ...], ...]:
        if not ratios:
            raise ValueError("aspect_ratios needs an entry for at least one level")
        return ratios


HEAD_SPECS: tuple[type[Spec], ...] = (TaskAlignedSpec, SsdSpec)
"""All kinds of heads."""

HeadSpec = Annotated[TaskAlignedSpec | SsdSpec, Field(discriminator="kind"), by_kind("head", HEAD_SPECS)]
"""A head of any kind; without `kind` a task-aligned one."""
