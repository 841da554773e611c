"""How Ray Train starts a worker group, and the file that knows Ray Train's private modules. Two decisions: the workers
make their process group themselves, after their imports, so that neither the trial's actor nor Ray Train's controller
imports torch; and the controller runs in the calling actor, without the helper actors for data sets, autoscaling and
preemption, because every further Ray process imports for seconds before the workers do (figures in docs/figures.md).

Where a release of Ray has moved the private modules, the public `DataParallelTrainer` does the same more slowly.
"""

from __future__ import annotations

import asyncio
import datetime
import os
import socket
from dataclasses import dataclass
from typing import Any

import ray
from ray.train.backend import Backend, BackendConfig

from nasdet.log import logger
from nasdet.trainers.network import interface_of

TIMEOUT_SECONDS = 1800
"""A collective that takes longer fails, and with it the group."""


@dataclass
class RendezvousConfig(BackendConfig):
    """Ray Train backend that only sets MASTER_ADDR and MASTER_PORT on every worker."""

    @property
    def backend_cls(self) -> type[Backend]:
        """The backend of this configuration."""
        return _Rendezvous


class _Rendezvous(Backend):
    def on_start(self, worker_group: Any, backend_config: BackendConfig) -> None:
        """Rank 0 chooses an address, and all workers get it; again after every restart of the group."""
        address, port = worker_group.execute_single(0, _free_address)
        worker_group.execute(_set_address, address, port)


def join(rank: int, world: int, device: str) -> None:
    """Make the process group of this worker: NCCL between GPUs, gloo between CPUs; nothing to do for one worker."""
    if world == 1:
        return
    import torch.distributed as dist

    backend = "nccl" if device == "cuda" else "gloo"
    dist.init_process_group(backend, rank=rank, world_size=world, timeout=datetime.timedelta(seconds=TIMEOUT_SECONDS))


def _free_address() -> tuple[str, int]:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return ray.util.get_node_ip_address(), int(probe.getsockname()[1])


def _set_address(address: str, port: int) -> None:
    os.environ.update(MASTER_ADDR=address, MASTER_PORT=str(port))
    # Left alone, gloo takes the address that the host name stands for, which Debian's /etc/hosts makes 127.0.1.1.
    if interface := interface_of(ray.util.get_node_ip_address()):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)


def trainer_class() -> type[Any]:
    """Ray Train's trainer for worker groups: the lean one where this release of Ray allows it."""
    try:
        return lean_trainer()
    except (ImportError, AttributeError) as error:
        from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

        logger.warning("Ray %s has no %s: worker groups start more slowly", ray.__version__, error)
        return DataParallelTrainer  # type: ignore[no-any-return]


def has_lean_trainer() -> bool:
    """Whether this release of Ray allows it."""
    try:
        lean_trainer()
    except (ImportError, AttributeError):
        return False
    return True


def lean_trainer() -> type[Any]:
    """`DataParallelTrainer` without what a worker group does not use; see the head of this file.

    Called in an actor whose placement group has a bundle for itself and one for each worker, it puts the workers there.
    One of its own would outlive the actor: Ray removes it only with the job.

    Raises:
        ImportError: this release of Ray has changed the private modules.
    """
    from ray.train.v2._internal.callbacks.datasets import DatasetsCallback
    from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
    from ray.train.v2._internal.constants import ENABLE_PREEMPTION_WATCHER_ENV_VAR, get_env_vars_to_propagate
    from ray.train.v2._internal.execution.controller import TrainController
    from ray.train.v2._internal.execution.scaling_policy import FixedScalingPolicy
    from ray.train.v2._internal.execution.worker_group import WorkerGroup
    from ray.train.v2._internal.execution.worker_group.placement_group_handle import DefaultPlacementGroupHandle
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

    overridden = {
        DataParallelTrainer: ("_create_default_callbacks", "_initialize_and_run_controller"),
        FixedScalingPolicy: ("after_controller_start", "_maybe_send_resource_request", "_cancel_resource_request"),
        TrainController: ("worker_group_cls",),
        WorkerGroup: ("_create_placement_group", "_create_workers"),
    }
    for owner, names in overridden.items():
        for name in names:
            if not hasattr(owner, name):
                raise ImportError(f"{owner.__name__}.{name}")

    class FixedGroup(FixedScalingPolicy):
        """Asks no autoscaling coordinator: the pending placement group tells an autoscaler the same."""

        def after_controller_start(self, train_run_context: Any) -> None:
            """Nothing to register."""

        def _maybe_send_resource_request(self) -> None:
            """Nothing to refresh."""

        def _cancel_resource_request(self) -> None:
            """Nothing to cancel."""

    class Kept(DefaultPlacementGroupHandle):
        """A placement group that belongs to somebody else."""

        def shutdown(self) -> None:
            """Leave it."""

    class GroupInPlace(WorkerGroup):
        """Puts the workers behind the actor, into its placement group."""

        def _create_placement_group(self, *arguments: Any) -> Any:
            return Kept(ray.util.get_current_placement_group())

        def _create_workers(self, num_workers: int, *arguments: Any, **options: Any) -> Any:
            options["placement_group_bundle_indices"] = list(range(1, num_workers + 1))
            return super()._create_workers(num_workers, *arguments, **options)

    class ControllerInPlace(TrainController):
        worker_group_cls = GroupInPlace

    class LeanTrainer(DataParallelTrainer):
        def _create_default_callbacks(self) -> list[Any]:
            unused = (DatasetsCallback, PlacementGroupCleanerCallback)
            return [c for c in super()._create_default_callbacks() if not isinstance(c, unused)]

        def _initialize_and_run_controller(self, **arguments: Any) -> Any:
            arguments["scaling_policy"] = FixedGroup(self.scaling_config)
            if ray.get_runtime_context().get_actor_id() is None:  # the controller must be or be in an actor
                options = {"num_cpus": 0, "runtime_env": {"env_vars": get_env_vars_to_propagate()}}
                actor = ray.remote(**options)(TrainController).remote(**arguments)
                run = actor.run.remote()
                # Ray's own version waits without end, and a thread in such a call cannot be ended by Ctrl-C.
                while not ray.wait([run], timeout=0.5)[0]:
                    pass
                ray.get(run)
                return ray.get(actor.get_result.remote())
            os.environ[ENABLE_PREEMPTION_WATCHER_ENV_VAR] = "0"  # of this actor's process
            place = ray.util.get_current_placement_group()
            is_whole = place is not None and place.bundle_count == self.scaling_config.num_workers + 1
            controller = (ControllerInPlace if is_whole else TrainController)(**arguments)
            asyncio.run(controller.run())
            return controller.get_result()

    return LeanTrainer
