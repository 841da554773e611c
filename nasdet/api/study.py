"""`nasdet.load_study` and `Study`: what a search found, from Python."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from nasdet.analysis.dataframes import StudyFrames, read_frames
from nasdet.api.arguments import Callbacks, OnEpochEnd, OnTrialEnd, seconds_of, stream_of
from nasdet.errors import InputError, nearest
from nasdet.export.pick_trial import pick as pick_trial
from nasdet.search import StudyStore, open_study
from nasdet.trial import TrialRecord

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from nasdet.api.detector import Detector
    from nasdet.space import SearchSpace


def load_study(study: str | Path | None = None) -> Study:
    """Open a study, also one that is still running.

    Args:
        study: a study folder, or its name under the study root (`./studies`, or `$NASDET_HOME/studies`); left out: the
            newest study.

    Raises:
        nasdet.errors.InputError: there is no such study, or it is damaged.

    Example:
        >>> study = nasdet.load_study("digits-1")
        >>> study.front[["trial", "ap", "latency_ms"]]
    """
    return Study(open_study(study))


def train_found(study: Path, stream: TextIO | None, *, until: float | None = None) -> dict[str, Any]:
    """Train in full what a search found and was asked to train, and return as `train_winner`. It is shown on `stream`;
    None: on the terminal, while a log takes what else is printed."""
    from nasdet.driver.study.winner import train_winner
    from nasdet.driver.training.progress import TrainingProgress

    with contextlib.closing(TrainingProgress()) as shown:
        return train_winner(
            StudyStore.open(study),
            lambda reply, terminal: shown.show(reply, stream or terminal),
            until=until,
            redirect=stream is None,
        )


class Study:
    """What a search found, as it was when it was opened; `refresh` reads a study that still runs again.

    Args:
        store: the opened study folder; see `nasdet.load_study`.
    """

    def __init__(self, store: StudyStore) -> None:
        self._store = store
        self._frames: StudyFrames | None = None

    @property
    def path(self) -> Path:
        """The study's folder."""
        return self._store.dir

    @property
    def name(self) -> str:
        """The study's name."""
        return self._store.name

    @property
    def space(self) -> SearchSpace:
        """What was searched, with objectives, constraints and budget."""
        return self._store.space

    @property
    def records(self) -> list[TrialRecord]:
        """All trials with everything that is known of them, in the order of their numbers."""
        return self._store.records()

    @property
    def trials(self) -> pd.DataFrame:
        """All trials, one row each, in the order of their numbers.

        Columns: `trial`, `state`, `pareto` (on the front or not), `epochs`, every value measured after these epochs (ap
        and its like in 0..1, latency_ms in milliseconds, params_m in 1e6 parameters, gflops in 1e9 multiply-adds),
        `train_seconds`, `overhead_seconds`, `reason`, every parameter under its flat name, and `mlflow_run_id`. What a
        trial does not have is NaN. A parameter with the name of another column is `params.NAME`.
        """
        return self._read().trials

    @property
    def front(self) -> pd.DataFrame:
        """The rows of `trials` on the Pareto front (trained at the full budget, and no other trial is at least as good
        in every objective and better in one), best first in the first objective."""
        return self._read().front

    @property
    def summary(self) -> dict[str, Any]:
        """The object that `nasdet pareto --json` prints: counts of trials, reference point, hypervolume, front, ..."""
        return self._read().summary

    @property
    def best(self) -> TrialRecord:
        """The complete trial that is best in the first objective.

        Raises:
            nasdet.errors.InputError: no trial was trained at the full budget.
        """
        return self.pick("best")

    def trial(self, name: str) -> TrialRecord:
        """The record of one trial, such as "t0007".

        Raises:
            nasdet.errors.InputError: there is none of this name.
        """
        by_name = {record.trial: record for record in self.records}
        if name not in by_name:
            raise InputError(f"no trial {name!r}", where=self.name, remedy=nearest(name, by_name))
        return by_name[name]

    def pick(self, rule: str = "knee") -> TrialRecord:
        """Choose a trial.

        Args:
            rule: knee (the member of the front that gives up least: with every objective scaled to 0..1, farthest from
                the line or plane through the front's ends), best, fastest, smallest, a trial's name, or bounds such as
                "latency_ms<5 and params_m<=2", the best trial within them.

        Raises:
            nasdet.errors.InputError: nothing fits the rule.

        Example:
            >>> nasdet.load_study().pick("latency_ms<5").params
        """
        return pick_trial(self.records, self._store.objectives, rule)

    def export(
        self,
        pick: str | TrialRecord,
        out: str | Path,
        *,
        onnx: bool = False,
        register: str | None = None,
        data: str | Path | None = None,
    ) -> Detector:
        """Write a trial as a bundle: a folder with the architecture, the recipe, the weights and a model card.

        Args:
            pick: a trial's record or name, or a rule as `Study.pick` takes it.
            out: a new or empty folder.
            onnx: also write `model.onnx` and `model_nms.onnx`, checked against PyTorch on validation images.
            register: also make it a version of the registered model of this name in MLflow; implies `onnx`.
            data: images on which ONNX files are compared with PyTorch; left out: the study's data set.

        Raises:
            nasdet.errors.InputError: nothing fits the rule, the weights of the trial were not kept (they are kept for
                the front), or `out` is taken.
            nasdet.errors.NasdetError: the ONNX files differ from PyTorch, or MLflow does not take the model.

        Example:
            >>> detector = nasdet.load_study().export("knee", "best")
        """
        from nasdet.api.detector import load
        from nasdet.driver.export_trial import export_trial

        rule = pick.trial if isinstance(pick, TrialRecord) else pick
        source = None if data is None else str(data)
        export_trial(self._store, rule, Path(out), onnx=onnx, register=register, data=source)
        return load(out)

    @property
    def trained(self) -> Detector:
        """The detector that the search went on to train in full (`nasdet.run_search(..., train=True)`).

        Raises:
            nasdet.errors.InputError: it was not asked to, or that training has not been evaluated yet.
        """
        from nasdet.api.detector import load
        from nasdet.driver.study.options import TRAINED
        from nasdet.export import is_bundle

        folder = self.path / TRAINED
        if not is_bundle(folder):
            raise InputError("nothing was trained in full", where=self.name, remedy="search with train=True")
        return load(folder)

    def plot(self, path: str | Path | None = None) -> Figure:
        """Draw all trials and the front in the first two objectives, and the hypervolume over the finished trials.

        Args:
            path: also save it there: a PNG, SVG or PDF file, or an HTML page that answers the pointer.

        Returns:
            A matplotlib figure, which a notebook shows.

        Raises:
            nasdet.errors.InputError: no trial was measured yet, or the file cannot be written.

        Example:
            >>> nasdet.load_study().plot("front.png")
        """
        from nasdet.analysis.plots.front import plot_front

        return plot_front(self._store, None if path is None else Path(path))

    def resume(
        self,
        *,
        time_limit: float | str | None = None,
        trials: int | None = None,
        max_epochs: int | None = None,
        data: str | Path | None = None,
        address: str | None = None,
        storage: str | None = None,
        repeat_front: int = 0,
        baseline: bool = False,
        objective: Callable[[dict[str, Any], int], Mapping[str, float]] | None = None,
        on_trial_end: OnTrialEnd | None = None,
        on_epoch_end: OnEpochEnd | None = None,
        progress: bool | TextIO = True,
    ) -> Study:
        """Go on with a search that was interrupted: finished trials are kept, paused and interrupted ones go on from
        their checkpoints. A finished search does only what these arguments ask for beyond it. A search
        with `train=True` goes on with that training.

        `time_limit`, `trials` and `max_epochs` give a search, ended or not, more to spend from now on; those that are
        given replace the limits that it had. Its reference point and the length of one training stay.

        Args:
            time_limit: search so much longer, in seconds or as text such as "30m".
            trials: start so many further candidates.
            max_epochs: train so many further epochs, over all candidates.
            data: where the data set is now; it must be the same.
            address: Ray cluster to go on with.
            storage: where the Optuna storage is now.
            repeat_front: train the front again with this many further seeds; those that are done count.
            baseline: spend the same budget on random search, to compare with.
            objective: of the study of a function: the function, where it cannot be imported by its name.
            on_trial_end: as for `nasdet.run_search`.
            on_epoch_end: the same.
            progress: the same.

        Returns:
            This study, read again.

        Raises:
            nasdet.errors.InputError: the data, the function or the resources do not work any more.
            nasdet.errors.NasdetError: it was interrupted, or every trial fails.

        Example:
            >>> nasdet.load_study("digits-1").resume(repeat_front=3)
            >>> nasdet.load_study("digits-1").resume(time_limit="1h")
        """
        from nasdet.driver.study.options import Display, ResumeOptions
        from nasdet.driver.study.resume import resume_search
        from nasdet.search.records.extension import More

        callbacks = Callbacks(on_trial_end, on_epoch_end)
        display = Display((callbacks,), stream_of(progress), redirect=False)
        more = More(seconds_of(time_limit, "time_limit"), trials, max_epochs)
        source = None if data is None else str(data)
        options = ResumeOptions(repeat_front, baseline, more, source, address, storage)
        resume_search(self.path, options, display, objective)
        self.refresh()
        for record in self.records:
            callbacks.ended(record)
        if self._store.config.train:
            train_found(self.path, stream_of(progress))
        return self

    def refresh(self) -> Study:
        """Read the study again and return it."""
        self._store, self._frames = StudyStore.open(self.path), None
        return self

    def _read(self) -> StudyFrames:
        if self._frames is None:
            self._frames = read_frames(self._store)
        return self._frames

    def __repr__(self) -> str:
        counts = ", ".join(f"{n} {state}" for state, n in self.summary["trials"].items() if n and state != "total")
        return f"Study({str(self.path)!r}: {counts or 'no trials'}; front of {len(self.front)})"
