"""`nasdet train`: one architecture, in full. One decision: one worker trains in this process, several in the same Ray
Train group as the search, and both run the same job."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

import torch

from nasdet.data import Dataset, default_cache_root, no_masks
from nasdet.driver.planner import resolve
from nasdet.driver.ray_address import ray_address, say_address
from nasdet.driver.redirect_output import study_output
from nasdet.driver.resources import Node, Plan, this_machine
from nasdet.driver.study.candidates import not_split
from nasdet.driver.training.request import Source, TrainingOptions, TrainingRequest, new_request, resumed_request
from nasdet.driver.training.thread_count import thread_count
from nasdet.errors import InputError, NasdetError
from nasdet.export.bundle import writing
from nasdet.log import LOG, log_to, logger
from nasdet.models import build_detector
from nasdet.models.pretrained import InitReport
from nasdet.space.rules import statistic_problem
from nasdet.space.schema import Resources
from nasdet.space.specs import DetectorSpec, Recipe
from nasdet.torch_settings import freed_memory_kept, torch_threads
from nasdet.trainers.driver_link import Link
from nasdet.trainers.full_training import FullJob, History
from nasdet.trainers.messages import FINAL, GroupConfig, Reply

INIT = "init.json"
"""In OUT/training: which tensors of a checkpoint the training started from, and which not."""
FAILURES = tuple(kind for kind in FINAL if kind != "rung")
"""Replies that end a training without a result."""
MAX_STARTS = 4
"""How often the workers of one training are started."""
SILENCE = 900.0
"""Seconds without progress after which a training of several workers is given up."""
SECONDS_TO_STOP = 10.0
"""How long workers that are done may take to end."""
Report = Callable[[Reply, TextIO], None]
"""Takes each reply of the training, and the user's terminal: stderr itself belongs to a log while Ray runs."""


def _wants_masks(spec: DetectorSpec) -> bool:
    with torch.device("meta"):
        return build_detector(spec).wants_masks


def train_detector(
    source: Source,
    dataset: Dataset,
    out: Path,
    options: TrainingOptions,
    *,
    resume: bool,
    report: Report,
    on_init: Callable[[InitReport], None] = lambda loaded: None,
    redirect: bool = True,
) -> dict[str, Any]:
    """Train in full and leave a bundle of the best weights in `out`.

    Args:
        source: the architecture, and its recipe unless `options` names one.
        dataset: what to train on.
        out: folder of the bundle.
        options: what else was asked.
        resume: go on with what is in `out`.
        report: takes the replies of the training.
        on_init: called before the training with what was loaded from a checkpoint, if anything.
        redirect: whether file descriptors 1 and 2 lead to a log file while several workers train; see `Display`.

    Returns:
        Figures of the best weights on the validation split, `epoch`, `epochs`, `seconds`; `init`: the list of what was
        loaded, None from random initialisation.

    Raises:
        InputError: `out` is taken or cannot be written, there is nothing to resume, or not with these options.
        NasdetError: the training failed.
    """
    out = out.absolute()
    asked = source, dataset, out, options
    request, loaded = (resumed_request(*asked), None) if resume else new_request(*asked)
    recipe = Recipe.model_validate(request.job.recipe)
    if reason := not_split(recipe, request.workers):
        raise InputError(reason, where="--workers", remedy="use a divisor of the batch size")
    if reason := statistic_problem(source.spec, recipe, request.workers):
        raise InputError(reason, where="recipe.images_per_statistic")
    if not dataset.info.masks and _wants_masks(source.spec):
        raise no_masks(dataset.info)
    plan = None if ray_address(request.address) else _plan(request, [this_machine()])
    here = plan if request.workers == 1 else None
    if here is not None:
        here = _with_threads(here, request)
        request = dataclasses.replace(request, threads=here.threads)
    request.write()
    if not resume:
        _keep(loaded, request.job.folder / INIT)
    if loaded is not None:
        on_init(loaded)
    if here is not None:
        _train_here(request.job, _group(dataset, request, here), report)
    else:
        _train_on_ray(request, dataset, report, redirect)
    history = History.read(request.job.folder)
    init = request.job.folder / INIT
    return {
        **history.best,
        "epochs": len(history.epochs),
        "seconds": history.seconds,
        "init": json.loads(init.read_text()) if init.exists() else None,
    }


def _keep(loaded: InitReport | None, path: Path) -> None:
    """Store what was loaded beside the training, in place of what an unbegun one left."""
    path.unlink(missing_ok=True)
    if loaded is not None:
        with writing(path):
            path.write_text(json.dumps(loaded.to_json(), indent=1))


