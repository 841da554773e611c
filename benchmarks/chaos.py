"""What faults cost a search: real searches on a simulated cluster of three nodes, broken on purpose.

Every fault is one row: whether the search went on with all groups, how many finished rungs were lost, how many epochs
were trained again beyond one checkpoint interval, the seconds from the fault until all groups trained again, and what
was left behind (processes, placement groups, files). A fault counts as survived when, after it, every group has trained
and finished one rung more. docs/reliability.md says what the rows mean and shows them.

    python benchmarks/chaos.py --json                            (make chaos)
    python benchmarks/chaos.py --only worker_killed node_killed --runs 5
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from typing import Any


def main(arguments: Sequence[str] | None = None) -> None:
    from benchmarks.chaos_faults import FAULTS, SESSIONS
    from benchmarks.chaos_session import Row

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--list", action="store_true", help="name the faults")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=sorted(FAULTS), help="these faults")
    parser.add_argument("--runs", type=int, default=1, help="of everything, one after another")
    parser.add_argument("--keep", metavar="DIR", help="keep the files of the searches in this folder")
    args = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))  # so that everything is ended first
    if args.list:
        for name, fault in FAULTS.items():
            print(f"{name:28}{(fault.__doc__ or '').splitlines()[0]}")
        return
    rows: list[Row] = []
    for _ in range(args.runs):
        for session in SESSIONS:
            wanted = [name for name in args.only or session.faults if name in session.faults]
            if wanted:
                rows += session.run(wanted, args.keep, lambda row: print(row, file=sys.stderr, flush=True))
    result: dict[str, Any] = {
        "rows": [row.to_json() for row in rows],
        "right": sum(row.is_right for row in rows),
        "wrong": [row.fault for row in rows if not row.is_right],
    }
    print(json.dumps(result) if args.json else table(rows))
    sys.exit(1 if result["wrong"] else 0)


def table(rows: Sequence[Any]) -> str:
    """Markdown."""
    lines = [
        "| fault | recovered | rungs lost | repeated | failed | seconds | left behind |",
        "|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *(row.markdown() for row in rows)])


if __name__ == "__main__":
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    main()
