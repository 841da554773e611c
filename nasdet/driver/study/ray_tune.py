"""Ray Tune at work for the engine. One decision: Tune runs jobs and the engine decides, so the Searcher is a thin
adapter: a Tune trial is one job, and pause and promotion are the engine's own (a checkpoint in the trial's folder)."""

from __future__ import annotations

import contextlib
import pickle
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune import Callback, Stopper
from ray.tune.search import Searcher

from nasdet.driver.resources import TRIAL_CPUS, Plan
from nasdet.driver.study.options import MAX_FAILURES_IN_A_ROW
from nasdet.driver.study.study_run import Phase
from nasdet.environment import environment
from nasdet.errors import NasdetError
from nasdet.log import logger
from nasdet.search import Finished, Job, bounds
from nasdet.trainers.messages import GroupConfig, Reply, TrainJob
from nasdet.trainers.tune_trainable import JobTrainable

GRACE = 0.05
"""A job may run over the time limit by this share of it before it is cut off."""
SECONDS_TO_STOP = 1.0
"""How long an interruption waits for the reply that is being recorded."""


class SearchBroken(NasdetError):
    """Every trial fails; going on is useless."""


class Bridge(Callback):
    """Carries jobs and replies between Tune and the phases; both of Tune's adapters below share it.

    Tune calls it on its own thread, while the main thread waits for Ctrl-C. Whatever writes to the study does so under
    one lock: once `interrupt` has had it, nothing is written any more, whatever Tune still reports while it ends.

    Args:
        phases: at least one; the next one is taken when the one before has finished.
        plan: of the study.
        group: of the study.
        folder: of the study.
    """

    def __init__(self, phases: Iterator[Phase], plan: Plan, group: GroupConfig, folder: Path) -> None:
        self.phase, self._phases, self.plan, self.group = next(phases), phases, plan, group
        self.ray = ray_folder(folder)
        self.jobs: dict[str, Job] = {}
        self.finished = False
        self.interrupted = False
        self.error: NasdetError | None = None
        self.group_starts: list[dict[str, float]] = []
        self._failures = 0
        self._reference: dict[str, Any] | None = None
        self._writing = threading.RLock()

    def __getstate__(self) -> dict[str, Any]:
        """Empty: Tune pickles its callbacks into a state that no study is ever restored from."""
        return {}

    def interrupt(self) -> None:
        """Hand out no job and record no reply any more; waits, but not for long, for the one being recorded."""
        self.interrupted = True
        if self._writing.acquire(timeout=SECONDS_TO_STOP):
            self._writing.release()

    def suggest(self, tune_id: str) -> dict[str, Any] | None:
        """The configuration of the next Tune trial; None if one must end first.

        Raises:
            Finished: no further job will come.
        """
        with self._writing:
            if self.finished or self.interrupted:
                raise Finished
            if len(self.jobs) >= self.plan.concurrent:
                return None
            try:
                job = self._next_job()
            except Finished:
                self.finished = True
                raise
            except NasdetError as error:
                self.error, self.finished = error, True
                raise Finished from error
            if job is None:
                return None
            self.jobs[tune_id] = job
            self.phase.observer.started(job.record, job.stop)
            return self._config(job)

    def _next_job(self) -> Job | None:
        """The next job of the first phase that has one."""
        while True:
            try:
                if not self.jobs:
                    self._reference = self.phase.jobs.fix_reference()
                return self.phase.jobs.next_job()
            except Finished:
                if self.jobs:
                    return None
                following = next(self._phases, None)
                if following is None:
                    raise
                self.phase = following

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Tune's callback for every reply of a worker group."""
        if "reply" not in result:
            return
        with self._writing:
            if result["up"] not in self.group_starts:
                self.group_starts.append(result["up"])
            if not self.interrupted:
                self._take(trial.trial_id, Reply(**result["reply"]))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Tune's callback for a trial whose actor failed, for example because its workers cannot start."""
        error = _error_of(trial)
        reason = " ".join(str(getattr(error, "cause", None) or error).split())[:300]
        logger.error("the process of a trial ended: %s", error)
        self.ended(trial.trial_id, f"its process ended: {reason}; see log.txt in the study folder")
        if not self.group_starts and self.error is None:
            self.error = SearchBroken(reason)
            self.finished = True

    def ended(self, tune_id: str, reason: str = "its process ended without a message") -> None:
        """A Tune trial is over; if its last reply has not come, it was cut off or lost its actor."""
        with self._writing:
            job = self.jobs.pop(tune_id, None)
            if job is None or self.interrupted:
                return
            jobs, trial = self.phase.jobs, job.record.trial
            if jobs.time_left <= 0:
                jobs.release(trial)
            else:
                self._fail(job, reason)
                self.phase.observer.changed(jobs.store.get(trial), jobs.time_left)

    def _take(self, tune_id: str, reply: Reply) -> None:
        """Record a reply."""
        job = self.jobs.get(tune_id)
        if job is None or reply.trial != job.record.trial:
            return
        trial, jobs, observer = reply.trial, self.phase.jobs, self.phase.observer
        match reply.kind:
            case "latency":
                self._latency(trial, reply.values)
                return
            case "epoch":
                observer.epoch(jobs.store.get(trial), reply.epoch, reply.values)
                return
            case "rung":
                self._failures = 0
                jobs.report(trial, reply.epoch, reply.values, seconds=reply.seconds, overhead=reply.overhead)
            case "infeasible":
                jobs.reject(trial, reply.reason)
            case "failed":
                logger.error("trial %s failed: %s\n%s", trial, reply.reason, reply.traceback)
                self._fail(job, reply.reason)
        self.jobs.pop(tune_id, None)
        observer.changed(jobs.store.get(trial), jobs.time_left)

    def _latency(self, trial: str, values: dict[str, float]) -> None:
        values = dict(values)
        reference = values.pop("reference_latency_ms", None)
        if reference is not None:
            self.phase.jobs.fix_reference({"latency_ms": reference})
            self._reference = None
        if values:
            self.phase.jobs.note_costs(trial, values)

    def _fail(self, job: Job, reason: str) -> None:
        self._failures += 1
        self.phase.jobs.fail(job.record.trial, reason)
        if self._failures >= MAX_FAILURES_IN_A_ROW:
            self.error = SearchBroken(f"{self._failures} trials in a row failed, the last one because: {reason}")
            self.finished = True

    def _config(self, job: Job) -> dict[str, Any]:
        record, space, store = job.record, self.phase.jobs.space, self.phase.jobs.store
        assert record.spec is not None and record.recipe is not None
        train = TrainJob(
            trial=record.trial,
            spec=record.spec,
            recipe=record.recipe,
            seed=self.phase.seed(record.trial),
            start=record.epochs,
            stop=job.stop,
            folder=str(store.trial_dir(record.trial).absolute()),
            measure_latency="latency_ms" not in record.values,
            scores=tuple(name for name in space.scores if f"score_{name}" not in record.values),
            latency_limits=bounds(space, "latency_ms"),
            reference=self._reference,
        )
        return {
            "job": train,
            "group": self.group,
            "workers": self.plan.workers,
            "resources": self.plan.worker_resources,
            "storage": str(self.ray / "groups"),
        }


