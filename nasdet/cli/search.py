"""`nasdet search`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from nasdet.cli.options import complete_path, stage_options


@click.command("search")
@click.argument("space", metavar="[SPACE]", required=False, shell_complete=complete_path)
@click.option(
    "--data",
    metavar="SRC",
    shell_complete=complete_path,
    help="digits, a folder in COCO, VOC or YOLO layout, or a YAML naming the parts.",
)
@click.option("--study", type=click.Path(path_type=Path), metavar="DIR", help="Folder of the new study.")
@click.option("--trials", type=click.IntRange(min=1), metavar="N", help="Candidates to train.")
@click.option("--max-epochs", type=click.IntRange(min=1), metavar="N", help="Epochs of one full trial.")
@click.option("--time-limit", metavar="TIME", help="For the whole search: 90s, 30m, 1h30m.")
@click.option("--workers", metavar="N", help="Processes that train one trial together.")
@click.option("--concurrent", metavar="N", help="Trials trained at the same time.")
@click.option("--gpus", metavar="N", help="GPUs to plan for; some may join the cluster later.")
@click.option("--seed", type=click.IntRange(min=0), metavar="N", help="Of the sampler and of every training.")
@click.option("--address", metavar="RAY", help="Ray cluster; left out: this machine.")
@click.option(
    "--tracking-uri", metavar="URI", help="MLflow store; left out: $MLFLOW_TRACKING_URI, else SQLite beside the study."
)
@click.option("--storage", metavar="URI", help="Optuna storage; left out: SQLite in the study.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a value of SPACE; repeatable.")
@click.option("--objective", metavar="MODULE:FUNCTION", help="Search for f(params, budget) -> values; no training.")
@stage_options
@click.option("--train", is_flag=True, help="Spend two thirds of the time on training what was found in full.")
@click.option("--pick", metavar="RULE", help="With --train: best, knee, fastest, smallest or 'latency_ms<8'.  [best]")
@click.option("--or-resume", is_flag=True, help="Go on with the study in --study DIR if there is one.")
@click.option("--dry-run", is_flag=True, help="Check space, data and options; train nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def command(
    space: str | None,
    data: str | None,
    study: Path | None,
    trials: int | None,
    max_epochs: int | None,
    time_limit: str | None,
    seed: int | None,
    address: str | None,
    tracking_uri: str | None,
    storage: str | None,
    overrides: tuple[str, ...],
    objective: str | None,
    repeat_front: int,
    baseline: str | None,
    train: bool,
    pick: str | None,
    or_resume: bool,
    dry_run: bool,
    as_json: bool,
    workers: str | None,
    concurrent: str | None,
    gpus: str | None,
) -> None:
    """Search for detectors, each trained from random initialisation. Without SPACE, the space follows from the data.

    \b
    Example:
      nasdet search --data ./my_images --time-limit 1h --train
      nasdet search search_spaces/detnet.yaml
      nasdet search search_spaces/quick.yaml --data ./my_images --time-limit 30m
      nasdet search my_space.yaml --objective my_module:my_function
      nasdet search search_spaces/detnet.yaml --repeat-front 3 --baseline random
      nasdet search search_spaces/detnet.yaml --study /shared/run-1 --or-resume
    """
    from nasdet.api.arguments import seconds_of
    from nasdet.api.search import prepare_space, whole_time
    from nasdet.cli.output import print_json
    from nasdet.cli.train import print_study_and_train
    from nasdet.driver.auto_space.start_space import is_auto
    from nasdet.driver.study.options import SearchOptions
    from nasdet.driver.study.resume import check_search_or_resume, search_or_resume
    from nasdet.errors import InputError
    from nasdet.export.pick_trial import check_rule

    begin = time.monotonic()
    if pick is not None and not train:
        raise InputError("says what to train", where="--pick", remedy="add --train")
    check_rule(pick or "best")
    loaded = prepare_space(
        space,
        data,
        overrides=overrides,
        trials=trials,
        max_epochs=max_epochs,
        time_limit=seconds_of(time_limit, "--time-limit"),
        seed=seed,
        workers=workers,
        concurrent=concurrent,
        gpus=gpus,
        function=objective is not None,
        train=train,
        goes_on=study if or_resume else None,
    )
    if is_auto(space):
        click.echo(loaded.description, err=True)
    asked = (pick or "best") if train else ""
    options = SearchOptions(
        data, study, address, tracking_uri, storage, repeat_front, baseline is not None, or_resume, asked
    )
    if not (loaded.budget.trials or loaded.budget.time_limit or loaded.budget.total_epochs):
        click.echo("no limit: it ends by Ctrl-C, or when nothing new is left; --time-limit 30m sets one", err=True)
    if dry_run:
        checked = check_search_or_resume(loaded, options, objective)
        print_json(checked) if as_json else click.echo(_ready(checked))
        return
    summary = search_or_resume(loaded, options, objective=objective)
    print_study_and_train(summary, as_json, until=begin + whole_time(loaded) if train else None)


def _ready(checked: dict[str, Any]) -> str:
    """What `--dry-run` found, in one line."""
    if "objective" in checked:
        what = f"{checked['parameters']} parameters of {checked['objective']}"
    else:
        images = ", ".join(f"{n} {split}" for split, n in checked["images"].items())
        what = f"{checked['parameters']} parameters, {images} images of {checked['data']}"
    return f"{checked['space']}: {what}: ready to search"
