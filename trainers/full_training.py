"""Training one detector in full, over any number of workers; no Ray. One decision: OUT is a usable bundle of the best
weights from the first evaluation on, and OUT/training/last.pt, written before it, is one value that holds all a resume
needs, so that an end at any moment costs at most the epoch under way."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import torch

from nasdet.data import Dataset
from nasdet.errors import InputError
from nasdet.evaluation import MASK
from nasdet.export import read_bundle, write_bundle
from nasdet.export.bundle import LAST, TRAINING
from nasdet.space.specs import DetectorSpec, Recipe
from nasdet.trainers.driver_link import SECONDS_TO_DECODE, SECONDS_TO_JUDGE, Link
from nasdet.trainers.evaluate import evaluate, synchronise_buffers
from nasdet.trainers.loop import parallel, train_epoch
from nasdet.trainers.messages import Reply
from nasdet.trainers.ranks import Ranks
from nasdet.trainers.schedule import DECAY_SHARE
from nasdet.trainers.training_state import Training, read_checkpoint

EVALUATIONS = 25
"""Approximate number of evaluations during a training; they are more frequent in its last fifth."""
PLAN_UNTIL = 1 - DECAY_SHARE - 0.05
"""Share of the training after which a time limit no longer lengthens it: the learning rate is about to fall."""
ON_CARD = ("ap", "ap50", "ap75", "ap_s", "ap_m", "ap_l", "ar100")
"""Figures of the bundle's card, beside all those of masks."""
RECENT = 10
"""Epochs from whose speed a time limit is translated into epochs."""


@dataclasses.dataclass(frozen=True)
class FullJob:
    """Train `spec` until `recipe.epochs`, or as many epochs as fit into `time_limit`."""

    spec: dict[str, Any]
    recipe: dict[str, Any]
    seed: int
    out: str
    card: dict[str, Any]
    """Origin of the architecture, for the bundle's card."""
    time_limit: float | None = None
    """Seconds, of all runs of this training together."""
    teacher: str = ""
    """Bundle of a detector that teaches this one; empty: none does."""
    trial: str = "full"

    @property
    def folder(self) -> Path:
        """Where the last checkpoint is."""
        return Path(self.out, TRAINING)


@dataclasses.dataclass
class History:
    """Figures of a training so far; stored inside its checkpoint, so that the two cannot disagree."""

    seconds: float = 0.0
    best: dict[str, float] = dataclasses.field(default_factory=dict)
    epochs: list[dict[str, float]] = dataclasses.field(default_factory=list)

    @classmethod
    def read(cls, folder: Path) -> History:
        """The one in the checkpoint in `folder`.

        Raises:
            InputError: there is no checkpoint, or it is damaged.
        """
        return cls.of(read_checkpoint(folder / LAST), folder / LAST)

    @classmethod
    def of(cls, state: dict[str, Any], path: Path) -> History:
        """The one in the checkpoint `state`, which was read from `path`."""
        try:
            return cls(**state["history"])
        except (KeyError, TypeError):
            raise InputError("is no checkpoint of nasdet train", where=str(path), remedy="delete it") from None


