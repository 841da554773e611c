"""Every benchmark runs, small, and prints the keys that its users read."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

RUNS = {
    "train_throughput --size 128 --rounds 2": (
        "vs_fcos",
        "vs_retinanet",
        "flops_ratio",
        "non_conv_share",
        "loop_overhead",
    ),
    "throughput_reference --size 128 --rounds 2 --batch 2": ("retinanet", "fcos", "faster_rcnn", "mask_rcnn"),
    "recompute --system dsod300_small --rounds 2": ("ratio", "saved_share"),
    "eval_speed --rounds 1": ("pycocotools_seconds", "nasdet_seconds", "ratio", "max_abs_diff"),
    "accuracy_at_time --minutes 0.05 --size 128": ("nasdet", "fcos", "retinanet"),
    "claims stem --seeds 1 --epochs 1": ("stem",),
    "tiling": ("skipped",),  # without data
    "spectrum_speed --images 4 --size 128": ("seconds", "forward_seconds", "images", "params_m", "peak_mb"),
    "search_scale --told 20 --repeats 2 --only random": ("ask_tell_ms", "memory_mb", "tracking_ms", "samplers"),
    "search_scale --quality --trials 12 --seeds 1": ("quality",),
    "study_writes --writes 80": ("writes", "errors", "half_files", "reads", "ms_per_write"),
    "report_speed --trials 40": ("pareto_seconds", "report_seconds", "open_seconds", "megabytes"),
    "interrupts --runs 1": ("runs", "code_right", "opens", "seconds_max", "processes_left"),
    "core_splits --smoke": ("cores", "spaces"),
    "latency_beside_training --repeats 2": ("repeats", "candidates", "alone", "beside", "resting", "rest_seconds"),
    "many_workers --groups 4 --reports 60 --only full": ("full",),
    "soak --trials 9": ("trials", "seconds", "busy_share", "starts", "overhead_seconds", "processes", "growing"),
    "large_data --images 60 --boxes 300": ("coco", "yolo"),
    "recipe_parts --minutes 0.1 optimizer=muon": ("minutes", "trainings", "gains"),
    "scene_search --side 1200 --minutes 1": ("boxes", "tile", "search_mb", "predict_mb", "trained"),
    "start_points --minutes 0.1": ("data", "split", "minutes", "derived", "points"),
    "trial_overhead --trials 3": ("naive_seconds", "nasdet_seconds", "ratio"),
}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("run", RUNS)
def test_runs_and_prints_its_keys(run: str, repository: Path) -> None:
    script, *options = run.split()
    command = [sys.executable, str(repository / "benchmarks" / f"{script}.py"), "--json", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    printed = json.loads(done.stdout)
    assert set(RUNS[run]) <= set(printed)


def test_every_script_is_run(repository: Path) -> None:
    scripts = {path.stem for path in (repository / "benchmarks").glob("*.py") if "__main__" in path.read_text()}
    elsewhere = {"chaos", "search_efficiency", "search_digits", "search_time", "planted_faults"}  # tests of their own
    assert scripts - elsewhere == {run.split()[0] for run in RUNS}
