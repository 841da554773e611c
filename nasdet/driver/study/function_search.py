"""A search for the best parameters of one's own function (`--objective MODULE:FUNCTION`). One decision: the function is
called in this process, one job after another, and Ray is never started; the study folder is that of any other study."""

from __future__ import annotations

import datetime
import importlib
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from nasdet.driver.observers.mlflow_mirror import store_uri, write_missing
from nasdet.driver.study.detector_search import Options, interrupted
from nasdet.errors import InputError, NasdetError
from nasdet.search import Finished, Job, Study, StudyStore, study_root, summarise
from nasdet.search.records.baseline import create_baseline, find_baseline, lacks_baseline
from nasdet.space import SearchSpace
from nasdet.tracking import note_mirror
from nasdet.trial import TrialRecord
from nasdet.uris import absolute_uri, check_storage, check_tracking_uri

MAX_FAILURES = 5
"""So many failed calls in a row end the search."""
Function = Callable[[dict[str, Any], int], Mapping[str, float]]


class FunctionBroken(NasdetError):
    """The function fails every time; going on is useless."""


def load_function(name: str, folder: Path) -> Function:
    """The function that `MODULE:FUNCTION` names; modules are looked up in `folder` first.

    Raises:
        InputError: there is no such module or function.
    """
    module_name, _, function_name = name.partition(":")
    if not module_name or not function_name:
        raise InputError(f"{name!r} names no function", where="--objective", remedy="write MODULE:FUNCTION")
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        what = f"cannot import {module_name!r} ({type(error).__name__}: {error})"
        raise InputError(what, where="--objective", remedy=f"run from the folder of {module_name}.py") from error
    function = getattr(module, function_name, None)
    if not callable(function):
        known = sorted(n for n, v in vars(module).items() if callable(v) and not n.startswith("_"))
        raise InputError(f"{module_name} has no function {function_name!r}", where="--objective", remedy=f"has {known}")
    return function  # type: ignore[no-any-return]


def start_function_search(space: SearchSpace, name: str, options: Options) -> dict[str, Any]:
    """Run a new study of a function; returns the object that `nasdet search --json` prints.

    Raises:
        InputError: the function, the folder or the storage does not work, or the function does not return the
            objectives. Unless a trial was evaluated, no study is left behind.
        Interrupted: by Ctrl-C.
        FunctionBroken: every call fails.
    """
    folder = Path.cwd()
    _check(name, options)
    study = options.study or study_root() / f"{space.name}-{datetime.datetime.now():%Y%m%d-%H%M%S}"
    config = {
        "study": study.absolute().name,
        "data": name,
        "objective": name,
        "objective_folder": str(folder),
        "storage": options.storage and absolute_uri(options.storage),
        "tracking_uri": options.tracking_uri and absolute_uri(options.tracking_uri),
        "wall_seconds": 0.0,
        "baseline": options.baseline,
    }
    store = StudyStore.create(study, config, space)
    try:
        return run_function(store)
    except InputError:
        if not any(r.rungs for r in store.records()):
            store.remove()
        raise


def resume_function(store: StudyStore, repeat_front: int, baseline: bool) -> dict[str, Any]:
    """Go on with the study of a function, as `nasdet.driver.study.detector_search.resume_search`."""
    if repeat_front:
        what = "has no meaning with --objective: a function is given no seed"
        raise InputError(what, where="--repeat-front", remedy="leave it out")
    if baseline and not store.config.get("baseline"):
        store.save_config(baseline=True)
    if store.config.get("finished") and not lacks_baseline(store):
        write_missing(store)
        return summarise(store)
    return run_function(store)


def run_function(store: StudyStore) -> dict[str, Any]:
    """Do what is left of the study of a function and of its baseline; raises as `start_function_search`."""
    if not store.config.get("finished"):
        _search(store, store.dir)
    if lacks_baseline(store):
        click.echo("random search with the same budget, to compare with", err=True)
        _search(find_baseline(store.dir) or create_baseline(store, store_uri(store)), store.dir)
        note_mirror(store.dir, "lacking")
    return summarise(store)


def _search(store: StudyStore, resumed: Path) -> None:
    """Search until the engine has no job left; `resumed` is the study to name to go on."""
    name = str(store.config["objective"])
    function = load_function(name, Path(store.config["objective_folder"]))
    study = Study(store.space, costs=getattr(function, "costs", None), store=store)
    note_mirror(store.dir, "lacking")
    try:
        _loop(study, function, name)
    except KeyboardInterrupt:
        store.save_config(wall_seconds=study.engine.elapsed)
        raise interrupted(resumed) from None
    study.close()
    store.save_config(finished=True, wall_seconds=study.engine.elapsed)


def check_function(space: SearchSpace, name: str, options: Options) -> dict[str, Any]:
    """What `nasdet search --objective --dry-run --json` prints; raises as `start_function_search`."""
    _check(name, options)
    return {"space": space.name, "objective": name, "parameters": len(space.parameters), "ready": True}


def _check(name: str, options: Options) -> None:
    """All that can be wrong before the first call."""
    load_function(name, Path.cwd())
    check_tracking_uri(options.tracking_uri)
    check_storage(options.storage)
    if options.study is not None:
        StudyStore.check_free(options.study)


def _loop(study: Study, function: Function, name: str) -> None:
    failures = 0
    while True:
        try:
            job = study.ask()
        except Finished:
            return
        assert job is not None, "with one worker some job is always due"
        record = _evaluate(study, function, name, job)
        failures = failures + 1 if record.state == "failed" else 0
        _show(record)
        if failures >= MAX_FAILURES:
            raise FunctionBroken(f"{failures} calls of {name} in a row failed, the last one because: {record.reason}")


def _evaluate(study: Study, function: Function, name: str, job: Job) -> TrialRecord:
    start = time.monotonic()
    try:
        values = function(dict(job.params), job.stop)
    except Exception as error:
        return study.fail(job, f"{type(error).__name__}: {error}")
    names = [o.name for o in study.space.objectives]
    if not isinstance(values, Mapping) or not set(names) <= {*values, *job.record.values}:
        given = sorted(values) if isinstance(values, Mapping) else type(values).__name__
        raise InputError(f"returned {given}, not a value for each of {names}", where=name)
    return study.tell(job, values, seconds=time.monotonic() - start)


def _show(record: TrialRecord) -> None:
    """One line on stderr."""
    if record.state == "failed":
        click.echo(f"{record.trial}  failed: {record.reason}", err=True)
        return
    figures = "  ".join(f"{name} {value:.4g}" for name, value in record.values.items())
    click.echo(f"{record.trial}  {record.epochs:>4}  {figures}", err=True)
