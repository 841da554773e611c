"""Rules of the literature that act on every candidate: each is one function below.

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
        name: used in `rules.off`; the name of its function.
        source: paper and table.
        why: one sentence; the docstring of its function.
        effect: what happens when it applies.
        check: returns a finding where the rule applies, else None.
    """

    name: str
    source: str
    why: str
    effect: Effect
    check: Check


RULES: dict[str, Rule] = {}
"""Rules by name, in the order in which they act: that of their functions below."""


def _rule(source: str, effect: Effect) -> Callable[[Check], Check]:
    """Enter a function into `RULES`."""

    def enter(check: Check) -> Check:
        name, why = check.__name__, " ".join((check.__doc__ or "").split())
        assert name not in RULES, f"two rules are named {name}"
        RULES[name] = Rule(name, source, why, effect, check)
        return check

    return enter


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


@_rule(MEGDET, "replace")
def small_bn_batch(spec: DetectorSpec, recipe: Recipe, context: Context) -> Finding | None:
    """Plain BN only where a worker holds enough images (more than 8); statistics over all workers otherwise."""
    images = images_per_statistic(spec, recipe, context.workers)
    if spec.norm.kind != "bn" or context.workers == 1 or images is None or images > ENOUGH_FOR_BN:
        return None
    if recipe.images_per_statistic:
        return None  # chosen, not left to the number of workers
    norm = spec.norm.model_copy(update={"kind": "syncbn"})
    return Finding(f"bn -> syncbn: {images:g} images per worker", spec=spec.model_copy(update={"norm": norm}))


@_rule(MEGDET, "forbid")
def statistic_too_small(spec: DetectorSpec, recipe: Recipe, context: Context) -> Finding | None:
    """Batch statistics of 2 or 3 images cost several AP."""
    images = images_per_statistic(spec, recipe, context.workers)
    if images is None or images >= 4:
        return None
    return Finding(f"{spec.norm.kind} over {images:g} images; use gn or a larger batch")


@_rule(MEGDET, "warn")
def statistic_small(spec: DetectorSpec, recipe: Recipe, context: Context) -> Finding | None:
    """2 to 8 images per statistic hurt large two-stage detectors; one-stage ones on small inputs often bear 4 to 8."""
    images = images_per_statistic(spec, recipe, context.workers)
    if images is None or not 4 <= images <= 8:
        return None
    return Finding(f"{spec.norm.kind} over {images:g} images")


@_rule(MEGDET, "warn")
def statistic_large(spec: DetectorSpec, recipe: Recipe, context: Context) -> Finding | None:
    """32 images per statistic are best, 64 drop."""
    images = images_per_statistic(spec, recipe, context.workers)
    if images is None or images < 64:
        return None
    return Finding(f"{spec.norm.kind} over {images:g} images")


@_rule("MegDet; linear scaling rule", "warn")
def large_batch_without_syncbn(spec: DetectorSpec, recipe: Recipe, context: Context) -> Finding | None:
    """Batches of 32 and more without BN over the workers can diverge."""
    own = recipe.batch_size / (context.workers * recipe.accumulate)
    joined = recipe.images_per_statistic > own
    if spec.norm.kind != "bn" or context.workers == 1 or recipe.batch_size < 32 or joined:
        return None
    return Finding(f"batch {recipe.batch_size} on {context.workers} workers with bn")


@_rule("MegDet; linear scaling rule", "warn")
def large_batch_without_warmup(spec: DetectorSpec, recipe: Recipe, context: Context) -> Finding | None:
    """A learning rate scaled to a large batch needs a linear warm-up."""
    if recipe.warmup > 0 or recipe.batch_size <= 16:
        return None
    return Finding(f"batch {recipe.batch_size} without warm-up")


@_rule("DSOD; ScratchDet", "warn")
def single_level(spec: DetectorSpec, recipe: Recipe, context: Context) -> Finding | None:
    """Prediction from several levels supervises deeply, which is the easy case from scratch."""
    levels = len(spec.neck.levels) + getattr(spec.neck, "extra_levels", 0)
    return Finding("the head sees one level") if levels == 1 else None


@_rule(DSOD, "warn")
def large_stem(spec: DetectorSpec, recipe: Recipe, context: Context) -> Finding | None:
    """A stem of 3x3 convolutions beats 7x7/2 from scratch."""
    return Finding("stem conv7x7_pool") if getattr(spec.backbone, "stem", "") == "conv7x7_pool" else None


@_rule(RETHINKING, "warn")
def short_schedule(spec: DetectorSpec, recipe: Recipe, context: Context) -> Finding | None:
    """From scratch takes 3 to 6 times the 12 epochs of a fine-tuning schedule."""
    if recipe.epochs >= 36:
        return None
    return Finding(f"{recipe.epochs} epochs rank candidates; train the winner for 36 to 72 or more")


@_rule(RETHINKING, "warn")
def little_data(spec: DetectorSpec, recipe: Recipe, context: Context) -> Finding | None:
    """Below about 10,000 images scratch training stops matching pre-training on a similar domain."""
    images = context.train_images
    if images is None or images >= 10_000:
        return None
    return Finding(f"{images} training images; where a pre-trained network of a similar domain exists, compare with it")


@_rule("MegDet; linear scaling rule", "note")
def lr_scaling(spec: DetectorSpec, recipe: Recipe, context: Context) -> Finding | None:
    """The learning rate follows the batch: linearly for SGD, by the square root for the others."""
    ratio = recipe.batch_size / 16
    if ratio == 1:
        return None
    factor = ratio if recipe.optimizer == "sgd" else ratio**0.5
    return Finding(f"{recipe.optimizer} at batch {recipe.batch_size}: base_lr x {factor:.3g}")


@_rule("timm rsb; TorchVision recipe", "note")
def no_decay_on_norm(spec: DetectorSpec, recipe: Recipe, context: Context) -> Finding | None:
    """Norm and bias parameters have no weight decay."""
    return None if recipe.decay_norms else Finding("built into the optimiser's groups")


@_rule(RETHINKING, "note")
def nothing_frozen(spec: DetectorSpec, recipe: Recipe, context: Context) -> Finding | None:
    """Nothing is frozen from scratch: frozen stages cost 3 AP in a published run."""
    return Finding("every parameter trains")
