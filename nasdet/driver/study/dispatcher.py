"""Gives jobs to worker groups and takes their results. One decision: one thread does all of it, event by event, so that
whatever a group, Ray or the clock says is answered from one consistent state, and no group waits for Ray Tune.

A job whose group dies, hangs or loses its machine is released: its trial goes on from its checkpoint as the next job of
any group. It counts against the trial only where the workers died or hung again and again without finishing an epoch.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

from nasdet.driver.study.options import MAX_FAILURES_IN_A_ROW
from nasdet.driver.study.study_run import Phase
from nasdet.driver.study.worker_groups import Group, Groups
from nasdet.errors import NasdetError
from nasdet.log import logger
from nasdet.search import Finished, Job, bounds
from nasdet.study_config import GroupUse
from nasdet.trainers.driver_link import STOP
from nasdet.trainers.job_server import Event, JobServer
from nasdet.trainers.messages import FINAL, Reply, TrainJob

GRACE = 0.05
"""A job may run over the time limit by this share of it before it is cut off,"""
GRACE_SECONDS = 120.0
"""and by at most this."""
TICK = 0.5
"""Seconds between looks at the clock."""
SECONDS_TO_STOP = 1.0
"""How long an interruption waits for the reply that is being recorded."""
MAX_LOSSES = 3
"""Times in a row that a trial's workers may die or hang before it has finished an epoch more."""
MAX_START_FAILURES = 5
"""Groups in a row that may fail to start while none is up."""
START_TIMEOUT = 1800.0
"""Seconds that workers may take to start, once there is room for them: they may have to read a data set."""
SECONDS_AFTER_FAULT = 5.0
"""How long a group gets no job after files could not be read or written, or, if there are others, after its machine
lost one; twice as long after each further time."""
KEEP_EVERY = 10.0
"""Seconds after which the use of the groups is stored again."""
START_PATIENCE = 60.0
"""Seconds after which a group that has not started is spoken of."""


class SearchBroken(NasdetError):
    """Every trial fails, or no group starts; going on is useless."""


