"""A study's mirror in MLflow. Nothing here is needed to search, resume or export: the study folder is the truth."""

from nasdet.tracking.mlflow_tracker import MlflowTracker
from nasdet.tracking.replay import replay
from nasdet.tracking.runs_file import run_ids, study_key
from nasdet.tracking.sqlite_store import holds, relocate
from nasdet.tracking.uri import check_tracking_uri, default_uri, public_uri, sqlite_path

__all__ = [
    "MlflowTracker",
    "check_tracking_uri",
    "default_uri",
    "holds",
    "public_uri",
    "relocate",
    "replay",
    "run_ids",
    "sqlite_path",
    "study_key",
]
