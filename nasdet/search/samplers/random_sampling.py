"""Samplers that do not learn: independent random values, and a quasi-random sequence."""

from __future__ import annotations

import random

from scipy.stats import qmc

from nasdet.search.freeze_thaw.encoding import Encoder
from nasdet.search.samplers.history import ProposalRequest
from nasdet.space import Params


def random_params(request: ProposalRequest) -> Params:
    """Random parameters."""
    return request.space.sample(random.Random(request.proposal_seed))


def quasi_random(request: ProposalRequest) -> Params:
    """The proposal's point of a scrambled Sobol sequence over all parameters; those that do not exist are left out."""
    encoder = Encoder(request.space)
    sequence = qmc.Sobol(len(encoder.names), scramble=True, rng=request.seed)
    if request.number:  # fast_forward refuses zero
        sequence.fast_forward(request.number)
    return encoder.params(encoder.snap(sequence.random(1))[0])
