"""A search for detectors: start it, go on with it, run its phases on Ray. One decision: everything finished is in the
study's storage at once, so ending a search, by Ctrl-C or by force, is never more than ending the process."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from nasdet.data import Dataset, default_cache_root, open_data
from nasdet.driver.observers.base import Observers
from nasdet.driver.observers.mlflow_mirror import Outcome, store_uri, write_missing
from nasdet.driver.observers.progress import Progress
from nasdet.driver.planner import make_plan
from nasdet.driver.ray_address import check_address, ray_address, say_address
from nasdet.driver.ray_cluster import live_nodes, ray_cluster
from nasdet.driver.redirect_output import last_lines, study_output
from nasdet.driver.resources import Plan, group_config, this_machine
from nasdet.driver.study.options import TERMINAL, Display, SearchOptions, interrupted
from nasdet.driver.study.repeat_front import Repeats
from nasdet.driver.study.study_run import Phase, StudyRun
from nasdet.errors import InputError, NasdetError
from nasdet.export.bundle import tile_card
from nasdet.files import remove_half_written
from nasdet.log import LOG, logger
from nasdet.search import Engine, StudyStore, study_root, summarise
from nasdet.search.records.baseline import lacks_baseline, ready_baseline
from nasdet.search.records.owner import own
from nasdet.space import SearchSpace
from nasdet.study_config import GroupStart, GroupUse, LatencySettings, StudyConfig
from nasdet.study_summary import Summary
from nasdet.trainers.messages import GroupConfig
from nasdet.trial import NOT_TRAINED
from nasdet.uris import absolute_uri, check_storage, check_tracking_uri, tracking_uri

SECONDS_BETWEEN_LOOKS = 10.0
"""How often a search on a cluster looks for nodes that joined or left."""


def start_search(space: SearchSpace, options: SearchOptions, display: Display = TERMINAL) -> Summary:
    """Run a new study.

    Raises:
        InputError: the data, the folder, a URI, the address or the resources do not work. Unless a trial was trained,
            no study is left behind, so that the corrected command may use the same folder.
        Interrupted: by Ctrl-C.
        NasdetError: every trial fails.
    """
    dataset = _prepare(space, options)
    folder = options.study or study_root() / f"{space.name}-{datetime.datetime.now():%Y%m%d-%H%M%S}"
    config = StudyConfig(
        study=folder.absolute().name,
        data=dataset.info.source,
        classes=dataset.info.classes,
        images=dict(dataset.info.splits),
        fingerprint=dataset.info.fingerprint,
        **tile_card(dataset),
        address=options.address,
        tracking_uri=tracking_uri(options.tracking_uri),
        storage=options.storage and absolute_uri(options.storage),
        repeat_front=options.repeat_front,
        baseline=options.baseline,
    )
    if options.train:
        config = config.replace(train=options.train)
    with own(folder):
        store = StudyStore.create(folder, config, space)
        try:
            return _run(store, dataset, display)
        except InputError:
            if all(record.state in NOT_TRAINED for record in store.records()):
                store.remove()
            raise


def resume_detector_search(store: StudyStore, display: Display) -> Summary:
    """`nasdet.driver.study.resume.resume_search` for a study of detectors."""
    if not _is_done(store):
        return _run(store, open_study_data(store.config.data, store.space), display)
    write_missing(store, display)
    return summarise(store)


def open_study_data(source: str, space: SearchSpace) -> Dataset:
    """The study's data set; a folder given relative to the working directory is meant absolutely from here on."""
    known = str(Path(source).absolute()) if Path(source).exists() else source
    stated = space.data
    return open_data(known, seed=stated.seed, cache_root=default_cache_root(), max_bad=stated.max_bad, tile=stated.tile)


def _run(store: StudyStore, dataset: Dataset, display: Display) -> Summary:
    """Start Ray, search, and report in one line what ended the search."""
    log = store.dir / LOG
    remove_half_written(store.dir)
    with study_output(log, display.output, redirect=display.redirect) as stream:
        progress = Progress(stream)
        try:
            progress.phase(say_address(store.config.address))
            with ray_cluster(store.config.address) as nodes:
                plan = make_plan(store.space, nodes, grows=ray_address(store.config.address) is not None)
                if lacking := plan.lacking(nodes):
                    progress.phase(lacking)
                _search(store, dataset, plan, progress, display)
        except KeyboardInterrupt:
            raise interrupted(store.dir) from None
        except InputError:
            raise
        except NasdetError as error:
            end = " | ".join(last_lines(log, 2))
            logger.exception("the search failed")
            raise NasdetError(f"{error} (the log {log} ends with: {end})") from error
        except Exception:
            logger.exception("the search failed")
            raise
    return summarise(store)


