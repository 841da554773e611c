"""What to try next. One decision: a proposal is a pure function of (records, seed, number), so that a resumed study
proposes what an unbroken one would have.

A further sampler is a function here, one entry in `SAMPLERS`, and its name with its options in `space/schema.py`.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
from scipy.stats import qmc

from nasdet.errors import InputError
from nasdet.search.freeze_thaw.encoding import Encoder
from nasdet.search.samplers.ask_optuna import Fill, ask
from nasdet.search.samplers.history import history
from nasdet.space import Domain, Json, Params, SearchSpace
from nasdet.trial import TrialRecord

STARTUP = 8
"""Random proposals before a sampler that learns takes over."""
REPEATS = 5
"""Proposals in a row that were known already although the sampler didn't see it, after which the next one is random."""
MAX_HISTORY: int | None = 400
"""Observations a sampler sees, and a quarter as many infeasible and failed candidates; None: all of them."""
BEST = 32
"""Of these, the best. TPE models the 25 best and, apart from them, the rest, which has to look as all the rest does:
where 100 of 200 were the best, the second best stood for the bad, and hypervolume was lost."""
GP_HISTORY = 80
"""Observations that the Gaussian process sees, half of them the best: its time grows with their cube."""
POPULATION = 16
"""Parents of the genetic samplers: the best of all that they see."""


@dataclasses.dataclass(frozen=True)
class Question:
    """Which candidate is to be proposal `number` of a study with this seed and these records."""

    space: SearchSpace
    records: Sequence[TrialRecord]
    seed: int
    number: int

    @property
    def own_seed(self) -> int:
        """Of this proposal."""
        return (self.seed * 1_000_003 + self.number) & 0x7FFFFFFF


def propose(space: SearchSpace, records: Sequence[TrialRecord], *, seed: int, number: int) -> Params:
    """Flat parameters of the next candidate, inactive ones left out.

    Args:
        space: what may be chosen, and `space.sampler`.
        records: everything known so far.
        seed: of the study.
        number: of the proposal; the same (records, seed, number) give the same proposal.
    """
    question = Question(space, records, seed, number)
    kind = AUTO if space.sampler.kind == "auto" else space.sampler.kind
    return SAMPLERS[kind](question)


def _random(question: Question) -> Params:
    return question.space.sample(random.Random(question.own_seed))


def _qmc(question: Question) -> Params:
    """The proposal's place in a scrambled Sobol sequence over all parameters; those that don't exist are dropped."""
    encoder = Encoder(question.space)
    sequence = qmc.Sobol(len(encoder.names), scramble=True, rng=question.seed)
    if question.number:  # zero is refused
        sequence.fast_forward(question.number)
    return encoder.params(encoder.snap(sequence.random(1))[0])


def _tpe(question: Question) -> Params:
    given = {"multivariate": True, "group": True, "constant_liar": True, "n_startup_trials": 0}
    return _learnt(question, optuna.samplers.TPESampler, given)


def _gp(question: Question) -> Params:
    def middle(record: TrialRecord, name: str, domain: Domain) -> Json:
        return domain.from_unit(0.5)

    given = {"n_startup_trials": 0, "warn_independent_sampling": False}
    return _learnt(question, optuna.samplers.GPSampler, given, most=GP_HISTORY, fill=middle)


def _nsga2(question: Question) -> Params:
    return _genetic(question, optuna.samplers.NSGAIISampler)


def _nsga3(question: Question) -> Params:
    return _genetic(question, optuna.samplers.NSGAIIISampler)


def _genetic(question: Question, kind: type[optuna.samplers.BaseSampler]) -> Params:
    """Parents are chosen among all that is seen, as one generation: asynchronous workers have no generations."""

    def dormant(record: TrialRecord, name: str, domain: Domain) -> Json:
        return domain.sample(random.Random(f"{question.seed} {record.number} {name}"))

    given = {"population_size": POPULATION}
    return _learnt(question, kind, given, fill=dormant, attributes={f"{kind.__name__}:generation": 0})


def _learnt(
    question: Question,
    kind: Callable[..., optuna.samplers.BaseSampler],
    given: Mapping[str, Any],
    *,
    most: int | None = None,
    fill: Fill | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> Params:
    """What an Optuna sampler with the user's options before the `given` ones answers; a random one if that is known."""
    space = question.space
    rng = random.Random(question.own_seed)
    seen = history(question.records, space.objectives, rng, most or MAX_HISTORY, most // 2 if most else BEST)
    if len(seen.observed) < STARTUP or seen.repeats >= REPEATS:
        return _random(question)

    def make() -> optuna.samplers.BaseSampler:
        try:
            return kind(seed=question.own_seed, **{**given, **space.sampler.options})
        except (TypeError, ValueError) as error:
            raise InputError(str(error), where=f"{space.name}: sampler.options") from None

    params = ask(space, seen, make, fill=fill, attributes=attributes or {})
    return _random(question) if any(params == r.params for r in seen.candidates) else params


AUTO = "tpe"
"""What `sampler.kind: auto` stands for."""
SAMPLERS: dict[str, Callable[[Question], Params]] = {
    "tpe": _tpe,
    "gp": _gp,
    "nsga2": _nsga2,
    "nsga3": _nsga3,
    "qmc": _qmc,
    "random": _random,
}
"""Values of `sampler.kind` besides `auto`."""
