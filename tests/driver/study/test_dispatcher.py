"""Jobs for groups: what follows from every message, death and silence, and from the clock; groups are played here."""

from __future__ import annotations

import dataclasses
import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nasdet.driver.observers.base import Observer
from nasdet.driver.study import dispatcher as module
from nasdet.driver.study.detector_search import start_search
from nasdet.driver.study.dispatcher import MAX_LOSSES, Dispatcher
from nasdet.driver.study.options import MAX_FAILURES_IN_A_ROW, Display, ResumeOptions, SearchOptions
from nasdet.driver.study.resume import resume_search
from nasdet.driver.study.study_run import Phase
from nasdet.driver.study.worker_groups import QUIET_TIMEOUT
from nasdet.errors import NasdetError
from nasdet.search import Candidate, Engine, Finished, StudyStore
from nasdet.search.records.repeats import RepeatStore
from nasdet.study_config import StudyConfig
from nasdet.trainers.driver_link import ALONE, GO, PAUSE
from nasdet.trainers.job_server import Event
from nasdet.trainers.messages import Reply, TrainJob
from nasdet.trial import TrialRecord
from tests.driver.conftest import Inbox, tiny_space

ONE_EPOCH = ["budget.trials=2", "budget.epochs=1", "budget.rungs=[1]"]


class Started(Observer):
    """The jobs' trials in order."""

    def __init__(self) -> None:
        self.trials: list[str] = []

    def started(self, record: TrialRecord, stop: int) -> None:
        self.trials.append(record.trial)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_search_then_repeats_then_baseline(without_ray: None, tmp_path: Path) -> None:
    started, terminal = Started(), io.StringIO()
    options = SearchOptions(study=tmp_path / "s", repeat_front=1, baseline=True)
    summary = start_search(tiny_space(*ONE_EPOCH), options, Display((started,), terminal, redirect=False))
    store, trials = StudyStore.open(tmp_path / "s"), started.trials
    front = [m.trial for m in summary.front]
    assert trials[:2] == ["t0000", "t0001"]
    assert trials[2 : 2 + len(front)] == [f"{trial}-seed1" for trial in front]
    assert summary.trials.total == 2 and store.config.finished
    for member in summary.front:
        assert member.values["ap_low"] <= member.values["ap"] <= member.values["ap_high"]
        assert member.repeats.seeds == (1,) and member.repeats.figures["ap"].std is None
    assert summary.baseline.trials.total == len(trials) - 2 - len(front) >= 1
    shown = terminal.getvalue()
    assert "repeating the front" in shown and "random search with the same budget" in shown

    before = {r.record.trial: r.record for r in RepeatStore(store.dir).all()}
    started = Started()
    again = resume_search(tmp_path / "s", ResumeOptions(2), Display((started,), terminal, redirect=False))
    assert started.trials == [f"{trial}-seed2" for trial in front]
    after = {r.record.trial: r.record for r in RepeatStore(store.dir).all()}
    assert before.items() <= after.items() and len(after) == 2 * len(before)
    for key in ("trials", "hypervolume", "wall_seconds", "reference_point", "baseline"):
        assert getattr(again, key) == getattr(summary, key)


def test_a_finished_study_with_nothing_left_starts_no_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = StudyConfig(study="s", data="digits", wall_seconds=0.0, finished=True)
    store = StudyStore.create(tmp_path / "s", config, tiny_space())
    monkeypatch.setattr(
        "nasdet.driver.study.detector_search.ray_cluster", lambda address: pytest.fail("Ray was started")
    )
    assert resume_search(store.dir, ResumeOptions(3)).front == ()  # no member to repeat
    assert StudyStore.open(store.dir).config.repeat_front == 3


