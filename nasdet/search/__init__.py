"""The search engine: ask for jobs, tell results, in process and without Ray."""

from nasdet.search.engine import Engine
from nasdet.search.jobs import Candidate, Finished, Job
from nasdet.search.limits import bounds
from nasdet.search.locate import find_study, open_study, study_root
from nasdet.search.memory import MemoryStore
from nasdet.search.simulate import Simulation, Told, simulate
from nasdet.search.store import StudyStore
from nasdet.search.study import Study
from nasdet.search.summary import summarise
from nasdet.space import SearchSpace, load_space, parse_space

__all__ = [
    "Candidate",
    "Engine",
    "Finished",
    "Job",
    "MemoryStore",
    "SearchSpace",
    "Simulation",
    "Study",
    "StudyStore",
    "Told",
    "bounds",
    "find_study",
    "load_space",
    "open_study",
    "parse_space",
    "simulate",
    "study_root",
    "summarise",
]
