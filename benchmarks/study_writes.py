"""Whether concurrent writes of `study.json` fail or show a reader half a file.

    python benchmarks/study_writes.py --json          half a minute

Threads of several processes, each process with the study opened anew, change the study's configuration at the same time
while a reader opens the file over and over.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

SPACE = {
    "space": {"x": {"kind": "float", "low": 0.0, "high": 1.0}},
    "objectives": [{"name": "y", "direction": "max"}],
    "budget": {"trials": 4, "epochs": 1},
}


def measure(folder: Path, *, writes: int, processes: int, threads: int) -> dict[str, Any]:
    """Write `study.json` of a new study in `folder`.

    Returns:
        `errors` of writers and `half_files` seen by the reader, each as a count; `left_files` that writers did not
        remove; how often the file was read, and the milliseconds a write took with all writers at work.
    """
    from nasdet.search import StudyStore, parse_space
    from nasdet.study_config import StudyConfig

    store = StudyStore.create(folder, StudyConfig(study="s", data=""), parse_space(SPACE, function=True))
    before, each = {p.name for p in folder.iterdir()}, writes // (processes * threads)
    context = multiprocessing.get_context("fork")  # no import of the project in every process
    failed = context.Queue()
    workers = [context.Process(target=_work, args=(folder, threads, each, failed)) for _ in range(processes)]
    begin = time.perf_counter()
    for worker in workers:
        worker.start()
    reads = half = 0
    while any(worker.is_alive() for worker in workers):
        try:
            StudyConfig.from_json(json.loads((store.dir / "study.json").read_bytes()))
        except (OSError, ValueError):
            half += 1
        reads += 1
    seconds = time.perf_counter() - begin
    return {
        "writes": each * processes * threads,
        "processes": processes,
        "threads": threads,
        "errors": sum(failed.get() for _ in workers) + sum(worker.exitcode != 0 for worker in workers),
        "half_files": half,
        "left_files": len({p.name for p in folder.iterdir()} - before),
        "reads": reads,
        "ms_per_write": round(1000 * seconds / (each * processes * threads), 2),
    }


def _work(folder: Path, threads: int, each: int, failed: Any) -> None:
    """Write from several threads through one store; puts the number of errors."""
    from nasdet.search import StudyStore

    store, errors = StudyStore.open(folder), []

    def write(thread: int) -> None:
        for number in range(each):
            try:
                # Values of many lengths, so that a mixture of two files could not be read.
                store.save_config(
                    wall_seconds=float(number), skipped=10**thread, reference_point=(0.5,) * (number % 40)
                )
            except Exception as error:
                errors.append(error)

    running = [threading.Thread(target=write, args=(thread,)) for thread in range(threads)]
    for one in running:
        one.start()
    for one in running:
        one.join()
    failed.put(len(errors))


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--writes", type=int, default=4000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--threads", type=int, default=4, help="of each process")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sizes = {"writes": options.writes, "processes": options.processes, "threads": options.threads}
        result = measure(Path(folder, "study"), **sizes)
    print(json.dumps(result, indent=1) if options.json else "\n".join(f"{k:<14} {v}" for k, v in result.items()))
    sys.exit(1 if result["errors"] or result["half_files"] else 0)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    main()