class Groups:
    """A search whose groups are played: what they say is passed to the dispatcher, what they are sent is kept."""

    def __init__(self, folder: Path, groups: int = 2, *changes: str, **options: Any) -> None:
        space = tiny_space("objectives=[{name: ap}, {name: params_m}]", "budget.trials=20", *changes)
        self.store = StudyStore.create(folder, StudyConfig(study="s", data="digits"), space)
        engine = Engine(self.store, lambda params: Candidate({}, {"epochs": 2}, {"params_m": 1.0, "gflops": 1.0}))
        self.said: list[str] = []
        self.dispatcher = Dispatcher(
            iter([Phase(engine, Observer())]), lambda: groups, warn=self.said.append, **options
        )
        self.inboxes: dict[str, Inbox] = {}

    def start(self, name: str, host: str = "one") -> Inbox:
        """A new group comes up, or the workers of an old one do."""
        if name not in self.dispatcher.groups:
            assert self.dispatcher.start_group(name)
        self.inboxes[name] = Inbox()
        self.say(name, "up", host=host)
        return self.inboxes[name]

    def say(self, name: str, kind: Any, trial: str = "", rank: int = 0, **values: Any) -> None:
        reply = Reply(kind, trial, **values)
        self.dispatcher.take(Event(name, rank, self.inboxes[name] if rank == 0 else Inbox(), reply))  # type: ignore[arg-type]

    def die(self, name: str) -> None:
        """Its workers end; it may come up again."""
        self.dispatcher.take(Event(name, 0, self.inboxes[name], None))  # type: ignore[arg-type]

    def job(self, name: str) -> TrainJob:
        """The job that it was given last."""
        return [message for message in self.inboxes[name].messages if isinstance(message, TrainJob)][-1]

    def trained(self, name: str, epochs: int = 1) -> str:
        """It finishes its job; returns the trial."""
        trial = self.job(name).trial
        self.say(name, "rung", trial, epoch=epochs, values={"ap": 0.5}, seconds=1.0)
        return trial

    def state(self, trial: str) -> str:
        return self.store.get(trial).state


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """Seconds that the dispatcher's clock shows; to be changed."""
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    yield now


@pytest.fixture
def groups(tmp_path: Path) -> Groups:
    return Groups(tmp_path / "s")


def test_every_group_is_kept_at_work(groups: Groups) -> None:
    groups.start("a"), groups.start("b")
    with pytest.raises(AssertionError):
        groups.start("c")  # two are wanted
    first, second = groups.job("a").trial, groups.job("b").trial
    assert first != second
    groups.trained("a")
    assert groups.job("a").trial not in ("", second) and len(groups.inboxes["a"].messages) == 2
    assert {groups.state(first), groups.state(second)} <= {"paused", "running"}


def test_nothing_is_recorded_after_an_interruption(groups: Groups) -> None:
    groups.start("a")
    trial = groups.job("a").trial
    before = groups.store.get(trial)
    groups.dispatcher.interrupt()
    groups.say("a", "rung", trial, epoch=1, values={"ap": 0.5})
    groups.say("a", "failed", trial, reason="its workers were ended")
    groups.die("a")
    groups.dispatcher.end_group("a", "killed")
    assert groups.store.get(trial) == before and before.state == "running"
    with pytest.raises(Finished):
        groups.dispatcher.start_group("b")


def test_a_reply_about_another_trial_is_passed_over(groups: Groups) -> None:
    groups.start("a")
    trial = groups.job("a").trial
    before = groups.store.get(trial)
    groups.say("a", "failed", "t9999", reason="late news of the job before")
    assert groups.store.get(trial) == before
    groups.say("a", "failed", trial, reason="no", traceback="Traceback")
    assert groups.state(trial) == "failed"


def test_an_interruption_waits_for_the_reply_that_is_being_recorded(groups: Groups) -> None:
    groups.start("a")
    trial, entered, go_on, order = groups.job("a").trial, threading.Event(), threading.Event(), list[str]()

    class Slow(Observer):
        def changed(self, record: TrialRecord, time_left: float) -> None:
            entered.set()
            go_on.wait(5)
            order.append("recorded")

    groups.dispatcher.phase = dataclasses.replace(groups.dispatcher.phase, observer=Slow())
    sender = threading.Thread(target=groups.trained, args=("a",))
    sender.start()
    assert entered.wait(5)
    threading.Timer(0.2, go_on.set).start()
    groups.dispatcher.interrupt()
    order.append("interrupted")
    sender.join()
    assert order == ["recorded", "interrupted"] and groups.state(trial) == "paused"


