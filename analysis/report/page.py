"""The HTML of the report: the values that `templates/report.html.j2` shows. Words and order of the page stand in the
template, which escapes every value."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from nasdet.analysis.effort import effort, reasons
from nasdet.analysis.front_history import compare_curves
from nasdet.analysis.plots.architecture_diagram import architecture_svg, curve_svg
from nasdet.analysis.plots.front_view import LABELS, UNITS, architecture, training
from nasdet.analysis.plots.hypervolume import curves_figure, history_figure
from nasdet.analysis.plots.importance import importance_figure
from nasdet.analysis.plots.interactive_front import trials_figure
from nasdet.analysis.plots.parallel_coordinates import parallel_figure
from nasdet.analysis.plots.style import FONT
from nasdet.analysis.report.content import Report
from nasdet.analysis.templates import duration, render
from nasdet.space.yaml_document import dump_yaml
from nasdet.study_config import ResourcePlan
from nasdet.tracking.note import next_commands
from nasdet.trial import TrialRecord

MOST_REASONS = 20
MOST_CLASSES = 30
Row = list[str]


@dataclasses.dataclass(frozen=True)
class Card:
    """One member of the front: what the pointer shows over its point, and what stands further down."""

    title: str
    """The trial, and what it is the best in."""
    values: str
    diagram: Markup
    """Of the architecture; empty for a function."""
    lines: list[str]
    """Architecture or parameters, and recipe."""
    curve: Markup
    """The first objective over the epochs; empty with fewer than two results."""
    pictures: Sequence[bytes]
    """JPEGs of validation images with the predicted boxes."""


def page(report: Report) -> str:
    """The whole page as text."""
    from plotly.offline import get_plotlyjs

    view = report.view
    spent = effort(report.records)
    heads, rows = _front_table(report)
    objective = view.axes[0].name
    return render(
        "report.html.j2",
        plotly=Markup(get_plotlyjs()),
        figures=_figures(report),
        summary=view.summary,
        best=view.front[0] if view.front else None,
        question=_question(report),
        front_heads=heads,
        front_rows=rows,
        marked=list(view.marked(*view.pairs()[0]).values()),
        unclear=sorted(view.unclear()),
        pictures=report.pictures,
        cards=[_card(report, record) for record in view.front],
        objective=objective,
        reference=", ".join(
            f"{axis.name} {v:.4g}" for axis, v in zip(view.axes, view.summary.reference_point, strict=True)
        ),
        compared=compare_curves(report.curves) if report.curves else "",
        method=report.method,
        importance_height=290 * len(view.axes),
        findings=report.findings,
        space_yaml=dump_yaml(report.space.raw),
        reasons=[(r.state, r.trials, r.example) for r in reasons(report.records)],
        most_reasons=MOST_REASONS,
        effort=spent,
        effort_rows=[
            (e.state, e.trials, e.epochs, duration(e.train_seconds), duration(e.overhead_seconds)) for e in spent
        ],
        full_epochs=report.space.rungs()[-1],
        next_commands=next_commands(view.summary, report.folder),
    )


def _figures(report: Report) -> dict[str, Markup]:
    """The interactive figures by the name of their place on the page, as JSON.

    They share the page's one copy of plotly's script. Plotly writes < and / in strings as \\u003c and \\u002f, so no
    value can end the script element that holds the JSON.
    """
    margin = {"l": 70, "r": 10, "b": 60}
    figures: dict[str, Any] = {"hypervolume": history_figure(report.view)}
    if report.view.front:
        front = figures["front"] = trials_figure(report.view)
        # The members carry their place on the front, by which the page's script finds their cards.
        members = {"customdata": list(range(len(report.view.front))), "hovertemplate": None, "text": None}
        front.data[2].update(**members, hoverinfo="none")
        front.update_layout(margin={**margin, "t": 70})
    if report.curves:
        figures["curves"] = curves_figure(report.curves)
        figures["curves"].update_layout(title=None, font=FONT, margin={**margin, "t": 40})
    if report.importance:
        figures["importance"] = importance_figure(report.importance)
    if report.columns[0].values:
        figures["parallel"] = parallel_figure(report.columns)
    for figure in figures.values():
        figure.update_xaxes(title_font_size=14).update_yaxes(title_font_size=14)
    return {name: Markup(figure.to_json()) for name, figure in figures.items()}


def _question(report: Report) -> list[tuple[str, str]]:
    """What was searched, as (name, text)."""
    space, summary, budget = report.space, report.view.summary, report.space.budget
    spent = [f"{budget.trials} trials" if budget.trials else "any number of trials"]
    spent[0] += f" of up to {budget.epochs} epochs"
    spent += [f"compared after {', '.join(map(str, space.rungs()))}"]
    small, scale = space.small_epochs
    spent += [f"the first {small} with images of {scale:g} of the size"] if small else []
    spent += [f"at most {duration(budget.time_limit)}"] if budget.time_limit else []
    spent += [f"{budget.total_epochs} epochs in all"] if budget.total_epochs else []
    free = f"{len(space.parameters)} parameters"
    free += f", {len(space.conditions)} of them under conditions" if space.conditions else ""
    classes = report.config.classes
    more = f" and {len(classes) - MOST_CLASSES} more" if len(classes) > MOST_CLASSES else ""
    engine = f"{space.sampler.kind} proposals, {space.scheduler.kind} scheduling"
    engine = "freeze-thaw" if space.scheduler.kind == "freeze_thaw" else engine
    better = {"max": "higher is better", "min": "lower is better"}
    aims = [f"{LABELS.get(o.name, o.name).split(' (')[0]} ({better[o.direction]})" for o in space.objectives]
    rows = [
        ("search space", f"{space.name}: {free}"),
        ("", space.description),
        ("function" if space.function else "data", summary.data),
        ("classes", ", ".join(classes[:MOST_CLASSES]) + more),
        ("objectives", ", ".join(aims)),
        ("constraints", ", ".join(str(c) for c in space.constraints)),
        ("budget", ", ".join(spent)),
        ("search", f"{engine}, seed {summary.seed}"),
        ("device", _device(report.config.plan) if report.config.plan else ""),
    ]
    return [(name, text) for name, text in rows if text]


def _device(plan: ResourcePlan) -> str:
    """Such as "cpu, 2 candidates at a time, each with 1 worker of 1 thread"."""
    many = [
        f"{count} {what}" if count == 1 else f"{count} {what}s"
        for count, what in ((plan.concurrent, "candidate"), (plan.workers, "worker"), (plan.threads, "thread"))
    ]
    each = "with" if plan.concurrent == 1 else "each with"
    return f"{plan.gpu or plan.device}, {many[0]} at a time, {each} {many[1]} of {many[2]}"


def _front_table(report: Report) -> tuple[Row, list[Row]]:
    """The front with the intervals of its values: heading and rows."""
    view = report.view
    axes = {a.name: a for a in view.axes}
    names = list(dict.fromkeys([*axes, *(n for n in LABELS if view.front and n in view.front[0].values)]))

    def cell(record: TrialRecord, name: str) -> str:
        known = f"{record.values[name]:.3g}" if name in record.values else ""
        ends = view.interval(record, axes[name]) if name in axes else None
        return f"{known} ({ends[0]:.3g} to {ends[1]:.3g})" if ends else known

    rows = [[r.trial, *(cell(r, name) for name in names), str(r.epochs)] for r in view.front]
    return ["trial", *names, "epochs"], rows


def _card(report: Report, record: TrialRecord) -> Card:
    view = report.view
    values = [f"{n} {record.values[n]:.3g}{UNITS.get(n, '')}" for n in LABELS if n in record.values]
    return Card(
        title=view.marked(*view.pairs()[0]).get(record.trial, record.trial),
        values=", ".join(values or [f"{n} {v:.4g}" for n, v in record.values.items()]),
        diagram=architecture_svg(record.spec) if record.spec else Markup(),
        lines=[*([] if record.spec else architecture(record)), *training(record)],
        curve=curve_svg(record, view.axes[0]),
        pictures=report.pictures.found.get(record.trial, ()),
    )
