"""A whole study: start it or go on with it. One decision: everything finished is in the study's storage at once, so
ending a search, by Ctrl-C or by force, is never more than ending the process."""

from __future__ import annotations

import dataclasses
import datetime
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch

from nasdet.data import Dataset, default_cache_root, open_data
from nasdet.driver.candidates import builder
from nasdet.driver.cluster import connect, disconnect
from nasdet.driver.events import Observers
from nasdet.driver.housekeeping import Housekeeping
from nasdet.driver.plan import Plan, cpu_count, group_config, make_plan
from nasdet.driver.progress import Progress
from nasdet.driver.quiet import last_lines, quiet
from nasdet.driver.tracking import Tracking
from nasdet.errors import InputError, NasdetError
from nasdet.search import Engine, StudyStore, study_root, summarise
from nasdet.space import SearchSpace
from nasdet.tracking import check_tracking_uri

LOG = "log.txt"


class Interrupted(NasdetError):
    """The user pressed Ctrl-C; everything finished is kept. Exit code 130."""

    exit_code = 130


@dataclasses.dataclass(frozen=True)
class Options:
    """What a search needs besides its space."""

    data: str | None = None
    study: Path | None = None
    address: str | None = None
    """Ray cluster; None: this machine."""
    tracking_uri: str | None = None
    storage: str | None = None
    """Optuna storage; None: SQLite in the study folder."""


def start_search(space: SearchSpace, options: Options) -> dict[str, Any]:
    """Run a new study; returns the object that `nasdet search --json` prints.

    Raises:
        InputError: the data, the folder, the tracking URI or the resources do not work.
        Interrupted: by Ctrl-C.
        NasdetError: every trial fails.
    """
    dataset = _prepare(space, options)
    folder = options.study or study_root() / f"{space.name}-{datetime.datetime.now():%Y%m%d-%H%M%S}"
    config = {
        "study": folder.absolute().name,
        "data": dataset.info.source,
        "classes": list(dataset.info.classes),
        "address": options.address,
        "tracking_uri": options.tracking_uri,
        "storage": options.storage,
        "wall_seconds": 0.0,
    }
    return _run(StudyStore.create(folder, config, space), dataset)


def resume_search(store: StudyStore) -> dict[str, Any]:
    """Go on with a study that was interrupted; a finished one is returned as it is. Raises as `start_search`."""
    if store.config.get("finished"):
        return summarise(store)
    check_tracking_uri(store.config.get("tracking_uri"))
    return _run(store, open_study_data(store.config["data"], store.space))


def open_study_data(source: str, space: SearchSpace) -> Dataset:
    """The study's data set; a folder given relative to the working directory is meant absolutely from here on."""
    known = str(Path(source).absolute()) if Path(source).exists() else source
    return open_data(known, seed=space.data.seed, cache_root=default_cache_root(), max_bad=space.data.max_bad)


def _run(store: StudyStore, dataset: Dataset) -> dict[str, Any]:
    log = store.dir / LOG
    with quiet(log) as terminal:
        progress = Progress(terminal)
        tracking = Tracking(store, warn=progress.warn)
        progress.phase("starting Ray")
        cpus, gpus = connect(store.config.get("address"))
        plan = make_plan(store.space, cpus=cpus, gpus=gpus)
        engine = Engine(store, builder(store.space, dataset.info, plan.workers))
        observers = Observers(progress, tracking, Housekeeping(store))
        outcome: Literal["FINISHED", "FAILED", "KILLED"] = "KILLED"
        try:
            progress.start(store, dataset, plan)
            _tune(engine, plan, dataset, observers)
            engine.close()
            store.save_config(finished=True)
            outcome = "FINISHED"
        except KeyboardInterrupt:
            raise Interrupted(f"interrupted; finished trials are kept. Go on with: nasdet resume {store.dir}") from None
        except InputError:
            outcome = "FAILED"
            raise
        except NasdetError as error:
            outcome = "FAILED"
            said = " | ".join(last_lines(log, 2))
            raise NasdetError(f"{error} (the log {log} ends with: {said})") from error
        finally:
            store.save_config(wall_seconds=engine.elapsed)
            progress.close(engine)
            tracking.close(engine, outcome)
            disconnect()
    return summarise(store)


def _tune(engine: Engine, plan: Plan, dataset: Dataset, observers: Observers) -> None:
    """Run Tune in a thread, so that Ctrl-C reaches this one at once."""
    from nasdet.driver.tune import Bridge, run_tune

    group = group_config(engine.space, plan, source=dataset.info.source, cache_root=default_cache_root())
    bridge = Bridge(engine, plan, group, observers)
    problem: list[BaseException] = []

    def work(run: Callable[[Bridge], None] = run_tune) -> None:
        try:
            run(bridge)
        except BaseException as error:
            problem.append(error)

    thread = threading.Thread(target=work, daemon=True, name="tune")
    thread.start()
    try:
        while thread.is_alive():
            thread.join(timeout=0.2)
    except KeyboardInterrupt:
        bridge.interrupted = True
        raise
    engine.store.save_config(group_starts=bridge.group_starts)
    if problem:
        if isinstance(problem[0], NasdetError):
            raise problem[0]
        raise NasdetError(f"Ray Tune ended with {type(problem[0]).__name__}: {problem[0]}") from problem[0]


def check_search(space: SearchSpace, options: Options) -> str:
    """Check what a search needs before it starts; returns one line. Raises as `start_search`."""
    info = _prepare(space, options).info
    images = ", ".join(f"{n} {name}" for name, n in info.splits.items())
    return f"{space.name}: {len(space.parameters)} parameters, {images} images of {info.name}: ready to search"


def _prepare(space: SearchSpace, options: Options) -> Dataset:
    """The data set, after everything cheap was checked."""
    source = options.data or space.data.source
    if not source:
        raise InputError("no data set", where=space.name, remedy="add --data SRC (try --data digits)")
    check_tracking_uri(options.tracking_uri)
    if options.study is not None:
        StudyStore.check_free(options.study)
    if not options.address:
        make_plan(space, cpus=cpu_count(), gpus=torch.cuda.device_count())
    return open_study_data(source, space)
