"""Freeze-thaw for any Optuna study. One decision: a sampler that proposes, and one function more that says which paused
trial should go on instead of a new one; whoever runs the study trains."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from nasdet.search.engine.jobs import Candidate
from nasdet.search.engine.reference_point import Reference
from nasdet.search.freeze_thaw.decision import Decision, FreezeThaw
from nasdet.search.optuna_study.conversion import PAUSED, distributions_of, from_space, records_of, space_of
from nasdet.search.records.store import MemoryStore
from nasdet.space import Params, SearchSpace
from nasdet.trial import TrialRecord

_ONE_AT_A_TIME = threading.Lock()
"""Threads of `study.optimize(n_jobs=...)` share a sampler; a decision sets the threads of the whole process."""


class FreezeThawSampler(optuna.samplers.BaseSampler):
    """Proposes by expected hypervolume improvement under a model of learning curves; for one or more objectives,
    define-by-run, conditional parameters included.

    Without `report` every trial is taken to be trained in full. The first 16 trials are random. A trial that breaks a
    constraint (`trial.set_constraint`, once, whatever the budget) improves nothing, and proposals keep clear of it. A
    value that is not finite counts as a failure. Optuna's own `trial.report` teaches nothing, a pruned trial what
    `nasdet.search.report` told of it.

    Args:
        rungs: cumulative epochs at which trials report; the last is the full budget.
        seed: the same study and seed give the same proposal.
        reference: the reference point in the study's order and directions; None: a little worse than the first 8
            results.
    """

    def __init__(self, rungs: Sequence[int] = (1,), *, seed: int = 0, reference: Sequence[float] | None = None) -> None:
        if not rungs or rungs[0] < 1 or list(rungs) != sorted(set(rungs)):
            raise ValueError(f"rungs must rise from at least 1, got {list(rungs)}")
        self.rungs, self.seed, self._given = tuple(rungs), seed, reference
        self._known: tuple[SearchSpace, FreezeThaw] | None = None

    def step(self, trial: optuna.Trial) -> tuple[int, int]:
        """Cumulative epochs that the trial was trained, and to which it is to go on; the same at the end."""
        (record,) = records_of([_frozen(trial)], self.rungs[-1]) or [TrialRecord("", 0, "running", {})]
        return record.epochs, next((r for r in self.rungs if r > record.epochs), record.epochs)

    def thaw(self, study: optuna.Study, *, new: bool = True) -> optuna.Trial | None:
        """The paused trial to go on with; None if a new one (`study.ask`) promises more for each of its epochs.

        Args:
            study: whose sampler this is.
            new: whether a new trial may be started at all.
        """
        trials = study.get_trials(deepcopy=False)
        decision = self._decide(study, trials, number=len(trials), paused=True, new=new)
        if decision.trial is None:
            return None
        trial = optuna.Trial(study, next(t for t in trials if str(t.number) == decision.trial)._trial_id)
        trial.set_user_attr(PAUSED, False)
        return trial

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Every parameter that some trial had."""
        return distributions_of([t for t in study.get_trials(deepcopy=False) if t.number != trial.number])

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """A new trial's parameters; none for one that has them already."""
        others = [t for t in study.get_trials(deepcopy=False) if t.number != trial.number]
        if not search_space or trial.params:
            return {}
        chosen: Params = self._decide(study, others, number=trial.number, paused=False, new=True).params or {}
        return {n: from_space(search_space[n], v) for n, v in chosen.items() if n in search_space}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A random value, for a parameter that no trial had yet."""
        seed = zlib.crc32(f"{self.seed} {trial.number} {param_name}".encode())
        sampler = optuna.samplers.RandomSampler(seed=seed)
        return sampler.sample_independent(study, trial, param_name, param_distribution)

    def _decide(
        self, study: optuna.Study, trials: Sequence[FrozenTrial], *, number: int, paused: bool, new: bool
    ) -> Decision:
        space = space_of(trials, study.directions, self.rungs)
        if space is None:
            return Decision()
        records = records_of(trials, self.rungs[-1])
        with _ONE_AT_A_TIME:
            if self._known is None or self._known[0] != space:
                self._known = space, FreezeThaw(space, _costless, exact=False)
            return self._known[1].decide(
                records,
                seed=self.seed,
                number=number,
                reference=self._reference(space, records, new),
                given=self._given is not None,
                new=new,
                allowed=lambda record: paused,
            )

    def _reference(self, space: SearchSpace, records: list[TrialRecord], new: bool) -> list[float]:
        if self._given is not None:
            return [float(v) for v in self._given]
        reference = Reference(MemoryStore(space, records), _costless, fast=False)
        if new:
            reference.fix({})
        else:
            reference.settle()
        return reference.point


def _costless(params: Params) -> Candidate:
    return Candidate(None, None, {})


def _frozen(trial: optuna.Trial) -> FrozenTrial:
    return next(t for t in trial.study.get_trials(deepcopy=False) if t.number == trial.number)
