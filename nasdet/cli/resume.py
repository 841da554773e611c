"""`nasdet resume`."""

from __future__ import annotations

import click

from nasdet.cli.options import complete_path, stage_options


@click.command("resume")
@click.argument("study", required=False, metavar="[STUDY]", shell_complete=complete_path)
@stage_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def command(study: str | None, repeat_front: int, baseline: str | None, as_json: bool) -> None:
    """Go on with STUDY (a folder or a name; left out: the newest).

    Trials that are finished are kept, paused and interrupted ones go on from their checkpoints. Of a finished study,
    what MLflow lacks is written, and what these options ask for beyond the search is done.

    \b
    Example:
      nasdet resume
      nasdet resume digits-1 --repeat-front 3
    """
    from nasdet.cli.output import print_study
    from nasdet.driver.study.resume import resume_search
    from nasdet.search import open_study

    print_study(resume_search(open_study(study), repeat_front, baseline is not None), as_json)
