from __future__ import annotations

import dataclasses
import errno
import math
import shutil
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from safetensors.torch import load_file

from nasdet.data import UnreadableImage, default_cache_root
from nasdet.errors import TrialFailure
from nasdet.evaluation import read_resamples
from nasdet.trainers import latency, worker
from nasdet.trainers.driver_link import Link
from nasdet.trainers.evaluate import EVAL_BATCH, evaluate
from nasdet.trainers.messages import GroupConfig, Reply, TrainJob
from nasdet.trainers.training_state import read_checkpoint
from nasdet.trainers.worker import Runner
from tests.trainers.conftest import tiny_recipe, tiny_spec

CPU = torch.device("cpu")


def job(folder: Path, **changes: Any) -> TrainJob:
    values = {"stop": 1, "measure_latency": False, **changes}
    spec, recipe = tiny_spec().to_json(), tiny_recipe(epochs=3).to_json()
    return TrainJob(trial="t0000", spec=spec, recipe=recipe, seed=0, folder=str(folder), **values)


def replies(group: GroupConfig, *jobs: TrainJob) -> list[Reply]:
    found: list[Reply] = []
    worker = Runner(group, CPU, Link(found.append))
    for one in jobs:
        worker.run(one)
    return found


def test_a_rung_is_trained_evaluated_and_kept(group: GroupConfig, tmp_path: Path) -> None:
    epoch, rung = replies(group, job(tmp_path))
    assert (epoch.kind, rung.kind, rung.epoch) == ("epoch", "rung", 1)
    assert 0 <= rung.values["ap"] <= 1 and rung.seconds > 0
    assert (tmp_path / "checkpoint.pt").exists()
    assert load_file(tmp_path / "weights.safetensors")


def test_a_latency_that_cannot_be_measured_fails_the_trial_only(
    group: GroupConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latency, "_export", lambda spec, folder: folder / "model.onnx")  # an export takes seconds
    group = dataclasses.replace(group, latency_backend="command", latency_command="/no/such/program {model}")
    failed, epoch, _ = replies(group, job(tmp_path, measure_latency=True), job(tmp_path))
    assert failed.kind == "failed" and epoch.kind == "epoch"
    assert failed.reason.startswith("the latency measurement failed: latency.command cannot be run")
    assert "in _measure" in failed.traceback


def test_promotion_on_another_group_equals_going_on(group: GroupConfig, tmp_path: Path) -> None:
    """Paused at a rung and promoted by a fresh process, a trial scores as if it had never paused."""
    first: list[Reply] = []
    runner = Runner(group, CPU, Link(first.append))
    runner.run(job(tmp_path / "a"))
    for other in ("b", "c"):
        shutil.copytree(tmp_path / "a", tmp_path / other)
    first.clear()
    runner.run(job(tmp_path / "a", start=1, stop=2))  # from what the process remembers
    warm = [r.values for r in first]
    fresh = replies(group, job(tmp_path / "b", start=1, stop=2))
    assert [r.values for r in fresh] == warm
    first.clear()
    runner.run(job(tmp_path / "c", start=1, stop=2))  # the process remembers the state after two epochs, not after one
    assert [r.values for r in first] == warm