def test_a_failed_trial_leaves_its_traceback_in_the_log(groups: Groups, caplog: pytest.LogCaptureFixture) -> None:
    groups.start("a")
    trial = groups.job("a").trial
    groups.say("a", "failed", trial, reason="ValueError: no", traceback="Traceback: in a worker")
    assert groups.store.get(trial).reason == "ValueError: no"
    assert "Traceback: in a worker" in caplog.text


def test_the_trial_of_a_group_that_died_goes_on_in_another_one(groups: Groups) -> None:
    groups.start("a"), groups.start("b")
    lost = groups.job("a").trial
    groups.die("a")
    groups.dispatcher.end_group("a", "its node died")
    groups.trained("b")
    assert groups.job("b").trial == lost and groups.state(lost) == "running"
    groups.start("c")  # in the place of a
    assert groups.job("c").trial != lost


def test_lost_machines_never_count_against_a_trial(groups: Groups) -> None:
    groups.start("g0")
    trial = groups.job("g0").trial
    for number in range(3 * MAX_LOSSES):
        groups.die(f"g{number}")
        groups.dispatcher.end_group(f"g{number}", "its node died")
        groups.start(f"g{number + 1}")
        assert groups.job(f"g{number + 1}").trial == trial and groups.state(trial) == "running"


def test_workers_that_die_on_one_trial_again_and_again_fail_it(groups: Groups) -> None:
    groups.start("a")
    trial = groups.job("a").trial
    for number in range(MAX_LOSSES):
        groups.die("a")
        groups.start("a")
        if number < MAX_LOSSES - 1:
            assert groups.job("a").trial == trial
        if number == 1:  # it makes progress: the count starts again
            assert groups.job("a").recompute  # memory may be what ended them
            groups.say("a", "epoch", trial, epoch=1, values={"loss": 1.0})
            groups.die("a"), groups.start("a")
            assert groups.state(trial) == "running"
    groups.die("a"), groups.start("a")
    assert groups.state(trial) == "failed"
    assert groups.store.get(trial).reason == "its workers ended, 3 times in a row before it had finished an epoch"


