"""Whether a training recomputes activations. One decision: `auto` counts what the first step will allocate and compares
it with what is free on the device, once per training and with the same result on all workers."""

from __future__ import annotations

import os

from nasdet.models.costs import count_params
from nasdet.models.training_memory import free_bytes, saved_per_image
from nasdet.trainers.precision import native_bf16
from nasdet.trainers.ranks import Ranks
from nasdet.trainers.training_state import Training

RESERVE = 0.2
"""Share of the free memory left for what is not counted: losses, workspaces, gradients of activations."""
MOST_PER_PIXEL = 32 * 1024
"""More bytes than any preset keeps per pixel of the input (float32); where these would fit nothing is counted, since
counting takes as long as a few steps of a small network."""
_STATES = {"sgd": 1, "adamw": 2, "lamb": 2, "muon": 2}
"""Values per parameter that the optimiser keeps, or somewhat fewer."""


def set_training_memory(training: Training, ranks: Ranks, images: int) -> None:
    """Decide on recomputation as the recipe says, unless it was decided before; all workers call this together.

    Args:
        training: its `recompute` and its detector are set.
        ranks: the workers.
        images: of one micro-batch of this worker.
    """
    if training.recompute is None:
        choice = training.recipe.recompute
        own = choice == "on" or (choice == "auto" and not fits(training, ranks, images))
        training.recompute = any(ranks.gather(own))
    training.detector.set_recompute(training.recompute)


def fits(training: Training, ranks: Ranks, images: int) -> bool:
    """Whether a step without recomputation fits into this worker's part of the free memory."""
    free = free_bytes(training.device)
    if training.device.type != "cuda":
        free //= int(os.environ.get("LOCAL_WORLD_SIZE", ranks.world))
    budget, size = (1 - RESERVE) * free, training.spec.input
    if needed_bytes(training, images, MOST_PER_PIXEL * size.height * size.width) <= budget:
        return True
    return needed_bytes(training, images, saved_per_image(training.spec)) <= budget


def needed_bytes(training: Training, images: int, per_image: int) -> int:
    """Bytes that the first step allocates beside the weights and their average, which are there.

    Args:
        training: gives number formats, gradients and the optimiser's state.
        images: of one micro-batch.
        per_image: bytes kept for the gradient of one image in float32.
    """
    recipe = training.recipe
    half = recipe.precision == "bf16" or (recipe.precision == "auto" and native_bf16(training.device.type))
    weight = 8 if recipe.precision == "fp64" else 4
    activation = 2 if half else weight
    states = 1 + _STATES[recipe.optimizer]  # and the gradient
    return images * per_image * activation // 4 + count_params(training.detector) * weight * states
