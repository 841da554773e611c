"""Which of many small faults the tests catch.

`planted_faults.json` lists them: a snippet of one file, what replaces it, and the tests that should notice. The tree is
copied into a temporary folder; there one fault at a time is planted, its tests run, and the file is put back.

- killed: a test fails, or does not end within `--limit` seconds
- survived: the tests pass all the same
- stale: the snippet does not occur exactly once any more, or its tests are gone; the list has to follow the code
- invalid: a test fails, or is skipped for want of data, without the fault as well

    python benchmarks/planted_faults.py --json           all of them (a quarter of an hour on 2 cores)
    python benchmarks/planted_faults.py --only s09 x09   those whose names begin so
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
LEFT_OUT = (".*", "__pycache__", "build", "dist", "site", "studies", "*.egg-info")
LIBRARIES = ("torchvision.transforms.v2", "timm", "optuna", "pydantic", "pandas", "sklearn.metrics", "scipy.optimize")
"""Imported once, for all children that are forked for the tests of a fault; the project itself is not."""
WORTH_IMPORTING = 5
"""Faults from which on that saves time."""


class Outcomes:
    """Plugin of pytest: what became of each test, with all values of its parameters."""

    def __init__(self) -> None:
        self.of: dict[str, set[str]] = {}

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "call" or not report.passed:
            self.of.setdefault(report.nodeid.split("[")[0], set()).add(report.outcome)

    def not_passed(self) -> list[str]:
        return [test for test, found in self.of.items() if "failed" in found or "passed" not in found]


def run_tests(tree: Path, tests: Sequence[str], limit: float | None, *options: str) -> tuple[int | None, list[str]]:
    """Pytest's exit code, None if it does not end within `limit` seconds, and the tests that did not pass."""
    context = multiprocessing.get_context("fork")
    answer, sender = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(tree, [*options, *tests], sender))
    child.start()
    sender.close()
    try:
        return answer.recv() if answer.poll(limit) else (None, ["no end"])
    except EOFError:
        return 1, ["a crash"]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid or 0, signal.SIGKILL)  # and what the tests have started
        child.join()


def _child(tree: Path, arguments: list[str], sender: Any) -> None:
    os.setsid()
    os.chdir(tree)
    # Byte code of the tree as it was would hide a fault of the same size that is planted within the same second.
    os.environ.update(PYTHONPATH=str(tree), PYTHONDONTWRITEBYTECODE="1", TMPDIR=str(tree.parent))
    sys.dont_write_bytecode, tempfile.tempdir = True, None
    sys.path[:] = [str(tree), *(p for p in sys.path if not Path(p, "planted_faults.py").exists())]
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    import pytest

    outcomes = Outcomes()
    code = int(pytest.main(["-q", "-p", "no:cacheprovider", *arguments], plugins=[outcomes]))
    import nasdet

    assert Path(nasdet.__file__).is_relative_to(tree), "another tree was tested"
    sender.send((code, outcomes.not_passed()))


def is_stale(tree: Path, fault: dict[str, Any]) -> bool:
    """Whether the code or the tests of a fault are gone."""
    file, tests = tree / fault["file"], [tree / test.split("::")[0] for test in fault["tests"]]
    if not all(path.is_file() for path in (file, *tests)) or file.read_text().count(fault["old"]) != 1:
        return True
    names = [test.split("::")[1] for test in fault["tests"]]
    return not all(f"def {name}(" in path.read_text() for path, name in zip(tests, names, strict=True))


def judge(tree: Path, fault: dict[str, Any], limit: float) -> tuple[str, str]:
    """Plant one fault, run its tests, and put the file back; the outcome, and what failed."""
    file = tree / fault["file"]
    text = file.read_text()
    try:
        file.write_text(text.replace(fault["old"], fault["new"]))
        code, failed = run_tests(tree, fault["tests"], limit, "-x")
    finally:
        file.write_text(text)
    return ("survived", "") if code == 0 else ("killed", failed[0] if failed else "no import")


def measure(faults: list[dict[str, Any]], limit: float) -> dict[str, Any]:
    """Plant every fault in a copy of the tree; see the head of this file."""
    begin, each = time.monotonic(), []
    for library in LIBRARIES if len(faults) > WORTH_IMPORTING else ():
        importlib.import_module(library)
    with tempfile.TemporaryDirectory(prefix="nasdet-faults-", ignore_cleanup_errors=True) as folder:
        tree = Path(folder, "tree")
        shutil.copytree(REPOSITORY, tree, symlinks=True, ignore=shutil.ignore_patterns(*LEFT_OUT))
        stale = [fault["id"] for fault in faults if is_stale(tree, fault)]
        used = sorted({test for fault in faults if fault["id"] not in stale for test in fault["tests"]})
        broken = set(run_tests(tree, used, None)[1]) if used else set()
        for fault in faults:
            start, outcome, by = time.monotonic(), "stale", ""
            if fault["id"] not in stale:
                outcome, by = ("invalid", "") if broken & set(fault["tests"]) else judge(tree, fault, limit)
            seconds = round(time.monotonic() - start, 1)
            each.append({"id": fault["id"], "outcome": outcome, "by": by, "seconds": seconds})
            print(*each[-1].values(), file=sys.stderr, flush=True)
    found = {kind: [e["id"] for e in each if e["outcome"] == kind] for kind in ("survived", "stale", "invalid")}
    killed = sum(e["outcome"] == "killed" for e in each)
    return {"faults": len(each), "killed": killed, **found, "seconds": round(time.monotonic() - begin), "each": each}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--only", nargs="+", default=[""], help="beginnings of names")
    parser.add_argument("--list", type=Path, default=Path(__file__).with_suffix(".json"), help="the faults")
    parser.add_argument("--limit", type=float, default=300.0, help="seconds for the tests of one fault")
    options = parser.parse_args(arguments)
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ.setdefault("NASDET_TEST_DATA", str(REPOSITORY.parent / "shared" / "data"))
    faults = [f for f in json.loads(options.list.read_text()) if f["id"].startswith(tuple(options.only))]
    result = measure(faults, options.limit)
    print(json.dumps(result) if options.json else "\n".join(f"{k:<9} {v}" for k, v in result.items() if k != "each"))
    sys.exit(1 if result["survived"] or result["invalid"] else 0)


if __name__ == "__main__":
    main()
