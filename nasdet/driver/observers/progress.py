"""What the user sees of a running search. One decision: on a terminal a few lines that update in place, elsewhere one
line per event; never a word of Ray, Optuna or MLflow, and no markup in texts that are not ours."""

from __future__ import annotations

import shlex
import time
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from nasdet.data import Dataset
from nasdet.driver.observers.base import Observer
from nasdet.driver.resources import Plan
from nasdet.pareto import GrowingFront
from nasdet.search import StudyStore
from nasdet.space import SearchSpace
from nasdet.space.schema import ENOUGH_TAU
from nasdet.study_summary import front_hypervolume
from nasdet.trial import TrialRecord


class Progress(Observer):
    """Observer that shows the study on a terminal, or as plain lines on any other stream."""

    def __init__(self, stream: TextIO) -> None:
        # Rich would show its own widgets in a notebook, whatever the stream.
        self._console = Console(file=stream, highlight=False, soft_wrap=not stream.isatty(), force_jupyter=False)
        self._live: Live | None = None
        self._standing: _Standing | None = None
        self._current: dict[str, str] = {}
        self._began = time.monotonic()
        self._closed = False
        self._time_left = float("inf")

    def phase(self, text: str) -> None:
        """Say what is going on before the first trial."""
        self._console.print(f"[dim]{escape(text)} ...[/dim]")

    def warn(self, line: str) -> None:
        """Say something that does not stop the search."""
        self._console.print(f"[yellow]note:[/yellow] {escape(line)}")

    def start(self, store: StudyStore, dataset: Dataset, plan: Plan) -> None:
        """Show what will be searched, on what, and how to look at it."""
        info, budget, space = dataset.info, store.space.budget, store.space
        counts = ", ".join(f"{n} {name}" for name, n in info.splits.items())
        goals = ", ".join(f"{o.name} ({o.direction})" for o in store.objectives)
        limit = f", at most {_span(budget.time_limit)}" if budget.time_limit else ""
        trials = f"{budget.trials} trials" if budget.trials else "as many trials as fit"
        rungs, (small, scale) = "/".join(map(str, space.rungs())), space.small_epochs
        rungs += f", the first {small} with images of {scale:g} of the size" if small else ""
        name = f"[bold]{escape(space.name)}[/bold] on {escape(info.name)}"
        self._console.print(f"{name}: {escape(counts)} images, {len(info.classes)} classes")
        self._console.print(f"objectives: {escape(goals)}")
        self._console.print(f"budget: {trials} of {budget.epochs} epochs (compared at {rungs}){limit}")
        if doubt := ranking_doubt(space):
            self.warn(doubt)
        folder = escape(str(store.dir))
        self._console.print(f"{plan.describe()}; study folder {folder}")
        self._console.print(
            f"[dim]watch in MLflow: nasdet ui {escape(shlex.quote(str(store.dir)))}   stop: Ctrl-C[/dim]"
        )
        self._console.print("[dim]starting the workers ...[/dim]")
        self._standing = _Standing(store)
        if self._console.is_terminal:
            self._live = Live(
                console=self._console,
                refresh_per_second=2,
                get_renderable=self._render,
                transient=True,
                redirect_stdout=False,  # both lead to log.txt, and what libraries print must stay there
                redirect_stderr=False,
            )
            self._live.start()

    def started(self, record: TrialRecord, stop: int) -> None:
        """A trial trains on."""
        self._current[record.trial] = f"{record.trial} epoch {record.epochs}/{stop}  {_shape(record)}"

    def epoch(self, record: TrialRecord, epoch: int, means: dict[str, float]) -> None:
        """A trial finished an epoch."""
        self._current[record.trial] = f"{record.trial} epoch {epoch}  loss {means['loss']:.3f}  {_shape(record)}"

    def changed(self, record: TrialRecord, time_left: float) -> None:
        """A trial reached a rung, failed or was found infeasible: one line."""
        self._time_left = time_left
        self._current.pop(record.trial, None)
        if self._standing is not None:
            self._standing.add(record)
        clock = _span(time.monotonic() - self._began)
        if record.state in ("failed", "infeasible"):
            self._console.print(f"{clock:>7}  {record.trial}  [red]{record.state}[/red]: {escape(record.reason)}")
            return
        figures = "  ".join(_figure(name, record.values) for name in _shown(record))
        mark = "[green]full[/green]" if record.state == "complete" else f"{record.epochs:>3} ep"
        line = f"{clock:>7}  {record.trial}  {mark}  {figures}  [dim]{_shape(record)}[/dim]"
        self._console.print(line)

    def close(self) -> None:
        """Leave the last line standing."""
        if self._live is not None:
            self._live.stop()
        if self._standing is not None:
            self._console.print(self._line(), soft_wrap=True)

    def _render(self) -> Group:
        lines = [Text(text, style="cyan") for text in list(self._current.values())]
        return Group(*lines, self._line())

    def _line(self) -> Text:
        assert self._standing is not None
        parts = self._standing.parts()
        if self._time_left < float("inf"):
            parts.append(f"time left {_span(max(self._time_left, 0))}")
        return Text("  |  ".join(parts), style="bold")


