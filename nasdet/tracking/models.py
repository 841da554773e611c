"""The front's members as MLflow logged models. One decision: they are external ones, whose weights stay in the study;
what is worth a file in MLflow is exported and registered."""

from __future__ import annotations

import re
import shlex
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from nasdet.tracking.sqlite_store import KEY_TAG

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel
    from mlflow.store.entities import PagedList
    from mlflow.tracking import MlflowClient

T = TypeVar("T")
MAX_MODELS = 50
"""Members of a front that become models, the first of them."""
EXTERNAL = {"mlflow.model.isExternal": "true"}
TRIAL_TAG = "nasdet.trial"


def every(ask: Callable[[str | None], PagedList[T]]) -> Iterator[T]:
    """What all pages of an answer hold; `ask` gets the token of each."""
    token = None
    while True:
        page = ask(token)
        yield from page
        token = page.token
        if not token:
            return


class Models:
    """The logged models of one study.

    Args:
        client: of the store.
        experiment_id: of the study's space.
        key: by which the study is found again.
        study_dir: its folder.
    """

    def __init__(self, client: MlflowClient, experiment_id: str, key: str, study_dir: Path) -> None:
        self._client, self._experiment_id, self._key, self._study_dir = client, experiment_id, key, study_dir

    def write(self, members: Mapping[str, str]) -> None:
        """Let the front's first members be models, and no other trial.

        Args:
            members: trial -> run id, in the order of the front.
        """
        wanted = dict(list(members.items())[:MAX_MODELS])
        known: set[str] = set()
        for model in list(self._known()):  # all of them, before pages shift
            trial = model.tags.get(TRIAL_TAG, "")
            if trial in wanted and trial not in known and str(model.status) == "READY":
                known.add(trial)
            else:
                self._client.delete_logged_model(model.model_id)
        self._make((trial, run_id) for trial, run_id in wanted.items() if trial not in known)

    def _known(self) -> Iterator[LoggedModel]:
        only, where = f"tags.`{KEY_TAG}` = '{self._key}'", [self._experiment_id]
        return every(lambda token: self._client.search_logged_models(where, only, page_token=token))

    def _make(self, members: Iterable[tuple[str, str]]) -> None:
        """Each with its run's parameters and last metrics, and how to get its weights."""
        from mlflow.entities import Metric
        from mlflow.models.utils import get_external_mlflow_model_spec

        for trial, run_id in members:
            run = self._client.get_run(run_id)
            command = f"nasdet export {shlex.quote(str(self._study_dir))} --pick {trial} --out DIR --register NAME"
            model = self._client.create_logged_model(
                self._experiment_id,
                name=re.sub(r"[^\w-]", "-", f"{self._study_dir.name}-{trial}"),
                source_run_id=run_id,
                tags={KEY_TAG: self._key, **EXTERNAL, TRIAL_TAG: trial, "mlflow.note.content": f"`{command}`"},
                params=run.data.params,
                model_type="detector",
            )
            last = run.data.to_proto().metrics  # equal to what the run has, so that it gets no second ones
            metrics = [Metric(m.key, m.value, m.timestamp, m.step, model_id=model.model_id) for m in last]
            self._client.log_batch(run_id, metrics=metrics)
            with tempfile.TemporaryDirectory(prefix="nasdet-model-") as folder:
                get_external_mlflow_model_spec(model).save(str(Path(folder, "MLmodel")))
                self._client.log_model_artifacts(model.model_id, folder)
            self._client.finalize_logged_model(model.model_id, "READY")
