"""`Training`: all that changes while a detector trains. One decision: a checkpoint is this value at an epoch's end, and
every random draw of an epoch follows from (seed, epoch, rank), so a resumed training repeats an unbroken one exactly.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import torch
from timm.utils import ModelEmaV3
from torch import Tensor

from nasdet.errors import InputError, TrialFailure
from nasdet.files import atomic_path, previous, remove_half_written
from nasdet.log import logger
from nasdet.models import Detector, build_detector
from nasdet.models.pretrained import RANDOM, load_weights, loaded_from
from nasdet.models.weight_init import initialise
from nasdet.space.specs import DetectorSpec, Recipe
from nasdet.trainers.optimizer import make_optimizer
from nasdet.trainers.ranks import is_out_of_memory


class AveragedWeights(ModelEmaV3):
    """timm's moving average of a detector's weights and buffers, which finds its tensors once and not by name at every
    step: for a small detector that was 7% of the step's time."""

    def __init__(self, detector: Detector) -> None:
        super().__init__(detector, use_warmup=True, warmup_power=0.75)
        pairs = list(zip(self.module.state_dict().values(), detector.state_dict().values(), strict=True))
        self._averaged = _columns(pair for pair in pairs if pair[0].is_floating_point())
        self._copied = _columns(pair for pair in pairs if not pair[0].is_floating_point())

    def apply_update_(self, model: Detector, decay: float) -> None:
        """Go towards the weights of the detector by 1 - `decay`; counters are copied."""
        torch._foreach_lerp_(*self._averaged, weight=1.0 - decay)
        if self._copied[0]:
            torch._foreach_copy_(*self._copied)


def _columns(pairs: Iterable[tuple[Tensor, Tensor]]) -> tuple[list[Tensor], list[Tensor]]:
    own, other = list[Tensor](), list[Tensor]()
    for mine, theirs in pairs:
        own.append(mine)
        other.append(theirs)
    return own, other


@dataclasses.dataclass
class Training:
    """A detector with its optimiser state and averaged weights after `epoch` finished epochs."""

    spec: DetectorSpec
    recipe: Recipe
    seed: int
    device: torch.device
    detector: Detector
    optimizer: torch.optim.Optimizer
    average: AveragedWeights | None
    epoch: int = 0
    step: int = 0
    teacher: Detector | None = None
    """A trained detector, in evaluation mode, of which this one learns as well; no part of a checkpoint."""
    recompute: bool | None = None
    """Whether activations are computed again for the gradient; None: not decided yet (`trainers.activation_memory`)."""

    @classmethod
    def start(
        cls, spec: DetectorSpec, recipe: Recipe, *, seed: int, device: torch.device, resumed: bool = False
    ) -> Self:
        """Random initialisation, the same for equal `seed` on every worker, then what `recipe.init` names.

        Args:
            spec: the detector.
            recipe: its training.
            seed: of the weights.
            device: of this worker.
            resumed: a checkpoint of this training follows, so nothing is loaded here.

        Raises:
            InputError: `recipe.init` cannot be loaded.
            TrialFailure: from random initialisation, and a part was loaded or is frozen.
        """
        detector = _initial(spec, recipe, seed, load=not resumed)
        dtype = torch.float64 if recipe.precision == "fp64" else torch.float32
        detector = detector.to(device=device, dtype=dtype).to(memory_format=torch.channels_last)
        detector.set_drop_path(recipe.drop_path)
        average = None
        if recipe.ema:
            average = AveragedWeights(detector)
        return cls(spec, recipe, seed, device, detector, make_optimizer(detector, recipe), average)

    @classmethod
    def resume_or_start(
        cls, spec: DetectorSpec, recipe: Recipe, *, seed: int, device: torch.device, path: Path, at_least: int = 0
    ) -> Self:
        """The training that the checkpoint at `path` continues; where it is damaged, the one before; where there is
        none, a new one. A damaged file costs the epochs since the file before, and is noted in the log, as is a file
        that is missing although `at_least` so many epochs were trained.

        Raises:
            OSError: a file is there and cannot be read now.
        """
        remove_half_written(path.parent)
        kept = [file for file in (path, previous(path)) if file.exists()]
        for file in kept:
            training = cls.start(spec, recipe, seed=seed, device=device, resumed=True)
            try:
                training.load(file)
            except InputError as error:
                logger.warning("%s; the trial goes on from an earlier epoch", error)
            else:
                return training
        if at_least:
            logger.warning("%s: epochs 1 to %d are trained again: no checkpoint is left", path.parent, at_least)
        return cls.start(spec, recipe, seed=seed, device=device)

    @property
    def evaluated(self) -> Detector:
        """The averaged weights where the recipe has them, else the trained ones."""
        return self.average.module if self.average is not None else self.detector

    def set_average_horizon(self, steps_per_epoch: int) -> None:
        """Let the averaged weights forget over `recipe.ema` epochs."""
        if self.average is not None:
            self.average.decay = math.exp(-1.0 / max(self.recipe.ema * steps_per_epoch, 1.0))

    def save(self, path: Path, *, keep_previous: bool = False, **more: Any) -> None:
        """Write atomically, with `more` plain values: a reader sees the old checkpoint or the new one, and if
        `keep_previous`, the old one stays beside it."""
        state = {
            **more,
            "spec": self.spec.to_json(),
            "recipe": self.recipe.to_json(),
            "seed": self.seed,
            "epoch": self.epoch,
            "step": self.step,
            "detector": self.detector.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.module.state_dict() if self.average is not None else None,
        }
        with atomic_path(path) as part:
            torch.save(state, part)
            if keep_previous and path.exists():
                path.replace(previous(path))

    def load(self, path: Path) -> dict[str, Any]:
        """Continue from `path`; returns its whole content.

        Raises:
            TrialFailure: the checkpoint belongs to another specification.
            InputError: the file is missing or damaged.
        """
        state = read_checkpoint(path)  # into this process: a GPU may have no room for it beside the network
        if state["spec"] != self.spec.to_json():
            raise TrialFailure(f"checkpoint {path} belongs to another architecture")
        self.detector.load_state_dict(state["detector"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average is not None and state["average"] is not None:
            self.average.module.load_state_dict(state["average"])
        self.epoch, self.step = state["epoch"], state["step"]
        return state


def _initial(spec: DetectorSpec, recipe: Recipe, seed: int, *, load: bool) -> Detector:
    torch.manual_seed(seed)
    detector = build_detector(spec)
    if recipe.weight_init != "auto":
        torch.manual_seed(seed)
        initialise(detector, recipe.weight_init)
    if recipe.init == RANDOM and (source := loaded_from(detector)):
        raise TrialFailure(f"training from random initialisation with weights of {source}")
    if recipe.init != RANDOM and load:
        load_weights(detector, recipe.init)
    return detector


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint; only tensors and plain values are unpickled.

    Raises:
        InputError: there is none, or it is damaged.
        OSError, MemoryError: it cannot be read now, which says nothing about the checkpoint.
    """
    try:
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except FileNotFoundError:
        raise InputError("no checkpoint here", where=str(path), remedy="start again without --resume") from None
    except OSError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise InputError(f"damaged checkpoint ({type(error).__name__})", where=str(path), remedy="delete it") from error