class EngineSearcher(Searcher):
    """Tune's Searcher over the engine."""

    def __init__(self, bridge: Bridge) -> None:
        super().__init__()
        self._bridge = bridge

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """The next job's configuration, None to wait, or FINISHED."""
        try:
            return self._bridge.suggest(trial_id)
        except Finished:
            return str(Searcher.FINISHED)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """A job is over. An error of its actor is left to `Bridge.on_trial_error`, which Tune calls next."""
        if not error:
            self._bridge.ended(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study's own storage holds all there is."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the study's own storage holds all there is."""


class Deadline(Stopper):
    """Cuts jobs off that run over the time limit, and all of them once the search is over."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether this job has to end now."""
        jobs = self._bridge.phase.jobs
        limit = jobs.space.budget.time_limit or 0.0
        return limit > 0 and jobs.time_left < -GRACE * limit

    def stop_all(self) -> bool:
        """Whether the whole search has to end now."""
        return self._bridge.interrupted or self._bridge.error is not None


def run_tune(bridge: Bridge) -> None:
    """Run jobs until the engine has none left; blocks.

    Raises:
        SearchBroken: see `MAX_FAILURES_IN_A_ROW`.
        NasdetError: the engine cannot propose anything.
    """
    folder = bridge.ray
    shutil.rmtree(folder, ignore_errors=True)
    try:
        with environment(defaults=_TUNE_SETTINGS):
            tune.Tuner(
                tune.with_resources(JobTrainable, {"CPU": TRIAL_CPUS}),
                tune_config=tune.TuneConfig(
                    search_alg=EngineSearcher(bridge),
                    num_samples=-1,
                    reuse_actors=True,
                    trial_dirname_creator=lambda trial: trial.trial_id,
                    trial_name_creator=lambda trial: trial.trial_id,
                ),
                run_config=tune.RunConfig(
                    name="tune",
                    storage_path=str(folder),
                    callbacks=[bridge],
                    stop=Deadline(bridge),
                    verbose=0,
                    checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                ),
            ).fit()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if bridge.error is not None:
        raise bridge.error


def _error_of(trial: Any) -> object:
    """What ended a Tune trial; Ray may not have copied it yet to where it looks itself."""
    with contextlib.suppress(OSError):
        if (error := trial.get_pickled_error()) is not None:
            return error
    with contextlib.suppress(OSError, TypeError, pickle.PickleError, AttributeError):
        return pickle.loads(Path(trial.pickled_error_file).read_bytes())
    return "unknown, see Ray's own logs"


def ray_folder(study: Path) -> Path:
    """Where Ray keeps its own state of this study; nothing in it outlives the run."""
    return study.absolute() / "ray"


_TUNE_SETTINGS = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_MAX_PENDING_TRIALS_PG": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "TUNE_WARN_THRESHOLD_S": "10",
    "RAY_AIR_NEW_OUTPUT": "0",
}
