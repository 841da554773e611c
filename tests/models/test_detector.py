"""Every part of every registry builds, trains and detects."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import get_args

import pytest
import torch
from pydantic import ValidationError

from nasdet.models import Targets, build_detector
from nasdet.models.backbones import BACKBONES
from nasdet.models.backbones.stems import STEMS
from nasdet.models.blocks import BLOCKS
from nasdet.models.heads import HEADS
from nasdet.models.necks import NECKS
from nasdet.models.norm import ACTIVATIONS
from nasdet.space.backbones import StagedSpec, StageSpec
from nasdet.space.heads import TaskAlignedSpec
from nasdet.space.necks import BiFpnSpec, PyramidSpec
from nasdet.space.presets import SYSTEMS
from nasdet.space.spec_base import kinds_of
from nasdet.space.specs import PARTS, DetectorSpec, InputSpec, NormSpec
from tests.systems import COVER

DETNET = (StageSpec(width=16, stride=1), StageSpec(width=32), StageSpec(width=32, stride=1, dilation=2, depth=2))
PLAIN = (StageSpec(width=16, stride=1), StageSpec(width=24, depth=2), StageSpec(width=40))
NORMS, ACTS = get_args(NormSpec.model_fields["kind"].annotation), tuple(ACTIVATIONS)


def _sample() -> list[DetectorSpec]:
    """Every pair of stem and block, and of block and neck; norm, activation, groups, bins, sharing and stages take
    turns."""
    specs, necks = [], (*kinds_of(PyramidSpec), *kinds_of(BiFpnSpec))
    for n, ((row, stem), (column, block)) in enumerate(itertools.product(enumerate(STEMS), enumerate(BLOCKS))):
        neck = necks[(row + column) % len(necks)]
        backbone = StagedSpec(
            stem=stem, stem_width=16, block=block, groups=(1, 4)[n % 2], stages=(DETNET, PLAIN)[n // 2 % 2]
        )
        specs.append(
            DetectorSpec(
                input=InputSpec(height=64, width=96, channels=(3, 1, 5)[n % 3]),
                backbone=backbone,
                neck=_neck(neck, levels=((-2, -1), (-3, -1), (-1,))[n % 3], depth=n % 3, extra_levels=n % 2),
                head=TaskAlignedSpec(
                    classes=(4, 1)[n % 2], width=24, depth=n % 3, shared=n % 2 == 0, bins=(8, 1, 2)[n % 3]
                ),
                norm=NormSpec(kind=NORMS[n % len(NORMS)]),
                activation=ACTS[n // 3 % 3],
            )
        )
    return specs


def _neck(kind: str, depth: int, **fields: object) -> PyramidSpec | BiFpnSpec:
    """A narrow neck whose levels are equally wide."""
    if kind == "bifpn":
        return BiFpnSpec(width=24, repeats=depth + 1, **fields)
    return PyramidSpec(kind=kind, width=24, depth=depth, **fields)


def _name(spec: DetectorSpec) -> str:
    return f"{spec.backbone.stem}-{spec.backbone.block}-{spec.neck.kind}-{spec.norm.kind}-{spec.activation}"


def make_targets(batch: int = 2) -> Targets:
    boxes = torch.tensor([[8.0, 8.0, 40.0, 40.0], [50.0, 10.0, 90.0, 60.0]]).repeat(batch, 1, 1)
    return Targets(boxes, torch.tensor([[0, 0], [0, -1]] * batch)[:batch])


@pytest.mark.parametrize("spec", _sample(), ids=_name)
def test_builds_trains_and_detects(spec: DetectorSpec) -> None:
    torch.manual_seed(0)
    detector = build_detector(spec)
    size = (2, spec.input.channels, spec.input.height, spec.input.width)
    images = torch.randint(0, 256, size, dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
    features = detector.backbone((images - detector.mean) / detector.std)
    for x, channels, stride in zip(features, detector.backbone.channels, detector.backbone.strides, strict=True):
        assert x.shape[1:] == (channels, spec.input.height // stride, spec.input.width // stride)
    levels = detector.neck(features)
    assert [x.shape[1] for x in levels] == list(detector.neck.channels)
    assert [-(-spec.input.width // s) for s in detector.strides] == [x.shape[-1] for x in levels]

    losses = detector(images, make_targets())
    losses["loss"].backward()
    assert torch.isfinite(losses["loss"]) and losses["positives"] > 0
    assert ("dfl" in losses) == (spec.head.bins > 1)
    without = [name for name, p in detector.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not without

    found = detector.eval().detect(images, score_threshold=0.0, limit=7)
    assert len(found) == 2 and all(len(f.boxes) == len(f.scores) == len(f.labels) <= 7 for f in found)
    assert all((f.scores.diff() <= 0).all() for f in found)
    assert all((f.boxes[:, 2] <= 96).all() and (f.boxes[:, 3] <= 64).all() and (f.boxes >= 0).all() for f in found)


def test_every_kind_is_run() -> None:
    """Here or in `test_systems`: a new kind of part fails this test until a test runs it."""
    pairs = {("block", s.backbone.block, "neck", s.neck.kind) for s in _sample()}
    assert len(pairs) == len(BLOCKS) * len({s.neck.kind for s in _sample()})
    specs = [*_sample(), *(SYSTEMS[name].spec for name in COVER)]
    for part, registry in (("backbone", BACKBONES), ("neck", NECKS), ("head", HEADS)):
        assert {getattr(s, part).kind for s in specs} == set(registry)
    assert {s.norm.kind for s in specs} == set(NORMS) and {s.activation for s in specs} == set(ACTS)


def test_registries_match_the_specification() -> None:
    for name, registry in (("stem", STEMS), ("block", BLOCKS)):
        assert set(get_args(StagedSpec.model_fields[name].annotation)) == set(registry)
    assert set(get_args(DetectorSpec.model_fields["activation"].annotation)) == set(ACTIVATIONS)
    for part, registry in (("backbone", BACKBONES), ("neck", NECKS), ("head", HEADS)):
        assert {kind for spec in PARTS[part] for kind in kinds_of(spec)} == set(registry)


@pytest.mark.parametrize(("part", "kind"), [("backbone", "stagd"), ("neck", "fpm"), ("head", "tall")])
def test_an_unknown_kind_is_named(part: str, kind: str) -> None:
    with pytest.raises(ValidationError, match=f"unknown {part} '{kind}'; did you mean"):
        DetectorSpec.model_validate({part: {"kind": kind}})


def test_a_part_without_its_kind_has_the_first_one() -> None:
    spec = DetectorSpec.model_validate({"backbone": {"stem_width": 8}, "neck": {"width": 16}, "head": {"depth": 1}})
    assert (spec.backbone.kind, spec.neck.kind, spec.head.kind) == ("staged", "pan", "tal")
    assert DetectorSpec.model_validate(spec.to_json()) == spec


def test_drop_path_rises_linearly_and_can_be_taken_back() -> None:
    detector = build_detector(DetectorSpec(backbone=StagedSpec(stages=(StageSpec(depth=3, width=16),) * 2)))
    detector.set_drop_path(0.5)
    assert [block.drop_prob for block in detector.drop_paths] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])
    detector.set_drop_path(0.0)
    assert not any(block.drop_prob for block in detector.drop_paths)


@pytest.mark.parametrize(
    ("norm", "bins"), [("gn", 16), ("bn", 1), ("none", 16), pytest.param("ln", 1, marks=pytest.mark.slow)]
)
def test_learns_a_handful_of_images(norm: str, bins: int) -> None:
    """Bright and dark rectangles on four images are found again after a few seconds."""
    torch.manual_seed(0)
    spec = DetectorSpec(
        input=InputSpec(height=64, width=64, channels=1),
        backbone=StagedSpec(stem="conv3x3", stem_width=16, stages=(StageSpec(width=24), StageSpec(width=48))),
        neck=PyramidSpec(kind="fpn", levels=(-2, -1), width=32),
        head=TaskAlignedSpec(classes=2, width=32, depth=1, bins=bins),
        norm=NormSpec(kind=norm),
    )
    images, targets = _rectangles()
    detector = build_detector(spec)
    optimizer = torch.optim.AdamW(detector.parameters(), lr=4e-3)
    for _ in range(140 if norm == "ln" else 70):  # flat areas differ by little after a norm over their channels
        optimizer.zero_grad()
        detector(images, targets)["loss"].backward()
        optimizer.step()
    for found, boxes, labels in zip(detector.eval().detect(images, score_threshold=0.3), *targets[:2], strict=True):
        assert found.labels[: len(labels)].sort().values.tolist() == labels.sort().values.tolist()
        order = found.labels[: len(labels)].argsort()
        assert (found.boxes[: len(labels)][order] - boxes[labels.argsort()]).abs().max() < 4


def _rectangles() -> tuple[torch.Tensor, Targets]:
    images = torch.full((4, 1, 64, 64), 127, dtype=torch.uint8)
    boxes = torch.tensor([[[4, 6, 26, 24], [36, 30, 60, 58]], [[30, 4, 52, 30], [6, 36, 30, 56]]] * 2).float()
    boxes[2:] += 2
    labels = torch.tensor([[0, 1], [1, 0]] * 2)
    for image, own, kinds in zip(images, boxes.int().tolist(), labels.tolist(), strict=True):
        for (x0, y0, x1, y1), kind in zip(own, kinds, strict=True):
            image[:, y0:y1, x0:x1] = 230 if kind else 20
    return images, Targets(boxes, labels)


def test_autocast_is_close_to_float32() -> None:
    torch.manual_seed(0)
    detector = build_detector(DetectorSpec())
    images = torch.randint(0, 256, (2, 3, 96, 96), dtype=torch.uint8)
    exact = detector(images, make_targets())["loss"].detach()
    with torch.autocast("cpu", torch.bfloat16):
        rough = detector(images, make_targets())["loss"].detach()
    assert rough.dtype == torch.float32
    assert abs(float(exact - rough)) < 0.05 * float(exact)


def test_float64_stays_float64() -> None:
    detector = build_detector(DetectorSpec()).double()
    images = torch.randint(0, 256, (2, 3, 96, 96), dtype=torch.uint8)
    assert detector(images, make_targets())["loss"].dtype == torch.float64


def test_onnx_gives_the_same(tmp_path: Path) -> None:
    """Of group norms and strided 1x1 convolutions, for any batch."""
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    torch.manual_seed(0)
    stages = (StageSpec(width=16, stride=1), StageSpec(width=24))
    head = TaskAlignedSpec(depth=1)
    detector = build_detector(DetectorSpec(backbone=StagedSpec(stem="conv3x3", stages=stages), head=head)).eval()
    path, image = tmp_path / "model.onnx", torch.rand(2, 3, 96, 96) * 255
    batch = torch.export.Dim("batch", min=1, max=64)
    torch.onnx.export(detector, (image,), path, dynamo=True, dynamic_shapes=({0: batch},), verbose=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    images = torch.rand(3, 3, 96, 96) * 255
    outputs = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    with torch.no_grad():
        raw = detector(images)
    for ours, theirs, limit in zip(raw, outputs, (0.5, 1e-3), strict=True):
        assert (ours - torch.from_numpy(theirs)).abs().max() < limit
