"""What `nasdet train` is asked. One decision: everything is settled and checked here before a training starts, and
stored beside its checkpoint as OUT/training/job.json, so that a resume needs no option."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from nasdet.data import Dataset
from nasdet.driver.study.candidates import with_located_init
from nasdet.errors import InputError, nearest
from nasdet.export import read_bundle
from nasdet.export.bundle import JOB, LAST, TILE, TRAINING, check_free, tile_card, writing
from nasdet.files import atomic_write
from nasdet.models import build_detector
from nasdet.models.pretrained import RANDOM, InitReport, load_weights
from nasdet.space.parameter_paths import key_of, message_of
from nasdet.space.presets import SYSTEMS
from nasdet.space.recipes import NamedRecipe, load_recipe
from nasdet.space.specs import DetectorSpec, Recipe
from nasdet.trainers.full_training import FullJob, History

DEFAULT_EPOCHS = 72
"""A 6x schedule: what Rethinking ImageNet Pre-training needed to catch up with fine-tuning."""
UNLIMITED = 10_000
"""Epochs of a training under a time limit, until the first one shows how many fit."""


@dataclasses.dataclass(frozen=True)
class TrainingOptions:
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
    teacher: Path | None = None
    """Bundle of a detector that teaches; None: none does, or on resume the one that did."""


@dataclasses.dataclass(frozen=True)
class TrainingRequest:
    """What a training was asked, everything settled; kept beside its checkpoint."""

    job: FullJob
    workers: int
    address: str | None
    data: str
    """Fingerprint of the data set."""
    recipe: str = ""
    """Name of the recipe that replaced the source's; empty: none did."""
    threads: int | None = None
    """CPU threads of the one worker in this process, kept so that a resume adds numbers in the same order; None: not
    chosen yet, or workers of Ray, which take all of a node's."""

    def write(self) -> None:
        """Store atomically."""
        folder = self.job.folder
        with writing(folder):
            atomic_write(folder / JOB, json.dumps(dataclasses.asdict(self), indent=1))

    @classmethod
    def read(cls, out: Path) -> TrainingRequest:
        """The one in `out`, which may have been moved. Raises InputError: it is missing or damaged."""
        path = out / TRAINING / JOB
        try:
            values = json.loads(path.read_text())
            return cls(**{**values, "job": FullJob(**{**values["job"], "out": str(out)})})
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
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


def new_request(
    source: Source, dataset: Dataset, out: Path, options: TrainingOptions
) -> tuple[TrainingRequest, InitReport | None]:
    """A training that starts, and what was loaded for it."""
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
    teacher = ""
    if options.teacher is not None:
        teacher = _teacher(options.teacher, spec, dataset)
        origin["teacher"] = teacher
    job = FullJob(
        spec=spec.to_json(),
        recipe=recipe.model_copy(update={"epochs": epochs}).to_json(),
        seed=options.seed or 0,
        out=str(out),
        card={"data_seed": 0, **source.card, "data": dataset.info.source, **tile_card(dataset), **origin},
        time_limit=options.time_limit,
        teacher=teacher,
    )
    name = named.name if named else ""
    return TrainingRequest(job, options.workers or 1, options.address, dataset.info.fingerprint, name), loaded


def _teacher(path: Path, spec: DetectorSpec, dataset: Dataset) -> str:
    """The absolute path of a bundle that can teach a detector of this specification on these data."""
    bundle, where = read_bundle(path), f"--teacher {path}"
    if (tuple(bundle.classes), bundle.spec.input.channels) != (dataset.info.classes, dataset.info.channels):
        what = "it was trained on other classes or channels than the data have"
        raise InputError(what, where=where, remedy="give one that was trained on the same data")
    kinds = {bundle.spec.head.kind, spec.head.kind}
    if kinds != {"tal"}:
        what = f"only detectors with the head tal can teach and be taught, and these have {' and '.join(sorted(kinds))}"
        raise InputError(what, where=where, remedy="give another one, or leave it out")
    with torch.device("meta"):
        theirs, own = (build_detector(each).strides for each in (bundle.spec, spec))
    if not {*theirs} & {*own}:
        what = f"no level of it (strides {list(theirs)}) has the stride of one here ({list(own)})"
        raise InputError(what, where=where, remedy="give another one, or leave it out")
    return str(path.absolute())


def _with_init(recipe: Recipe, init: str | None) -> Recipe:
    return with_located_init(recipe if init is None else recipe.model_copy(update={"init": init}))


def _check_batch(named: NamedRecipe, images: int) -> None:
    batch = named.recipe.batch_size
    if batch > images:
        what = f"the recipe's batch of {batch} is larger than the training split of {images} images"
        remedy = f"give a YAML with 'extends: {named.name}' and 'recipe: {{batch_size: N}}'; the learning rate follows"
        raise InputError(what, where=f"--recipe {named.name}", remedy=remedy)


def resumed_request(source: Source, dataset: Dataset, out: Path, options: TrainingOptions) -> TrainingRequest:
    """A training that goes on, maybe to another length."""
    if not (out / TRAINING / LAST).exists():
        raise InputError("nothing to resume here", where=str(out), remedy="leave --resume out to start")
    history, request = History.read(out / TRAINING), TrainingRequest.read(out)
    job = request.job
    if dataset.info.fingerprint != request.data:
        what = "other images, boxes, classes or splits than the training was started with"
        raise InputError(what, where=dataset.info.source, remedy="give --data as then")
    started = Recipe.model_validate(job.recipe)
    recipe = started if request.recipe else source.recipe
    if options.recipe is not None:
        recipe = options.recipe.recipe
    if options.init is not None and _with_init(started, options.init).init != started.init:
        raise InputError(f"the training was started from {started.init}", where="--init", remedy="leave it out")
    kept = {"epochs": started.epochs, "init": started.init}
    given = (adapt(source.spec, dataset), recipe.model_copy(update=kept))
    if given != (DetectorSpec.model_validate(job.spec), started):
        what = "the training in it was started with another architecture or recipe"
        raise InputError(what, where=str(out), remedy="give the same SPEC or BUNDLE, and --recipe if any, as then")
    if options.teacher is not None and str(options.teacher.absolute()) != job.teacher:
        told = f"by {job.teacher}" if job.teacher else "without a teacher"
        raise InputError(f"the training was started {told}", where="--teacher", remedy="leave it out")
    if options.seed not in (None, job.seed):
        raise InputError(f"the training was started with seed {job.seed}", where="--seed", remedy="leave it out")
    length = _new_length(job, options, history)
    return dataclasses.replace(
        request,
        job=dataclasses.replace(job, **length),
        workers=options.workers or request.workers,
        address=options.address or request.address,
    )


def _new_length(job: FullJob, options: TrainingOptions, history: History) -> dict[str, Any]:
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
    except (ValueError, RecursionError) as error:
        raise InputError(f"not JSON: {error}", where=str(path)) from None
