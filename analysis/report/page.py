"""The report's HTML. One decision: whatever a study brings (names, values, reasons) passes through `escape` once, where
it enters the text."""

from __future__ import annotations

import base64
import functools
from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Any

from nasdet.analysis.effort import effort, reasons
from nasdet.analysis.hypervolume_curves import compared
from nasdet.analysis.plots.architecture_diagram import architecture_svg, curve_svg
from nasdet.analysis.plots.front_view import LABELS, UNITS, architecture, training
from nasdet.analysis.report.content import Report
from nasdet.analysis.report.figures import curves_div, front_div, hypervolume_div, importance_div, parallel_div
from nasdet.analysis.report.style import SCRIPT, STYLE
from nasdet.space import SearchSpace
from nasdet.tracking.note import next_commands
from nasdet.trial import TrialRecord

TOP_REASONS = 20


def page(report: Report) -> str:
    """The whole page as text."""
    from plotly.offline import get_plotlyjs

    name = escape(report.view.summary["study"])
    body = "\n".join(part(report) for part in PARTS)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{name}: report</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style>'
        f"<script>{get_plotlyjs()}</script></head>\n<body><main>{body}</main>"
        f'<div id="pop" hidden></div><script>{SCRIPT}</script></body></html>\n'
    )


def _head(report: Report) -> str:
    view, s = report.view, report.view.summary
    best = ""
    if view.front:
        axis, top = view.axes[0], view.front[0]
        best = f" The best {escape(axis.name)} is <b>{top.values[axis.name]:.3g}</b> ({escape(top.trial)})."
    counts = f"{len(view.front)} of {s['trials']['total']} trained candidates are on the Pareto front"
    return f"<h1>{escape(s['study'])}</h1><p class='lead'>{counts}.{best}</p>"


def _question(report: Report) -> str:
    space, s, budget = report.space, report.view.summary, report.space.budget
    aims = ", ".join(
        f"{_label(o.name)} ({'higher' if o.direction == 'max' else 'lower'} is better)" for o in space.objectives
    )
    spent = f"{budget.trials} trials" if budget.trials else "any number of trials"
    spent += f" of up to {budget.epochs} epochs, compared after {', '.join(map(str, space.rungs()))}"
    small, scale = space.small_epochs
    spent += f", the first {small} with images of {scale:g} of the size" if small else ""
    spent += f", at most {_time(budget.time_limit)}" if budget.time_limit else ""
    spent += f", {budget.total_epochs} epochs in all" if budget.total_epochs else ""
    free = f"{len(space.parameters)} parameters"
    free += f", {len(space.conditions)} of them under conditions" if space.conditions else ""
    plan, classes = report.config.get("plan") or {}, report.config.get("classes") or ()
    rows = [
        ("search space", f"{space.name}: {free}"),
        ("", space.description),
        ("function" if space.function else "data", s["data"]),
        ("classes", ", ".join(classes[:30]) + (f" and {len(classes) - 30} more" if len(classes) > 30 else "")),
        ("objectives", aims),
        ("constraints", ", ".join(str(c) for c in space.constraints)),
        ("budget", spent),
        ("search", f"{_engine(space)}, seed {s['seed']}"),
        ("device", ", ".join(f"{v} {k}" if k != "device" else str(v) for k, v in plan.items())),
    ]
    lines = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in rows if text)
    return f"<h2>The question</h2><dl>{lines}</dl>"


def _engine(space: SearchSpace) -> str:
    """What proposed and what scheduled."""
    if space.scheduler.kind == "freeze_thaw":
        return "freeze-thaw"
    return f"{space.sampler.kind} proposals, {space.scheduler.kind} scheduling"


def _front(report: Report) -> str:
    if not report.view.front:
        return "<h2>The answer</h2><p>No trial was trained at the full budget yet, so there is no front.</p>"
    cards = "".join(_card(report, place, record) for place, record in enumerate(report.view.front))
    annotated = _strip(report.pictures.annotated)
    known = (
        f"<p class='q'>The annotated boxes of the six validation images shown below:</p>{annotated}"
        if annotated
        else ""
    )
    note = f"<p class='q'>{escape(report.pictures.note)}</p>" if report.pictures.note else ""
    hint = "Hover over a red point for its card; click it to go to the card below."
    return (
        f"<h2>The answer</h2><p class='q'>{hint}</p>{front_div(report.view)}{_front_table(report)}"
        f"<h3>The front, one by one</h3>{note}{known}{cards}"
    )


def _front_table(report: Report) -> str:
    view = report.view
    names = list(dict.fromkeys([*(a.name for a in view.axes), *(n for n in LABELS if n in view.front[0].values)]))
    rows = [[r.trial, *(_value(report, r, n) for n in names), str(r.epochs)] for r in view.front]
    words = view.marked(*view.pairs()[0])
    said = "; ".join(words.values())
    unclear = ", ".join(sorted(view.unclear()))
    note = f" Not told apart on these images: {escape(unclear)}." if unclear else ""
    return f"{_table(['trial', *names, 'epochs'], rows)}<p class='q'>{escape(said)}.{note}</p>"