class _Standing:
    """Where a study stands, followed record by record, so that a long study costs no more to show than a short one."""

    def __init__(self, store: StudyStore) -> None:
        self._store, records = store, store.records()
        self._front = GrowingFront(store.objectives, records)
        self._best, self._holder = 0.0, ""
        for record in records:
            self._take_ap(record)
        self._volume: tuple[object, float] = (None, 0.0)

    def add(self, record: TrialRecord) -> None:
        """Take a record that changed; those of repeated trainings are not the study's."""
        if record.trial in self._store.ledger:
            self._front.add(record)
            self._take_ap(record)

    def parts(self) -> list[str]:
        """Counts, best accuracy, size and hypervolume of the front."""
        counted = {s: self._store.ledger.count(s) for s in ("complete", "paused", "stopped", "failed")}
        counts = ", ".join(f"{n} {s}" for s, n in counted.items() if n)
        members, reference = self._front.members, self._store.config.reference_point or ()
        if self._volume[0] != (known := (id(members), reference)):
            self._volume = known, front_hypervolume(members, self._store.objectives, reference)
        front, volume = f"front {len(members)}", f"hypervolume {self._volume[1]:.4g}"
        return [f"trials: {counts or 'none yet'}", f"best AP {self._best:.3f}", front, volume]

    def _take_ap(self, record: TrialRecord) -> None:
        ap = record.values.get("ap", 0.0)
        if ap >= self._best:
            self._best, self._holder = ap, record.trial
        elif record.trial == self._holder:  # the best one got worse: another may be the best now
            best = max(self._store.records(), key=lambda r: r.values.get("ap", 0.0))
            self._best, self._holder = best.values.get("ap", 0.0), best.trial


def _shown(record: TrialRecord) -> list[str]:
    return [n for n in ("ap", "ap50", "latency_ms", "params_m", "gflops") if n in record.values]


def _figure(name: str, values: dict[str, float]) -> str:
    formats = {
        "ap": "AP {:.3f}",
        "ap50": "AP50 {:.3f}",
        "latency_ms": "{:.2f} ms",
        "params_m": "{:.3f}M",
        "gflops": "{:.3f} GF",
    }
    return formats[name].format(values[name])


def _shape(record: TrialRecord) -> str:
    """Norm, batch and learning rate: what distinguishes trials at a glance."""
    if not record.spec or not record.recipe:
        return ""
    norm, recipe = record.spec["norm"]["kind"], record.recipe
    return f"{norm} batch {recipe['batch_size']} lr {recipe['base_lr']:.1e}"


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s"


def ranking_doubt(space: SearchSpace) -> str:
    """Why ranks after a short training may mislead a search that stops candidates by them; empty if nothing says so."""
    rungs, known = space.rungs(), space.calibration
    if len(rungs) == 1 or space.scheduler.eta == 1:
        return ""
    short = f"{rungs[0]} of {rungs[-1]} epochs"
    if known is None or known.epochs > rungs[0]:
        return f"never calibrated: whether {short} rank candidates is unknown; nasdet calibrate tells"
    if known.tau < ENOUGH_TAU:
        tau = f"(Kendall's tau {known.tau:.2f})"
        return f"{short} rank candidates badly here {tau}; nasdet calibrate tells what would do"
    return ""
