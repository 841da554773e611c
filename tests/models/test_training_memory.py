"""What is kept for the gradient is counted once per storage, on the meta device as on a real one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nasdet.models import build_detector
from nasdet.models import training_memory as memory
from nasdet.models.training_memory import free_bytes, known_tensors, saved_bytes, saved_per_image
from nasdet.space.presets import SYSTEMS, tiny_spec

CPU = torch.device("cpu")
MEMINFO = "MemTotal:       1000 kB\nMemFree:         100 kB\nMemAvailable:    500 kB\n"


def test_each_storage_counts_once() -> None:
    x = torch.randn(10, requires_grad=True)
    assert saved_bytes(lambda: x.sin().exp()) == 40 + 40  # sin keeps its input, exp its output
    assert saved_bytes(lambda: x.sin().exp(), [x]) == 40
    assert saved_bytes(lambda: x * x.view(10)) == 40


def test_counts_without_gradients_enabled_around_it() -> None:
    x = torch.randn(10, requires_grad=True)
    with torch.no_grad():
        assert saved_bytes(lambda: x.sin()) == 40


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("name", ["dsod300", "ssd300_vgg16_bn"])
def test_the_meta_device_counts_what_a_real_one_keeps(name: str, recompute: bool) -> None:
    spec = tiny_spec(SYSTEMS[name])
    detector = build_detector(spec).train()
    detector.set_recompute(recompute)
    images = torch.rand(2, spec.input.channels, spec.input.height, spec.input.width)
    real = saved_bytes(lambda: detector(images), known_tensors(detector)) / 2
    assert saved_per_image(spec, recompute=recompute) == pytest.approx(real, rel=0.02)


def test_the_dense_backbone_at_its_published_size_keeps_less_than_half() -> None:
    spec = SYSTEMS["dsod300"].spec
    assert saved_per_image(spec, recompute=True) <= 0.6 * saved_per_image(spec)


@pytest.mark.parametrize(
    ("limit", "expected"), [("max", 500 * 1024), ("300000", 300_000 - 200_000 + 50_000), ("90000000", 500 * 1024)]
)
def test_free_memory_is_the_lesser_of_machine_and_container(
    limit: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "meminfo").write_text(MEMINFO)
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    (tmp_path / "memory.current").write_text("200000\n")
    (tmp_path / "memory.stat").write_text("anon 100000\ninactive_file 50000\n")
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    assert free_bytes(CPU) == expected


def test_free_memory_without_a_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "meminfo").write_text(MEMINFO)
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_CGROUP", tmp_path / "none")
    assert free_bytes(CPU) == 500 * 1024
