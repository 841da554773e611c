"""`nasdet train`: one architecture, in full. One decision: one worker trains in this process, several in the same Ray
Train group as the search; both run the same job."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from nasdet.data import Dataset, default_cache_root
from nasdet.driver.plan import Plan, cpu_count
from nasdet.driver.quiet import quiet
from nasdet.errors import InputError, NasdetError
from nasdet.export import read_bundle
from nasdet.export.bundle import TRAINING, check_free
from nasdet.space.specs import DetectorSpec, Recipe
from nasdet.trainers.full import FullJob, History
from nasdet.trainers.job import GroupConfig, Reply

DEFAULT_EPOCHS = 72
"""A 6x schedule: what Rethinking ImageNet Pre-training needed to catch up with fine-tuning."""
Report = Callable[[Reply], None]


@dataclasses.dataclass(frozen=True)
class Source:
    """An architecture and recipe with what is known of their origin."""

    spec: DetectorSpec
    recipe: Recipe
    card: dict[str, Any]


def read_source(path: Path) -> Source:
    """A bundle folder, or a spec.json with a recipe.json beside it or not.

    Raises:
        InputError: it is neither.
    """
    if path.is_dir():
        bundle = read_bundle(path)
        kept = ("study", "space", "trial")
        return Source(bundle.spec, bundle.recipe, {k: v for k, v in bundle.metrics.items() if k in kept})
    if not path.is_file():
        raise InputError(
            "no such bundle or specification",
            where=str(path),
            remedy="give a folder made by nasdet export, or a spec.json",
        )
    recipe = path.with_name("recipe.json")
    return Source(_read(path, DetectorSpec), _read(recipe, Recipe) if recipe.is_file() else Recipe(), {})


def adapt(spec: DetectorSpec, dataset: Dataset) -> DetectorSpec:
    """The architecture for this data set: its classes, channels, mean and deviation; everything else stays."""
    info = dataset.info
    image = spec.input.model_copy(update={"channels": info.channels, "mean": info.mean, "std": info.std})
    head = spec.head.model_copy(update={"classes": len(info.classes)})
    return DetectorSpec.model_validate(spec.model_copy(update={"input": image, "head": head}).to_json())


def train_detector(
    source: Source,
    dataset: Dataset,
    out: Path,
    *,
    epochs: int | None,
    time_limit: float | None,
    workers: int,
    seed: int,
    resume: bool,
    address: str | None,
    report: Report,
) -> dict[str, Any]:
    """Train in full and leave a bundle of the best weights in `out`.

    Returns:
        Figures of the best weights on the validation split, `epoch`, `epochs`, `seconds`.

    Raises:
        InputError: `out` is taken, or there is nothing to resume.
        NasdetError: the training failed.
    """
    folder = out / TRAINING
    _check_out(out, folder, resume)
    length = epochs or (10_000 if time_limit else DEFAULT_EPOCHS)
    card = {**source.card, "data": dataset.info.source}
    job = FullJob(
        spec=adapt(source.spec, dataset).to_json(),
        recipe=source.recipe.model_copy(update={"epochs": length}).to_json(),
        seed=seed,
        out=str(out.absolute()),
        card=card,
        time_limit=time_limit,
    )
    if source.recipe.batch_size % (workers * source.recipe.accumulate):
        raise InputError(
            f"batch size {source.recipe.batch_size} does not split over {workers} workers",
            where="--workers",
            remedy="use a divisor of the batch size",
        )
    folder.mkdir(parents=True, exist_ok=True)
    group = _group(dataset, workers)
    if workers == 1 and not address:
        _train_here(job, group, report)
    else:
        _train_on_ray(job, group, workers, address, report, folder / "log.txt")
    history = History.read(folder)
    return {**history.best, "epochs": len(history.epochs), "seconds": history.seconds}


def _check_out(out: Path, folder: Path, resume: bool) -> None:
    if resume and not (folder / "last.pt").exists():
        raise InputError("nothing to resume here", where=str(out), remedy="leave --resume out to start")
    if not resume and (folder / "last.pt").exists():
        raise InputError("holds a training already", where=str(out), remedy="add --resume, or name another --out")
    if not resume:
        check_free(out, overwrite=False)


def _group(dataset: Dataset, workers: int) -> GroupConfig:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    threads = max(1, cpu_count() // workers)
    info = dataset.info
    return GroupConfig(
        source=info.source,
        data_seed=0,
        max_bad=1.0,  # the data set was checked when it was opened
        device=device,
        threads=threads,
        latency_device=device,
        latency_batch=1,
        latency_threads=threads,
        cache_root=str(default_cache_root()),
    )


def _train_here(job: FullJob, group: GroupConfig, report: Report) -> None:
    from nasdet.trainers.runner import Runner

    failures: list[str] = []

    def emit(reply: Reply) -> None:
        failures.append(reply.reason) if reply.kind == "failed" else report(reply)

    Runner(group, torch.device(group.device), emit).run(job)
    if failures:
        raise NasdetError(f"the training failed: {failures[0]}")


def _train_on_ray(
    job: FullJob, group: GroupConfig, workers: int, address: str | None, report: Report, log: Path
) -> None:
    from nasdet.driver.cluster import connect, disconnect

    with quiet(log):
        connect(address)
        try:
            from nasdet.trainers.group import WorkerGroup

            resources = Plan(group.device, workers, 1, group.threads).worker_resources
            storage = str(log.parent / "ray")
            handle = WorkerGroup(group, workers=workers, resources=resources, storage=storage)
            handle.submit(job)
            _follow(handle, job, report)
        finally:
            disconnect()


def _follow(handle: Any, job: FullJob, report: Report) -> None:
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
        key = ".".join(map(str, first["loc"]))
        raise InputError(
            f"{key}: {first['msg']}",
            where=str(path),
            remedy="take it from a bundle of nasdet export, or from nasdet pareto --json",
        ) from None
    except ValueError as error:
        raise InputError(f"not JSON: {error}", where=str(path)) from None
