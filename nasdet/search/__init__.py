"""Search: ask for training jobs and report their results, in process and without Ray."""

from nasdet.search.engine.constraints import bounds
from nasdet.search.engine.engine import Engine
from nasdet.search.engine.jobs import Candidate, Finished, Job
from nasdet.search.engine.simulation import Simulation, Told, simulate
from nasdet.search.engine.study import Study
from nasdet.search.optuna_study.conversion import report
from nasdet.search.optuna_study.sampler import FreezeThawSampler
from nasdet.search.records.store import MemoryStore
from nasdet.search.records.study_folder import StudyStore, find_study, open_study, study_root
from nasdet.search.records.summary import summarise
from nasdet.space import SearchSpace, load_space, parse_space
from nasdet.study_config import StudyConfig

__all__ = [
    "Candidate",
    "Engine",
    "Finished",
    "FreezeThawSampler",
    "Job",
    "MemoryStore",
    "SearchSpace",
    "Simulation",
    "Study",
    "StudyConfig",
    "StudyStore",
    "Told",
    "bounds",
    "find_study",
    "load_space",
    "open_study",
    "parse_space",
    "report",
    "simulate",
    "study_root",
    "summarise",
]