@pytest.fixture
def _few_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Latency is measured as briefly as it can be, whatever its error."""
    monkeypatch.setattr("nasdet.models.latency.WANTED_ERROR", 1e9)
    monkeypatch.setattr("nasdet.models.latency.SLICE_SECONDS", 1e-3)


@pytest.mark.usefixtures("_few_pairs")
def test_an_infeasible_latency_costs_no_training(group: GroupConfig, tmp_path: Path) -> None:
    latency, rejected = replies(group, job(tmp_path, measure_latency=True, latency_limits=(0.0, 1e-6)))
    assert latency.values["latency_ms"] > 0
    assert rejected.kind == "infeasible" and "is not within 0 to 1e-06 ms" in rejected.reason
    *_, rejected = replies(group, job(tmp_path, measure_latency=True, latency_limits=(1e6, float("inf"))))
    assert rejected.kind == "infeasible" and "is not within 1e+06 to inf ms" in rejected.reason
    assert not tmp_path.joinpath("checkpoint.pt").exists()


@pytest.mark.usefixtures("_few_pairs")
def test_latency_is_measured_once(group: GroupConfig, tmp_path: Path) -> None:
    measured = [
        replies(group, job(tmp_path / name, measure_latency=True, reference=tiny_spec(kind="bn").to_json()))[0]
        for name in ("a", "b")
    ]
    assert measured[0].values == measured[1].values
    assert set(measured[0].values) == {"latency_ms", "reference_latency_ms"}


def test_a_fault_fails_the_job_and_the_next_one_runs(group: GroupConfig, tmp_path: Path) -> None:
    broken = job(tmp_path / "broken")
    wrong = TrainJob(**{**broken.__dict__, "spec": {**broken.spec, "activation": "none"}})
    failed, _, rung = replies(group, wrong, job(tmp_path / "good"))
    assert failed.kind == "failed" and "activation" in failed.reason
    assert "Traceback" in failed.traceback and "in _training" in failed.traceback
    assert rung.kind == "rung"


def test_the_last_rung_alone_has_confidence_intervals(group: GroupConfig, tmp_path: Path) -> None:
    rungs = [r for r in replies(group, job(tmp_path), job(tmp_path, stop=3, start=1)) if r.kind == "rung"]
    assert "ap_low" not in rungs[0].values
    last = rungs[1].values
    assert last["ap_low"] <= last["ap"] <= last["ap_high"] and last["ap50_low"] <= last["ap50"] <= last["ap50_high"]
    drawn = read_resamples(tmp_path)
    assert drawn.keys() == {"ap", "ap50"} and len(drawn["ap"]) == 200


def test_rungs_of_small_images_are_evaluated_at_their_size(
    group: GroupConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scales: list[tuple[float, ...]] = []

    def watched(*given: Any, **more: Any) -> dict[str, float]:
        scales.append(given[4].scales)
        return evaluate(*given, **more)

    monkeypatch.setattr(worker, "evaluate", watched)
    recipe = tiny_recipe(epochs=3, progressive={"scale": 0.5, "share": 0.4}).to_json()
    jobs = [dataclasses.replace(job(tmp_path, stop=n, start=n - 1), recipe=recipe) for n in (1, 2, 3)]
    assert [r.kind for r in replies(group, *jobs)].count("rung") == 3
    assert scales == [(0.5,), (1.0,), (1.0,)]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "memory"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"), "memory"),
        (OSError(errno.ENOSPC, "No space left on device"), "storage"),
        (UnreadableImage("no such image", where="a.png"), "storage"),
        (RuntimeError("DataLoader worker (pid 42) is killed by signal: Bus error."), "lost"),
        (RuntimeError("std::bad_alloc"), "memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "memory"),
        (RuntimeError("could not create a primitive"), "memory"),
        (FileNotFoundError(errno.ENOENT, "No such file"), "failed"),
        (KeyError("width"), "failed"),
        (TrialFailure("the loss is not finite"), "failed"),
    ],
)
def test_whose_fault_a_failure_is(
    error: Exception, kind: str, group: GroupConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The group lives on, and holds nothing of the failed candidate."""
    real, found = worker.train_epoch, list[Reply]()

    def fails(*arguments: Any) -> Any:
        if isinstance(error, TrialFailure) or not found:
            raise error
        return real(*arguments)

    monkeypatch.setattr(worker, "train_epoch", fails)
    runner = Runner(group, CPU, Link(found.append))
    goes_on = runner.run(job(tmp_path / "a"))
    assert [(r.kind, r.trial) for r in found] == [(kind, "t0000")] and found[0].traceback
    assert goes_on != found[0].ends and found[0].ends == (kind == "memory")  # the process is used up
    assert runner._warm is None
    if not isinstance(error, TrialFailure):
        runner.run(job(tmp_path / "b", recompute=True))
        assert found[-1].kind == "rung" and found[1].values["recompute"] == 1


