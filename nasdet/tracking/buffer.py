"""`RunBuffer`: what one run should hold, and how much of it the store has.

One decision: a write is the difference between the two, so that any write may fail, be repeated or be made again after
a resume, and nothing is lost, sent twice or changed without need.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

MAX_KEY = 250
MAX_PARAM = 6000
MAX_TAG = 5000
FILES_TAG = "nasdet.files"
"""Set on a run whose files are complete and never change."""
ENDED = ("FINISHED", "FAILED", "KILLED")


class RunBuffer:
    """One run on its way to the store; used by the tracker's thread only.

    Args:
        name: the run's name in the UI.
        started: milliseconds since 1970.
    """

    def __init__(self, name: str, started: int | None = None) -> None:
        self.name = name
        self.run_id = ""
        self.status = "RUNNING"
        self.started = started or _now()
        self.params: dict[str, str] = {}
        self.tags: dict[str, str] = {}
        self.metrics: dict[tuple[str, int], tuple[float, int]] = {}
        self.files: dict[str, str | Path] = {}
        self._stored_params: set[str] = set()
        self._stored_tags: dict[str, str] = {}
        self._stored_status = "RUNNING"
        self._last: dict[str, tuple[int, float]] = {}
        self._refused = False

    def adopt(self, run: Run) -> None:
        """Continue a run that the store has already."""
        self.run_id, self._stored_status = run.info.run_id, run.info.status
        self._stored_params = set(run.data.params)
        self._stored_tags = dict(run.data.tags)
        if FILES_TAG in self._stored_tags:
            self.files.clear()
        self._last = {m.key: (int(m.step), m.value) for m in run.data.to_proto().metrics}
        self.metrics = {(n, s): v for (n, s), v in self.metrics.items() if self._is_new(n, s, v[0])}

    def set_params(self, values: Mapping[str, Any]) -> None:
        """Parameters cannot change: the first value of a key stays."""
        for key, value in values.items():
            self.params.setdefault(_key(key), str(value)[:MAX_PARAM])

    def set_tags(self, values: Mapping[str, str]) -> None:
        """Tags replace those of the same name."""
        self.tags.update({_key(k): v[:MAX_TAG] for k, v in values.items()})

    def first_tags(self) -> dict[str, str]:
        """What a run may be made with: a transaction less than in `write`. The files are not there yet."""
        return {k: v for k, v in self.tags.items() if k != FILES_TAG}

    def add_metrics(self, values: Mapping[str, Any], step: int) -> None:
        """Numbers at a step; what is no finite number, older than what is stored, or the same, is passed over."""
        for key, value in values.items():
            name = _key(key)
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                continue
            if self._is_new(name, step, float(value)):
                self.metrics[name, step] = (float(value), _now())

    def pending(self) -> bool:
        """Whether the store lacks anything that it may still take."""
        if self._refused:
            return False
        new = self.metrics or self.files or not self.run_id or self.status != self._stored_status
        return bool(new or self._new_params() or self._new_tags())

    def give_up(self) -> None:
        """Send nothing more: the store refuses what this run holds."""
        self._refused = True

    def write(self, client: MlflowClient) -> None:
        """Send what the store lacks: files before the tag that vouches for them, the status last."""
        from mlflow.entities import Metric, Param, RunTag

        params, tags, metrics = self._new_params(), self._new_tags(), dict(self.metrics)
        self._write_files(client)
        client.log_batch(
            self.run_id,
            metrics=[Metric(name, value, at, step) for (name, step), (value, at) in metrics.items()],
            params=[Param(k, v) for k, v in params.items()],
            tags=[RunTag(k, v) for k, v in tags.items()],
        )
        self._stored_params |= set(params)
        self._stored_tags |= tags
        self.metrics.clear()
        for (name, step), (value, _) in metrics.items():
            self._last[name] = max(self._last.get(name, (-1, value)), (step, value))
        self._write_status(client)

    def _is_new(self, name: str, step: int, value: float) -> bool:
        last_step, last_value = self._last.get(name, (-1, math.nan))
        return step > last_step or (step == last_step and value != last_value)

    def _write_files(self, client: MlflowClient) -> None:
        for name, content in list(self.files.items()):
            if isinstance(content, Path):
                client.log_artifact(self.run_id, str(content))
            else:
                client.log_text(self.run_id, content, name)
            del self.files[name]

    def _write_status(self, client: MlflowClient) -> None:
        if self.status == self._stored_status:
            return
        if self.status in ENDED:
            client.set_terminated(self.run_id, self.status)
        else:
            client.update_run(self.run_id, status=self.status)
        self._stored_status = self.status

    def _new_params(self) -> dict[str, str]:
        return {k: v for k, v in self.params.items() if k not in self._stored_params}

    def _new_tags(self) -> dict[str, str]:
        return {k: v for k, v in self.tags.items() if self._stored_tags.get(k) != v}


def _key(name: str) -> str:
    """A key that MLflow accepts: letters, digits and _ - . / : and space."""
    return re.sub(r"[^\w\-./: ]", "_", name)[:MAX_KEY]


def _now() -> int:
    return int(time.time() * 1000)
