from __future__ import annotations

from typing import get_args

from nasdet.search.schedulers import SCHEDULERS
from nasdet.space.schema import SchedulerKind


def test_the_schema_knows_every_scheduler() -> None:
    assert {"auto", *SCHEDULERS} == set(get_args(SchedulerKind))
