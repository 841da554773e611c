"""Training one detector in full, over any number of workers; no Ray. One decision: OUT is a usable bundle of the best
weights from the first evaluation on, and OUT/training holds what a resume needs, so an end by force costs one epoch."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from nasdet.data import Dataset
from nasdet.export import write_bundle
from nasdet.export.bundle import TRAINING
from nasdet.space.specs import DetectorSpec, Recipe
from nasdet.trainers.evaluate import evaluate, synchronise_buffers
from nasdet.trainers.job import Reply
from nasdet.trainers.loop import parallel, train_epoch
from nasdet.trainers.ranks import Ranks
from nasdet.trainers.schedule import DECAY_SHARE
from nasdet.trainers.training import Training, read_checkpoint

EVALUATIONS = 25
"""How often the validation split is looked at during a training, about; more often in the last fifth."""
PLAN_UNTIL = 1 - DECAY_SHARE - 0.05
"""Share of the training after which a time limit no longer lengthens it: the learning rate is about to fall."""
RECENT = 10
"""Epochs from whose speed a time limit is translated into epochs."""


@dataclasses.dataclass(frozen=True)
class FullJob:
    """Train `spec` from random initialisation until `recipe.epochs`, or as many epochs as fit into `time_limit`."""

    spec: dict[str, Any]
    recipe: dict[str, Any]
    seed: int
    out: str
    card: dict[str, Any]
    """What is known of the architecture's origin, for the bundle's card."""
    time_limit: float | None = None
    """Seconds, of all runs of this training together."""
    trial: str = "full"

    @property
    def folder(self) -> Path:
        """Where the last checkpoint and the history are."""
        return Path(self.out, TRAINING)


@dataclasses.dataclass
class History:
    """What a training has shown so far; kept beside its checkpoint."""

    seconds: float = 0.0
    best: dict[str, float] = dataclasses.field(default_factory=dict)
    epochs: list[dict[str, float]] = dataclasses.field(default_factory=list)

    @classmethod
    def read(cls, folder: Path) -> History:
        """The stored one, or an empty one."""
        path = folder / "history.json"
        return cls(**json.loads(path.read_text())) if path.exists() else cls()

    def write(self, folder: Path) -> None:
        """Store atomically."""
        part = folder / "history.json.part"
        part.write_text(json.dumps(dataclasses.asdict(self)))
        part.replace(folder / "history.json")


class FullTraining:
    """One worker's side of a full training.

    Args:
        job: what to train; the same on all workers.
        data: the data set.
        ranks: the workers.
        device: of this worker.
        reply: takes "epoch" replies (means of the training, figures of an evaluation, `epochs` planned) on rank 0.
    """

    def __init__(
        self, job: FullJob, data: Dataset, ranks: Ranks, device: torch.device, reply: Callable[[Reply], None]
    ) -> None:
        self.job, self.data, self.ranks, self.reply = job, data, ranks, reply
        recipe = Recipe.model_validate(job.recipe)
        self.history = History.read(job.folder)
        last = job.folder / "last.pt"
        if last.exists():
            recipe = Recipe.model_validate(read_checkpoint(last)["recipe"])
        self.training = Training.start(DetectorSpec.model_validate(job.spec), recipe, seed=job.seed, device=device)
        if last.exists():
            self.training.load(last)
        size = self.training.spec.input
        self._split = data.cached("train", size.height, size.width)

    def run(self) -> dict[str, float]:
        """Train to the end; returns the figures of the best weights on the validation split."""
        training = self.training
        model = parallel(training, self.ranks)
        while training.epoch < training.recipe.epochs:
            start = time.perf_counter()
            means = train_epoch(training, model, self._split, self.ranks)
            figures = self._evaluate() if self._is_evaluated(training.epoch) else {}
            self._record(means, figures, time.perf_counter() - start)
            self._plan()
        return self.ranks.broadcast(self.history.best)

    def _is_evaluated(self, epoch: int) -> bool:
        total = self.training.recipe.epochs
        every = max(1, total // EVALUATIONS)
        if epoch > total * (1 - DECAY_SHARE):
            every = max(1, every // 3)
        return epoch % every == 0 or epoch >= total

    def _evaluate(self) -> dict[str, float]:
        synchronise_buffers(self.training.detector, self.ranks)
        detector = self.training.evaluated
        if detector is not self.training.detector:
            synchronise_buffers(detector, self.ranks)
        return evaluate(detector, self.data, "val", self.ranks)

    def _record(self, means: dict[str, float], figures: dict[str, float], seconds: float) -> None:
        if self.ranks.rank != 0:
            return
        training, history, folder = self.training, self.history, self.job.folder
        history.seconds += seconds
        history.epochs.append({"epoch": training.epoch, "seconds": history.seconds, **means, **figures})
        if figures and figures["ap"] >= history.best.get("ap", -2.0):
            history.best = {"epoch": training.epoch, **figures}
            self._write_bundle(figures)
        folder.mkdir(parents=True, exist_ok=True)
        training.save(folder / "last.pt")
        history.write(folder)
        values = {**means, **figures, "epochs": float(training.recipe.epochs), "seconds": history.seconds}
        self.reply(Reply("epoch", self.job.trial, training.epoch, values))

    def _write_bundle(self, figures: dict[str, float]) -> None:
        training = self.training
        values = {name: figures[name] for name in ("ap", "ap50", "ap75", "ap_s", "ap_m", "ap_l", "ar100")}
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
        """Epochs in all; at least one more."""
        seconds = [0.0, *(epoch["seconds"] for epoch in self.history.epochs)][-RECENT - 1 :]
        pace = (seconds[-1] - seconds[0]) / (len(seconds) - 1)
        return self.training.epoch + max(1, int((limit - seconds[-1]) / pace))
