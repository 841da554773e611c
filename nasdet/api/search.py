"""`nasdet.run_search`: search from Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from pydantic import ValidationError

from nasdet.api.arguments import Callbacks, OnEpochEnd, OnTrialEnd, seconds_of, stream_of
from nasdet.api.study import Study, load_study
from nasdet.driver.study.warm_start import with_start
from nasdet.errors import InputError
from nasdet.space import SearchSpace, load_space, parse_space
from nasdet.space.parameter_paths import key_of, message_of


def run_search(
    space: str | Path | Mapping[str, Any] | SearchSpace,
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
    on_trial_end: OnTrialEnd | None = None,
    on_epoch_end: OnEpochEnd | None = None,
    progress: bool | TextIO = True,
) -> Study:
    """Search for detectors, each trained from random initialisation, or for the parameters of a function.

    Ray that this process has started with `ray.init()` is used and left running; else Ray is started on this machine
    for the search. An exception in a callback is reported once and ends nothing.

    Args:
        space: a YAML file, the name of a bundled search space such as "quick", the content of such a file as a dict, or
            a `SearchSpace`.
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

    loaded = prepare_space(
        space,
        overrides=overrides,
        trials=trials,
        max_epochs=max_epochs,
        time_limit=time_limit,
        seed=seed,
        workers=workers,
        concurrent=concurrent,
        gpus=gpus,
        function=objective is not None,
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
    )
    callbacks = Callbacks(on_trial_end, on_epoch_end)
    display = Display((callbacks,), stream_of(progress), redirect=False)
    found = load_study(search_or_resume(loaded, options, display, objective).folder)
    for record in found.records:
        callbacks.ended(record)
    return found


def prepare_space(
    space: str | Path | Mapping[str, Any] | SearchSpace,
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
) -> SearchSpace:
    """The search space with the budget and resources that are asked for, and with what `start:` names in it.

    Args:
        space: as for `run_search`, like all others but the last one.
        overrides: see there.
        trials: see there.
        max_epochs: see there.
        time_limit: see there.
        seed: see there.
        workers: see there.
        concurrent: see there.
        gpus: see there.
        function: whether it is the space of a user's own function.

    Raises:
        nasdet.errors.InputError: the space or a value is wrong.
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
    if isinstance(space, str | Path):
        loaded = load_space(space, overrides=changes, function=function)
    else:
        raw = space.raw if isinstance(space, SearchSpace) else space
        name = space.name if isinstance(space, SearchSpace) else str(space.get("name", "space"))
        loaded = parse_space(raw, name=name, function=function, overrides=changes)
    seconds = seconds_of(time_limit, "time_limit")
    try:
        return with_start(loaded).with_budget(trials=trials, epochs=max_epochs, time_limit=seconds, seed=seed)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InputError(f"{first['input']!r}: {message_of(first)}", where=f"budget.{key_of(first)}") from None