def _value(report: Report, record: TrialRecord, name: str) -> str:
    axis = next((a for a in report.view.axes if a.name == name), None)
    spread = report.view.interval(record, axis) if axis else None
    known = f"{record.values[name]:.3g}" if name in record.values else ""
    return f"{known} ({spread[0]:.3g} to {spread[1]:.3g})" if spread else known


def _card(report: Report, place: int, record: TrialRecord) -> str:
    axis = report.view.axes[0]
    words = report.view.marked(*report.view.pairs()[0]).get(record.trial, record.trial)
    values = ", ".join(f"{n} {record.values[n]:.3g}{UNITS.get(n, '')}" for n in LABELS if n in record.values)
    values = values or ", ".join(f"{n} {v:.4g}" for n, v in record.values.items())
    drawn = architecture_svg(record.spec) if record.spec else ""
    lines = [] if record.spec else architecture(record)
    text = "<br>".join(escape(line) for line in [*lines, *training(record)])
    curve = curve_svg(record, axis)
    told = f"<figcaption>{escape(axis.name)} over epochs</figcaption>" if curve else ""
    return (
        f'<article class="card" id="card-{place}"><h4>{escape(words)}</h4><p class="v">{escape(values)}</p>{drawn}'
        f'<div class="two"><p class="q">{text}</p><figure>{curve}{told}</figure></div>'
        f"{_strip(report.pictures.found.get(record.trial, ()))}</article>"
    )


def _progress(report: Report) -> str:
    reference = ", ".join(
        f"{o.name} {v:.4g}" for o, v in zip(report.view.axes, report.view.summary["reference_point"], strict=True)
    )
    text = f"The volume that the front dominates, up to the reference point ({escape(reference)}) fixed at the start."
    against = f"<p>{escape(compared(report.curves))}</p>{curves_div(report.curves)}" if report.curves else ""
    return f"<h2>Progress</h2><p class='q'>{text}</p>{hypervolume_div(report.view)}{against}"


def _importance(report: Report) -> str:
    figure = importance_div(report.importance) if report.importance else ""
    said = f"{report.method} A grey bar does not stand above chance (red tick)."
    said = said if report.importance else f"Not told: {report.method}."
    return f"<h2>What mattered</h2><p class='q'>{escape(said)}</p>{figure}"


def _all(report: Report) -> str:
    text = (
        "Every measured candidate as a line over the objectives and the parameters of greatest importance; red: the "
        "front, blue: full budget, grey: below it. Drag along an axis to select; lines that pass below an axis lack "
        "that parameter."
    )
    drawn = parallel_div(report.columns) if report.columns[0].values else "<p>Nothing was measured yet.</p>"
    return f"<h2>All candidates</h2><p class='q'>{text}</p>{drawn}"


def _losses(report: Report) -> str:
    rows = reasons(report.records)
    shown = [[r.state, str(r.trials), r.example] for r in rows[:TOP_REASONS]]
    more = f"<p class='q'>{len(rows) - TOP_REASONS} more in reasons.csv</p>" if len(rows) > TOP_REASONS else ""
    table = _table(["state", "candidates", "why (one of them)"], shown) if rows else "<p>Nothing: all were trained.</p>"
    return f"<h2>What did not make it</h2>{table}{more}"


def _spent(report: Report) -> str:
    rows = effort(report.records)
    full = report.space.rungs()[-1]
    trained, possible = sum(r.epochs for r in rows), full * report.view.summary["trials"]["total"]
    wall, busy = report.view.summary["wall_seconds"], sum(r.train_seconds for r in rows)
    said = f"{_time(wall)} from start to end; {_time(busy)} of training, summed over trials. "
    said += f"{trained} epochs were trained; in full, the same candidates would have taken {possible}."
    cells = [[r.state, str(r.trials), str(r.epochs), _time(r.train_seconds), _time(r.overhead_seconds)] for r in rows]
    table = _table(["state", "candidates", "epochs", "training", "between trials"], cells)
    return f"<h2>Time and compute</h2><p>{said}</p>{table}"


def _next(report: Report) -> str:
    steps = next_commands(report.view.summary, report.folder)
    lines = "".join(f"<dt>{escape(what)}</dt><dd><code>{escape(command)}</code></dd>" for what, command in steps)
    return f"<h2>What to do next</h2><dl class='do'>{lines}</dl>"


PARTS: tuple[Callable[[Report], str], ...] = (
    _head, _question, _front, _progress, _importance, _all, _losses, _spent, _next,
)  # fmt: skip


@functools.cache
def _image(picture: bytes) -> str:
    return f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(picture).decode()}">'


def _strip(pictures: Sequence[bytes]) -> str:
    return f'<div class="strip">{"".join(map(_image, pictures))}</div>' if pictures else ""


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(h)}</th>" for h in heads)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _label(name: str) -> str:
    return LABELS.get(name, name).split(" (")[0]


def _time(seconds: Any) -> str:
    """As 1 h 05 min, 9 min 24 s or 12 s."""
    whole = round(float(seconds))
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{whole} s"
