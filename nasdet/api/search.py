"""`nasdet.run_search`: search from Python."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from pydantic import ValidationError

from nasdet.api.arguments import Callbacks, OnEpochEnd, OnTrialEnd, seconds_of, stream_of
from nasdet.api.study import Study, load_study, train_found
from nasdet.driver.auto_space.start_space import Start, is_auto, space_around
from nasdet.driver.study.options import DEFAULT_SECONDS, SEARCH_SHARE, split_time
from nasdet.driver.study.warm_start import with_start
from nasdet.errors import InputError
from nasdet.export.pick_trial import check_rule
from nasdet.search.records.study_folder import SPACE
from nasdet.space import SearchSpace, load_space, parse_space
from nasdet.space.parameter_paths import key_of, message_of


def run_search(
    space: str | Path | Mapping[str, Any] | SearchSpace | None = None,
    data: str | Path | None = None,
    *,
    time_limit: float | str | None = None,
    trials: int | None = None,
    max_epochs: int | None = None,
    study: str | Path | None = None,
    workers: int | str | None = None,
    concurrent: int | str | None = None,
    gpus: int | str | None = None,
    seed: int | None = None,
    overrides: Sequence[str] = (),
    address: str | None = None,
    tracking_uri: str | None = None,
    storage: str | None = None,
    or_resume: bool = False,
    objective: Callable[[dict[str, Any], int], Mapping[str, float]] | str | None = None,
    repeat_front: int = 0,
    baseline: bool = False,
    train: bool = False,
    pick: str = "best",
    on_trial_end: OnTrialEnd | None = None,
    on_epoch_end: OnEpochEnd | None = None,
    progress: bool | TextIO = True,
) -> Study:
    """Search for detectors, each trained from random initialisation, or for the parameters of a function.

    Ray that this process has started with `ray.init()` is used and left running; else Ray is started on this machine
    for the search. An exception in a callback is reported once and ends nothing.

    Args:
        space: a YAML file, the name of a bundled search space such as "quick", the content of such a file as a dict, or
            a `SearchSpace`; left out, or "auto": one that is derived from the data, this machine and the time.
        data: "digits" (built in), a folder in COCO, Pascal VOC or YOLO layout, or a YAML file; left out: that of the
            space.
        time_limit: of the whole search, in seconds or as text such as "30m".
        trials: candidates to train.
        max_epochs: epochs of one trial that is trained in full.
        study: folder of the new study; left out: one under `./studies`, or `$NASDET_HOME/studies`, named after the
            space and the time.
        workers: processes that train one trial together, or "auto".
        concurrent: trials that are trained at the same time, or "auto".
        gpus: GPUs to plan for, some of which may join the cluster later; left out: those that are there.
        seed: of the sampler and of every training.
        overrides: "KEY=VALUE" texts that change values of the space, such as "budget.rungs=[1, 3]".
        address: Ray cluster; left out: the Ray of this process, else this machine.
        tracking_uri: MLflow store; left out: `MLFLOW_TRACKING_URI` if that is set, else SQLite beside the study.
        storage: Optuna storage; left out: SQLite in the study folder.
        or_resume: go on with the study in `study` if there is one; it must have the same space and data.
        objective: search for the best parameters of this function instead of training: `f(params, budget)` returns the
            values of the objectives at that cumulative budget, or its name "module:function". It is called in this
            process, and Ray is not used.
        repeat_front: then train the front again with this many further seeds.
        baseline: then spend the same budget on random search, to compare with.
        train: spend two thirds of the time limit on training what was found in full; see `Study.trained`.
        pick: what `train` trains, as for `Study.pick`.
        on_trial_end: called with the record of each trial once, when it trains no further: when it is complete,
            stopped, failed or infeasible, and at the end of the search for those that are still paused.
        on_epoch_end: called with the trial, the epochs it has trained and the means of that epoch (loss, ...).
        progress: where progress is written: True: standard output, False: nowhere, or a text stream.

    Returns:
        The study.

    Raises:
        nasdet.errors.InputError: the space, the data, the folder, an address or the resources do not work. Unless a
            trial was trained, no study is left behind.
        nasdet.errors.NasdetError: every trial fails, or the search was interrupted: what is finished is kept, and
            `load_study().resume()` goes on.

    Example:
        >>> study = nasdet.run_search("quick", "digits", time_limit="10m")
        >>> study.plot("front.png")
        >>> study.export("knee", "best").predict("image.png").plot()
    """
    from nasdet.driver.study.options import Display, SearchOptions
    from nasdet.driver.study.resume import search_or_resume

    begin = time.monotonic()
    check_rule(pick)
    loaded = prepare_space(
        space,
        None if data is None else str(data),
        overrides=overrides,
        trials=trials,
        max_epochs=max_epochs,
        time_limit=time_limit,
        seed=seed,
        workers=workers,
        concurrent=concurrent,
        gpus=gpus,
        function=objective is not None,
        train=train,
        goes_on=Path(study) if or_resume and study is not None else None,
    )
    options = SearchOptions(
        data=None if data is None else str(data),
        study=None if study is None else Path(study),
        address=address,
        tracking_uri=tracking_uri,
        storage=storage,
        repeat_front=repeat_front,
        baseline=baseline,
        or_resume=or_resume,
        train=pick if train else "",
    )
    callbacks = Callbacks(on_trial_end, on_epoch_end)
    display = Display((callbacks,), stream_of(progress), redirect=False)
    found = load_study(search_or_resume(loaded, options, display, objective).folder)
    for record in found.records:
        callbacks.ended(record)
    if train:
        train_found(found.path, stream_of(progress), until=begin + whole_time(loaded))
    return found


def whole_time(space: SearchSpace) -> float:
    """Seconds of search and training together, of a space that `prepare_space` made for both."""
    assert space.budget.time_limit is not None
    return space.budget.time_limit / SEARCH_SHARE


def prepare_space(
    space: str | Path | Mapping[str, Any] | SearchSpace | None,
    data: str | None = None,
    *,
    overrides: Sequence[str] = (),
    trials: int | None = None,
    max_epochs: int | None = None,
    time_limit: float | str | None = None,
    seed: int | None = None,
    workers: int | str | None = None,
    concurrent: int | str | None = None,
    gpus: int | str | None = None,
    function: bool = False,
    train: bool = False,
    goes_on: Path | None = None,
) -> SearchSpace:
    """The search space with the budget and resources that are asked for, and with what `start:` names in it; where none
    is given, the one that follows from the data.

    Args:
        space: as for `run_search`, like all others but the last three.
        data: see there.
        overrides: see there.
        trials: see there.
        max_epochs: see there.
        time_limit: see there.
        seed: see there.
        workers: see there.
        concurrent: see there.
        gpus: see there.
        function: whether it is the space of a user's own function.
        train: whether two thirds of the time are for the training of what is found.
        goes_on: a study that may be there already, whose derived space is kept then.

    Raises:
        nasdet.errors.InputError: the space, the data or a value is wrong.
    """
    changes = list(overrides)
    for name, value in (("workers", workers), ("concurrent", concurrent), ("gpus", gpus)):
        if value is None:
            continue
        is_number = str(value).isdecimal() and int(value)
        if not is_number and (value != "auto" or name == "gpus"):
            remedy = "write for example 2" if name == "gpus" else "write for example 2, or auto"
            raise InputError(f"{value!r} is no number of at least 1", where=f"--{name}", remedy=remedy)
        changes.append(f"resources.{name}={value}")
    seconds = seconds_of(time_limit, "time_limit")
    follows = is_auto(space)
    if follows:
        space = _derived(data, seconds, changes, train, goes_on)
    if isinstance(space, str | Path):
        loaded = load_space(space, overrides=changes, function=function)
    else:
        assert space is not None
        raw = space.raw if isinstance(space, SearchSpace) else space
        name = space.name if isinstance(space, SearchSpace) else str(space.get("name", "space"))
        loaded = parse_space(raw, name=name, function=function, overrides=changes)
    if train:
        if function:
            raise InputError("there is nothing to train", where="--train", remedy="leave it out with --objective")
        whole = seconds or (DEFAULT_SECONDS if follows else loaded.budget.time_limit)
        if not whole:
            raise InputError("no time limit", where="--train", remedy="add --time-limit, such as 1h")
        seconds, _ = split_time(whole)
    try:
        return with_start(loaded).with_budget(trials=trials, epochs=max_epochs, time_limit=seconds, seed=seed)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InputError(f"{first['input']!r}: {message_of(first)}", where=f"budget.{key_of(first)}") from None


def _derived(
    data: str | None, seconds: float | None, changes: Sequence[str], train: bool, goes_on: Path | None
) -> SearchSpace | Mapping[str, Any]:
    """The space that follows from the data, or the one of the study that goes on."""
    from nasdet.driver.auto_space.auto import space_for

    if goes_on is not None and (goes_on / SPACE).exists():
        return load_space(goes_on / SPACE)
    if data is None:
        raise InputError("no search space and no data set", remedy="add --data SRC (try --data digits)")
    wanted = parse_space(
        space_around(Start(size=96, stride=8, width=16)), overrides=[c for c in changes if c.startswith("resources.")]
    )
    derived = space_for(data, seconds=seconds, train=train, resources=wanted.resources)
    return {"description": derived.summary, **derived.raw}
