"""`nasdet.train`: train one detector in full, from Python."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from pydantic import ValidationError

from nasdet.api.arguments import OnEpochEnd, seconds_of, stream_of
from nasdet.api.detector import Detector, load
from nasdet.data import Dataset
from nasdet.driver.training.request import Source, TrainingOptions, read_source
from nasdet.errors import InputError
from nasdet.export.bundle import open_bundle_data
from nasdet.log import logger
from nasdet.space import NamedRecipe, load_recipe
from nasdet.space.parameter_paths import key_of, message_of
from nasdet.space.specs import DetectorSpec, Recipe
from nasdet.trainers.messages import Reply
from nasdet.trial import TrialRecord


def train(
    what: str | Path | Mapping[str, Any] | DetectorSpec | Detector | TrialRecord,
    data: str | Path | Dataset,
    out: str | Path,
    *,
    recipe: str | Path | NamedRecipe | None = None,
    epochs: int | None = None,
    time_limit: float | str | None = None,
    workers: int | None = None,
    seed: int | None = None,
    init: str | None = None,
    teacher: str | Path | None = None,
    resume: bool = False,
    address: str | None = None,
    on_epoch_end: OnEpochEnd | None = None,
    progress: bool | TextIO = True,
) -> Detector:
    """Train a detector in full; the bundle holds the best weights from the first evaluation on.

    An exception in the callback is reported once and ends nothing. After an interruption, the same call with
    `resume=True` goes on from the last epoch.

    Args:
        what: the architecture: a bundle folder, a `Detector`, a trial of a study (`Study.pick(...)`), the name of a
            system of the literature such as "dsod300" (`nasdet systems` lists them), a spec.json, a `DetectorSpec`, or
            its JSON values. Bundles and trials bring their recipe, and systems the one they were published with.
        data: "digits", a folder in COCO, Pascal VOC or YOLO layout, a YAML file, or an opened `Dataset`. Classes and
            channels of the architecture follow it.
        out: folder of the new bundle.
        recipe: name of a recipe of the literature or a YAML file; left out: that of `what`.
        epochs: length of the training; left out: that of `recipe`, else 72.
        time_limit: train as many epochs as fit, in seconds or as text such as "2h"; excludes `epochs`.
        workers: processes that train together (DDP); left out: 1, in this process. More are started on Ray.
        seed: of weights, order and augmentation; left out: 0.
        init: "random", a checkpoint file, a bundle, or "timm:NAME"; left out: as the recipe says, else random.
        teacher: bundle of a detector, trained on the same data, of which this one learns as well (the head tal only).
        resume: go on with the training in `out`.
        address: Ray cluster to train on; left out: this machine.
        on_epoch_end: called with the name of the folder `out`, the epoch (from 1) and the epoch's values: `loss` and
            its parts, `epochs` (planned), and after an evaluation `ap`, `ap50`, ... in 0..1.
        progress: where progress is written: True: standard output, False: nowhere, or a text stream.

    Returns:
        The detector with the best weights, those of the highest `ap` on the validation split. Its `training` tells
        `epoch`, `epochs`, `seconds` and the figures.

    Raises:
        nasdet.errors.InputError: `what` is unknown, `out` is taken, or the arguments do not fit together.
        nasdet.errors.NasdetError: the training failed.

    Example:
        >>> detector = nasdet.train("best", "digits", "best-full", epochs=60)
        >>> detector.evaluate("digits", "test")["ap"]
    """
    from nasdet.driver.training.progress import TrainingProgress
    from nasdet.driver.training.train import train_detector

    if epochs is not None and time_limit is not None:
        raise InputError("--epochs and --time-limit exclude each other", remedy="give one of them")
    if isinstance(recipe, str | Path):
        recipe = load_recipe(recipe, where="--recipe")
    source = source_of(what)
    dataset = data if isinstance(data, Dataset) else open_bundle_data(str(data), source.card)
    seconds = seconds_of(time_limit, "time_limit")
    options = TrainingOptions(
        epochs, seconds, workers, seed, address, recipe, init, None if teacher is None else Path(teacher)
    )
    folder, shown, stream = Path(out), TrainingProgress(), stream_of(progress)
    is_broken = False

    def report(reply: Reply, terminal: TextIO) -> None:
        nonlocal is_broken
        shown.show(reply, stream)
        if on_epoch_end is None or reply.kind != "epoch":
            return
        try:
            on_epoch_end(folder.name, reply.epoch, dict(reply.values))
        except Exception as error:
            if not is_broken:
                logger.exception("on_epoch_end failed, the training goes on")
                print(f"note: on_epoch_end failed, the training goes on ({type(error).__name__}: {error})", file=stream)
            is_broken = True

    with contextlib.closing(shown):
        result = train_detector(
            source,
            dataset,
            folder,
            options,
            resume=resume,
            report=report,
            on_init=lambda loaded: shown.loaded(loaded, stream),
            redirect=False,
        )
    detector = load(folder)
    detector.training = result
    return detector


def source_of(what: str | Path | Mapping[str, Any] | DetectorSpec | Detector | TrialRecord) -> Source:
    """The architecture and recipe that `train` is asked to train.

    Raises:
        nasdet.errors.InputError: it is unknown, or has no architecture.
    """
    if isinstance(what, str | Path):
        return read_source(Path(what))
    if isinstance(what, Detector):
        return read_source(what.path)
    if isinstance(what, DetectorSpec):
        return Source(what, Recipe(), {})
    if isinstance(what, TrialRecord):
        what = {"trial": what.trial, "spec": what.spec, "recipe": what.recipe}
    # A trial holds its specification and recipe under these names, a spec.json is the specification.
    spec, recipe = (what["spec"], what.get("recipe")) if "spec" in what else (what, None)
    card = {"trial": what["trial"]} if "trial" in what else {}
    if spec is None:
        raise InputError("has no architecture to train", where=str(card.get("trial", "what")))
    try:
        return Source(DetectorSpec.model_validate(spec), Recipe.model_validate(recipe or {}), card)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        remedy = "take it from a bundle or from Study.pick(...).spec"
        raise InputError(f"{key_of(first)}: {message_of(first)}", where="the specification", remedy=remedy) from None
