"""The worker groups of a search as its dispatcher sees them: which of them live, how long each has trained, and which
of them measures latency while the others on its machine rest."""

from __future__ import annotations

import dataclasses
import time
from multiprocessing.connection import Connection

from nasdet.search import Job
from nasdet.study_config import GroupUse
from nasdet.trainers.driver_link import ALONE, GO, PAUSE
from nasdet.trainers.job_server import send

QUIET_TIMEOUT = 30.0
"""Seconds after which latency is measured although another group of the machine has not paused, counted from the wish
or from the end of the measurement before."""


@dataclasses.dataclass
class Group:
    """A worker group as the dispatcher sees it."""

    created: float
    """When Ray Tune asked for it."""
    starts: float = 0.0
    """Since when its workers start, for the first time or again; 0: it waits for free cores or GPUs."""
    connection: Connection | None = None
    """To its rank 0; None while its workers start."""
    host: str = ""
    job: Job | None = None
    heard: float = 0.0
    """When it was last known to make progress."""
    began: float = 0.0
    """When its job began, or went on after a pause."""
    busy: float = 0.0
    """Seconds of jobs, without pauses and the running stretch."""
    jobs: int = 0
    asked: bool = False
    """To pause."""
    paused: bool = False
    wants_quiet: float = 0.0
    """Since when it waits for the others to pause; 0: it does not."""
    measuring: bool = False
    lost: str = ""
    """The trial that its workers were training when they ended; they are being started again."""
    condemned: bool = False
    """It hangs, or cannot start; Ray Tune is to end it."""
    losses: int = 0
    """Jobs in a row that its machine has lost."""
    storage_faults: int = 0
    """Jobs in a row that ended because files could not be read or written."""
    hold_until: float = 0.0
    """When it may have the next job."""

    @property
    def is_up(self) -> bool:
        """Whether its workers are there."""
        return self.connection is not None and not self.condemned

    @property
    def is_idle(self) -> bool:
        """Whether it can take a job."""
        return self.is_up and self.job is None and time.monotonic() >= self.hold_until

    @property
    def rests(self) -> bool:
        """Whether no step of a job is to be expected of it."""
        return self.paused or bool(self.wants_quiet)

    def tell(self, message: object) -> None:
        """Send a message to its rank 0, if it is up."""
        if self.connection is not None:
            send(self.connection, message)

    def begin(self, job: Job) -> None:
        """Its job from now on."""
        self.job, self.began, self.heard = job, time.monotonic(), time.monotonic()
        self.jobs += 1

    def close(self) -> Job | None:
        """Take the job off it; returns the job."""
        self.busy, job = self.busy_until(time.monotonic()), self.job
        self.job, self.paused, self.measuring, self.wants_quiet = None, False, False, 0.0
        return job

    def want_quiet(self) -> None:
        """It waits until the others of its machine rest; while it does, it takes no notice of being asked to."""
        now = time.monotonic()
        self.busy = self.busy_until(now)
        self.wants_quiet, self.asked = now, False

    def measure(self) -> None:
        """Let it measure: the others rest."""
        self.wants_quiet, self.measuring = 0.0, True
        self.began = self.heard = time.monotonic()
        self.tell(ALONE)

    def condemn(self) -> None:
        """Ray Tune is to end it; nothing that it says counts any more."""
        self.condemned, self.connection = True, None

    def pause(self) -> None:
        """It rests, as it was asked to."""
        if self.asked and self.job and not self.paused:
            self.busy, self.paused = self.busy_until(time.monotonic()), True

    def go_on(self) -> None:
        """It need not rest any more."""
        if self.asked:
            self.tell(GO)
        if self.paused:
            self.paused, self.began, self.heard = False, time.monotonic(), time.monotonic()
        self.asked = False

    def busy_until(self, now: float) -> float:
        """Seconds of jobs without pauses, its own before a measurement included."""
        return self.busy + (now - self.began if self.job and not self.rests else 0.0)


class Groups(dict[str, Group]):
    """The groups that live, by name."""

    def __init__(self) -> None:
        super().__init__()
        self._began = time.monotonic()
        self._ended, self._ended_busy, self._ended_jobs = 0, 0.0, 0
        self._measured: dict[str, float] = {}
        """When latency was last being measured on a machine."""

    @property
    def up(self) -> list[Group]:
        """Those whose workers are there."""
        return [group for group in self.values() if group.is_up]

    def end(self, name: str) -> None:
        """Forget a group but for what it did; its job must have been closed."""
        group = self.pop(name)
        self._ended += 1
        self._ended_busy += group.busy
        self._ended_jobs += group.jobs

    def use(self, *, wanted: int, started: int) -> GroupUse:
        """How many groups trained for which share of the time so far."""
        now = time.monotonic()
        return GroupUse(
            groups=wanted,
            started=started,
            ended=self._ended,
            seconds=now - self._began,
            busy_seconds=self._ended_busy + sum(group.busy_until(now) for group in self.values()),
            jobs=self._ended_jobs + sum(group.jobs for group in self.values()),
        )

    @property
    def noisy_hosts(self) -> set[str]:
        """Machines on which latency is measured, or is about to be: no job begins there."""
        return {group.host for group in self.values() if group.measuring or group.wants_quiet}

    def grant_quiet(self) -> None:
        """Let groups measure latency one after another, each while the others on its machine rest."""
        now = time.monotonic()
        for host in {g.host for g in self.values() if g.wants_quiet or g.asked}:
            here = [g for g in self.values() if g.host == host and g.connection is not None]
            if any(g.measuring for g in here):
                self._measured[host] = now
                continue
            waiting = sorted((g for g in here if g.wants_quiet), key=lambda g: g.wants_quiet)
            training = [g for g in here if g.job and not g.rests]
            if not waiting:
                for group in here:
                    group.go_on()
            elif training and now - max(waiting[0].wants_quiet, self._measured.get(host, 0.0)) < QUIET_TIMEOUT:
                for group in training:
                    if not group.asked:
                        group.asked = True
                        group.tell(PAUSE)
            else:
                waiting[0].measure()
