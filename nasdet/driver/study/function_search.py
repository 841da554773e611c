"""A search for the best parameters of one's own function (`--objective MODULE:FUNCTION`). One decision: the function is
called in this process, one job after another, and Ray is never started; the study folder is that of any other study."""

from __future__ import annotations

import contextlib
import datetime
import importlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from nasdet.driver.observers.base import Observer, Observers
from nasdet.driver.observers.mlflow_mirror import store_uri, write_missing
from nasdet.driver.study.options import (
    MAX_FAILURES_IN_A_ROW,
    TERMINAL,
    Display,
    ResumeOptions,
    SearchOptions,
    interrupted,
)
from nasdet.errors import InputError, NasdetError
from nasdet.log import LOG, in_short, log_to, logger, traceback_of
from nasdet.search import Finished, Job, Study, StudyStore, study_root, summarise
from nasdet.search.records.baseline import lacks_baseline, ready_baseline
from nasdet.search.records.owner import own
from nasdet.space import SearchSpace
from nasdet.study_config import StudyConfig
from nasdet.study_summary import Summary
from nasdet.tracking import note_mirror
from nasdet.trial import TrialRecord
from nasdet.uris import absolute_uri, check_storage, check_tracking_uri, tracking_uri

Function = Callable[[dict[str, Any], int], Mapping[str, float]]
"""Parameters and cumulative budget -> values of the objectives."""


class FunctionBroken(NasdetError):
    """The function fails every time; going on is useless."""


@contextlib.contextmanager
def loaded_function(name: str, folder: Path) -> Iterator[Function]:
    """The function that `MODULE:FUNCTION` names; modules are looked up in `folder` first while the block runs.

    Raises:
        InputError: there is no such module or function.
    """
    module_name, _, function_name = name.partition(":")
    if not module_name or not function_name:
        raise InputError(f"{name!r} names no function", where="--objective", remedy="write MODULE:FUNCTION")
    with _on_path(str(folder)):
        try:
            module = importlib.import_module(module_name)
        except Exception as error:
            what = f"cannot import {module_name!r} ({in_short(error)})"
            raise InputError(what, where="--objective", remedy=f"run from the folder of {module_name}.py") from error
        function = getattr(module, function_name, None)
        if not callable(function):
            known = sorted(n for n, v in vars(module).items() if callable(v) and not n.startswith("_"))
            what = f"{module_name} has no function {function_name!r}"
            raise InputError(what, where="--objective", remedy=f"has {known}")
        yield function


@contextlib.contextmanager
def _on_path(folder: str) -> Iterator[None]:
    """`folder` first in `sys.path`, where it is not in it already."""
    added = folder not in sys.path
    if added:
        sys.path.insert(0, folder)
    try:
        yield
    finally:
        if added and folder in sys.path:
            sys.path.remove(folder)


def start_function_search(
    space: SearchSpace, objective: str | Function, options: SearchOptions, display: Display = TERMINAL
) -> Summary:
    """Run a new study of a function.

    Args:
        space: what is searched.
        objective: the function, or MODULE:FUNCTION. Only a function that can be imported by its module and name can be
            found again by a resume that is not given it.
        options: `data`, `address` and `repeat_front` have no meaning here.
        display: how the study is shown.

    Raises:
        InputError: the function, the folder or the storage does not work, or the function does not return the
            objectives. Unless a trial was evaluated, no study is left behind.
        Interrupted: by Ctrl-C.
        FunctionBroken: every call fails.
    """
    folder, name = Path.cwd(), name_of(objective)
    _check(objective, options)
    study = options.study or study_root() / f"{space.name}-{datetime.datetime.now():%Y%m%d-%H%M%S}"
    config = StudyConfig(
        study=study.absolute().name,
        data=name,
        objective=name,
        objective_folder=str(folder),
        storage=options.storage and absolute_uri(options.storage),
        tracking_uri=tracking_uri(options.tracking_uri),
        baseline=options.baseline,
    )
    with own(study):
        store = StudyStore.create(study, config, space)
        try:
            return _run(store, display, None if isinstance(objective, str) else objective)
        except InputError:
            if not any(r.rungs for r in store.records()):
                store.remove()
            raise


def name_of(objective: str | Function) -> str:
    """MODULE:FUNCTION of a function."""
    if isinstance(objective, str):
        return objective
    name = getattr(objective, "__qualname__", type(objective).__qualname__)
    return f"{getattr(objective, '__module__', '__main__')}:{name}"


def resume_function_search(store: StudyStore, display: Display, function: Function | None = None) -> Summary:
    """`nasdet.driver.study.resume.resume_search` for the study of a function; `function` is looked up by the name that
    the study keeps unless it is given."""
    if store.config.finished and not lacks_baseline(store):
        write_missing(store, display)
        return summarise(store)
    return _run(store, display, function)


