"""Latency on a CPU while another candidate trains: with the other at work, and while it rests.

    python benchmarks/latency_beside_training.py --json          two minutes

Another process trains as a worker of a search does, over the same connection to the driver. The latency of three
candidates is measured again and again: with nothing else running, beside the training, and, as a search does it, while
the training rests between two steps. For each way: the coefficient of variation of the repeats of a candidate (largest
of the candidates), the mean in terms of the one measured alone, and the seconds that the training rested.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nasdet.data import default_cache_root
from nasdet.models import measure_latency
from nasdet.space.specs import DetectorSpec, Recipe
from nasdet.trainers.driver_link import GO, PAUSE, DriverLink
from nasdet.trainers.job_server import Event, JobServer, Ticket, send
from nasdet.trainers.messages import GroupConfig, TrainJob


def train(ticket: Ticket, spec: dict[str, Any], folder: str) -> None:
    """A worker that trains until it is ended."""
    import torch

    from nasdet.trainers.worker import Runner

    torch.set_num_threads(1)
    group = GroupConfig("digits", 0, 0.05, "cpu", 1, "cpu", 1, 1, str(default_cache_root()))
    recipe = Recipe(epochs=10_000, batch_size=16, base_lr=1e-3)
    job = TrainJob("t0", spec, recipe.to_json(), 0, 10_000, folder, measure_latency=False)
    Runner(group, torch.device("cpu"), DriverLink(ticket.connect(0))).run(job)


def wait_for(server: JobServer, kind: str) -> Event:
    """The next event of a kind."""
    while True:
        event = server.receive(60.0)
        if event is None or event.reply is None:
            raise RuntimeError("the training has ended")
        if event.reply.kind == kind:
            return event


def candidates(count: int) -> list[DetectorSpec]:
    """Candidates of detnet on the digits."""
    import random

    from nasdet.data import open_data
    from nasdet.space import build_specs, load_space

    space, info, rng = load_space("detnet"), open_data("digits").info, random.Random(0)
    found: list[DetectorSpec] = []
    while len(found) < count:
        built = build_specs(space, space.sample(rng), info, 1)
        if built.spec is not None and not built.infeasible:
            found.append(built.spec)
    return found


def measure(repeats: int, folder: Path) -> dict[str, Any]:
    """All three ways, in turn, so that a machine that becomes busier harms them alike."""
    specs = candidates(4)
    server, context = JobServer("127.0.0.1"), multiprocessing.get_context("spawn")
    times: dict[str, list[list[float]]] = {way: [[] for _ in specs[1:]] for way in ("alone", "beside", "resting")}
    rested: list[float] = []

    def look(way: str) -> None:
        for column, spec in zip(times[way], specs[1:], strict=True):
            column.append(measure_latency(spec, reference_ms=1.0).ms)

    @contextlib.contextmanager
    def training_rests() -> Iterator[None]:
        send(connection, PAUSE)
        wait_for(server, "paused")
        begin = time.perf_counter()
        yield
        send(connection, GO)
        rested.append(time.perf_counter() - begin)

    for _ in range(repeats):
        look("alone")
    worker = context.Process(target=train, args=(server.ticket("other"), specs[0].to_json(), str(folder)), daemon=True)
    worker.start()
    connection = wait_for(server, "epoch").connection
    for _ in range(repeats):
        look("beside")
        for column, spec in zip(times["resting"], specs[1:], strict=True):
            column.append(measure_latency(spec, reference_ms=1.0, quiet=training_rests).ms)
    worker.terminate()
    worker.join()
    server.close()
    alone = [statistics.mean(column) for column in times["alone"]]
    ways = {
        way: {
            "cv": max(statistics.stdev(column) / statistics.mean(column) for column in columns),
            "mean_to_alone": statistics.mean(
                statistics.mean(column) / own for column, own in zip(columns, alone, strict=True)
            ),
        }
        for way, columns in times.items()
    }
    return {"repeats": repeats, "candidates": len(alone), **ways, "rest_seconds": statistics.median(rested)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--repeats", type=int, default=8)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nasdet-latency-", ignore_cleanup_errors=True) as name:
        result = measure(args.repeats, Path(name))
    print(json.dumps(result, indent=None if args.json else 2))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
