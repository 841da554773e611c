"""The front's members as MLflow logged models: external ones, whose weights stay in the study. `nasdet export
--register` puts the weights themselves into MLflow."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasdet.tracking.sqlite_store import KEY_TAG

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

MAX_MODELS = 50
"""At most this many members of a front become models, the first ones."""
EXTERNAL = {"mlflow.model.isExternal": "true"}
TRIAL_TAG = "nasdet.trial"


def all_pages(ask: Callable[[str | None], Any]) -> Iterator[Any]:
    """The entries of all pages of an answer; `ask` takes the token of a page."""
    token = None
    while True:
        page = ask(token)
        yield from page
        token = page.token
        if not token:
            return


def sync_models(
    client: MlflowClient, experiment_id: str, key: str, study_dir: Path, members: Mapping[str, str]
) -> None:
    """Make the front's first members logged models and delete those of other trials.

    Args:
        client: of the store.
        experiment_id: of the study's space.
        key: the study's own, from `tracking.jsonl`.
        study_dir: the study's folder.
        members: trial -> run id, in the order of the front.
    """
    wanted = dict(list(members.items())[:MAX_MODELS])
    of_study = f"tags.`{KEY_TAG}` = '{key}'"
    known = all_pages(lambda token: client.search_logged_models([experiment_id], of_study, page_token=token))
    kept: set[str] = set()
    for model in list(known):  # a list, because deleting shifts the pages
        trial = model.tags.get(TRIAL_TAG, "")
        if trial in wanted and trial not in kept and str(model.status) == "READY":
            kept.add(trial)
        else:
            client.delete_logged_model(model.model_id)
    for trial, run_id in wanted.items():
        if trial not in kept:
            command = f"nasdet export {shlex.quote(str(study_dir))} --pick {trial} --out DIR --register NAME"
            tags = {KEY_TAG: key, **EXTERNAL, TRIAL_TAG: trial, "mlflow.note.content": f"`{command}`"}
            _make(client, experiment_id, f"{study_dir.name}-{trial}", run_id, tags, study_dir / "logs" / "model")


def _make(client: MlflowClient, experiment_id: str, name: str, run_id: str, tags: dict[str, str], folder: Path) -> None:
    """A logged model with its run's parameters and last metrics. `folder` is used meanwhile: in the study and not among
    temporary files, where a killed process would leave it for good."""
    from mlflow.entities import Metric
    from mlflow.models.utils import get_external_mlflow_model_spec

    run = client.get_run(run_id)
    model = client.create_logged_model(
        experiment_id,
        name=re.sub(r"[^\w-]", "-", name),
        source_run_id=run_id,
        tags=tags,
        params=run.data.params,
        model_type="detector",
    )
    # Equal to the run's own metrics in time, step and value, so that the run does not get them a second time.
    last = run.data.to_proto().metrics
    metrics = [Metric(m.key, m.value, m.timestamp, m.step, model_id=model.model_id) for m in last]
    client.log_batch(run_id, metrics=metrics)
    folder.mkdir(parents=True, exist_ok=True)
    get_external_mlflow_model_spec(model).save(str(folder / "MLmodel"))
    client.log_model_artifacts(model.model_id, str(folder))
    shutil.rmtree(folder, ignore_errors=True)
    client.finalize_logged_model(model.model_id, "READY")