def _run(store: StudyStore, display: Display, function: Function | None) -> Summary:
    """Do what is left of the study of a function and of its baseline; raises as `start_function_search`."""
    try:
        with log_to(store.dir / LOG):
            if not store.config.finished:
                _search(store, display, function)
            if lacks_baseline(store):
                click.echo("random search with the same budget, to compare with", file=display.stream)
                _search(ready_baseline(store, store_uri(store)), display, function)
                note_mirror(store.dir, "lacking")
    except KeyboardInterrupt:
        raise interrupted(store.dir) from None
    return summarise(store)


def _search(store: StudyStore, display: Display, given: Function | None) -> None:
    """Search until the engine has no job left."""
    name = store.config.objective or ""
    found = contextlib.nullcontext(given) if given else loaded_function(name, Path(store.config.objective_folder or ""))
    with found as function:
        study = Study(store.space, costs=getattr(function, "costs", None), store=store)
        note_mirror(store.dir, "lacking")
        try:
            _loop(study, function, name, display)
        except KeyboardInterrupt:
            store.save_config(wall_seconds=study.engine.elapsed)
            raise
    study.close()
    store.save_config(finished=True, wall_seconds=study.engine.elapsed)


def check_function(space: SearchSpace, name: str, options: SearchOptions) -> dict[str, Any]:
    """What `nasdet search --objective --dry-run --json` prints; raises as `start_function_search`."""
    _check(name, options)
    return {"space": space.name, "objective": name, "parameters": len(space.parameters), "ready": True}


def _check(objective: str | Function, options: SearchOptions) -> None:
    """All that can be wrong before the first call."""
    check_meaning(options)
    if isinstance(objective, str):
        with loaded_function(objective, Path.cwd()):
            pass
    check_tracking_uri(options.tracking_uri)
    check_storage(options.storage)
    if options.study is not None:
        StudyStore.check_free(options.study)


def check_meaning(options: SearchOptions | ResumeOptions) -> None:
    """Raise `InputError` for an option that means nothing to the study of a function."""
    why = "has no meaning with --objective"
    unmeant = {
        "--data": (options.data, why),
        "--address": (options.address, why),
        "--repeat-front": (options.repeat_front, f"{why}: a function is given no seed"),
    }
    for option, (value, what) in unmeant.items():
        if value:
            raise InputError(what, where=option, remedy="leave it out")


def _loop(study: Study, function: Function, name: str, display: Display) -> None:
    """Call the function for one job after another."""
    observers = Observers(
        _Lines(display), *display.observers, warn=lambda line: click.echo(f"note: {line}", file=display.stream)
    )
    failures = 0
    while True:
        try:
            job = study.ask()
        except Finished:
            return
        assert job is not None, "with one worker some job is always due"
        observers.started(job.record, job.stop)
        record, error = _evaluate(study, function, name, job)
        failures = failures + 1 if record.state == "failed" else 0
        observers.changed(record, study.engine.time_left)
        if failures >= MAX_FAILURES_IN_A_ROW:
            broken = FunctionBroken(
                f"{failures} calls of {name} in a row failed, the last one because: {record.reason}"
            )
            if error is not None:
                broken.add_note(traceback_of(error))
            raise broken from error


def _evaluate(study: Study, function: Function, name: str, job: Job) -> tuple[TrialRecord, Exception | None]:
    """Do one job; returns the trial's record, and what the function raised."""
    start = time.monotonic()
    try:
        values = function(dict(job.params), job.stop)
    except Exception as error:
        logger.exception("trial %s failed", job.record.trial)
        return study.fail(job, in_short(error)), error
    names = [o.name for o in study.space.objectives]
    if not isinstance(values, Mapping) or not set(names) <= {*values, *job.record.values}:
        given = sorted(values) if isinstance(values, Mapping) else type(values).__name__
        raise InputError(f"returned {given}, not a value for each of {names}", where=name)
    return study.tell(job, values, seconds=time.monotonic() - start), None


class _Lines(Observer):
    """One line of progress for each result."""

    def __init__(self, display: Display) -> None:
        self._display = display

    def changed(self, record: TrialRecord, time_left: float) -> None:
        """Show values, or why it failed."""
        if record.state == "failed":
            line = f"{record.trial}  failed: {record.reason}"
        else:
            figures = "  ".join(f"{name} {value:.4g}" for name, value in record.values.items())
            line = f"{record.trial}  {record.epochs:>4}  {figures}"
        click.echo(line, file=self._display.stream)
