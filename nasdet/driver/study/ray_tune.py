"""Ray Tune as the keeper of worker groups. One decision: a Tune trial is a worker group and not a trial of the search,
so the Searcher only says how many groups there are; jobs and results pass Ray Tune by (`driver.study.dispatcher`)."""

from __future__ import annotations

import contextlib
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune import Callback, Stopper
from ray.tune.search import Searcher

from nasdet.driver.ray_thread import RayThread
from nasdet.driver.resources import Plan
from nasdet.driver.study.dispatcher import Dispatcher
from nasdet.environment import environment
from nasdet.errors import NasdetError
from nasdet.log import in_short
from nasdet.search import Finished
from nasdet.trainers.job_server import JobServer
from nasdet.trainers.messages import GroupConfig
from nasdet.trainers.tune_trainable import GroupTrainable, group_resources
from nasdet.trainers.worker_group import GroupRequest

SECONDS_TO_END = 30.0
"""How long Ray Tune may take to end the groups of a search that is over."""


class GroupSearcher(Searcher):
    """Asks for a group whenever there are fewer than the dispatcher wants."""

    def __init__(self, dispatcher: Dispatcher, request: GroupRequest) -> None:
        super().__init__()
        self._dispatcher, self._request = dispatcher, request

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """The configuration of a further group, None for none now, or FINISHED."""
        try:
            return {"request": self._request.named(trial_id)} if self._dispatcher.start_group(trial_id) else None
        except Finished:
            return str(Searcher.FINISHED)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """A group has ended; what ended it, if it was a fault, `Faults` says next."""
        if not error:
            self._dispatcher.end_group(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study's own storage holds all there is."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the study's own storage holds all there is."""


class Faults(Callback):
    """Tells the dispatcher of groups that failed."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Tune's callback for a group whose process failed or died."""
        self._dispatcher.end_group(trial.trial_id, _reason(trial))


class Ends(Stopper):
    """Ends the groups that hang, and all of them once the search is over."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether this group has to end now."""
        return self._dispatcher.is_condemned(trial_id)

    def stop_all(self) -> bool:
        """Whether all groups have to end now."""
        return self._dispatcher.has_to_stop


def run_on_groups(dispatcher: Dispatcher, plan: Plan, group: GroupConfig, folder: Path) -> None:
    """Run a search on worker groups; blocks. The dispatcher and Ray Tune have a thread each, so that Ctrl-C reaches
    this one at once.

    Args:
        dispatcher: of the search.
        plan: how many workers a group has, and what each needs.
        group: what the workers need to know.
        folder: for Ray's own state, of which nothing outlives the run.

    Raises:
        KeyboardInterrupt: by Ctrl-C; nothing is written to the study any more.
        NasdetError: the search failed.
    """
    server = JobServer(ray.util.get_node_ip_address())
    request = GroupRequest(group, plan.workers, plan.worker_resources, str(folder / "groups"), server.ticket(""))
    shutil.rmtree(folder, ignore_errors=True)
    search = _Thread(lambda: dispatcher.run(server), "dispatcher")
    tune_thread = _Thread(lambda: _keep_groups(dispatcher, request, folder), "tune")
    try:
        while search.is_alive():
            search.join(timeout=0.2)
            if not tune_thread.is_alive() and not dispatcher.has_to_stop:
                problem = tune_thread.problem
                why = f": {in_short(problem)}" if problem else ""
                dispatcher.give_up(NasdetError(f"Ray Tune ended before the search{why}"))
        tune_thread.join(timeout=SECONDS_TO_END)
    except KeyboardInterrupt:
        dispatcher.interrupt()
        raise
    finally:
        server.close()
        shutil.rmtree(folder, ignore_errors=True)
    if search.problem is not None:
        raise search.problem


class _Thread(RayThread):
    """A thread that is started at once and keeps the exception that ended it."""

    def __init__(self, work: Callable[[], None], name: str) -> None:
        super().__init__(target=self._keep_problem, args=(work,), name=name)
        self.problem: Exception | None = None
        self.start()

    def _keep_problem(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            self.problem = error


def _keep_groups(dispatcher: Dispatcher, request: GroupRequest, folder: Path) -> None:
    """Keep as many groups up as the dispatcher wants, until it wants none; blocks."""
    with environment(_SETTINGS):
        tune.Tuner(
            tune.with_resources(GroupTrainable, group_resources(request.workers, request.resources)),
            tune_config=tune.TuneConfig(
                search_alg=GroupSearcher(dispatcher, request),
                num_samples=-1,
                reuse_actors=False,
                trial_dirname_creator=lambda trial: trial.trial_id,
                trial_name_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=str(folder),
                callbacks=[Faults(dispatcher)],
                stop=Ends(dispatcher),
                verbose=0,
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()


def _reason(trial: Any) -> str:
    """In one line, what ended the process of a group."""
    error = _error_of(trial)
    text = " ".join(str(getattr(error, "cause", None) or error).split())
    return text[:300] or type(error).__name__


def _error_of(trial: Any) -> object:
    """What ended a Tune trial; Ray may not have copied it yet to where it looks itself."""
    with contextlib.suppress(OSError):
        if (error := trial.get_pickled_error()) is not None:
            return error
    with contextlib.suppress(OSError, TypeError, pickle.PickleError, AttributeError):
        return pickle.loads(Path(trial.pickled_error_file).read_bytes())
    return "its process ended without a message; Ray's own logs may say more"


_SETTINGS = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_MAX_PENDING_TRIALS_PG": "1000000",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "TUNE_WARN_THRESHOLD_S": "10",
    "TUNE_FORCE_TRIAL_CLEANUP_S": "20",
    "RAY_AIR_NEW_OUTPUT": "0",
}
