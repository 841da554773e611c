"""Ray Train's data-parallel trainer without what a worker group does not use. One decision: its controller runs in the
calling actor, and the helper actors for Ray datasets, autoscaling and preemption are not started, because every
further Ray process imports for seconds before the workers do (figures in docs/figures.md)."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import ray
from ray.train import Result
from ray.train.v2._internal.callbacks.datasets import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.constants import ENABLE_PREEMPTION_WATCHER_ENV_VAR
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2._internal.execution.scaling_policy import FixedScalingPolicy
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer


class LeanTrainer(DataParallelTrainer):
    """See the head of this file. Its placement group ends with the process that called `fit`, as Ray defines it."""

    def _create_default_callbacks(self) -> list[Any]:
        unused = (DatasetsCallback, PlacementGroupCleanerCallback)
        return [c for c in super()._create_default_callbacks() if not isinstance(c, unused)]

    def _initialize_and_run_controller(self, **arguments: Any) -> Result:
        os.environ[ENABLE_PREEMPTION_WATCHER_ENV_VAR] = "0"
        arguments["scaling_policy"] = _FixedGroup(self.scaling_config)
        if ray.get_runtime_context().get_actor_id() is None:  # the controller must be or be in an actor
            return super()._initialize_and_run_controller(**arguments)
        controller = TrainController(**arguments)
        asyncio.run(controller.run())
        return controller.get_result()


class _FixedGroup(FixedScalingPolicy):
    """Asks no autoscaling coordinator: the pending placement group tells an autoscaler the same."""

    def after_controller_start(self, train_run_context: Any) -> None:
        """Nothing to register."""

    def _maybe_send_resource_request(self) -> None:
        """Nothing to refresh."""

    def _cancel_resource_request(self) -> None:
        """Nothing to cancel."""
