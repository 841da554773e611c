"""`nasdet resume`."""

from __future__ import annotations

import click

from nasdet.cli.options import complete_path, stage_options


@click.command("resume")
@click.argument("study", required=False, metavar="[STUDY]", shell_complete=complete_path)
@click.option("--time-limit", metavar="TIME", help="Search this much longer: 90s, 30m, 1h30m.")
@click.option("--trials", type=click.IntRange(min=1), metavar="N", help="Start this many further candidates.")
@click.option("--max-epochs", type=click.IntRange(min=1), metavar="N", help="Train this many further epochs in all.")
@click.option("--data", metavar="SRC", shell_complete=complete_path, help="Where the data set is now.")
@click.option("--address", metavar="RAY", help="Ray cluster to go on with; left out: as before.")
@click.option("--storage", metavar="URI", help="Where the Optuna storage is now.")
@stage_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def command(
    study: str | None,
    time_limit: str | None,
    trials: int | None,
    max_epochs: int | None,
    data: str | None,
    address: str | None,
    storage: str | None,
    repeat_front: int,
    baseline: str | None,
    as_json: bool,
) -> None:
    """Go on with STUDY (a folder or a name; left out: the newest).

    Trials that are finished are kept, paused and interrupted ones go on from their checkpoints. Of a finished study,
    what MLflow lacks is written, and what these options ask for beyond the search is done. After a search with --train
    its training follows.

    --time-limit, --trials and --max-epochs give a search, ended or not, more to spend from now on; those that are given
    replace the limits that it had. The length of one training stays: candidates are compared by it.

    \b
    Example:
      nasdet resume
      nasdet resume digits-1 --repeat-front 3
      nasdet resume digits-1 --time-limit 1h
      nasdet resume digits-1 --address 10.0.0.5:6379 --data /mnt/images
    """
    from nasdet.api.arguments import seconds_of
    from nasdet.cli.train import print_study_and_train
    from nasdet.driver.study.options import ResumeOptions
    from nasdet.driver.study.resume import resume_search
    from nasdet.search import find_study
    from nasdet.search.records.extension import More

    more = More(seconds_of(time_limit, "--time-limit"), trials, max_epochs)
    options = ResumeOptions(repeat_front, baseline is not None, more, data, address, storage)
    print_study_and_train(resume_search(find_study(study), options), as_json)
