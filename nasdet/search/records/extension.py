"""More to spend for a search, also for one that has ended.

One decision: it becomes the search that it would have been with the larger budget from the start. Its reference point
stays, and the trials that were paused when it ended are paused again, as far as their checkpoints are still there.
"""

from __future__ import annotations

import dataclasses

from nasdet.search.records.store import Store
from nasdet.study_config import Limits
from nasdet.trial import OUT_OF_TIME


@dataclasses.dataclass(frozen=True)
class More:
    """What a search may spend from now on: what is given replaces every limit that the search had. Without any value it
    keeps them."""

    time_limit: float | None = None
    """Further seconds."""
    trials: int | None = None
    """Further candidates."""
    epochs: int | None = None
    """Further epochs of all candidates together."""

    def __bool__(self) -> bool:
        return self != NOTHING


NOTHING = More()


def give_more(store: Store, more: More) -> None:
    """Let a search spend more than it has spent so far; its process may go on with it then, and only then."""
    ledger, spent = store.ledger, store.config.wall_seconds
    extend(
        store,
        Limits(
            trials=None if more.trials is None else ledger.trained + more.trials,
            total_epochs=None if more.epochs is None else ledger.epochs + more.epochs,
            time_limit=None if more.time_limit is None else spent + more.time_limit,
        ),
    )


def extend(store: Store, limits: Limits) -> None:
    """Let a search go on up to limits that count from its start."""
    for record in store.records():
        if record.ended_with_search and store.can_continue(record):
            store.ledger.reopen(record.trial)
            # One that trained when the search ended goes on at once, as after a crash.
            state = "running" if record.reason == OUT_OF_TIME else "paused"
            store.put(record.replace(state=state, reason=""))
    store.limit(limits)
