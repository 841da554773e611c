"""DSOD300 with and without recomputation of activations: seconds of a training step and bytes kept for its gradient.

    python benchmarks/recompute.py --json          2 minutes

One decision: both take turns on the same images in one process, and the ratio is the median of pairs, so that what else
the machine does falls on both alike; the bytes are those that autograd keeps in the very step, losses included.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import torch

from nasdet.models import Targets, build_detector
from nasdet.models.training_memory import known_tensors, saved_bytes
from nasdet.space.presets import SYSTEMS


def measure(system: str, batch: int, rounds: int) -> dict[str, float]:
    """Medians over `rounds` after one round that does not count."""
    torch.manual_seed(0)
    spec = SYSTEMS[system].spec
    detector = build_detector(spec).train()
    shape = (batch, spec.input.channels, spec.input.height, spec.input.width)
    images = (torch.rand(shape) * 255).contiguous(memory_format=torch.channels_last)
    box = torch.tensor([0.2, 0.3, 0.6, 0.8]) * spec.input.height
    targets = Targets(box.repeat(batch, 1, 1), torch.zeros(batch, 1, dtype=torch.long))

    def loss() -> torch.Tensor:
        return detector(images, targets)["loss"]

    def seconds(recompute: bool) -> float:
        detector.set_recompute(recompute)
        detector.zero_grad()
        start = time.perf_counter()
        loss().backward()
        return time.perf_counter() - start

    def kept(recompute: bool) -> int:
        detector.set_recompute(recompute)
        return saved_bytes(loss, known_tensors(detector))

    pairs = [(seconds(False), seconds(True)) for _ in range(rounds + 1)][1:]
    bytes_off, bytes_on = kept(False), kept(True)
    return {
        "seconds_off": statistics.median(off for off, _ in pairs),
        "seconds_on": statistics.median(on for _, on in pairs),
        "ratio": statistics.median(on / off for off, on in pairs),
        "saved_bytes_off": bytes_off,
        "saved_bytes_on": bytes_on,
        "saved_share": 1 - bytes_on / bytes_off,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--system", default="dsod300", choices=sorted(SYSTEMS))
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    result = measure(args.system, args.batch, args.rounds)
    print(json.dumps(result) if args.json else json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
