"""Staged search (`mode: recipe_first` or `structure_first`): one group of parameters is searched while the other one is
held, then the other way round. One decision: both stages are one study on one front; all that a stage does is to hold
values of new candidates, and those that the second stage holds are stored with the study, so that a resumed one holds
the same.

SM-NAS (Yao et al. 2020, arXiv 1911.09929) searches combinations first and then inside those on its front.
"""

from __future__ import annotations

from collections.abc import Sequence

from nasdet.pareto import front
from nasdet.search.engine.budget import Budget
from nasdet.search.records.store import Store
from nasdet.space import Choice, Json, Params, SearchSpace
from nasdet.space.domains import Random, canonical
from nasdet.trial import TrialRecord

SHARE = 0.5
"""Share of the trials or epochs after which the second stage begins."""
TIME_SHARE = 0.3
"""The same of a time limit: halving starts new candidates in its first six tenths only."""


class Stages:
    """What new candidates of a study have in common.

    Args:
        store: the study; `settled` in its `config` is what the first stage found.
        budget: of the study.
    """

    def __init__(self, store: Store, budget: Budget) -> None:
        self._store, self._space, self._budget = store, store.space, budget

    def held(self) -> tuple[Params, ...]:
        """Values that a new candidate has: those of any one of the returned; none are held where nothing is returned.

        First stage: the group searched second, as in the first of `points` that states it, else the first value of a
        choice and the middle of a range. Second stage: the group searched first, as in the members of the front at the
        moment when half of the trials or epochs, or three tenths of the time, were spent and one candidate had been
        trained in full.
        """
        if self._space.mode.kind == "joint":
            return ()
        first, second = groups(self._space)
        settled: list[Params] | None = self._store.config.get("settled")
        if settled is None and self._is_over():
            members = front(self._store.records(), self._space.objectives)
            settled = _distinct(members, first)
            self._store.save_config(settled=settled)
        return tuple(settled) if settled is not None else ({name: _default(self._space, name) for name in second},)

    def _is_over(self) -> bool:
        """Whether the first stage is."""
        enough = self._budget.spent >= SHARE or self._budget.time_spent >= TIME_SHARE
        return enough and self._store.ledger.count("complete") > 0


def groups(space: SearchSpace) -> tuple[list[str], list[str]]:
    """The parameters that a staged search searches first, and those that it searches second."""
    recipe, structure = space.mode.split(space.parameters)
    return (recipe, structure) if space.mode.kind == "recipe_first" else (structure, recipe)


def one_of(options: Sequence[Params], rng: Random) -> Params:
    """One of the held alternatives; nothing where there are none, and then nothing is drawn."""
    return options[int(rng.random() * len(options))] if options else {}


def _default(space: SearchSpace, name: str) -> Json:
    stated = [point[name] for point in space.points if name in point]
    domain = space.parameters[name]
    if stated:
        return stated[0]
    return domain.values[0] if isinstance(domain, Choice) else domain.from_unit(0.5)


def _distinct(members: Sequence[TrialRecord], names: Sequence[str]) -> list[Params]:
    found = [{n: r.params[n] for n in names if n in r.params} for r in members]
    return list({canonical(params): params for params in found}.values())
