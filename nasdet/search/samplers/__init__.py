"""Samplers propose parameters for new trials: one function for each, and one entry here.

One decision: a proposal is a pure function of (records, seed, number), so that a resumed study proposes what an
uninterrupted one would have.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nasdet.search.samplers.history import ProposalRequest
from nasdet.search.samplers.optuna_samplers import gp, nsga2, nsga3, tpe
from nasdet.search.samplers.random_sampling import quasi_random, random_params
from nasdet.space import Params, SearchSpace
from nasdet.trial import TrialRecord

AUTO = "tpe"
"""What `sampler.kind: auto` stands for."""
SAMPLERS: dict[str, Callable[[ProposalRequest], Params]] = {
    "tpe": tpe,
    "gp": gp,
    "nsga2": nsga2,
    "nsga3": nsga3,
    "qmc": quasi_random,
    "random": random_params,
}
"""By `sampler.kind` of a search space."""


def propose(space: SearchSpace, records: Sequence[TrialRecord], *, seed: int, number: int) -> Params:
    """Flat parameters of the next candidate, without those that do not exist.

    Args:
        space: the search space; its `sampler` chooses.
        records: every record of the study.
        seed: of the study.
        number: of the proposal; the same (records, seed, number) give the same proposal.
    """
    kind = AUTO if space.sampler.kind == "auto" else space.sampler.kind
    return SAMPLERS[kind](ProposalRequest(space, records, seed, number))
