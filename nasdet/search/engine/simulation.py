"""A search on a table or simulator with asynchronous workers. Time is virtual: eight workers cost no more to simulate
than one, and the same seed gives the same study."""

from __future__ import annotations

import contextlib
import dataclasses
import heapq
from collections.abc import Callable, Mapping, Sequence

from nasdet.log import LOG, in_short, log_to, logger, traceback_of
from nasdet.search.engine.jobs import Finished, Job
from nasdet.search.engine.study import Costs, Study
from nasdet.search.records.store import Store
from nasdet.space import Params, SearchSpace

Evaluate = Callable[[Params, int], Mapping[str, float]]
"""Parameters and cumulative budget -> values of the objectives."""
Seconds = Callable[[Job], float]
"""How long a job takes."""
MAX_FAILURES = 20
"""Failed evaluations in a row that end a simulation."""


@dataclasses.dataclass(frozen=True)
class Told:
    """One result, in the order of virtual time."""

    time: float
    """Seconds since the start."""
    epochs: int
    """Epochs trained until then, over all trials; those of failed jobs do not count."""
    trial: str
    stop: int
    """Cumulative epochs of the trial."""
    values: dict[str, float]
    """Empty if the job failed."""


@dataclasses.dataclass(frozen=True)
class Simulation:
    """A finished search and the history of its results."""

    study: Study
    history: list[Told]


def simulate(
    evaluate: Evaluate,
    space: SearchSpace,
    *,
    workers: int = 8,
    costs: Costs | None = None,
    seed: int | None = None,
    reference: Sequence[float] | None = None,
    seconds: Seconds = lambda job: float(job.stop - job.record.epochs),
    store: Store | None = None,
) -> Simulation:
    """Search with `workers` that train side by side; each starts its next job the moment it has finished one.

    Args:
        evaluate: parameters, cumulative budget -> values; an exception fails the trial.
        space: what is searched; its budget ends the search (`total_epochs` is the sum over all trials).
        workers: number of jobs that train at once.
        costs: as in `Study`.
        seed: as in `Study`.
        reference: as in `Study`.
        seconds: duration of a job; by default one second per epoch.
        store: as in `Study`; the study in it is continued.

    Raises:
        RuntimeError: `MAX_FAILURES` evaluations in a row failed. Their epochs do not count, so a search that only
            `total_epochs` ends would never end.
    """
    now = [0.0]
    study = Study(space, costs=costs, seed=seed, reference=reference, store=store, clock=lambda: now[0])
    running: list[tuple[float, int, Job]] = []
    failures = 0
    history: list[Told] = []
    epochs, count = 0, 0
    while True:
        while len(running) < workers:
            try:
                job = study.ask()
            except Finished:
                job = None
            if job is None:
                break
            count += 1
            heapq.heappush(running, (now[0] + seconds(job), count, job))
        if not running:
            study.close()
            return Simulation(study, history)
        now[0], _, job = heapq.heappop(running)
        values, error = _tell(study, job, evaluate, seconds(job))
        failures = 0 if values else failures + 1
        if failures == MAX_FAILURES:
            reason = study.store.get(job.record.trial).reason
            broken = RuntimeError(f"{failures} evaluations in a row failed, the last one because: {reason}")
            if error is not None:
                broken.add_note(traceback_of(error))
            raise broken from error
        epochs += job.stop - job.record.epochs if values else 0
        history.append(Told(now[0], epochs, job.record.trial, job.stop, values))


def _tell(study: Study, job: Job, evaluate: Evaluate, seconds: float) -> tuple[dict[str, float], Exception | None]:
    """Do a job; returns its values, empty if it failed, and the exception that it failed of."""
    try:
        values = evaluate(dict(job.params), job.stop)
    except Exception as error:
        folder = getattr(study.store, "dir", None)  # a study in memory has no log file
        with log_to(folder / LOG) if folder else contextlib.nullcontext():
            logger.exception("trial %s failed", job.record.trial)
        study.fail(job, in_short(error))
        return {}, error
    record = study.tell(job, values, seconds=seconds)
    return (dict(record.rungs[-1].values) if record.state != "failed" else {}), None