class FullTraining:
    """One worker's side of a full training.

    Args:
        job: what to train; the same on all workers.
        data: the data set.
        ranks: the workers.
        device: of this worker.
        link: takes "epoch" replies (means of the training, figures of an evaluation, `epochs` planned) on rank 0.
    """

    def __init__(self, job: FullJob, data: Dataset, ranks: Ranks, device: torch.device, link: Link) -> None:
        self.job, self.data, self.ranks, self._link = job, data, ranks, link
        spec, recipe = DetectorSpec.model_validate(job.spec), Recipe.model_validate(job.recipe)
        self.history = History()
        with ranks.failing_together():
            resumed = (job.folder / LAST).exists()
            self.training = Training.start(spec, recipe, seed=job.seed, device=device, resumed=resumed)
            if resumed:
                self._load(job.folder / LAST)
            if job.teacher:
                self.training.teacher = read_bundle(job.teacher).load_detector(str(device))
            link.expect(SECONDS_TO_DECODE)
            self._split = data.cached("train", spec.input.height, spec.input.width)
            data.cached("val", spec.input.height, spec.input.width)
            link.expect(0.0)

    def run(self) -> dict[str, float]:
        """Train to the end; returns the figures of the best weights on the validation split."""
        training = self.training
        model = parallel(training, self.ranks)
        if self.history.epochs:
            self._plan()  # the time limit may be a new one
            self._write_bundle()  # the end may have come between the checkpoint and the bundle
        while training.epoch < training.recipe.epochs:
            start = time.perf_counter()
            means = train_epoch(training, model, self._split, self.ranks, lambda step, steps: self._link.step())
            synchronise_buffers(training, self.ranks)
            is_due = self._is_evaluated(training.epoch)
            figures: dict[str, float] = {}
            if is_due:
                figures = self._evaluate()
            self._record(means, figures, time.perf_counter() - start)
            self._plan()
            self._save()
        return self.ranks.broadcast(self.history.best)

    def _evaluate(self) -> dict[str, float]:
        link = self._link
        return evaluate(
            self.training.evaluated, self.data, "val", self.ranks,
            on_batch=link.step, on_predicted=lambda: link.expect(SECONDS_TO_JUDGE),
        )  # fmt: skip

    def _load(self, path: Path) -> None:
        state = self.training.load(path)
        self.history = History.of(state, path)
        if self.job.time_limit is not None and state["time_limit"] == self.job.time_limit:
            self.training.recipe = Recipe.model_validate(state["recipe"])  # as long as planned

    def _is_evaluated(self, epoch: int) -> bool:
        total = self.training.recipe.epochs
        every = max(1, total // EVALUATIONS)
        if epoch > total * (1 - DECAY_SHARE):
            every = max(1, every // 3)
        return epoch % every == 0 or epoch >= total or epoch == 1

    def _record(self, means: dict[str, float], figures: dict[str, float], seconds: float) -> None:
        epoch, history = self.training.epoch, self.history
        history.seconds += seconds
        history.epochs.append({"epoch": epoch, "seconds": history.seconds, **means, **figures})
        if figures and figures["ap"] >= history.best.get("ap", -2.0):
            history.best = {"epoch": epoch, **figures}

    def _save(self) -> None:
        """Keep the epoch that is over, and say so."""
        if self.ranks.rank != 0:
            return
        training, job = self.training, self.job
        history = dataclasses.asdict(self.history)
        training.save(job.folder / LAST, history=history, time_limit=job.time_limit)
        self._write_bundle()
        values = {**self.history.epochs[-1], "epochs": float(training.recipe.epochs)}
        self._link.send(Reply("epoch", job.trial, training.epoch, values))

    def _write_bundle(self) -> None:
        """Make the weights as they are the bundle's, if they are the best."""
        training, best = self.training, self.history.best
        if self.ranks.rank != 0 or best.get("epoch") != training.epoch:
            return
        values = {name: value for name, value in best.items() if name in ON_CARD or name.startswith(MASK)}
        card = {**self.job.card, "split": "val", "epochs": training.epoch, "seed": self.job.seed, "values": values}
        write_bundle(
            Path(self.job.out),
            spec=training.spec,
            recipe=training.recipe,
            state_dict=training.evaluated.state_dict(),
            classes=self.data.info.classes,
            card=card,
            overwrite=True,
        )

    def _plan(self) -> None:
        """Under a time limit: as many epochs as fit by the speed of late; once the learning rate falls, no more."""
        training, limit = self.training, self.job.time_limit
        if limit is None:
            return
        done, planned = training.epoch, training.recipe.epochs
        epochs = self.ranks.broadcast(self._fitting(limit) if self.ranks.rank == 0 else 0)
        if done > max(2, PLAN_UNTIL * planned):
            epochs = min(epochs, max(planned, done))
        training.recipe = training.recipe.model_copy(update={"epochs": epochs})

    def _fitting(self, limit: float) -> int:
        """Epochs in all; no more where the time is over and the last epoch was evaluated, else at least one."""
        seconds = [0.0, *(epoch["seconds"] for epoch in self.history.epochs)][-RECENT - 1 :]
        pace = (seconds[-1] - seconds[0]) / (len(seconds) - 1)
        least = 0 if seconds[-1] >= limit and "ap" in self.history.epochs[-1] else 1
        return self.training.epoch + max(least, int((limit - seconds[-1]) / pace))
