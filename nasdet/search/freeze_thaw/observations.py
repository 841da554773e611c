"""The records of a study as arrays, and which of their values a model learns from.

One decision: a model sees a bounded number of observations, chosen from those in the order of their reporting. So a
decision takes the same time late in a study as in the middle of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nasdet.search.freeze_thaw.encoding import Encoder
from nasdet.space import Objective
from nasdet.trial import TrialRecord

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MAX_OBSERVATIONS = 300
"""Observations that a model sees."""


@dataclasses.dataclass(frozen=True)
class Observations:
    """Values of one objective, in the order of their reporting.

    Attributes:
        trial: `(N,)` number of the trial.
        epochs: `(N,)` budget.
        values: `(N,)` smaller is better.
    """

    trial: Ints
    epochs: Floats
    values: Floats

    def __len__(self) -> int:
        return len(self.trial)

    def __getitem__(self, index: slice | Ints) -> Observations:
        return Observations(self.trial[index], self.epochs[index], self.values[index])


def impute_failures(seen: Observations, failed: Ints, epochs: Ints) -> Observations:
    """Add each failed trial with the worst value seen, at the budget where it failed or at the first rung. Only the
    newest failures are added, a tenth of all that a model sees, so that they do not displace what can still be
    continued.

    Args:
        seen: real observations.
        failed: `(F,)` numbers of the failed trials.
        epochs: `(F,)` that they were trained.
    """
    failed, epochs = failed[-(MAX_OBSERVATIONS // 10) :], epochs[-(MAX_OBSERVATIONS // 10) :]
    if not len(failed) or not len(seen):
        return seen
    return Observations(
        np.concatenate([seen.trial, failed]),
        np.concatenate([seen.epochs, np.maximum(epochs, seen.epochs.min())]),
        np.concatenate([seen.values, np.full(len(failed), seen.values.max())]),
    )


def limit_observations(seen: Observations, most: int = MAX_OBSERVATIONS) -> Observations:
    """At most `most` observations. Two thirds of the places go to the last observation of each trial first, then to
    those at higher rungs, then to newer ones. A third goes to the newest at any rung, so that a long study still shows
    how training begins."""
    if len(seen) <= most:
        return seen
    index = np.arange(len(seen))
    _, from_end = np.unique(seen.trial[::-1], return_index=True)
    is_last = np.zeros(len(seen), dtype=bool)
    is_last[len(seen) - 1 - from_end] = True
    order = np.lexsort((index, seen.epochs, is_last))[::-1]
    top, rest = order[: most - most // 3], order[most - most // 3 :]
    newest = np.lexsort((rest, np.where(is_last, 0.0, seen.epochs)[rest], is_last[rest]))[::-1]
    return seen[np.sort(np.concatenate([top, rest[newest[: most // 3]]]))]


class RecordTable:
    """`N` records of a space with `P` parameters and `C` features as arrays.

    It follows the records by object identity: those that are new objects since the last `update` are read again. So a
    decision pays for what happened since the last one, and the arrays still depend on the records alone.

    Args:
        encoder: of the space.
        names: of the values that are looked at.

    Attributes:
        rows: `(N, P)` in the unit cube, NaN for parameters that do not exist.
        features: `(N, C)` of the rows.
        known: keys of all rows.
        states: `(N,)` states as text.
        epochs: `(N,)` trained so far.
        seconds: `(N,)` of training so far.
        values: for each name `(N,)` its value at the last rung or before training, NaN where there is none.
    """

    def __init__(self, encoder: Encoder, names: Sequence[str]) -> None:
        self._encoder, self._names = encoder, list(names)
        self._clear()

    def _clear(self) -> None:
        self._records: list[TrialRecord] = []
        self.rows = np.empty((0, len(self._encoder.names)))
        self.features = self._encoder.features(self.rows)
        self.known: set[bytes] = set()
        self.states = np.empty(0, dtype="U10")
        self.epochs, self.seconds = np.empty(0, dtype=np.int64), np.empty(0)
        self.values = {name: np.empty(0) for name in self._names}
        # One row for each result: its place in the order of reporting, trial, epochs, then the named values.
        self._results = np.empty((0, 3 + len(self._names)))

    def __len__(self) -> int:
        return len(self._records)

    @property
    def result_count(self) -> int:
        """Results of all records at all rungs."""
        return len(self._results)

    def update(self, records: Sequence[TrialRecord]) -> None:
        """Take over the records as they are now; records that do not continue the known ones are another study."""
        known = self._records
        changed = [i for i, (old, new) in enumerate(zip(known, records, strict=False)) if old is not new]
        if len(records) < len(known) or any(not _continues(known[i], records[i]) for i in changed):
            self._clear()
            changed = []
        known_rungs = [(i, len(self._records[i].rungs)) for i in changed]
        known_rungs += [(i, 0) for i in range(len(self), len(records))]
        self._add_records(records[len(self) :])
        for i in changed:
            self._set(i, records[i])
        self._records = list(records)
        self._add_results([self._result(i, j) for i, n in known_rungs for j in range(n, len(records[i].rungs))])

    def keys(self, rows: Floats) -> list[bytes]:
        """Keys of snapped rows; rows that differ only in parameters that do not exist have the same key."""
        return [k.tobytes() for k in np.where(self._encoder.active(rows), rows.round(9), -1.0)]

    def observations(self, objective: Objective) -> Observations:
        """Every finite value of an objective at every rung, in the order of their reporting."""
        values = self._results[:, 3 + self._names.index(objective.name)]
        finite = np.isfinite(values)
        sign = -1.0 if objective.direction == "max" else 1.0
        return Observations(self._results[finite, 1].astype(np.int64), self._results[finite, 2], sign * values[finite])

    def is_static(self, name: str) -> bool:
        """Whether a value does not depend on the budget, judged by the trials with results at several rungs, of which
        there have to be three."""
        values = self._results[:, 3 + self._names.index(name)]
        finite = np.flatnonzero(np.isfinite(values))
        finite = finite[np.argsort(self._results[finite, 1], kind="stable")]
        _, first, counts = np.unique(self._results[finite, 1], return_index=True, return_counts=True)
        starts, several = values[finite[first]], counts > 1
        constant = (values[finite] == np.repeat(starts, counts))[np.repeat(several, counts)].all()
        return bool(several.sum() >= 3 and constant and len(np.unique(starts[several])) > 1)

    def _add_records(self, records: Sequence[TrialRecord]) -> None:
        if not records:
            return
        rows = np.array([self._encoder.row(r.params) for r in records])
        snapped = self._encoder.snap(np.where(np.isnan(rows), 0.5, rows))  # features and keys ignore inactive ones
        self.rows = np.concatenate([self.rows, rows])
        self.features = np.concatenate([self.features, self._encoder.features(snapped)])
        self.known.update(self.keys(snapped))
        self.states = np.concatenate([self.states, np.array([r.state for r in records], dtype="U10")])
        self.epochs = np.concatenate([self.epochs, [r.epochs for r in records]])
        self.seconds = np.concatenate([self.seconds, [r.train_seconds for r in records]])
        for name, column in self.values.items():
            self.values[name] = np.concatenate([column, [r.values.get(name, np.nan) for r in records]])

    def _set(self, i: int, record: TrialRecord) -> None:
        self.states[i], self.epochs[i], self.seconds[i] = record.state, record.epochs, record.train_seconds
        for name, column in self.values.items():
            column[i] = record.values.get(name, np.nan)

    def _result(self, i: int, j: int) -> list[float]:
        rung = self._records[i].rungs[j]
        return [rung.told, i, rung.epochs, *(rung.values.get(name, np.nan) for name in self._names)]

    def _add_results(self, results: list[list[float]]) -> None:
        if not results:
            return
        self._results = np.concatenate([self._results, np.array(results, dtype=np.float64)])
        self._results = self._results[np.lexsort((self._results[:, 1], self._results[:, 0]))]


def _continues(old: TrialRecord, new: TrialRecord) -> bool:
    """Whether `new` is the same trial as `old` at the same or a later time."""
    return new.params == old.params and new.rungs[: len(old.rungs)] == old.rungs
