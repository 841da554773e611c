"""`nasdet train`: one architecture, in full. One decision: one worker trains in this process, several in the same Ray
Train group as the search, and both run the same job."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import torch

from nasdet.data import Dataset, default_cache_root, no_masks
from nasdet.driver.redirect_output import quiet
from nasdet.driver.resources import Plan, cpu_count, resolve
from nasdet.driver.study.candidates import not_split
from nasdet.driver.training.request import Options, Order, Source, new_order, resumed_order
from nasdet.errors import InputError, NasdetError
from nasdet.export.bundle import writing
from nasdet.models import build_detector
from nasdet.models.pretrained import InitReport
from nasdet.space.rules import statistic_problem
from nasdet.space.schema import Resources
from nasdet.space.specs import DetectorSpec, Recipe
from nasdet.trainers.full_training import FullJob, History
from nasdet.trainers.messages import GroupConfig, Reply

INIT = "init.json"
"""In OUT/training: which tensors of a checkpoint the training started from, and which not."""
Report = Callable[[Reply, TextIO], None]
"""Takes each reply of the training, and the user's terminal: stderr itself belongs to a log while Ray runs."""


def _wants_masks(spec: DetectorSpec) -> bool:
    with torch.device("meta"):
        return build_detector(spec).wants_masks


def train_detector(
    source: Source,
    dataset: Dataset,
    out: Path,
    options: Options,
    *,
    resume: bool,
    report: Report,
    on_init: Callable[[InitReport], None] = lambda loaded: None,
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

    Returns:
        Figures of the best weights on the validation split, `epoch`, `epochs`, `seconds`; `init`: the list of what was
        loaded, None from random initialisation.

    Raises:
        InputError: `out` is taken or cannot be written, there is nothing to resume, or not with these options.
        NasdetError: the training failed.
    """
    out = out.absolute()
    asked = source, dataset, out, options
    order, loaded = (resumed_order(*asked), None) if resume else new_order(*asked)
    recipe = Recipe.model_validate(order.job.recipe)
    if reason := not_split(recipe, order.workers):
        raise InputError(reason, where="--workers", remedy="use a divisor of the batch size")
    if reason := statistic_problem(source.spec, recipe, order.workers):
        raise InputError(reason, where="recipe.images_per_statistic")
    if not dataset.info.masks and _wants_masks(source.spec):
        raise no_masks(dataset.info)
    plan = None if order.address else _plan(order, cpu_count(), torch.cuda.device_count())
    order.write()
    if not resume:
        _keep(loaded, order.job.folder / INIT)
    if loaded is not None:
        on_init(loaded)
    if plan is not None and order.workers == 1:
        _train_here(order.job, _group(dataset, order, plan), report)
    else:
        _train_on_ray(order, dataset, report)
    history = History.read(order.job.folder)
    init = order.job.folder / INIT
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


def _plan(order: Order, cpus: int, gpus: int) -> Plan:
    return resolve(Resources(workers=order.workers, concurrent=1), cpus=cpus, gpus=gpus)


def _group(dataset: Dataset, order: Order, plan: Plan) -> GroupConfig:
    return GroupConfig(
        source=dataset.info.source,
        data_seed=order.job.card["data_seed"],
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

    failures: list[str] = []

    def emit(reply: Reply) -> None:
        failures.append(reply.reason) if reply.kind == "failed" else report(reply, sys.stderr)

    Runner(group, torch.device(group.device), emit).run(job)
    if failures:
        raise NasdetError(f"the training failed: {failures[0]}")


def _train_on_ray(order: Order, dataset: Dataset, report: Report) -> None:
    from nasdet.driver.ray_cluster import connect, disconnect

    log, storage = order.job.folder / "log.txt", order.job.folder / "ray"
    with quiet(log) as terminal:
        plan = _plan(order, *connect(order.address))
        try:
            from nasdet.trainers.worker_group import WorkerGroup

            group = _group(dataset, order, plan)
            handle = WorkerGroup(group, workers=order.workers, resources=plan.worker_resources, storage=str(storage))
            handle.submit(order.job)
            _follow(handle, order.job, lambda reply: report(reply, terminal))
            handle.close()
        except RuntimeError as error:
            raise NasdetError(f"{error} (see {log})") from error
        finally:
            disconnect()
            shutil.rmtree(storage, ignore_errors=True)


def _follow(handle: Any, job: FullJob, report: Callable[[Reply], None]) -> None:
    """Pass replies on until the training ends; after a crash of a worker it goes on from the last checkpoint."""
    restarts = 0
    while True:
        reply = handle.receive()
        if reply.kind == "up":
            restarts += 1
            if restarts > 3:
                raise NasdetError("the training's workers died four times; see training/log.txt")
            handle.submit(job)
        elif reply.kind == "failed":
            raise NasdetError(f"the training failed: {reply.reason}")
        else:
            report(reply)
            if reply.kind == "rung":
                return