def test_a_trial_is_not_failed_while_another_group_trains_it(groups: Groups, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS_AFTER_FAULT", 0.0)
    groups.start("a"), groups.start("b")
    trial, loser, other = groups.job("a").trial, "a", "b"
    for _ in range(MAX_LOSSES):
        groups.die(loser)
        groups.trained(other)
        assert groups.job(other).trial == trial
        groups.start(loser)  # it counts the loss, while the other one trains the trial
        assert groups.state(trial) == "running"
        loser, other = other, loser


def test_out_of_memory_is_tried_once_more_with_recomputation(groups: Groups) -> None:
    groups.start("a")
    trial = groups.job("a").trial
    assert not groups.job("a").recompute
    groups.say("a", "memory", trial, reason="out of memory; a smaller batch would fit", ends=True)
    assert len(groups.inboxes["a"].messages) == 1  # its workers are about to be started again
    groups.die("a"), groups.start("a")
    assert groups.job("a").trial == trial and groups.job("a").recompute and groups.state(trial) == "running"
    groups.say("a", "memory", trial, reason="out of memory; a smaller batch would fit", ends=True)
    assert (
        groups.state(trial) == "failed" and "recomputation of activations was tried" in groups.store.get(trial).reason
    )


def test_a_fault_of_one_worker_of_several_ends_the_job_and_not_the_next_one(groups: Groups) -> None:
    groups.start("a")
    trial = groups.job("a").trial
    groups.say("a", "failed", trial, rank=1, reason="worker 1: ValueError: no", ends=True)
    assert groups.state(trial) == "failed"
    assert len(groups.inboxes["a"].messages) == 1  # its workers are about to end
    groups.die("a")
    groups.start("a")
    assert groups.job("a").trial != trial


def test_storage_that_fails_is_waited_for_and_then_ends_the_search(
    groups: Groups, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SECONDS_AFTER_FAULT", 0.0)
    groups.start("a")
    trial = groups.job("a").trial
    for _ in range(MAX_LOSSES):
        groups.say("a", "storage", trial, reason="[Errno 28] No space left on device: 's'")
        assert groups.job("a").trial == trial and groups.state(trial) == "running"
    groups.say("a", "storage", trial, reason="[Errno 28] No space left on device: 's'")
    assert groups.dispatcher.over and "No space left" in str(groups.dispatcher.error)
    assert groups.state(trial) == "running"  # nothing is lost


def test_a_fault_of_storage_that_several_groups_meet_counts_once(groups: Groups, clock: list[float]) -> None:
    groups.start("a"), groups.start("b")
    for number in range(MAX_LOSSES):
        trials = [groups.job(name).trial for name in "ab"]
        for name, trial in zip("ab", trials, strict=True):
            groups.say(name, "storage", trial, reason="[Errno 28] No space left on device: 's'")
        assert len(groups.said) == number + 1
        clock[0] += module.SECONDS_AFTER_FAULT * 2**number + 1
        groups.dispatcher.take(None)
        assert {groups.job(name).trial for name in "ab"} == set(trials)
    assert not groups.dispatcher.over


def test_failures_in_a_row_end_the_search(groups: Groups) -> None:
    groups.start("a")
    for _ in range(MAX_FAILURES_IN_A_ROW):
        assert not groups.dispatcher.over
        groups.say("a", "failed", groups.job("a").trial, reason="KeyError: 'x'")
    assert str(groups.dispatcher.error) == "5 trials in a row failed, the last one because: KeyError: 'x'"


def test_a_group_that_hangs_is_replaced_and_its_trial_goes_on(tmp_path: Path, clock: list[float]) -> None:
    groups = Groups(tmp_path / "s", hang_timeout=10.0)
    groups.start("a")
    trial = groups.job("a").trial
    clock[0] += 9
    groups.say("a", "alive")
    clock[0] += 9
    groups.dispatcher.take(None)
    assert not groups.dispatcher.is_condemned("a")
    groups.say("a", "alive", seconds=100.0)  # it says that the next step takes long
    clock[0] += 105
    groups.dispatcher.take(None)
    assert not groups.dispatcher.is_condemned("a")
    clock[0] += 10
    groups.dispatcher.take(None)
    assert groups.dispatcher.is_condemned("a") and groups.state(trial) == "running"
    groups.dispatcher.end_group("a")
    groups.start("b")
    assert groups.job("b").trial == trial


def test_nobody_is_silent_while_events_wait(tmp_path: Path, clock: list[float]) -> None:
    """The driver itself was held up, by its disk for example."""
    groups = Groups(tmp_path / "s", hang_timeout=10.0)
    groups.start("a")
    clock[0] += 60
    groups.dispatcher.take(None, more=True)
    assert not groups.dispatcher.is_condemned("a")
    groups.say("a", "alive")
    groups.dispatcher.take(None)
    assert not groups.dispatcher.is_condemned("a")


def follow_clock(groups: Groups, clock: list[float]) -> None:
    """The search has begun now, and its budget goes by this clock."""
    budget: Any = groups.dispatcher.phase.jobs._budget  # type: ignore[attr-defined]
    budget._clock, budget._start = lambda: clock[0], clock[0]


def test_the_time_limit_needs_no_word_of_a_group(tmp_path: Path, clock: list[float]) -> None:
    groups = Groups(tmp_path / "s", 1, "budget.time_limit=100")
    groups.start("a")
    follow_clock(groups, clock)
    clock[0] += 104
    groups.dispatcher.take(None)
    assert not groups.dispatcher.over
    clock[0] += 2
    groups.dispatcher.take(None)
    assert groups.dispatcher.over and groups.dispatcher.error is None


def test_a_group_that_cannot_start_ends_the_search_if_none_ever_did(groups: Groups) -> None:
    assert groups.dispatcher.start_group("a")
    groups.inboxes["a"] = Inbox()
    groups.say("a", "failed", reason="worker 0: no such data set")
    assert str(groups.dispatcher.error) == "the workers cannot start: worker 0: no such data set"


def test_a_group_that_cannot_start_is_tried_again_if_others_did(groups: Groups, clock: list[float]) -> None:
    groups.start("a")
    assert groups.dispatcher.start_group("b")
    groups.inboxes["b"] = Inbox()
    groups.say("b", "failed", reason="worker 0: no such folder")
    assert (
        groups.dispatcher.error is None and groups.dispatcher.is_condemned("b") and "no such folder" in groups.said[0]
    )
    groups.dispatcher.end_group("b")
    assert not groups.dispatcher.start_group("c")  # after a while
    clock[0] += 60
    assert groups.dispatcher.start_group("c")


def test_holders_that_die_before_any_group_is_up_end_the_search_with_the_reason(
    groups: Groups, clock: list[float]
) -> None:
    for number in range(module.MAX_START_FAILURES):
        assert groups.dispatcher.error is None
        clock[0] += 1000
        assert groups.dispatcher.start_group(f"g{number}")
        groups.dispatcher.end_group(f"g{number}", "The actor died: its node was lost")
    assert isinstance(groups.dispatcher.error, NasdetError) and "its node was lost" in str(groups.dispatcher.error)


def test_others_rest_while_one_measures(groups: Groups) -> None:
    a, b = groups.start("a"), groups.start("b")
    groups.say("a", "wants_quiet")
    assert b.messages[-1] == PAUSE and ALONE not in a.messages
    groups.say("b", "wants_quiet")  # crossed the request; it rests until it is its turn
    assert a.messages[-1] == ALONE and ALONE not in b.messages
    groups.say("a", "measured")
    assert a.messages[-1] == PAUSE and ALONE not in b.messages
    groups.say("a", "paused")
    assert b.messages[-1] == ALONE
    groups.say("b", "measured")
    assert a.messages[-1] == GO


def test_a_group_that_ends_its_job_meanwhile_gets_the_next_one_afterwards(groups: Groups) -> None:
    a, b = groups.start("a"), groups.start("b")
    groups.say("a", "wants_quiet")
    assert b.messages[-1] == PAUSE
    groups.trained("b")
    assert a.messages[-1] == ALONE and b.messages[-1] == PAUSE
    groups.say("a", "measured")
    assert isinstance(b.messages[-1], TrainJob)


def test_other_machines_do_not_rest(groups: Groups) -> None:
    a, b = groups.start("a", host="one"), groups.start("b", host="two")
    groups.say("a", "wants_quiet")
    assert a.messages[-1] == ALONE and PAUSE not in b.messages


def test_a_group_that_never_pauses_is_not_waited_for_without_end(groups: Groups, clock: list[float]) -> None:
    a, _ = groups.start("a"), groups.start("b")
    groups.say("a", "wants_quiet")
    clock[0] += QUIET_TIMEOUT + 1
    groups.dispatcher.take(None)
    assert a.messages[-1] == ALONE


def test_a_pause_does_not_count_as_work_nor_as_hanging(tmp_path: Path, clock: list[float]) -> None:
    groups = Groups(tmp_path / "s", hang_timeout=5.0)
    groups.start("a"), groups.start("b")
    clock[0] += 1
    groups.say("a", "wants_quiet")
    groups.say("b", "paused")
    for _ in range(5):
        clock[0] += 4
        groups.say("a", "alive")
    assert not groups.dispatcher.is_condemned("b")
    groups.say("a", "measured")
    clock[0] += 2
    use = groups.dispatcher.use()
    assert (use.groups, use.jobs, use.seconds) == (2, 2, 23.0)
    assert use.busy_seconds == pytest.approx(23 + 3)


def test_a_bad_machine_among_good_ones_ends_nothing(groups: Groups, clock: list[float]) -> None:
    groups.start("a")
    for number in range(3 * module.MAX_START_FAILURES):
        name = f"bad{number}"
        assert groups.dispatcher.start_group(name)
        for rank in range(6):  # each of its workers says it
            reply = Reply("failed", reason="worker: FileNotFoundError: /mnt", host="10.0.0.7")
            groups.dispatcher.take(Event(name, rank, Inbox(), reply))  # type: ignore[arg-type]
        assert groups.dispatcher.is_condemned(name) and len(groups.said) == number + 1
        groups.dispatcher.end_group(name)
        groups.trained("a")  # which is given jobs all the same
        assert not groups.dispatcher.start_group("early")
        clock[0] += 2.0**module.MAX_START_FAILURES
    assert groups.dispatcher.error is None and "cannot start on 10.0.0.7" in groups.said[0]


def test_a_machine_that_fails_first_does_not_end_the_search_before_the_others_are_up(groups: Groups) -> None:
    assert groups.dispatcher.start_group("bad") and groups.dispatcher.start_group("good")
    event = Event("bad", 0, Inbox(), Reply("failed", reason="worker 0: no mount"))  # type: ignore[arg-type]
    groups.dispatcher.take(event)
    assert groups.dispatcher.error is None
    groups.start("good")
    assert groups.job("good").trial == "t0000"


def test_a_machine_that_loses_job_after_job_fails_no_trial(groups: Groups, clock: list[float]) -> None:
    groups.start("good"), groups.start("bad", host="two")
    lost = []
    for _ in range(MAX_LOSSES):
        lost.append(groups.job("bad").trial)
        groups.say("bad", "lost", lost[-1], reason="CUDA error: unspecified launch failure", ends=True)
        groups.die("bad")
        groups.trained("good")
        assert groups.job("good").trial == lost[-1]  # the released trial comes first, to another group
        if groups.dispatcher.is_condemned("bad"):
            break
        groups.start("bad", host="two")
        clock[0] += module.SECONDS_AFTER_FAULT * 2**MAX_LOSSES
        groups.dispatcher.take(None)
    assert groups.dispatcher.is_condemned("bad") and len(set(lost)) == MAX_LOSSES
    assert all(groups.state(trial) in ("running", "paused", "complete") for trial in lost)


def test_an_epoch_that_is_trained_again_is_no_progress(groups: Groups) -> None:
    groups.start("a")
    trial = groups.job("a").trial
    for _ in range(MAX_LOSSES):
        assert groups.state(trial) == "running"
        groups.say("a", "epoch", trial, epoch=1, values={"loss": 1.0})
        groups.say("a", "lost", trial, reason="DataLoader worker was killed")
    assert groups.state(trial) == "failed"


def test_workers_that_started_again_unnoticed_give_their_job_back(groups: Groups) -> None:
    groups.start("a")
    trial = groups.job("a").trial
    groups.start("a")  # the connection of the old ones has never ended
    assert groups.job("a").trial == trial and groups.state(trial) == "running" and not groups.dispatcher._losses


def test_a_start_that_hangs_is_ended_and_waiting_for_room_is_not(groups: Groups, clock: list[float]) -> None:
    groups.start("a")
    assert groups.dispatcher.start_group("b")
    clock[0] += 10 * module.START_TIMEOUT
    groups.say("a", "alive"), groups.dispatcher.take(None)
    assert groups.said == ["1 of 2 groups train, 1 still wait for free cores or GPUs"]
    event = Event("b", -1, Inbox(), Reply("placed", host="two"))  # type: ignore[arg-type]
    groups.dispatcher.take(event)
    assert not groups.dispatcher.is_condemned("b")
    clock[0] += module.START_TIMEOUT + 1
    groups.say("a", "alive")
    assert groups.dispatcher.is_condemned("b") and "the workers on two were not up" in groups.said[-1]
    assert groups.dispatcher.error is None


def test_workers_that_start_again_late_in_a_search_have_their_time(groups: Groups, clock: list[float]) -> None:
    assert groups.dispatcher.start_group("a")
    groups.dispatcher.take(Event("a", -1, Inbox(), Reply("placed", host="one")))  # type: ignore[arg-type]
    groups.start("a")
    clock[0] += 2 * module.START_TIMEOUT
    groups.say("a", "memory", groups.job("a").trial, reason="out of memory", ends=True)
    groups.dispatcher.take(None)
    assert not groups.dispatcher.is_condemned("a")
    clock[0] += 60
    groups.start("a")
    assert groups.job("a").recompute


def test_four_groups_measure_one_after_another_while_all_others_rest(tmp_path: Path, clock: list[float]) -> None:
    groups, names = Groups(tmp_path / "s", 4), ["a", "b", "c", "d"]
    for name in names:
        groups.start(name)
    for name in names:  # b, c and d have been asked to rest when they say that they want to measure themselves
        groups.say(name, "wants_quiet")
        clock[0] += 1
    measured: list[str] = []
    for name in names:
        assert groups.inboxes[name].messages[-1] == ALONE
        clock[0] += 0.9 * QUIET_TIMEOUT  # more in all than one may wait
        groups.dispatcher.take(None)
        groups.say(name, "measured")
        measured.append(name)
        if name != "d":  # those that have measured train on, and rest again for the next one
            for done in measured:
                assert PAUSE in groups.inboxes[done].messages
                groups.say(done, "paused")
    assert all(groups.inboxes[name].messages[-1] == GO for name in "abc")


def test_the_time_limit_cuts_off_a_job_and_the_next_phase_begins(tmp_path: Path, clock: list[float]) -> None:
    groups = Groups(tmp_path / "s", 2, "budget.time_limit=100")
    following = Groups(tmp_path / "t", 2)
    ended: list[str] = []

    def phases() -> Iterator[Phase]:
        yield groups.dispatcher.phase
        ended.append("search")
        yield following.dispatcher.phase

    dispatcher = groups.dispatcher = Dispatcher(phases(), lambda: 2)
    inbox = groups.start("a")
    follow_clock(groups, clock)
    trial = groups.job("a").trial
    clock[0] += 100 * (1 + module.GRACE) + 1
    dispatcher.take(None)
    assert ended == ["search"] and not dispatcher.over and dispatcher.is_condemned("a")
    assert groups.state(trial) != "failed" and following.store.records() == []
    groups.start("b")
    assert groups.job("b").trial == "t0000" and len(following.store.records()) == 1
    assert sum(isinstance(message, TrainJob) for message in inbox.messages) == 1


def test_a_long_study_is_not_run_over_for_hours(tmp_path: Path, clock: list[float]) -> None:
    groups = Groups(tmp_path / "s", 2, "budget.time_limit=100h", hang_timeout=1e9)
    groups.start("a")
    follow_clock(groups, clock)
    clock[0] += 100 * 3600 + module.GRACE_SECONDS - 1
    groups.dispatcher.take(None)
    assert not groups.dispatcher.over
    clock[0] += 2
    groups.dispatcher.take(None)
    assert groups.dispatcher.over


def test_latency_on_two_kinds_of_machine_is_spoken_of_once(tmp_path: Path) -> None:
    groups = Groups(tmp_path / "s", 3, latency_device="A100")
    for name, device in (("a", "A100"), ("b", "L4"), ("c", "L4")):
        groups.dispatcher.start_group(name)
        groups.inboxes[name] = Inbox()
        groups.say(name, "up", host=name, device=device)
    assert groups.said == []  # nothing is decided by latency here

    groups = Groups(tmp_path / "t", 3, "constraints=[latency_ms <= 9]")
    for name, device in (("a", "A100"), ("b", "L4"), ("c", "L4")):
        groups.dispatcher.start_group(name)
        groups.inboxes[name] = Inbox()
        groups.say(name, "up", host=name, device=device)
    assert len(groups.said) == 1 and "b measures latency on L4, and the study so far on A100" in groups.said[0]
    assert groups.dispatcher.latency_device == "A100"