class Dispatcher:
    """Jobs and replies between the phases of a study and its worker groups.

    Ray Tune asks it for groups on a thread of its own (`start_group`, `end_group`, `is_condemned`); all else happens in
    `run`. Whatever writes to the study does so under one lock: once `interrupt` has had it, nothing is written.

    Args:
        phases: at least one; the next one is taken when the one before has finished.
        wanted: how many groups there should be now.
        hang_timeout: seconds that a job may make no progress.
        warn: shows the user one line.
        keep: takes the starts of the groups and their use, from time to time and at the end.
        latency_device: kind of processor or GPU on which latency was measured so far; "": none yet.
    """

    def __init__(
        self,
        phases: Iterator[Phase],
        wanted: Callable[[], int],
        *,
        hang_timeout: float = 300.0,
        warn: Callable[[str], None] = lambda line: None,
        keep: Callable[[list[dict[str, float]], GroupUse], None] = lambda starts, use: None,
        latency_device: str = "",
    ) -> None:
        self.phase, self._phases = next(phases), phases
        self._wanted, self._hang_timeout, self._warn, self._keep = wanted, hang_timeout, warn, keep
        self.groups = Groups()
        self.latency_device = latency_device
        self.error: NasdetError | None = None
        self.over = False
        """Whether no further job will come."""
        self.interrupted = False
        self.group_starts: list[dict[str, float]] = []
        self._kept = time.monotonic()
        self._failures = self._failed_starts = 0
        self._no_start_until = 0.0
        self._losses: Counter[str] = Counter()
        self._reached: dict[str, int] = {}
        """Epochs that each trial is known to have trained."""
        self._short_of_memory: set[str] = set()
        self._reference: dict[str, Any] | None = None
        self._measures_reference = ""
        self._spoken = False
        self._other_devices: set[str] = set()
        self._writing = threading.RLock()

    def __getstate__(self) -> dict[str, Any]:
        """Empty: Tune pickles what it is given into a state that no study is ever restored from."""
        return {}

    # What Ray Tune asks, on its thread

    def start_group(self, name: str) -> bool:
        """Whether a further group is wanted; if so, it counts from now on as `name`.

        Raises:
            Finished: none will be wanted any more.
        """
        with self._writing:
            if self.over or self.interrupted:
                raise Finished
            if len(self.groups) >= self._wanted() or time.monotonic() < self._no_start_until:
                return False
            self.groups[name] = Group(created=time.monotonic())
            return True

    def end_group(self, name: str, reason: str = "") -> None:
        """Ray Tune says that a group has ended; if `reason` is given, not because it was told to."""
        with self._writing:
            group = self.groups.get(name)
            if group is None:
                return
            self._release(group, "its worker group ended", counts=False)
            self.groups.end(name)
            if not reason or self.over or self.interrupted:
                return
            logger.error("worker group %s ended: %s", name, reason)
            if group.jobs == 0 and not group.busy:
                self._failed_to_start(reason)

    def is_condemned(self, name: str) -> bool:
        """Whether this group has to be ended now."""
        group = self.groups.get(name)
        return group is None or group.condemned

    @property
    def has_to_stop(self) -> bool:
        """Whether all groups have to be ended now."""
        return self.over or self.interrupted

    def interrupt(self) -> None:
        """Hand out no job and record no reply any more; waits, but not for long, for the one being recorded."""
        self.interrupted = True
        if self._writing.acquire(timeout=SECONDS_TO_STOP):
            self._writing.release()

    # The loop

    def run(self, server: JobServer) -> None:
        """Take the events of `server` until no job is left; blocks.

        Raises:
            NasdetError: see `give_up`.
        """
        try:
            while not self.has_to_stop:
                self.take(server.receive(TICK), more=server.backlog > 0)
        except BaseException:
            self.over = True  # else Ray Tune would start further groups
            raise
        with self._writing:
            for group in self.groups.values():
                group.tell(STOP)
        if not self.interrupted:
            self._keep(self.group_starts, self.use())
        if self.error is not None:
            raise self.error

    def take(self, event: Event | None, *, more: bool = False) -> None:
        """Answer an event, None for none, and do what is due. While `more` events wait, nobody counts as silent: what
        a group has said may be among them."""
        with self._writing:
            if self.interrupted:
                return
            if event is not None:
                self._take(event)
            self._tick(more=more)
            self.groups.grant_quiet()
            self._hand_out()

    def give_up(self, error: NasdetError) -> None:
        """End the search with an error."""
        self.error = self.error or error
        self.over = True

    def _take(self, event: Event) -> None:
        group, reply = self.groups.get(event.group), event.reply
        if group is None:
            return
        if reply is not None and reply.kind == "placed":
            group.starts, group.host = time.monotonic(), reply.host
        elif reply is not None and reply.kind == "up":
            self._up(group, event.connection, reply)
        elif reply is not None and reply.kind in FINAL and not reply.trial and group.connection is None:
            self._cannot_start(group, reply)
        elif event.rank == 0 and event.connection is not group.connection:
            pass  # of workers that others have replaced
        elif reply is None:
            self._disconnected(group)
        else:
            self._heard(group, reply)

    def _heard(self, group: Group, reply: Reply) -> None:
        """Take a reply of a group that is up."""
        now = time.monotonic()
        group.heard = now + reply.seconds if reply.kind == "alive" else now
        match reply.kind:
            case "alive":
                pass
            case "paused":
                group.pause()
            case "wants_quiet":
                group.want_quiet()
            case "measured":
                group.measuring = False
            case _:
                self._reply(group, reply)
        if reply.ends:
            group.connection, group.starts = None, now

    def _up(self, group: Group, connection: Connection, reply: Reply) -> None:
        self._release(group, "its workers were started again", counts=False)  # their end was not noticed
        if group.lost:  # the workers died and not the group: that may be the trial's doing
            self._count_loss(group.lost, "its workers ended")
        group.connection, group.host, group.lost, group.heard = connection, reply.host, "", time.monotonic()
        group.asked = False
        self.group_starts.append(reply.values)
        self._failed_starts = 0
        self._look_at_device(reply)

    def _look_at_device(self, reply: Reply) -> None:
        """Milliseconds of different kinds of processors do not compare: say so, once for each kind."""
        space = self.phase.jobs.space
        self.latency_device = self.latency_device or reply.device
        wanted = {objective.name for objective in space.objectives} | {bound.name for bound in space.constraints}
        if reply.device not in ("", self.latency_device, *self._other_devices) and "latency_ms" in wanted:
            self._other_devices.add(reply.device)
            self._warn(
                f"{reply.host} measures latency on {reply.device}, and the study so far on {self.latency_device}: "
                "these milliseconds do not compare; use machines of one kind"
            )

    def _cannot_start(self, group: Group, reply: Reply) -> None:
        logger.error("workers cannot start: %s\n%s", reply.reason, reply.traceback)
        if not group.condemned:  # else another of its workers has said so
            group.condemn()
            on = f" on {host}" if (host := reply.host or group.host) else ""
            self._failed_to_start(f"the workers cannot start{on}: {reply.reason}", again=False)

    def _failed_to_start(self, reason: str, *, again: bool = True) -> None:
        """A group ended before it had a job. On a cluster that is bad luck, or a bad machine among good ones. It ends
        the search where no other group is up and it happens again and again, or, if the workers themselves said why so
        that trying `again` is of no use, where no other group still starts for the first time either."""
        self._failed_starts += 1
        starting = [group for group in self.groups.values() if not group.condemned]
        hopeless = not again and not self.group_starts and not starting
        if not self.groups.up and (hopeless or self._failed_starts >= MAX_START_FAILURES):
            self.give_up(SearchBroken(reason))
            return
        self._no_start_until = time.monotonic() + 2.0 ** min(self._failed_starts, MAX_START_FAILURES)
        self._warn(f"a worker group did not start and is tried again: {reason}")

    def _disconnected(self, group: Group) -> None:
        trial = group.job.record.trial if group.job else ""
        self._release(group, "its workers ended", counts=False)
        group.connection, group.lost, group.starts = None, trial, time.monotonic()
        if trial:
            self._lost(group)

    def _lost(self, group: Group) -> None:
        """The machine of a group has lost its job. Where there are other groups, they come first, so that a machine
        that loses every job, such as one with a broken GPU, does not fail one trial after another."""
        group.losses += 1
        if any(other.losses == 0 for other in self.groups.up if other is not group):
            self._hold(group, group.losses)
            if group.losses >= MAX_LOSSES:
                self._warn(f"the worker group on {group.host} lost {group.losses} jobs in a row and is replaced")
                group.condemn()

    def _hold(self, group: Group, faults: int) -> None:
        group.hold_until = time.monotonic() + SECONDS_AFTER_FAULT * 2.0 ** min(faults - 1, MAX_LOSSES)

    def _reply(self, group: Group, reply: Reply) -> None:
        """Record a reply about the group's job."""
        job = group.job
        if job is None or reply.trial != job.record.trial:
            return
        trial, jobs, observer = reply.trial, self.phase.jobs, self.phase.observer
        match reply.kind:
            case "latency":
                self._latency(trial, reply.values)
            case "epoch":
                self._got_on(trial, reply.epoch)
                observer.epoch(jobs.store.get(trial), reply.epoch, reply.values)
        if reply.kind not in FINAL:
            return
        self._close(group)
        match reply.kind:
            case "rung":
                self._failures = group.losses = group.storage_faults = 0
                self._losses.pop(trial, None)
                jobs.report(trial, reply.epoch, reply.values, seconds=reply.seconds, overhead=reply.overhead)
            case "infeasible":
                jobs.reject(trial, reply.reason)
            case "failed":
                logger.error("trial %s failed: %s\n%s", trial, reply.reason, reply.traceback)
                self._fail(trial, reply.reason)
            case "memory" if trial not in self._short_of_memory:
                logger.warning(
                    "trial %s: %s; it is tried again with recomputation\n%s", trial, reply.reason, reply.traceback
                )
                self._short_of_memory.add(trial)
                jobs.release(trial)
                return
            case "memory":
                logger.error("trial %s failed: %s\n%s", trial, reply.reason, reply.traceback)
                self._fail(trial, f"{reply.reason} (recomputation of activations was tried)")
            case "storage":
                self._storage_fault(group, trial, reply)
                return
            case "lost":
                logger.warning("trial %s lost its workers: %s\n%s", trial, reply.reason, reply.traceback)
                jobs.release(trial)
                self._count_loss(trial, reply.reason)
                self._lost(group)
                return
        observer.changed(jobs.store.get(trial), jobs.time_left)

    def _latency(self, trial: str, values: dict[str, float]) -> None:
        values = dict(values)
        reference = values.pop("reference_latency_ms", None)
        if reference is not None:
            self.phase.jobs.fix_reference({"latency_ms": reference})
            self._reference = None
        if values:
            self.phase.jobs.note_costs(trial, values)

    def _storage_fault(self, group: Group, trial: str, reply: Reply) -> None:
        """Files cannot be written: not the candidate's fault, and useless to go on with if it stays so for all."""
        logger.error("trial %s: %s\n%s", trial, reply.reason, reply.traceback)
        self.phase.jobs.release(trial)
        group.storage_faults += 1
        self._hold(group, group.storage_faults)
        if all(other.storage_faults > MAX_LOSSES for other in self.groups.up):
            self.give_up(SearchBroken(f"{reply.reason}; make room or mend it, then go on with nasdet resume"))
        elif group.storage_faults > MAX_LOSSES and any(not other.storage_faults for other in self.groups.up):
            self._warn(f"{reply.reason}, again and again on {group.host}: its worker group is replaced")
            group.condemn()
        elif all(o.storage_faults < group.storage_faults for o in self.groups.up if o is not group):
            self._warn(f"{reply.reason}; trial {trial} is tried again")  # else another group has met the same fault

    def _got_on(self, trial: str, epoch: int) -> None:
        """A trial has trained an epoch; one that it trains again, after a loss, is no progress."""
        if epoch > self._reached.get(trial, 0):
            self._reached[trial] = epoch
            self._losses.pop(trial, None)

    # Jobs

    def _hand_out(self) -> None:
        """Give every idle group a job, as long as there are any."""
        noisy = self.groups.noisy_hosts
        for name, group in self.groups.items():
            if self.over or not group.is_idle or group.host in noisy:
                continue
            try:
                job = self._next_job()
            except Finished:
                self.over = True
                return
            except NasdetError as error:
                self.give_up(error)
                return
            if job is None:
                return
            self._give(name, group, job)

    def _next_job(self) -> Job | None:
        """The next job of the first phase that has one.

        Raises:
            Finished: there is none, and none will come.
        """
        while True:
            running = any(group.job for group in self.groups.values())
            try:
                if not running:
                    self._reference, self._measures_reference = self.phase.jobs.fix_reference(), ""
                return self.phase.jobs.next_job()
            except Finished:
                if running:
                    return None
                if not self._advance():
                    raise

    def _advance(self) -> bool:
        """Begin the next phase, in which trials may have the names of others; returns whether there is one."""
        following = next(self._phases, None)
        if following is None:
            return False
        self.phase = following
        self._losses.clear()
        self._short_of_memory.clear()
        self._reached.clear()
        return True

    def _give(self, name: str, group: Group, job: Job) -> None:
        group.begin(job)
        self.phase.observer.started(job.record, job.stop)
        logger.info("group %s: trial %s to epoch %s", name, job.record.trial, job.stop)
        group.tell(self._message(job))

    def _message(self, job: Job) -> TrainJob:
        record, space, store = job.record, self.phase.jobs.space, self.phase.jobs.store
        assert record.spec is not None and record.recipe is not None
        reference = None if self._measures_reference else self._reference
        if reference is not None:
            self._measures_reference = record.trial
        return TrainJob(
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
            reference=reference,
            recompute=record.trial in self._short_of_memory,
        )

    def _close(self, group: Group) -> Job | None:
        """Take the job off a group; returns it."""
        job = group.close()
        if job is not None and job.record.trial == self._measures_reference:
            self._measures_reference = ""
        return job

    def _release(self, group: Group, reason: str, *, counts: bool) -> None:
        """The group's job is over without a result: its trial goes on later, from its checkpoint."""
        job = self._close(group)
        if job is None or self.interrupted:
            return
        trial = job.record.trial
        logger.warning("trial %s is released: %s", trial, reason)
        self.phase.jobs.release(trial)
        if counts:
            self._count_loss(trial, reason)

    def _count_loss(self, trial: str, reason: str) -> None:
        self._losses[trial] += 1
        trains = any(
            group.job and group.job.record.trial == trial for group in self.groups.values()
        )  # in another group by now
        if self._losses[trial] >= MAX_LOSSES and not trains and self.phase.jobs.store.get(trial).state == "running":
            self._fail(trial, f"{reason}, {MAX_LOSSES} times in a row before it had finished an epoch")
            self.phase.observer.changed(self.phase.jobs.store.get(trial), self.phase.jobs.time_left)
        elif self._losses[trial] > 1:
            self._short_of_memory.add(trial)  # the kernel may have ended the worker for its memory

    def _fail(self, trial: str, reason: str) -> None:
        self._failures += 1
        self.phase.jobs.fail(trial, reason)
        if self._failures >= MAX_FAILURES_IN_A_ROW:
            self.give_up(SearchBroken(f"{self._failures} trials in a row failed, the last one because: {reason}"))

    # The clock

    def _tick(self, *, more: bool) -> None:
        """Cut off what hangs or runs over the time limit, and say which groups are waited for."""
        now, jobs = time.monotonic(), self.phase.jobs
        limit = jobs.space.budget.time_limit or 0.0
        if limit and jobs.time_left < -min(GRACE * limit, GRACE_SECONDS):
            for group in self.groups.values():
                if group.job:
                    self._release(group, "the time limit is over", counts=False)
                    group.condemn()  # it trains on, and another one is started for the next phase
            self.over = not self._advance()
            return
        for name, group in () if more else self.groups.items():
            if group.job and not group.rests and now - group.heard > self._hang_timeout:
                logger.error("group %s made no progress for %.0f s and is started again", name, now - group.heard)
                self._release(group, f"it made no progress for {self._hang_timeout:g} s", counts=True)
                group.condemn()
            elif not group.is_up and not group.condemned and group.starts and now - group.starts > START_TIMEOUT:
                group.condemn()
                self._failed_to_start(f"the workers on {group.host} were not up after {START_TIMEOUT:g} s")
        self._speak_of_missing(now)
        if now - self._kept > KEEP_EVERY:
            self._kept = now
            self._keep(self.group_starts, self.use())

    def _speak_of_missing(self, now: float) -> None:
        late = [g for g in self.groups.values() if now - (g.starts or g.created) > START_PATIENCE]
        missing = [g for g in late if not g.is_up and not g.condemned]
        if missing and not self._spoken:
            waiting = sum(not g.starts for g in missing)
            parts = [f"{waiting} still wait for free cores or GPUs"] * bool(waiting)
            parts += [f"{len(missing) - waiting} still start"] * (waiting < len(missing))
            self._warn(f"{len(self.groups.up)} of {self._wanted()} groups train, {' and '.join(parts)}")
        self._spoken = bool(missing)

    def use(self) -> GroupUse:
        """How many groups trained for which share of the time so far."""
        return self.groups.use(wanted=self._wanted(), started=len(self.group_starts))
