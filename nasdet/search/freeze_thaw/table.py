"""The records of a study as arrays. One decision: a table follows the records that it is shown by what is a new object
among them, so that a decision pays for what happened since the last one, and still depends on the records alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nasdet.search.freeze_thaw.encoding import Encoder, Floats
from nasdet.search.freeze_thaw.observations import Observations
from nasdet.space import Objective
from nasdet.trial import TrialRecord

Ints = NDArray[np.int64]


class Table:
    """`N` records of a space with `P` parameters and `C` features.

    Args:
        encoder: of the space.
        names: of the values that are looked at.

    Attributes:
        rows: `(N, P)` of the unit cube, NaN for parameters that do not exist.
        features: `(N, C)` what a model sees of them.
        known: keys of all rows.
        states: `(N,)` states as text.
        epochs: `(N,)` trained so far.
        seconds: `(N,)` that this took.
        values: for each name `(N,)` its value at the last rung or before training, NaN where there is none.
        told: results of all records at all rungs.
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
        self._seen = np.empty((0, 3 + len(self._names)))

    def __len__(self) -> int:
        return len(self._records)

    @property
    def told(self) -> int:
        """Results of all records at all rungs."""
        return len(self._seen)

    def update(self, records: Sequence[TrialRecord]) -> None:
        """Show the records as they are now."""
        known = self._records
        changed = [i for i, (old, new) in enumerate(zip(known, records, strict=False)) if old is not new]
        if len(records) < len(known) or any(not _goes_on(known[i], records[i]) for i in changed):
            self._clear()
            changed = []
        told = [(i, len(self._records[i].rungs)) for i in changed] + [(i, 0) for i in range(len(self), len(records))]
        self._add_rows(records[len(self) :])
        for i in changed:
            self._set(i, records[i])
        self._records = list(records)
        self._add_results([self._result(i, j) for i, first in told for j in range(first, len(records[i].rungs))])

    def keys(self, rows: Floats) -> list[bytes]:
        """What tells snapped rows apart; parameters that do not exist don't."""
        return [k.tobytes() for k in np.where(self._encoder.active(rows), rows.round(9), -1.0)]

    def observations(self, objective: Objective) -> Observations:
        """Every finite value of an objective at every rung, in the order in which they were told."""
        values = self._seen[:, 3 + self._names.index(objective.name)]
        seen = np.isfinite(values)
        sign = -1.0 if objective.direction == "max" else 1.0
        return Observations(self._seen[seen, 1].astype(np.int64), self._seen[seen, 2], sign * values[seen])

    def is_static(self, name: str) -> bool:
        """Whether a value does not depend on the budget, as far as three or more trials seen at several rungs tell."""
        values = self._seen[:, 3 + self._names.index(name)]
        seen = np.flatnonzero(np.isfinite(values))
        seen = seen[np.argsort(self._seen[seen, 1], kind="stable")]
        _, first, counts = np.unique(self._seen[seen, 1], return_index=True, return_counts=True)
        starts, longer = values[seen[first]], counts > 1
        constant = (values[seen] == np.repeat(starts, counts))[np.repeat(longer, counts)].all()
        return bool(longer.sum() >= 3 and constant and len(np.unique(starts[longer])) > 1)

    def _add_rows(self, records: Sequence[TrialRecord]) -> None:
        if not records:
            return
        rows = np.array([self._encoder.row(r.params) for r in records])
        shown = self._encoder.snap(np.where(np.isnan(rows), 0.5, rows))  # what does not exist is no feature and no key
        self.rows = np.concatenate([self.rows, rows])
        self.features = np.concatenate([self.features, self._encoder.features(shown)])
        self.known.update(self.keys(shown))
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
        self._seen = np.concatenate([self._seen, np.array(results, dtype=np.float64)])
        self._seen = self._seen[np.lexsort((self._seen[:, 1], self._seen[:, 0]))]


def _goes_on(old: TrialRecord, new: TrialRecord) -> bool:
    """Whether a record is the same trial as before, later."""
    return new.params == old.params and new.rungs[: len(old.rungs)] == old.rungs
