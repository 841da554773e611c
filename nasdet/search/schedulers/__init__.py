"""Schedulers decide which trial trains next: one file for each, and one entry here."""

from nasdet.search.schedulers.base import Scheduler
from nasdet.search.schedulers.freeze_thaw import FreezeThawScheduler
from nasdet.search.schedulers.halving import HalvingScheduler

SCHEDULERS: dict[str, type[Scheduler]] = {
    "halving": HalvingScheduler,
    "full": HalvingScheduler,  # with a single rung nothing is promoted
    "freeze_thaw": FreezeThawScheduler,
}
"""By `scheduler.kind` of a search space; `auto` stands for one of them."""
