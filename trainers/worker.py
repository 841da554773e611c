"""Runs jobs, one after another, on one worker of a group; no Ray. One decision: the process, its imports, its process
group and the decoded data set stay warm between jobs, and a job that fails on all workers costs only itself."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file

from nasdet.data import CachedSplit, Dataset, open_data
from nasdet.errors import NasdetError, TrialFailure
from nasdet.files import atomic_path
from nasdet.log import traceback_of
from nasdet.models.training_free_scores import score
from nasdet.space.specs import DetectorSpec, Recipe
from nasdet.trainers.evaluate import evaluate, synchronise_buffers
from nasdet.trainers.full_training import FullJob, FullTraining
from nasdet.trainers.latency import LatencyBackend, cached_latency
from nasdet.trainers.loop import parallel, train_epoch
from nasdet.trainers.messages import GroupConfig, Reply, TrainJob
from nasdet.trainers.ranks import Ranks, explain
from nasdet.trainers.test_time_augmentation import Transforms
from nasdet.trainers.training_state import Training

SAVE_EVERY = 20.0
"""Seconds between checkpoints inside a rung."""
Emit = Callable[[Reply], None]


class Infeasible(NasdetError):
    """A measured cost breaks a constraint."""


class Runner:
    """One worker's side of all jobs of a study; the caller sets the number of threads.

    Args:
        config: the group's configuration.
        rank_device: this worker's device.
        emit: takes replies; called on rank 0 only.
    """

    def __init__(self, config: GroupConfig, rank_device: torch.device, emit: Emit) -> None:
        self.config, self.device = config, rank_device
        self.ranks = Ranks(rank_device)
        self._emit = emit
        self.data: Dataset = open_data(
            config.source, seed=config.data_seed, cache_root=Path(config.cache_root), max_bad=config.max_bad
        )
        if config.tiling:
            self.data = self.data.tiled(config.tiling)
        self._warm: tuple[str, Training] | None = None
        self._ended = time.perf_counter()

    def run(self, job: TrainJob | FullJob) -> None:
        """Do one job and reply; all workers of the group call this with the same job.

        Raises:
            Exception: a fault inside a collective; the group is unusable, and the caller must end this process.
        """
        try:
            self._full(job) if isinstance(job, FullJob) else self._run(job)
        except Infeasible as error:
            self.reply(Reply("infeasible", job.trial, reason=str(error)))
        except TrialFailure as error:
            self._warm = None
            self.reply(Reply("failed", job.trial, reason=str(error), traceback=traceback_of(error)))
        except Exception as error:
            self._warm = None
            if self.ranks.world > 1:
                raise
            self.reply(Reply("failed", job.trial, reason=explain(error), traceback=traceback_of(error)))
        finally:
            self._ended = time.perf_counter()

    def reply(self, reply: Reply) -> None:
        """Send a reply from rank 0."""
        if self.ranks.rank == 0:
            self._emit(reply)

    def _run(self, job: TrainJob) -> None:
        latency_seconds = self._latency(job)
        training, split = self._prepared(job)
        model = parallel(training, self.ranks)
        begin, first = time.perf_counter(), 0.0

        def on_step(step: int, _steps: int) -> None:
            nonlocal first
            first = first or time.perf_counter()

        saved = begin
        while training.epoch < job.stop:
            means = train_epoch(training, model, split, self.ranks, on_step)
            self.reply(Reply("epoch", job.trial, training.epoch, means))
            if self._is_time_to_save(saved) and training.epoch < job.stop:
                synchronise_buffers(training, self.ranks)
                self._save(job, training)
                saved = time.perf_counter()
        figures = self._finish(job, training)
        started = first or begin
        overhead = max(0.0, started - self._ended - latency_seconds)
        seconds = time.perf_counter() - started
        self.reply(Reply("rung", job.trial, training.epoch, figures, seconds=seconds, overhead=overhead))

    def _full(self, job: FullJob) -> None:
        best = FullTraining(job, self.data, self.ranks, self.device, self.reply).run()
        self.reply(Reply("rung", job.trial, int(best.get("epoch", 0)), best))

    def _prepared(self, job: TrainJob) -> tuple[Training, CachedSplit]:
        """The trial's state on every worker; a worker that cannot prepare fails the trial on all of them."""
        with self.ranks.failing_together():
            training = self._training(job)
            size = training.spec.input
            split = self.data.cached("train", size.height, size.width)
        return training, split

    def _training(self, job: TrainJob) -> Training:
        if self._warm is not None and self._warm[0] == job.trial and self._warm[1].epoch == job.start:
            return self._warm[1]
        spec, recipe = DetectorSpec.model_validate(job.spec), Recipe.model_validate(job.recipe)
        resumed = job.checkpoint.exists()
        training = Training.start(spec, recipe, seed=job.seed, device=self.device, resumed=resumed)
        if resumed:
            training.load(job.checkpoint)
        self._warm = (job.trial, training)
        return training

    def _finish(self, job: TrainJob, training: Training) -> dict[str, float]:
        """Evaluate, with intervals after the last epoch, and keep the state to go on from and the weights."""
        synchronise_buffers(training, self.ranks)
        last = Path(job.folder) if training.epoch >= training.recipe.epochs else None
        scale = Transforms((training.recipe.scale_of(training.epoch - 1),))  # the size of images that it has seen
        figures = evaluate(training.evaluated, self.data, "val", self.ranks, scale, resamples=last)
        for name in ("images_per_second", "max_detections"):  # of this machine and data, not of the candidate
            figures.pop(name, None)
        if self.ranks.rank == 0:
            self._save(job, training)
            state = {name: t.contiguous().cpu() for name, t in training.evaluated.state_dict().items()}
            with atomic_path(job.weights) as part:
                save_file(state, part)
        return figures

    def _save(self, job: TrainJob, training: Training) -> None:
        if self.ranks.rank == 0:
            training.save(job.checkpoint)

    def _is_time_to_save(self, saved: float) -> bool:
        return self.ranks.broadcast(time.perf_counter() - saved > SAVE_EVERY)

    def _latency(self, job: TrainJob) -> float:
        """Measure on rank 0 while the others wait; returns the seconds it took."""
        start = time.perf_counter()
        outcome: dict[str, float] = {}
        if self.ranks.rank == 0 and (job.measure_latency or job.reference or job.scores):
            try:
                outcome = self._measure(job)
            except Exception as error:
                self.ranks.add_failure(f"the latency measurement failed: {explain(error)}", traceback_of(error))
        self.ranks.raise_failures()
        outcome = self.ranks.broadcast(outcome)
        if outcome:
            self.reply(Reply("latency", job.trial, values=outcome))
        low, high = job.latency_limits
        if "latency_ms" in outcome and not low <= outcome["latency_ms"] <= high:
            raise Infeasible(f"latency {outcome['latency_ms']:.2f} ms is not within {low:g} to {high:g} ms")
        return time.perf_counter() - start

    def _measure(self, job: TrainJob) -> dict[str, float]:
        specs = {"latency_ms": job.spec if job.measure_latency else None, "reference_latency_ms": job.reference}
        config = self.config
        backend = LatencyBackend(
            config.latency_backend, config.latency_command, config.latency_timeout, config.latency_folder
        )
        latencies = {
            name: cached_latency(
                DetectorSpec.model_validate(spec),
                Path(config.cache_root) / "latency",
                device=torch.device(config.latency_device),
                threads=config.latency_threads,
                batch=config.latency_batch,
                backend=backend,
            )
            for name, spec in specs.items()
            if spec is not None
        }
        scores = {f"score_{name}": score(name, DetectorSpec.model_validate(job.spec)) for name in job.scores}
        return {**latencies, **{name: value for name, value in scores.items() if math.isfinite(value)}}


def is_lost_peer(error: Exception) -> bool:
    """Whether a collective failed because another worker is gone (gloo has no error class of its own)."""
    return isinstance(error, torch.distributed.DistError) or "gloo/transport" in str(error)
