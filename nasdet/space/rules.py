"""Rules of the literature that act on every candidate: each is a function and an entry in `_ALL`.

A rule never acts silently: it returns an action with its reason and paper, and can be switched off by name. Effects:
`forbid` makes the candidate infeasible, `replace` changes it, `warn` and `note` are only reported.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Literal

from nasdet.space.specs import DetectorSpec, Recipe

Effect = Literal["forbid", "replace", "warn", "note"]

MEGDET = "MegDet, table 3"
RETHINKING = "Rethinking ImageNet Pre-training"
DSOD = "DSOD; ScratchDet; PeleeNet"
BATCH_NORMS = ("bn", "syncbn")
"""Norms whose statistics are those of several images."""
ENOUGH_FOR_BN = 8
"""Images per worker above which plain BN is left alone: 2 to 8 hurt (MegDet, table 3)."""


@dataclasses.dataclass(frozen=True)
class Context:
    """What a rule knows besides the candidate."""

    workers: int = 1
    """Processes that train one candidate together."""
    train_images: int | None = None
    """Images of the training split; None: unknown."""


@dataclasses.dataclass(frozen=True)
class RuleAction:
    """What a rule did to one candidate."""

    rule: str
    effect: Effect
    detail: str
    source: str


@dataclasses.dataclass(frozen=True)
class Finding:
    """A rule's answer: what it found, and the specification or recipe that replaces the candidate's, if any."""

    detail: str
    spec: DetectorSpec | None = None
    recipe: Recipe | None = None


Check = Callable[[DetectorSpec, Recipe, Context], Finding | None]


@dataclasses.dataclass(frozen=True)
class Rule:
    """One rule.

    Attributes:
        name: used in `rules.off`.
        source: paper and table.
        why: one sentence.
        effect: what happens when it applies.
        check: returns a finding where the rule applies, else None.
    """

    name: str
    source: str
    why: str
    effect: Effect
    check: Check


def images_per_statistic(spec: DetectorSpec, recipe: Recipe, workers: int) -> float | None:
    """Images that share one mean and variance in training; None without batch statistics (gn, ln, none)."""
    if spec.norm.kind not in BATCH_NORMS:
        return None
    if recipe.images_per_statistic:
        return recipe.images_per_statistic
    step = recipe.batch_size / recipe.accumulate
    return step if spec.norm.kind == "syncbn" else step / workers


def statistic_problem(spec: DetectorSpec, recipe: Recipe, workers: int) -> str:
    """Why the images of a step cannot be grouped by `recipe.images_per_statistic`; "" if they can."""
    images, own = recipe.images_per_statistic, recipe.batch_size // (workers * recipe.accumulate)
    if spec.norm.kind not in BATCH_NORMS or not images or not own:
        return ""
    if own % images == 0 or (images % own == 0 and workers % (images // own) == 0):
        return ""
    return (
        f"{images} images per statistic cannot be formed: {workers} workers hold {own} images each; "
        "take a divisor of that, or a multiple over a number of workers that divides theirs"
    )


def apply_rules(
    spec: DetectorSpec, recipe: Recipe, context: Context, *, off: Iterable[str] = ()
) -> tuple[DetectorSpec, Recipe, tuple[RuleAction, ...]]:
    """Apply every rule in order; a later one sees the replacements of earlier ones.

    Args:
        spec: the candidate's network.
        recipe: the candidate's training.
        context: workers and size of the training split.
        off: names of rules to leave out.

    Returns:
        Spec and recipe after replacements, and the actions; one of effect `forbid` means the candidate is infeasible.
    """
    actions: list[RuleAction] = []
    for rule in RULES.values():
        finding = None if rule.name in set(off) else rule.check(spec, recipe, context)
        if finding is None:
            continue
        spec, recipe = finding.spec or spec, finding.recipe or recipe
        actions.append(RuleAction(rule.name, rule.effect, finding.detail, rule.source))
    return spec, recipe, tuple(actions)


def _small_bn_batch(spec: DetectorSpec, recipe: Recipe, context: Context) -> Finding | None:
    images = images_per_statistic(spec, recipe, context.workers)
    if spec.norm.kind != "bn" or context.workers == 1 or images is None or images > ENOUGH_FOR_BN:
        return None
    if recipe.images_per_statistic:
        return None  # chosen, not left to the number of workers
    norm = spec.norm.model_copy(update={"kind": "syncbn"})
    return Finding(f"bn -> syncbn: {images:g} images per worker", spec=spec.model_copy(update={"norm": norm}))


def _statistic_too_small(spec: DetectorSpec, recipe: Recipe, context: Context) -> Finding | None:
    images = images_per_statistic(spec, recipe, context.workers)
    if images is None or images >= 4:
        return None
    return Finding(f"{spec.norm.kind} over {images:g} images; use gn or a larger batch")


def _statistic_small(spec: DetectorSpec, recipe: Recipe, context: Context) -> Finding | None:
    images = images_per_statistic(spec, recipe, context.workers)
    if images is None or not 4 <= images <= 8:
        return None
    return Finding(f"{spec.norm.kind} over {images:g} images")


def _statistic_large(spec: DetectorSpec, recipe: Recipe, context: Context) -> Finding | None:
    images = images_per_statistic(spec, recipe, context.workers)
    if images is None or images < 64:
        return None
    return Finding(f"{spec.norm.kind} over {images:g} images")


def _large_batch(spec: DetectorSpec, recipe: Recipe, context: Context) -> Finding | None:
    own = recipe.batch_size / (context.workers * recipe.accumulate)
    joined = recipe.images_per_statistic > own
    if spec.norm.kind != "bn" or context.workers == 1 or recipe.batch_size < 32 or joined:
        return None
    return Finding(f"batch {recipe.batch_size} on {context.workers} workers with bn")


def _no_warmup(spec: DetectorSpec, recipe: Recipe, context: Context) -> Finding | None:
    if recipe.warmup > 0 or recipe.batch_size <= 16:
        return None
    return Finding(f"batch {recipe.batch_size} without warm-up")


def _single_level(spec: DetectorSpec, recipe: Recipe, context: Context) -> Finding | None:
    levels = len(spec.neck.levels) + getattr(spec.neck, "extra_levels", 0)
    return Finding("the head sees one level") if levels == 1 else None


def _large_stem(spec: DetectorSpec, recipe: Recipe, context: Context) -> Finding | None:
    return Finding("stem conv7x7_pool") if getattr(spec.backbone, "stem", "") == "conv7x7_pool" else None


def _short_schedule(spec: DetectorSpec, recipe: Recipe, context: Context) -> Finding | None:
    if recipe.epochs >= 36:
        return None
    return Finding(f"{recipe.epochs} epochs rank candidates; train the winner for 36 to 72 or more")


def _little_data(spec: DetectorSpec, recipe: Recipe, context: Context) -> Finding | None:
    images = context.train_images
    if images is None or images >= 10_000:
        return None
    return Finding(f"{images} training images; where a pre-trained network of a similar domain exists, compare with it")


def _lr_scaling(spec: DetectorSpec, recipe: Recipe, context: Context) -> Finding | None:
    ratio = recipe.batch_size / 16
    if ratio == 1:
        return None
    factor = ratio if recipe.optimizer == "sgd" else ratio**0.5
    return Finding(f"{recipe.optimizer} at batch {recipe.batch_size}: base_lr x {factor:.3g}")


def _no_decay(spec: DetectorSpec, recipe: Recipe, context: Context) -> Finding | None:
    return None if recipe.decay_norms else Finding("built into the optimiser's groups")


def _always(detail: str) -> Check:
    return lambda spec, recipe, context: Finding(detail)


_ALL = (
    Rule(
        "small_bn_batch",
        MEGDET,
        "Plain BN only where a worker holds enough images (more than 8); statistics over all workers otherwise.",
        "replace",
        _small_bn_batch,
    ),
    Rule(
        "statistic_too_small",
        MEGDET,
        "Batch statistics of 2 or 3 images cost several AP.",
        "forbid",
        _statistic_too_small,
    ),
    Rule(
        "statistic_small",
        MEGDET,
        "2 to 8 images per statistic hurt large two-stage detectors; one-stage ones on small inputs often bear 4 to 8.",
        "warn",
        _statistic_small,
    ),
    Rule("statistic_large", MEGDET, "32 images per statistic are best, 64 drop.", "warn", _statistic_large),
    Rule(
        "large_batch_without_syncbn",
        "MegDet; linear scaling rule",
        "Batches of 32 and more without BN over the workers can diverge.",
        "warn",
        _large_batch,
    ),
    Rule(
        "large_batch_without_warmup",
        "MegDet; linear scaling rule",
        "A learning rate scaled to a large batch needs a linear warm-up.",
        "warn",
        _no_warmup,
    ),
    Rule(
        "single_level",
        "DSOD; ScratchDet",
        "Prediction from several levels supervises deeply, which is the easy case from scratch.",
        "warn",
        _single_level,
    ),
    Rule("large_stem", DSOD, "A stem of 3x3 convolutions beats 7x7/2 from scratch.", "warn", _large_stem),
    Rule(
        "short_schedule",
        RETHINKING,
        "From scratch takes 3 to 6 times the 12 epochs of a fine-tuning schedule.",
        "warn",
        _short_schedule,
    ),
    Rule(
        "little_data",
        RETHINKING,
        "Below about 10,000 images scratch training stops matching pre-training on a similar domain.",
        "warn",
        _little_data,
    ),
    Rule(
        "lr_scaling",
        "MegDet; linear scaling rule",
        "The learning rate follows the batch: linearly for SGD, by the square root for AdamW and LAMB.",
        "note",
        _lr_scaling,
    ),
    Rule(
        "no_decay_on_norm",
        "timm rsb; TorchVision recipe",
        "Norm and bias parameters have no weight decay.",
        "note",
        _no_decay,
    ),
    Rule(
        "nothing_frozen",
        RETHINKING,
        "Nothing is frozen from scratch: frozen stages cost 3 AP in a published run.",
        "note",
        _always("every parameter trains"),
    ),
)

RULES: dict[str, Rule] = {rule.name: rule for rule in _ALL}
"""Rules by name, in the order in which they act."""
assert len(RULES) == len(_ALL), "two rules share a name"