def _search(store: StudyStore, dataset: Dataset, plan: Plan, progress: Progress, display: Display) -> None:
    """Run every phase that is left; however they end, the terminal and MLflow are brought up to date."""
    group = group_config(store.space, plan, source=dataset.info.source, cache_root=default_cache_root())
    latency = LatencySettings(device=group.latency_device, batch=group.latency_batch, threads=group.latency_threads)
    if group.latency_backend != "torch":
        latency["backend"] = group.latency_command or group.latency_backend
    store.save_config(plan=plan, latency=latency)
    runs = [StudyRun(store, dataset, plan, progress, display.observers)]
    outcome: Outcome = "FAILED"
    try:
        _tune(store, _phases(runs, dataset, plan, progress, display), plan, group, progress.warn)
    except KeyboardInterrupt:
        outcome = "KILLED"
        raise
    finally:
        with Observers(warn=progress.warn).guard(progress):
            progress.close()
        for run in reversed(runs):  # the study last: it shows its baseline
            run.close(outcome)


def _phases(
    runs: list[StudyRun], dataset: Dataset, plan: Plan, progress: Progress, display: Display
) -> Iterator[Phase]:
    """The search, the repeats of its front, the baseline, where they are asked for and not done; adds to `runs`."""
    search, store = runs[0], runs[0].store
    if not search.finished:
        yield search.phase()
        search.end()
    repeats = Repeats(store, store.config.repeat_front)
    if repeats.left:
        progress.phase(f"repeating the front: {repeats.left} trainings of {repeats.members} members with further seeds")
        yield Phase(repeats, Observers(progress, *display.observers, warn=progress.warn), repeats.seeds)
    if lacks_baseline(store):
        progress.close()
        progress.phase("random search with the same budget, to compare with")
        random = ready_baseline(store, store_uri(store))
        random.save_config(plan=plan)
        runs.append(StudyRun(random, dataset, plan, progress, display.observers))
        yield runs[-1].phase()
        runs[-1].end()


def _is_done(store: StudyStore) -> bool:
    """Whether nothing that was asked for is left to train."""
    if not store.config.finished or lacks_baseline(store):
        return False
    return not Repeats(store, store.config.repeat_front).left


def _tune(
    store: StudyStore, phases: Iterator[Phase], plan: Plan, group: GroupConfig, warn: Callable[[str], None]
) -> None:
    """Run all phases on worker groups. Their starts and how well they were used are stored with the study."""
    from nasdet.driver.study.dispatcher import Dispatcher
    from nasdet.driver.study.ray_tune import run_on_groups

    def keep(starts: list[dict[str, float]], use: GroupUse) -> None:
        found = tuple(map(GroupStart.model_validate, starts))
        store.save_config(group_starts=found, group_use=use, latency_device=dispatcher.latency_device)
        if isinstance(engine := dispatcher.phase.jobs, Engine):
            engine.keep_time()

    wanted = (lambda: plan.concurrent) if _is_fixed(store) else _CountedOnNodes(plan)
    timeout, device = store.space.resources.hang_timeout, store.config.latency_device
    dispatcher = Dispatcher(phases, wanted, hang_timeout=timeout, warn=warn, keep=keep, latency_device=device)
    run_on_groups(dispatcher, plan, group, ray_folder(store.dir))


def _is_fixed(store: StudyStore) -> bool:
    """Whether the number of groups stays as it was planned; on a cluster without a wish for a number it follows the
    nodes that join and leave."""
    wanted = store.space.resources
    return ray_address(store.config.address) is None or wanted.concurrent != "auto" or wanted.gpus is not None


class _CountedOnNodes:
    """How many groups of a plan the nodes that are up hold; looked at from time to time."""

    def __init__(self, plan: Plan) -> None:
        self._plan, self._count, self._looked = plan, plan.concurrent, time.monotonic()

    def __call__(self) -> int:
        if time.monotonic() - self._looked > SECONDS_BETWEEN_LOOKS:
            self._count, self._looked = max(1, self._plan.groups_on(live_nodes())), time.monotonic()
        return self._count


def ray_folder(study: Path) -> Path:
    """Where Ray keeps its own state of a study; nothing in it outlives the run."""
    return study.absolute() / "ray"


def check_search(space: SearchSpace, options: SearchOptions) -> dict[str, Any]:
    """Check what a search needs before it starts; returns what `nasdet search --dry-run --json` prints. What a cluster
    has, and whether a shared storage knows the name, is not asked. Raises as `start_search`."""
    info = _prepare(space, options).info
    return {
        "space": space.name,
        "data": info.source,
        "parameters": len(space.parameters),
        "images": dict(info.splits),
        "classes": list(info.classes),
        "ready": True,
    }


def _prepare(space: SearchSpace, options: SearchOptions) -> Dataset:
    """The data set, after everything cheap was checked."""
    source = options.data or space.data.source
    if not source:
        raise InputError("no data set", where=space.name, remedy="add --data SRC (try --data digits)")
    check_tracking_uri(options.tracking_uri)
    check_storage(options.storage)
    check_address(options.address)
    if options.study is not None:
        StudyStore.check_free(options.study)
    if ray_address(options.address) is None:
        make_plan(space, [this_machine()])
    return open_study_data(source, space)
