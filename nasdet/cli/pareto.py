"""`nasdet pareto`: the front as a table, a picture, a CSV file or JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from nasdet.cli.options import complete_path


@click.command("pareto")
@click.argument("study", required=False, metavar="[STUDY]", shell_complete=complete_path)
@click.option("--plot", type=click.Path(path_type=Path), help="Draw the front: FILE.png or FILE.html (interactive).")
@click.option("--csv", "table", type=click.Path(path_type=Path), help="Write all trials, one a row.")
@click.option("--json", "as_json", is_flag=True, help="Print the study as one JSON object.")
def command(study: str | None, plot: Path | None, table: Path | None, as_json: bool) -> None:
    """Show the Pareto front of STUDY (a folder or a name; left out: the newest).

    \b
    Example:
      nasdet pareto
      nasdet pareto digits-1 --plot front.html --csv trials.csv
    """
    from nasdet.analysis.dataframes import write_trials
    from nasdet.analysis.plots.front import plot_front
    from nasdet.analysis.rank_correlation import score_correlation
    from nasdet.cli.output import print_study
    from nasdet.errors import InputError
    from nasdet.search import open_study, summarise

    if plot is not None and plot.suffix.lower() not in (".png", ".html"):
        raise InputError(f"cannot draw {plot.name!r}", where="--plot", remedy="name a file that ends in .png or .html")
    store = open_study(study)
    records, summary = store.records(), summarise(store)
    if plot is not None:
        plot_front(store, plot)
    try:
        if table is not None:
            write_trials(records, store.objectives, table)
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror})", where=str(error.filename)) from error
    correlation = score_correlation(records, store.objectives)
    more: dict[str, Any] = {"scores": correlation} if correlation else {}
    print_study(summary, as_json, **more)
    if correlation and not as_json:
        click.echo(f"\norder of {correlation['trials']} candidates by {correlation['objective']}, Kendall's tau:")
        for p in correlation["predictors"]:
            click.echo(f"  {p['name']:<14} {p['tau']:+.2f}  (95%: {p['low']:+.2f} to {p['high']:+.2f})")
    for path in filter(None, (plot, table)):
        click.echo(f"written: {path}", err=True)
