"""Ray Train's data-parallel trainer without what a worker group does not use. One decision: no detached actor that
cleans placement groups up (starting it holds the workers back by seconds, and Ray removes them with the job anyway)."""

from __future__ import annotations

from typing import Any

from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer


class LeanTrainer(DataParallelTrainer):
    """See the head of this file."""

    def _create_default_callbacks(self) -> list[Any]:
        callbacks: list[Any] = super()._create_default_callbacks()
        return [c for c in callbacks if not isinstance(c, PlacementGroupCleanerCallback)]
