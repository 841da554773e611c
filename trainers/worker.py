"""Runs jobs, one after another, on one worker of a group; no Ray. One decision: the process, its imports, its process
group and the decoded data set stay warm between jobs, and a job that fails on all workers costs only itself.

Whose fault a failure is decides what follows (`kind_of`): the candidate's ends the trial, the machine's lets it go on
elsewhere.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import math
import time
from pathlib import Path

import torch
from safetensors.torch import save_file

from nasdet.data import CachedSplit, Dataset, open_data
from nasdet.errors import NasdetError, StorageFault, TrialFailure
from nasdet.files import atomic_path
from nasdet.log import in_short, traceback_of
from nasdet.models import Quiet
from nasdet.models.training_free_scores import score
from nasdet.space.specs import DetectorSpec, Recipe
from nasdet.trainers.driver_link import SECONDS_TO_DECODE, SECONDS_TO_JUDGE, Link
from nasdet.trainers.evaluate import evaluate, synchronise_buffers
from nasdet.trainers.full_training import FullJob, FullTraining
from nasdet.trainers.latency import LatencyBackend, Target, cached_latency
from nasdet.trainers.loop import parallel, train_epoch
from nasdet.trainers.messages import GroupConfig, Kind, Reply, TrainJob
from nasdet.trainers.ranks import Ranks, explain, is_lost_loader, is_out_of_memory, is_storage_fault
from nasdet.trainers.test_time_augmentation import Transforms
from nasdet.trainers.training_state import Training

NO_DEVICE = ("CUDA error", "cuDNN error", "CUBLAS_STATUS", "CUDNN_STATUS")
"""What PyTorch says of a GPU that gave up, also where another error, or another worker, quotes it."""
SAVE_EVERY = 20.0
"""Seconds between checkpoints inside a rung."""
SECONDS_TO_MEASURE = 60.0
"""A measurement of latency may take this much longer than the command that it runs."""


class Infeasible(NasdetError):
    """A measured cost breaks a constraint."""


class Runner:
    """One worker's side of all jobs of a study; the caller sets the number of threads.

    Args:
        config: the group's configuration.
        rank_device: this worker's device.
        link: to the driver; replies are sent on rank 0 only.
    """

    def __init__(self, config: GroupConfig, rank_device: torch.device, link: Link) -> None:
        self.config, self.device = config, rank_device
        self.ranks = Ranks(rank_device)
        self._link = link
        self.data: Dataset = open_data(
            config.source,
            seed=config.data_seed,
            cache_root=Path(config.cache_root),
            max_bad=config.max_bad,
            tile=config.tiling,
        )
        self._warm: tuple[str, Training] | None = None
        self._ended = time.perf_counter()

    def run(self, job: TrainJob | FullJob) -> bool:
        """Do one job and reply; all workers of the group call this with the same job.

        Returns:
            Whether this process may take another job: after one for which memory did not suffice it may not, since what
            the process holds, or is allowed, may be why, and would fail one candidate after another.

        Raises:
            Exception: a fault inside a collective, or of the GPU; the group is unusable, and the caller must report it
                and end this process.
        """
        failure: Reply | None = None
        try:
            self._full(job) if isinstance(job, FullJob) else self._run(job)
        except Infeasible as error:
            self.reply(Reply("infeasible", job.trial, reason=str(error)))
        except Exception as error:
            if (self.ranks.world > 1 and not isinstance(error, TrialFailure)) or is_device_fault(error):
                raise
            kind, trace = kind_of(error), traceback_of(error)
            failure = Reply(kind, job.trial, reason=explain(error), traceback=trace, ends=kind == "memory")
        if failure is not None:  # the exception, whose frames hold the network, is gone by now
            self._free()
            self.reply(failure)
        self._ended = time.perf_counter()
        return failure is None or not failure.ends

    def _free(self) -> None:
        """Give the memory of the last trial back, before the next one is built."""
        self._warm = None
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def reply(self, reply: Reply) -> None:
        """Send a reply from rank 0."""
        if self.ranks.rank == 0:
            self._link.send(reply)

    def _run(self, job: TrainJob) -> None:
        latency_seconds = self._latency(job)
        training, split = self._prepared(job)
        model = parallel(training, self.ranks)
        begin, first = time.perf_counter(), 0.0

        def on_step(step: int, _steps: int) -> None:
            nonlocal first
            first = first or time.perf_counter()
            self._link.step()

        saved = begin
        while training.epoch < job.stop:
            means = train_epoch(training, model, split, self.ranks, on_step)
            self.reply(Reply("epoch", job.trial, training.epoch, means))
            if self._is_time_to_save(saved) and training.epoch < job.stop:
                synchronise_buffers(training, self.ranks)
                self._save(job, training)
                saved = time.perf_counter()
        figures = self._finish(job, training, saved)
        started = first or begin
        overhead = max(0.0, started - self._ended - latency_seconds)
        seconds = time.perf_counter() - started
        self.reply(Reply("rung", job.trial, training.epoch, figures, seconds=seconds, overhead=overhead))

    def _full(self, job: FullJob) -> None:
        best = FullTraining(job, self.data, self.ranks, self.device, self._link).run()
        self.reply(Reply("rung", job.trial, int(best.get("epoch", 0)), best))

    def _prepared(self, job: TrainJob) -> tuple[Training, CachedSplit]:
        """The trial's state on every worker; a worker that cannot prepare fails the trial on all of them."""
        self._link.expect(SECONDS_TO_DECODE)
        with self.ranks.failing_together():
            training = self._training(job)
            size = training.spec.input
            split = self.data.cached("train", size.height, size.width)
            self.data.cached("val", size.height, size.width)  # now, where it is known that decoding takes its time
        self._link.expect(0.0)
        return training, split

    def _training(self, job: TrainJob) -> Training:
        if self._warm is not None and self._warm[0] == job.trial and self._warm[1].epoch == job.start:
            return self._warm[1]
        self._warm = None  # it makes room before the next network is built
        spec, recipe = DetectorSpec.model_validate(job.spec), Recipe.model_validate(job.recipe)
        training = Training.resume_or_start(
            spec, recipe, seed=job.seed, device=self.device, path=job.checkpoint, at_least=job.start
        )
        training.recompute = True if job.recompute else None
        self._warm = (job.trial, training)
        return training

    def _finish(self, job: TrainJob, training: Training, saved: float) -> dict[str, float]:
        """Evaluate, with intervals after the last epoch, and keep the state to go on from and the weights. `saved` is
        when the state was kept last, or the training began."""
        synchronise_buffers(training, self.ranks)
        if self._is_time_to_save(saved):
            self._save(job, training)  # else a fault in the evaluation would cost this training
        last = Path(job.folder) if training.epoch >= training.recipe.epochs else None
        scale = Transforms((training.recipe.scale_of(training.epoch - 1),))  # the size of images that it has seen
        link = self._link
        figures = evaluate(
            training.evaluated, self.data, "val", self.ranks, scale, resamples=last, on_batch=link.step,
            on_predicted=lambda: link.expect(SECONDS_TO_JUDGE),
        )  # fmt: skip
        for name in ("images_per_second", "max_detections"):  # of this machine and data, not of the candidate
            figures.pop(name, None)
        self._save(job, training, with_weights=True)
        return figures

    def _save(self, job: TrainJob, training: Training, *, with_weights: bool = False) -> None:
        """Keep the state to go on from, and the weights if asked for.

        Raises:
            StorageFault: on every worker; PyTorch and safetensors say in many ways that a disk is full.
        """
        with self.ranks.failing_together():
            if self.ranks.rank > 0:
                return
            try:
                training.save(job.checkpoint, keep_previous=True)
                if with_weights:
                    state = {name: t.contiguous().cpu() for name, t in training.evaluated.state_dict().items()}
                    with atomic_path(job.weights) as part:
                        save_file(state, part)
            except Exception as error:
                if is_out_of_memory(error):
                    raise
                raise StorageFault(f"{job.folder} cannot be written, is the disk full? {in_short(error)}") from error

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
                self.ranks.add_failure(f"the latency measurement failed: {explain(error)}", error)
        self.ranks.raise_failures()
        outcome = self.ranks.broadcast(outcome)
        if outcome:
            self.reply(Reply("latency", job.trial, values=outcome))
        low, high = job.latency_limits
        if "latency_ms" in outcome and not low <= outcome["latency_ms"] <= high:
            raise Infeasible(f"latency {outcome['latency_ms']:.2f} ms is not within {low:g} to {high:g} ms")
        return time.perf_counter() - start

    def _measure(self, job: TrainJob) -> dict[str, float]:
        wanted = {"latency_ms": job.spec if job.measure_latency else None, "reference_latency_ms": job.reference}
        specs = {name: DetectorSpec.model_validate(spec) for name, spec in wanted.items() if spec is not None}
        config, cache = self.config, Path(self.config.cache_root) / "latency"
        backend = LatencyBackend(
            config.latency_backend, config.latency_command, config.latency_timeout, config.latency_folder
        )
        target: Target = {
            "device": torch.device(config.latency_device),
            "threads": config.latency_threads,
            "batch": config.latency_batch,
            "backend": backend,
        }
        patience = config.latency_timeout + SECONDS_TO_MEASURE
        alone = functools.partial(self._link.alone, patience)
        quiet: Quiet = alone if config.latency_alone else contextlib.nullcontext
        self._link.expect(len(specs) * patience)
        latencies = {
            name: self.data.tiles_per_image(spec.input.height, spec.input.width)
            * cached_latency(spec, cache, quiet, **target)
            for name, spec in specs.items()
        }
        self._link.expect(SECONDS_TO_MEASURE * len(job.scores))
        scores = {f"score_{name}": score(name, DetectorSpec.model_validate(job.spec)) for name in job.scores}
        return {**latencies, **{name: value for name, value in scores.items() if math.isfinite(value)}}


def kind_of(error: Exception) -> Kind:
    """How a job ends that raised `error`: memory (it does not fit), storage and lost (the machine's fault), or failed
    (the candidate's or the program's)."""
    if is_out_of_memory(error):
        return "memory"
    if is_storage_fault(error):
        return "storage"
    return "lost" if is_device_fault(error) or is_lost_loader(error) else "failed"


def is_device_fault(error: Exception) -> bool:
    """Whether the GPU gave up; the process can use it no more."""
    if is_out_of_memory(error):
        return False
    accelerator = getattr(torch, "AcceleratorError", ())  # torch 2.11 has it, older ones do not
    return isinstance(error, accelerator) or any(words in str(error) for words in NO_DEVICE)


def is_lost_peer(error: Exception) -> bool:
    """Whether a collective failed because another worker is gone (gloo has no error class of its own)."""
    return isinstance(error, torch.distributed.DistError) or "gloo/transport" in str(error)
