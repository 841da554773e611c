"""What Ctrl-C leaves behind: real searches, each interrupted once at a random moment by SIGINT.

The moments are spread over the start of Ray, the start of the workers, the first rung and what follows it (rungs,
evaluations, and the time between trials); every fourth search is one of a function, without Ray. Half of the signals go
to the whole process group, as from a terminal, half to the process alone. Reported for each run: the exit code, the
seconds until the process has ended, whether it says how to go on, whether `study.json`, the storage and `nasdet status`
still work, and how many of its processes are alive 10 s later.

    python benchmarks/interrupts.py --runs 20 --json      (about 20 minutes on 2 cores)
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

MARK = "NASDET_INTERRUPTS"
"""Environment variable by which a run's processes are found."""
MOMENTS = [
    # line of the progress after which the clock runs, and the most seconds until the signal
    ("starting Ray", 8.0),
    ("starting the workers", 20.0),
    ("t0000", 6.0),
    ("t0001", 6.0),
]
FUNCTION = """
import time

def slow(params, budget):
    time.sleep(0.2)
    return {"good": params["x"] * budget}
"""
SPACE = """
name: mine
space:
  x: {kind: float, low: 0, high: 1}
objectives:
  - {name: good, direction: max}
budget: {trials: 500, epochs: 4, seed: 0}
"""
DETECTORS = [
    "budget.trials=40",
    "budget.epochs=4",
    "budget.rungs=[1, 2, 4]",
    "resources.workers=1",
    "resources.threads=1",
]


def command(folder: Path, is_function: bool) -> list[str]:
    """A search that takes much longer than the signal."""
    start = [sys.executable, "-m", "nasdet", "search"]
    if is_function:
        (folder / "mine.yaml").write_text(SPACE)
        (folder / "mine_module.py").write_text(FUNCTION)
        return [*start, "mine.yaml", "--objective", "mine_module:slow", "--study", "study", "--json"]
    overrides = [word for text in DETECTORS for word in ("--set", text)]
    return [*start, "detnet", "--study", "study", "--json", *overrides]


def processes(mark: str) -> list[int]:
    """Processes that run with the mark in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes()
        except OSError:
            continue
        if f"{MARK}={mark}".encode() in environment.split(b"\0"):
            found.append(int(folder.name))
    return found


def _listen_to_sigint() -> None:
    """A shell starts commands in the background with SIGINT ignored, and their children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def interrupt(
    folder: Path, number: int, rng: random.Random, patience: float, sent: signal.Signals = signal.SIGINT
) -> dict[str, Any]:
    """One search and its interruption by the signal `sent`."""
    is_function, mark = number % 4 == 3, uuid.uuid4().hex
    after, most = ("t0000", 4.0) if is_function else MOMENTS[(number - number // 4) % len(MOMENTS)]
    delay, to_group = rng.uniform(0.0, most), number % 2 == 0 and sent == signal.SIGINT
    errors = folder / "stderr.txt"
    environment = {**os.environ, MARK: mark, "NASDET_HOME": str(folder / "home")}
    with errors.open("w") as sink, (folder / "stdout.txt").open("w") as out:
        process = subprocess.Popen(
            command(folder, is_function),
            cwd=folder,
            env=environment,
            stdout=out,
            stderr=sink,
            start_new_session=True,
            preexec_fn=_listen_to_sigint,
        )
    deadline = time.monotonic() + patience
    while after not in errors.read_text() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    reached = after in errors.read_text()
    time.sleep(delay)
    begin = time.monotonic()
    os.killpg(process.pid, sent) if to_group else os.kill(process.pid, sent)
    try:
        code: int | None = process.wait(60)
    except subprocess.TimeoutExpired:
        code = None
        os.killpg(process.pid, signal.SIGKILL)
    seconds = time.monotonic() - begin
    end = time.monotonic() + 10
    while (left := processes(mark)) and time.monotonic() < end:
        time.sleep(0.2)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    lines = errors.read_text().strip().splitlines()
    return {
        "search": "function" if is_function else "detectors",
        "after": after,
        "reached": reached,
        "delay": round(delay, 2),
        "to": "group" if to_group else "process",
        "code": code,
        "seconds": round(seconds, 2),
        "says": lines[-1] if lines else "",
        "stdout_empty": not (folder / "stdout.txt").read_text().strip(),
        **study_opens(folder / "study"),
        "left": len(left),
    }


def study_opens(folder: Path) -> dict[str, Any]:
    """Whether the study's files and `nasdet status` work, and what is left half written."""
    from click.testing import CliRunner

    from nasdet.cli import status
    from nasdet.search import StudyStore

    try:
        json.loads((folder / "study.json").read_text())
        trials = len(StudyStore.open(folder).records())
        answer = CliRunner().invoke(status.command, [str(folder), "--json"])
        opens = answer.exit_code == 0 and bool(json.loads(answer.stdout))
    except Exception as error:
        return {"opens": False, "problem": f"{type(error).__name__}: {error}"}
    parts = [p.name for p in folder.rglob("*.part*")]
    return {"opens": opens, "trials": trials, "half_files": parts}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--runs", type=int, default=20, help="interruptions")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--sigterm", action="store_true", help="SIGTERM to the process instead of SIGINT")
    parser.add_argument("--patience", type=float, default=300.0, help="seconds to wait for a moment")
    args = parser.parse_args(arguments)
    rng, runs = random.Random(args.seed), []
    for number in range(args.runs):
        with tempfile.TemporaryDirectory(prefix="nasdet-interrupts-", ignore_cleanup_errors=True) as folder:
            sent = signal.SIGTERM if args.sigterm else signal.SIGINT
            runs.append(interrupt(Path(folder), number, rng, args.patience, sent))
        print(json.dumps(runs[-1]), file=sys.stderr, flush=True)
    result = {
        "runs": len(runs),
        "code_right": sum(r["code"] == 128 + (signal.SIGTERM if args.sigterm else signal.SIGINT) for r in runs),
        "says_how_to_go_on": sum("nasdet resume" in r["says"] for r in runs),
        "opens": sum(r["opens"] for r in runs),
        "seconds_max": max(r["seconds"] for r in runs),
        "seconds_median": sorted(r["seconds"] for r in runs)[len(runs) // 2],
        "processes_left": sum(r["left"] for r in runs),
        "each": runs,
    }
    print(json.dumps(result) if args.json else json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
