"""`nasdet train`: one architecture, in full. One decision: what a training was asked is settled, checked and stored as
OUT/training/job.json before it starts, so that a resume needs no option; one worker trains in this process, several in
the same Ray Train group as the search, and both run the same job."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import torch
from pydantic import ValidationError

from nasdet.data import Dataset, default_cache_root, no_masks
from nasdet.driver.candidates import not_split, with_located_init
from nasdet.driver.plan import Plan, cpu_count, resolve
from nasdet.driver.quiet import quiet
from nasdet.errors import InputError, NasdetError, nearest
from nasdet.export import read_bundle
from nasdet.export.bundle import JOB, LAST, TILE, TRAINING, check_free, tile_card, writing
from nasdet.models import build_detector
from nasdet.models.pretrained import RANDOM, InitReport, load_weights
from nasdet.space.paths import key_of, message_of
from nasdet.space.presets import SYSTEMS
from nasdet.space.recipes import NamedRecipe, load_recipe
from nasdet.space.rules import statistic_problem
from nasdet.space.schema import Resources
from nasdet.space.specs import DetectorSpec, Recipe
from nasdet.trainers.full import FullJob, History
from nasdet.trainers.job import GroupConfig, Reply

DEFAULT_EPOCHS = 72
"""A 6x schedule: what Rethinking ImageNet Pre-training needed to catch up with fine-tuning."""
INIT = "init.json"
"""In OUT/training: which tensors of a checkpoint the training started from, and which not."""
UNLIMITED = 10_000
"""Epochs of a training under a time limit, until the first one shows how many fit."""
Report = Callable[[Reply, TextIO], None]
"""Takes each reply of the training, and the user's terminal: stderr itself belongs to a log while Ray runs."""


@dataclasses.dataclass(frozen=True)
class Options:
    """What a person asks of a training; None: the default, or on resume what it was started with."""

    epochs: int | None = None
    time_limit: float | None = None
    """Seconds, of all runs of the training together."""
    workers: int | None = None
    seed: int | None = None
    address: str | None = None
    """Ray cluster; None: this machine."""
    recipe: NamedRecipe | None = None
    """Replaces the source's; None: the source's, or on resume what was named then."""
    init: str | None = None
    """Replaces the recipe's `init`; None: as the recipe says, or on resume as then."""


@dataclasses.dataclass(frozen=True)
class Order:
    """What a training was asked, everything settled; kept beside its checkpoint."""

    job: FullJob
    workers: int
    address: str | None
    data: str
    """Fingerprint of the data set."""
    recipe: str = ""
    """Name of the recipe that replaced the source's; empty: none did."""

    def write(self) -> None:
        """Store atomically."""
        folder = self.job.folder
        part = folder / f"{JOB}.part"
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps(dataclasses.asdict(self), indent=1))
            part.replace(folder / JOB)

    @classmethod
    def read(cls, out: Path) -> Order:
        """The one in `out`, which may have been moved. Raises InputError: it is missing or damaged."""
        path = out / TRAINING / JOB
        try:
            values = json.loads(path.read_text())
            return cls(**{**values, "job": FullJob(**{**values["job"], "out": str(out)})})
        except (OSError, ValueError, TypeError, KeyError) as error:
            remedy = "start again in another folder"
            raise InputError(f"missing or damaged ({type(error).__name__})", where=str(path), remedy=remedy) from None


@dataclasses.dataclass(frozen=True)
class Source:
    """An architecture and recipe with what is known of their origin."""

    spec: DetectorSpec
    recipe: Recipe
    card: dict[str, Any]
    named: NamedRecipe | None = None
    """The recipe that a system of the literature was published with; trained with unless another one is asked for."""


def read_source(path: Path) -> Source:
    """A bundle folder, a spec.json with a recipe.json beside it or not, or the name of a system.

    Raises:
        InputError: it is none of them.
    """
    if not path.exists() and str(path) in SYSTEMS:
        system = SYSTEMS[str(path)]
        return Source(system.spec, Recipe(), {"system": system.name}, load_recipe(system.recipe))
    if path.is_dir():
        bundle = read_bundle(path)
        kept = ("study", "space", "trial", "data", "data_seed", "max_bad", TILE)
        return Source(bundle.spec, bundle.recipe, {k: v for k, v in bundle.metrics.items() if k in kept})
    if not path.is_file():
        known = nearest(str(path), SYSTEMS) if path.name == str(path) else "known: see there"
        raise InputError(
            "no such bundle, specification or system",
            where=str(path),
            remedy=f"give a folder made by nasdet export, a spec.json, or a name of nasdet systems; {known}",
        )
    recipe = path.with_name("recipe.json")
    return Source(_read(path, DetectorSpec), _read(recipe, Recipe) if recipe.is_file() else Recipe(), {})


def adapt(spec: DetectorSpec, dataset: Dataset) -> DetectorSpec:
    """The architecture for this data set: its classes, channels, mean and deviation; everything else stays."""
    info = dataset.info
    image = spec.input.model_copy(update={"channels": info.channels, "mean": info.mean, "std": info.std})
    head = spec.head.model_copy(update={"classes": len(info.classes)})
    return DetectorSpec.model_validate(spec.model_copy(update={"input": image, "head": head}).to_json())


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
    order, loaded = _resumed(source, dataset, out, options) if resume else _new(source, dataset, out, options)
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


