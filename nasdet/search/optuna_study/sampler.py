"""`FreezeThawSampler`: freeze-thaw search for any Optuna study. It proposes new trials as every sampler does, and its
`thaw` says which paused trial should continue instead of a new one. The caller runs the trials."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from nasdet.search.engine.jobs import Candidate
from nasdet.search.engine.reference_point import ReferencePoint
from nasdet.search.freeze_thaw.decision import Decision, FreezeThaw
from nasdet.search.optuna_study.conversion import PAUSED, distributions_of, from_space, records_of, space_of
from nasdet.search.records.store import MemoryStore
from nasdet.space import Params, SearchSpace
from nasdet.trial import TrialRecord

_ONE_AT_A_TIME = threading.Lock()
"""Held during a decision: threads of `study.optimize(n_jobs=...)` share a sampler, and a decision limits the number of
threads in the whole process."""


class FreezeThawSampler(optuna.samplers.BaseSampler):
    """Proposes by expected hypervolume improvement under a model of learning curves; for one or more objectives,
    define-by-run, conditional parameters included.

    A trial without `nasdet.search.report` counts as trained in full. The first 16 trials are random. A trial that
    violates a constraint (set once by `trial.set_constraint`, at any budget) improves nothing, and proposals avoid its
    surroundings. A value that is not finite counts as a failure. Reports by Optuna's own `trial.report` are not used;
    of a pruned trial the reports by `nasdet.search.report` are.

    Args:
        rungs: cumulative epochs at which trials report; the last one is the full budget.
        seed: the same study and seed give the same proposal.
        reference: the reference point in the study's order and directions; None: a little worse than the worst of the
            first 8 results.
    """

    def __init__(self, rungs: Sequence[int] = (1,), *, seed: int = 0, reference: Sequence[float] | None = None) -> None:
        if not rungs or rungs[0] < 1 or list(rungs) != sorted(set(rungs)):
            raise ValueError(f"rungs must rise from at least 1, got {list(rungs)}")
        self.rungs, self.seed, self._user_reference = tuple(rungs), seed, reference
        self._cached: tuple[SearchSpace, FreezeThaw] | None = None

    def step(self, trial: optuna.Trial) -> tuple[int, int]:
        """Cumulative epochs that the trial was trained so far, and the next rung to train it to; equal once it is
        complete."""
        (record,) = records_of([_frozen(trial)], self.rungs[-1]) or [TrialRecord("", 0, "running", {})]
        return record.epochs, next((r for r in self.rungs if r > record.epochs), record.epochs)

    def thaw(self, study: optuna.Study, *, new: bool = True) -> optuna.Trial | None:
        """The paused trial to continue; None if a new one (`study.ask`) promises more per epoch.

        Args:
            study: the study of this sampler.
            new: whether a new trial may be started instead.
        """
        trials = study.get_trials(deepcopy=False)
        decision = self._decide(study, trials, number=len(trials), paused=True, new=new)
        if decision.trial is None:
            return None
        # Optuna has no public way to continue a running trial: `_trial_id` is private.
        trial = optuna.Trial(study, next(t for t in trials if str(t.number) == decision.trial)._trial_id)
        trial.set_user_attr(PAUSED, False)
        return trial

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Every parameter that an earlier trial has."""
        return distributions_of([t for t in study.get_trials(deepcopy=False) if t.number != trial.number])

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Parameters of a new trial; none for a trial that has parameters already."""
        others = [t for t in study.get_trials(deepcopy=False) if t.number != trial.number]
        if not search_space or trial.params:
            return {}
        chosen: Params = self._decide(study, others, number=trial.number, paused=False, new=True).params or {}
        return {n: from_space(search_space[n], v) for n, v in chosen.items() if n in search_space}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A random value for a parameter that no earlier trial has."""
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
            if self._cached is None or self._cached[0] != space:
                self._cached = space, FreezeThaw(space, _without_costs, cheap_build=False)
            return self._cached[1].decide(
                records,
                seed=self.seed,
                number=number,
                reference=self._reference(space, records, new),
                reference_is_known=self._user_reference is not None,
                new=new,
                allowed=lambda record: paused,
            )

    def _reference(self, space: SearchSpace, records: list[TrialRecord], new: bool) -> list[float]:
        if self._user_reference is not None:
            return [float(v) for v in self._user_reference]
        reference = ReferencePoint(MemoryStore(space, records), _without_costs, cheap_build=False)
        if new:
            reference.fix({})
        else:
            reference.settle()
        return reference.point


def _without_costs(params: Params) -> Candidate:
    """The builder of an Optuna study, where nothing is known before training."""
    return Candidate(None, None, {})


def _frozen(trial: optuna.Trial) -> FrozenTrial:
    return next(t for t in trial.study.get_trials(deepcopy=False) if t.number == trial.number)