def _plan(request: TrainingRequest, nodes: Sequence[Node]) -> Plan:
    return resolve(Resources(workers=request.workers, concurrent=1), nodes)


def _with_threads(plan: Plan, request: TrainingRequest) -> Plan:
    """The plan with the threads that the training has begun with, as far as there are cores, or that pay."""
    if request.threads is not None or plan.device != "cpu":
        return dataclasses.replace(plan, threads=min(request.threads or plan.threads, plan.threads))
    spec = DetectorSpec.model_validate(request.job.spec)
    return dataclasses.replace(plan, threads=thread_count(spec, plan.threads))


def _group(dataset: Dataset, request: TrainingRequest, plan: Plan) -> GroupConfig:
    return GroupConfig(
        source=dataset.info.source,
        data_seed=request.job.card["data_seed"],
        max_bad=1.0,  # the data set was checked when it was opened
        device=plan.device,
        threads=plan.threads,
        latency_device=plan.device,
        latency_batch=1,
        latency_threads=plan.threads,
        cache_root=str(default_cache_root().absolute()),
        tiling=dataset.info.tiling,
    )


def _train_here(job: FullJob, group: GroupConfig, report: Report) -> None:
    from nasdet.trainers.worker import Runner

    failed: list[Reply] = []

    def emit(reply: Reply) -> None:
        failed.append(reply) if reply.kind in FAILURES else report(reply, sys.stderr)

    with log_to(job.folder / LOG), torch_threads(group.threads), freed_memory_kept():
        Runner(group, torch.device(group.device), Link(emit)).run(job)
        if failed:
            logger.error("the training failed: %s\n%s", failed[0].reason, failed[0].traceback)
            raise NasdetError(f"the training failed: {failed[0].reason}")


def _train_on_ray(request: TrainingRequest, dataset: Dataset, report: Report, redirect: bool) -> None:
    from nasdet.driver.ray_cluster import ray_cluster

    log, storage = request.job.folder / LOG, request.job.folder / "ray"
    with study_output(log, None, redirect=redirect) as stream, ray_cluster(request.address) as nodes:
        import ray

        from nasdet.driver.ray_thread import RayThread
        from nasdet.trainers.job_server import JobServer
        from nasdet.trainers.worker_group import GroupRequest, run_group

        if ray_address(request.address) is not None:
            print(say_address(request.address), file=stream)
        plan = _plan(request, nodes)
        server = JobServer(ray.util.get_node_ip_address())
        group = GroupRequest(
            _group(dataset, request, plan), plan.workers, plan.worker_resources, str(storage), server.ticket("training")
        )
        thread = RayThread(target=run_group, args=(group,), name="worker-group")
        thread.start()
        try:
            follow(server, thread, request.job, lambda reply: report(reply, stream))
            thread.join(SECONDS_TO_STOP)
        finally:
            server.close()
            shutil.rmtree(storage, ignore_errors=True)


def follow(server: Any, group: threading.Thread, job: FullJob, report: Callable[[Reply], None]) -> None:
    """Give the job to the group and pass replies on until the training ends; after a crash of a worker it goes on from
    the last checkpoint.

    Args:
        server: where the group connects, a `JobServer`.
        group: runs the group.
        job: the training.
        report: takes the replies about it.

    Raises:
        NasdetError: the training failed, or its workers cannot start or died four times.
    """
    from nasdet.trainers.driver_link import STOP
    from nasdet.trainers.job_server import send

    starts, heard = 0, time.monotonic()
    while True:
        event = server.receive(1.0)
        if event is None or event.reply is None:
            if not group.is_alive():
                raise NasdetError("the training's workers ended; see training/log.txt")
            if starts and time.monotonic() - heard > SILENCE:
                again = "its last epoch is kept, and --resume goes on"
                raise NasdetError(f"the training made no progress for {SILENCE:g} s; {again}")
            continue
        reply = event.reply
        heard = time.monotonic() + reply.seconds if reply.kind == "alive" else time.monotonic()
        if reply.kind == "up":
            starts += 1
            if starts > MAX_STARTS:
                raise NasdetError(f"the training's workers died {MAX_STARTS} times; see training/log.txt")
            send(event.connection, job)
        elif reply.kind == "lost":
            logger.warning("workers are started again: %s\n%s", reply.reason, reply.traceback)
        elif reply.kind in ("epoch", "rung"):
            report(reply)
            if reply.kind == "rung":
                send(event.connection, STOP)
                return
        elif reply.kind in FINAL:
            logger.error("the training failed: %s\n%s", reply.reason, reply.traceback)
            raise NasdetError(f"the training failed: {reply.reason}")