def _new(source: Source, dataset: Dataset, out: Path, options: Options) -> tuple[Order, InitReport | None]:
    if (out / TRAINING / LAST).exists():
        raise InputError("holds a training already", where=str(out), remedy="add --resume, or name another --out")
    check_free(out, overwrite=False)
    spec = adapt(source.spec, dataset)
    with torch.device("meta"):
        build_detector(spec)  # names an unknown part before anything is written
    named = options.recipe or source.named
    if named is not None:
        _check_batch(named, dataset.info.splits["train"])
    own = named.epochs if named is not None else None
    epochs = options.epochs or (UNLIMITED if options.time_limit else own or DEFAULT_EPOCHS)
    recipe = _with_init(source.recipe if named is None else named.recipe, options.init)
    origin = {} if named is None else {"recipe": ": ".join(part for part in (named.name, named.source) if part)}
    loaded = None if recipe.init == RANDOM else load_weights(build_detector(spec), recipe.init)
    if loaded is not None:
        origin["init"] = f"weights of {loaded.source} ({loaded.summary})"
    job = FullJob(
        spec=spec.to_json(),
        recipe=recipe.model_copy(update={"epochs": epochs}).to_json(),
        seed=options.seed or 0,
        out=str(out),
        card={"data_seed": 0, **source.card, "data": dataset.info.source, **tile_card(dataset), **origin},
        time_limit=options.time_limit,
    )
    name = named.name if named else ""
    return Order(job, options.workers or 1, options.address, dataset.info.fingerprint, name), loaded


def _with_init(recipe: Recipe, init: str | None) -> Recipe:
    return with_located_init(recipe if init is None else recipe.model_copy(update={"init": init}))


def _keep(loaded: InitReport | None, path: Path) -> None:
    """Store what was loaded beside the training, in place of what an unbegun one left."""
    path.unlink(missing_ok=True)
    if loaded is not None:
        with writing(path):
            path.write_text(json.dumps(loaded.to_json(), indent=1))


def _check_batch(named: NamedRecipe, images: int) -> None:
    batch = named.recipe.batch_size
    if batch > images:
        what = f"the recipe's batch of {batch} is larger than the training split of {images} images"
        remedy = f"give a YAML with 'extends: {named.name}' and 'recipe: {{batch_size: N}}'; the learning rate follows"
        raise InputError(what, where=f"--recipe {named.name}", remedy=remedy)


def _resumed(source: Source, dataset: Dataset, out: Path, options: Options) -> tuple[Order, None]:
    if not (out / TRAINING / LAST).exists():
        raise InputError("nothing to resume here", where=str(out), remedy="leave --resume out to start")
    history, order = History.read(out / TRAINING), Order.read(out)
    job = order.job
    if dataset.info.fingerprint != order.data:
        what = "other images, boxes, classes or splits than the training was started with"
        raise InputError(what, where=dataset.info.source, remedy="give --data as then")
    started = Recipe.model_validate(job.recipe)
    recipe = started if order.recipe else source.recipe
    if options.recipe is not None:
        recipe = options.recipe.recipe
    if options.init is not None and _with_init(started, options.init).init != started.init:
        raise InputError(f"the training was started from {started.init}", where="--init", remedy="leave it out")
    kept = {"epochs": started.epochs, "init": started.init}
    given = (adapt(source.spec, dataset), recipe.model_copy(update=kept))
    if given != (DetectorSpec.model_validate(job.spec), started):
        what = "the training in it was started with another architecture or recipe"
        raise InputError(what, where=str(out), remedy="give the same SPEC or BUNDLE, and --recipe if any, as then")
    if options.seed not in (None, job.seed):
        raise InputError(f"the training was started with seed {job.seed}", where="--seed", remedy="leave it out")
    length = _new_length(job, options, history)
    changed = dataclasses.replace(
        order,
        job=dataclasses.replace(job, **length),
        workers=options.workers or order.workers,
        address=options.address or order.address,
    )
    return changed, None


def _new_length(job: FullJob, options: Options, history: History) -> dict[str, Any]:
    """What changes in the job when it is asked for another length; beyond what is done already."""
    epochs, limit, done = options.epochs, options.time_limit, len(history.epochs)
    if (epochs is None and limit is None) or (epochs or UNLIMITED, limit) == (job.recipe["epochs"], job.time_limit):
        return {}
    if epochs is not None and epochs <= done:
        raise InputError(f"{done} epochs are done already", where="--epochs", remedy="give more, or leave it out")
    if limit is not None and limit <= history.seconds:
        what = f"the training has taken {history.seconds:.0f} s already"
        raise InputError(what, where="--time-limit", remedy="give more, or leave it out")
    return {"recipe": {**job.recipe, "epochs": epochs or UNLIMITED}, "time_limit": limit}


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
    from nasdet.trainers.runner import Runner

    failures: list[str] = []

    def emit(reply: Reply) -> None:
        failures.append(reply.reason) if reply.kind == "failed" else report(reply, sys.stderr)

    Runner(group, torch.device(group.device), emit).run(job)
    if failures:
        raise NasdetError(f"the training failed: {failures[0]}")


def _train_on_ray(order: Order, dataset: Dataset, report: Report) -> None:
    from nasdet.driver.cluster import connect, disconnect

    log, storage = order.job.folder / "log.txt", order.job.folder / "ray"
    with quiet(log) as terminal:
        plan = _plan(order, *connect(order.address))
        try:
            from nasdet.trainers.group import WorkerGroup

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


def _read(path: Path, kind: type[DetectorSpec] | type[Recipe]) -> Any:
    try:
        return kind.model_validate(json.loads(path.read_text()))
    except ValidationError as error:
        first = error.errors()[0]
        key = key_of(first)
        raise InputError(
            f"{key}: {message_of(first)}",
            where=str(path),
            remedy="take it from a bundle of nasdet export, or from nasdet pareto --json",
        ) from None
    except ValueError as error:
        raise InputError(f"not JSON: {error}", where=str(path)) from None