def test_a_gpu_that_gave_up_ends_the_process(
    group: GroupConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every later job would fail at once; the caller reports it and the group starts again."""
    error = torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
    monkeypatch.setattr(worker, "train_epoch", mock.Mock(side_effect=error))
    found: list[Reply] = []
    with pytest.raises(torch.AcceleratorError):
        Runner(group, CPU, Link(found.append)).run(job(tmp_path))
    assert not found and worker.kind_of(error) == "lost"


@pytest.mark.parametrize(
    "error",
    [
        TrialFailure("the latency measurement failed: CUDA error: unspecified launch failure"),
        TrialFailure("worker 1: RuntimeError: cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"),
    ],
)
def test_a_gpu_that_gave_up_is_known_by_what_other_errors_quote(error: Exception) -> None:
    assert worker.is_device_fault(error) and worker.kind_of(error) == "lost"
    assert not worker.is_device_fault(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))


def test_what_was_trained_is_kept_before_an_evaluation_that_fails(
    group: GroupConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "SAVE_EVERY", 0.0)
    monkeypatch.setattr(worker, "evaluate", mock.Mock(side_effect=ValueError("no")))
    Runner(group, CPU, Link()).run(job(tmp_path))
    assert read_checkpoint(job(tmp_path).checkpoint)["epoch"] == job(tmp_path).stop


def test_signs_of_life_come_with_every_step_and_batch(group: GroupConfig, tmp_path: Path) -> None:
    class Counting(Link):
        steps = 0

        def step(self) -> None:
            self.steps += 1

    link = Counting()
    Runner(group, CPU, link).run(job(tmp_path))
    assert link.steps == 60 // 30 + math.ceil(20 / EVAL_BATCH)


def test_the_time_to_decode_is_taken_back_when_it_is_over(group: GroupConfig, tmp_path: Path) -> None:
    """Else a loader that hangs in a job's first batch is noticed an hour later."""
    waits: list[float] = []

    class Watched(Link):
        def expect(self, seconds: float) -> None:
            waits.append(seconds)

    Runner(group, CPU, Watched()).run(job(tmp_path))
    assert waits == [worker.SECONDS_TO_DECODE, 0.0, worker.SECONDS_TO_JUDGE]


def test_an_image_that_disappears_is_not_the_candidates_fault(
    group: GroupConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The split exceeds the cache, so that every image is decoded when a batch needs it."""
    monkeypatch.setattr("nasdet.data.cache._reserve", lambda path: False)
    monkeypatch.setenv("NASDET_HOME", str(tmp_path))
    shutil.copytree(group.source, tmp_path / "data")
    group = dataclasses.replace(group, source=str(tmp_path / "data"), cache_root=str(default_cache_root()))
    found: list[Reply] = []
    runner, images = Runner(group, CPU, Link(found.append)), tmp_path / "data" / "images"
    images.rename(tmp_path / "gone")
    runner.run(job(tmp_path / "t"))
    assert found[0].kind == "storage" and "no such image" in found[0].reason and "images" in found[0].reason
    (tmp_path / "gone").rename(images)
    runner.run(job(tmp_path / "t"))
    assert found[-1].kind == "rung"


@pytest.mark.parametrize(
    ("writer", "error"),
    [
        (
            "training_state.torch.save",
            RuntimeError("[enforce fail at inline_container.cc:671] . unexpected pos 4 vs 0"),
        ),
        ("worker.save_file", Exception("I/O error: No space left on device (os error 28)")),
    ],
)
def test_a_full_disk_is_not_the_candidates_fault_however_it_is_said(
    writer: str, error: Exception, group: GroupConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"nasdet.trainers.{writer}", mock.Mock(side_effect=error))
    found = replies(group, job(tmp_path))[-1]
    assert found.kind == "storage" and "is the disk full?" in found.reason and str(error) in found.reason
