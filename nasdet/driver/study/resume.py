"""Go on with a study, be it of detectors or of a function, also elsewhere or with more to spend. One decision: whatever
is wrong is found before anything is changed, and that another process works on the study before PyTorch is imported."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasdet.driver.ray_address import check_address
from nasdet.driver.study.options import AS_BEFORE, PICKED, TERMINAL, Display, ResumeOptions, SearchOptions
from nasdet.errors import InputError
from nasdet.search import StudyStore
from nasdet.search.records.baseline import find_baseline
from nasdet.search.records.extension import give_more
from nasdet.search.records.owner import InUse, own
from nasdet.search.records.study_folder import CONFIG, SPACE
from nasdet.space import SearchSpace, load_space
from nasdet.study_config import ConfigChanges, StudyConfig
from nasdet.study_summary import Summary
from nasdet.uris import absolute_uri, check_storage, public_uri

if TYPE_CHECKING:
    from nasdet.data import DatasetInfo
    from nasdet.driver.study.function_search import Function

SECONDS_FOR_A_DEAD_OWNER = 120.0
"""How long a file server may keep the lock of a machine that has died."""
SECONDS_BETWEEN_TRIES = 10.0
"""Between two tries to become the owner."""


def resume_search(
    study: Path,
    options: ResumeOptions = AS_BEFORE,
    display: Display = TERMINAL,
    function: Function | None = None,
) -> Summary:
    """Go on with a study that was interrupted. A finished one only gets written what MLflow lacks of it, unless more is
    asked for than before.

    Args:
        study: its folder.
        options: what is asked for beyond what it was asked for before.
        display: how it is shown.
        function: of the study of a function; None: the one whose name the study keeps.

    Raises:
        InputError: another process works on the study; or the data, the function, the address, the storage or the
            resources do not work. A tracking server that does not answer is no reason: the search goes on and says so.
        Interrupted: by Ctrl-C.
        NasdetError: every trial fails.
    """
    check_storage(options.storage)
    check_address(options.address)
    storage = absolute_uri(options.storage) if options.storage else None
    with own(study):
        from nasdet.driver.study.detector_search import open_study_data, resume_detector_search
        from nasdet.driver.study.function_search import check_meaning, resume_function_search

        store = StudyStore.open(study, storage=storage)
        if storage is not None:
            _check_storage_is_whole(store, storage)
        if store.config.objective:
            check_meaning(options)
        place = ConfigChanges()
        if storage is not None:
            place["storage"] = storage
        if options.address is not None:
            place["address"] = options.address
        if options.data is not None:
            info = open_study_data(options.data, store.space).info
            _check_same_data(store.config, info)
            place["data"] = info.source
        _save(store, options, place)
        if options.more:
            give_more(store, options.more)
        if store.config.objective:
            return resume_function_search(store, display, function)
        return resume_detector_search(store, display)


def _save(store: StudyStore, options: ResumeOptions, place: ConfigChanges) -> None:
    """Save where the study and its baseline are now, and what else is asked for."""
    if place:
        store.save_config(**place)
        if baseline := find_baseline(store.dir, storage=place.get("storage")):
            baseline.save_config(**place)
    if options.repeat_front > store.config.repeat_front:
        store.save_config(repeat_front=options.repeat_front)
    if options.baseline and not store.config.baseline:
        store.save_config(baseline=True)
    if options.train and not (store.dir / PICKED).exists():
        store.save_config(train=options.train)
    if options.more and (baseline := find_baseline(store.dir)):
        baseline.save_config(finished=False)  # it gets what the search will have spent


def search_or_resume(
    space: SearchSpace,
    options: SearchOptions,
    display: Display = TERMINAL,
    objective: str | Function | None = None,
) -> Summary:
    """Run a new study; with `options.or_resume`, go on with the one in `options.study` if there is one.

    Raises:
        InputError: as `start_search` and `resume_search`, or the existing study has another space or other data. With
            `options.or_resume` a study that another process owns is waited for a while: a job that is tried again may
            start before the machine of the try before is known to be dead.
    """
    deadline = time.monotonic() + (SECONDS_FOR_A_DEAD_OWNER if options.or_resume else 0.0)
    while True:
        try:
            return _search_or_resume(space, options, display, objective)
        except InUse as refusal:
            if time.monotonic() >= deadline:
                raise
            print(f"{refusal.what}; waiting for its end", file=display.stream, flush=True)
            time.sleep(SECONDS_BETWEEN_TRIES)


def _search_or_resume(
    space: SearchSpace, options: SearchOptions, display: Display, objective: str | Function | None
) -> Summary:
    if _holds_study(options):
        function = None if isinstance(objective, str) else objective
        return resume_search(*as_resume(space, options, objective), display, function)
    if objective is not None:
        from nasdet.driver.study.function_search import start_function_search

        return start_function_search(space, objective, options, display)
    from nasdet.driver.study.detector_search import start_search

    return start_search(space, options, display)


def check_search_or_resume(space: SearchSpace, options: SearchOptions, objective: str | None = None) -> dict[str, Any]:
    """What `nasdet search --dry-run --json` prints; raises as `search_or_resume`."""
    if _holds_study(options):
        as_resume(space, options, objective)
        options = dataclasses.replace(options, study=None)  # that it exists is as it should be
    if objective is not None:
        from nasdet.driver.study.function_search import check_function

        return check_function(space, objective, options)
    from nasdet.driver.study.detector_search import check_search

    return check_search(space, options)


def _holds_study(options: SearchOptions) -> bool:
    """Whether `--or-resume` was given and goes on with a study."""
    if not options.or_resume:
        return False
    if options.study is None:
        remedy = "name the folder in which the next run finds the study: --study DIR"
        raise InputError("needs a study that has a name", where="--or-resume", remedy=remedy)
    return (options.study / CONFIG).is_file()


def as_resume(
    space: SearchSpace, options: SearchOptions, objective: str | Function | None = None
) -> tuple[Path, ResumeOptions]:
    """What the options of a new study ask of the one in `options.study`.

    Raises:
        InputError: that study has another space or function, or is tracked elsewhere.
    """
    from nasdet.driver.study.function_search import name_of

    assert options.study is not None
    folder, storage = options.study, absolute_uri(options.storage) if options.storage else None
    config = StudyStore.open(folder, storage=storage).config
    if config.objective != (name_of(objective) if objective else None):
        raise _other(folder, f"another objective: {config.objective or 'it trains detectors'}")
    known = load_space(folder / SPACE, function=config.function)
    if difference := _difference(_plain(known.raw), _plain(space.raw)):
        raise _other(folder, f"another space: {difference}")
    uri = absolute_uri(options.tracking_uri) if options.tracking_uri else None
    if uri and uri != config.tracking_uri:
        raise _other(folder, f"another MLflow store: {public_uri(config.tracking_uri or 'a file beside it')}")
    source = options.data or space.data.source
    if source is not None and str(Path(source).absolute()) == config.data:
        source = None
    return folder, ResumeOptions(
        options.repeat_front,
        options.baseline,
        data=None if objective or source == config.data else source,
        address=options.address,
        storage=options.storage,
        train=options.train,
    )


def _other(folder: Path, what: str) -> InputError:
    return InputError(f"the study there has {what}", where=f"--or-resume: {folder}", remedy="name another with --study")


def _plain(raw: Mapping[str, Any]) -> Any:
    """As if it was read from a file."""
    return json.loads(json.dumps(raw, default=list))


def _difference(known: Any, given: Any, path: tuple[str, ...] = ()) -> str:
    """The first value in which two documents differ; empty if they are equal."""
    if isinstance(known, dict) and isinstance(given, dict):
        differences = (_difference(known.get(key), given.get(key), (*path, key)) for key in {**known, **given})
        return next(filter(None, differences), "")
    return "" if known == given else f"{'.'.join(path)} is {json.dumps(known)} there, {json.dumps(given)} here"


def _check_storage_is_whole(store: StudyStore, uri: str) -> None:
    """Raise `InputError` if trials that left files in the study's folder are not in its storage."""
    folders = (path.name for path in (store.dir / "trials").glob("t*"))
    if lost := sorted(name for name in folders if name not in store.ledger):
        what = f"lacks trial {lost[0]}, which the study has trained: it is an older copy, or another study's"
        raise InputError(
            what, where=f"--storage {public_uri(uri)}", remedy="give the storage that the study wrote last"
        )


def _check_same_data(config: StudyConfig, info: DatasetInfo) -> None:
    """Raise `InputError` if the data set is not the study's, as far as the study has noted it."""
    known = {"classes": list(config.classes), "images": config.images}
    given = {"classes": list(info.classes), "images": dict(info.splits)}
    what = next((f"{n} are {given[n]}, of the study {v}" for n, v in known.items() if v and v != given[n]), "")
    if not what and config.fingerprint not in ("", info.fingerprint):
        what = "images, boxes or splits differ from those of the study"
    if what:
        raise InputError(f"not the study's data: its {what}", where=f"--data {info.source}", remedy="start a new study")
