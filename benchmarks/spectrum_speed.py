"""Time of `analyze --what spectrum` on a detector of 10 million parameters: features, covariances and eigenvalues.

    python benchmarks/spectrum_speed.py --json          2 minutes

Images are random and in memory, because the work does not depend on what they show and the disk is not measured. A
second run without the covariances shows how much of the time they take.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Iterator

import torch

from nasdet.analysis.spectrum import measure_spectrum
from nasdet.models import Detector, build_detector
from nasdet.models.costs import count_params
from nasdet.space.backbones import StagedSpec, StageSpec
from nasdet.space.necks import PyramidSpec
from nasdet.space.specs import DetectorSpec, InputSpec

BATCH = 16


def detector_of(size: int) -> Detector:
    """10 million parameters: a staged network of basic blocks with a PAN over strides 8 to 32."""
    stages = tuple(StageSpec(width=width, depth=2, stride=1 if width == 56 else 2) for width in (56, 112, 224, 464))
    spec = DetectorSpec(
        input=InputSpec(height=size, width=size),
        backbone=StagedSpec(bottleneck_ratio=1.0, stages=stages),
        neck=PyramidSpec(width=128, levels=(-3, -2, -1)),
    )
    return build_detector(spec).eval()


def images_of(size: int, count: int) -> Iterator[torch.Tensor]:
    """Batches of noise, the same each time."""
    generator = torch.Generator().manual_seed(0)
    for first in range(0, count, BATCH):
        shape = (min(BATCH, count - first), 3, size, size)
        yield torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def measure(images: int, size: int) -> dict[str, float]:
    """Seconds of the whole, and of the detector alone."""
    detector = detector_of(size)
    start = time.perf_counter()
    with torch.inference_mode():
        for batch in images_of(size, images):
            detector.features(batch)
    middle = time.perf_counter()
    spectra = measure_spectrum(detector, images_of(size, images))
    seconds = time.perf_counter() - middle
    return {
        "seconds": seconds,
        "forward_seconds": middle - start,
        "images": images,
        "size": size,
        "params_m": count_params(detector) / 1e6,
        "layers": len(spectra),
        "threads": torch.get_num_threads(),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--size", type=int, default=320)
    args = parser.parse_args()
    result = measure(args.images, args.size)
    print(json.dumps(result) if args.json else json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
