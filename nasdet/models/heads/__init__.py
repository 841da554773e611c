"""Heads by kind. A new kind is one file, one entry here and its specification in `space.heads`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nasdet.models.heads.base import Candidates, Detections, HeadModule, Targets
from nasdet.models.heads.fcos import FcosHead
from nasdet.models.heads.rcnn import RcnnHead
from nasdet.models.heads.retinanet import RetinaNetHead
from nasdet.models.heads.ssd import SsdHead
from nasdet.models.heads.task_aligned import TaskAlignedHead
from nasdet.models.layers import Layers

Head = Callable[[Sequence[int], Sequence[int], Any, Layers], HeadModule]
HEADS: dict[str, Head] = {
    "tal": TaskAlignedHead,
    "ssd": SsdHead,
    "retinanet": RetinaNetHead,
    "fcos": FcosHead,
    "rcnn": RcnnHead,
}
"""Kind -> function (channels of the levels, their strides, specification of that kind, layers) -> module."""

__all__ = ["HEADS", "Candidates", "Detections", "Head", "HeadModule", "Targets"]
