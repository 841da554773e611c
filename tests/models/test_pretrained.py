"""What of a checkpoint goes where, for every way in which checkpoints name their tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from nasdet.errors import InputError
from nasdet.models import build_detector
from nasdet.models.pretrained import load_weights, loaded_from
from nasdet.space.backbones import StagedSpec, StageSpec
from nasdet.space.heads import TaskAlignedSpec
from nasdet.space.specs import DetectorSpec, InputSpec, NormSpec


def _spec(channels: int = 3, classes: int = 4, norm: str = "bn", width: int = 16) -> DetectorSpec:
    stages = (StageSpec(width=8), StageSpec(width=width))
    return DetectorSpec(
        input=InputSpec(height=64, width=64, channels=channels),
        backbone=StagedSpec(stem="conv3x3", stem_width=8, stages=stages),
        head=TaskAlignedSpec(classes=classes),
        norm=NormSpec(kind=norm),
    )


def _backbone(spec: DetectorSpec, seed: int = 1) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return {name: t.contiguous() for name, t in build_detector(spec).backbone.state_dict().items()}


def _is_loaded(detector: nn.Module, wanted: dict[str, Tensor]) -> bool:
    found = detector.backbone.state_dict()
    return all(torch.equal(found[n], t) for n, t in wanted.items() if not n.endswith("num_batches_tracked"))


NESTINGS: dict[str, Any] = {
    "plain": lambda w, o: w,
    "model": lambda w, o: {"model": w, "epoch": 1},
    "DDP": lambda w, o: {"state_dict": {f"module.{n}": t for n, t in w.items()}},
    "DINO": lambda w, o: {
        "student": {f"module.backbone.{n}": t for n, t in o.items()},
        "teacher": {f"backbone.{n}": t for n, t in w.items()},
    },
    "MoCo v3": lambda w, o: {
        "state_dict": {f"module.base_encoder.{n}": t for n, t in w.items()}
        | {f"module.momentum_encoder.{n}": t for n, t in o.items()}
    },
    "encoder": lambda w, o: {"model": {f"encoder.{n}": t for n, t in w.items()}},
    "underscores": lambda w, o: {n.replace("stages.", "stages_"): t for n, t in w.items()},
    "nasdet train": lambda w, o: {
        "detector": {f"backbone.{n}": t for n, t in o.items()},
        "average": {f"backbone.{n}": t for n, t in w.items()},
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}},
    },
}


@pytest.mark.parametrize("nesting", NESTINGS)
def test_every_nesting(nesting: str, tmp_path: Path) -> None:
    wanted, other = _backbone(_spec()), _backbone(_spec(), seed=2)
    torch.save(NESTINGS[nesting](wanted, other), tmp_path / "x.pth")
    detector = build_detector(_spec())
    report = load_weights(detector, str(tmp_path / "x.pth"))
    assert report.rule == "names" and _is_loaded(detector, wanted)
    assert report.summary == f"{len(report.matched)} of {len(report.matched)} tensors of the backbone"
    assert loaded_from(detector) == str(tmp_path / "x.pth")


def test_the_list_of_what_matched_and_what_did_not(tmp_path: Path) -> None:
    spec = _spec(norm="gn")
    weights = {name: torch.full_like(t, 0.5) for name, t in _backbone(spec).items()}
    last = list(weights)[-1]
    del weights[last]
    weights["stem.conv.weight"] = torch.rand(9, 3, 3, 3)  # another width
    save_file({**weights, "fc.weight": torch.rand(10, 16)}, tmp_path / "x.safetensors")
    detector = build_detector(spec)
    before = detector.state_dict()["backbone.stem.conv.weight"].clone()
    report = load_weights(detector, str(tmp_path / "x.safetensors"))
    fitting = set(weights) - {"stem.conv.weight"}
    assert {(m.file, m.detector) for m in report.matched} == {(n, f"backbone.{n}") for n in fitting}
    assert {(n.name, n.shape) for n in report.unmatched_file} == {
        ("stem.conv.weight", (9, 3, 3, 3)),
        ("fc.weight", (10, 16)),
    }
    missing = {n.name for n in report.unmatched_detector if n.name.startswith("backbone.")}
    assert missing == {"backbone.stem.conv.weight", f"backbone.{last}"}
    assert len(report.matched) + len(report.unmatched_detector) == len(detector.state_dict())
    state = detector.state_dict()
    assert torch.equal(state["backbone.stem.conv.weight"], before)
    assert all(state[m.detector].eq(0.5).all() for m in report.matched)
    values = report.to_json()
    assert values["rule"] == "names" and values["matched"][0]["change"] == ""


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_the_stem_takes_any_number_of_channels(channels: int, tmp_path: Path) -> None:
    wanted = _backbone(_spec())
    torch.save(wanted, tmp_path / "x.pth")
    detector = build_detector(_spec(channels))
    report = load_weights(detector, str(tmp_path / "x.pth"))
    stem, theirs = detector.state_dict()["backbone.stem.conv.weight"], wanted["stem.conv.weight"]
    [change] = {m.change for m in report.matched if m.file == "stem.conv.weight"}
    assert change == ("" if channels == 3 else f"3 input channels to {channels}")
    if channels == 1:
        torch.testing.assert_close(stem, theirs.sum(1, keepdim=True))
    else:
        torch.testing.assert_close(stem[:, :3], theirs * (1 if channels == 3 else 3 / channels))


def test_a_bundle_gives_neck_and_head_too_where_the_classes_agree(tmp_path: Path) -> None:
    torch.manual_seed(1)
    weights = {name: t.contiguous() for name, t in build_detector(_spec(classes=4)).state_dict().items()}
    save_file(weights, tmp_path / "weights.safetensors")
    report = load_weights(build_detector(_spec(classes=4)), str(tmp_path))
    assert not report.unmatched_file and not report.unmatched_detector
    report = load_weights(build_detector(_spec(classes=7)), str(tmp_path))
    assert {n.name for n in report.unmatched_file} == {n.name for n in report.unmatched_detector}
    assert all(n.name.startswith("head.") for n in report.unmatched_file) and report.unmatched_file


def test_by_order_where_no_name_agrees(tmp_path: Path) -> None:
    wanted = _backbone(_spec())
    renamed = {f"layer{i}": t for i, t in enumerate(wanted.values()) if t.ndim}  # without counters
    torch.save({**renamed, "fc": torch.rand(10, 16)}, tmp_path / "x.pth")
    detector = build_detector(_spec())
    report = load_weights(detector, str(tmp_path / "x.pth"))
    assert report.rule == "order" and _is_loaded(detector, wanted)
    assert [n.name for n in report.unmatched_file] == ["fc"]
    save_file(renamed, tmp_path / "x.safetensors")  # sorted by name: the order says nothing
    with pytest.raises(InputError, match="none of its"):
        load_weights(build_detector(_spec()), str(tmp_path / "x.safetensors"))


def test_nothing_fits(tmp_path: Path) -> None:
    torch.save({"fc.weight": torch.rand(10, 16)}, tmp_path / "x.pth")
    detector = build_detector(_spec())
    with pytest.raises(InputError, match=r"none of its 1 tensors fits the detector; give a checkpoint of the same"):
        load_weights(detector, str(tmp_path / "x.pth"))
    assert loaded_from(detector) == ""


class Positions(nn.Module):
    """A detector of a timm transformer, as far as the loader sees one."""

    def __init__(self, size: tuple[int, int], class_token: bool) -> None:
        super().__init__()
        self.backbone = nn.Module()
        self.backbone.net = timm.create_model(
            "vit_tiny_patch16_224", img_size=size, depth=2, num_classes=0, class_token=class_token, global_pool="avg"
        )


@pytest.mark.parametrize("class_token", [True, False])
@pytest.mark.parametrize("size", [(224, 224), (96, 160)])
def test_positions_are_resampled(class_token: bool, size: tuple[int, int], tmp_path: Path) -> None:
    torch.manual_seed(0)
    source = timm.create_model("vit_tiny_patch16_224", depth=2)
    with torch.no_grad():
        source.pos_embed[:, 1:] = torch.linspace(0, 1, 14).repeat_interleave(14)[None, :, None]  # falls down the rows
        source.pos_embed[:, 0] = 7.0
    torch.save({"model": {f"encoder.{n}": t for n, t in source.state_dict().items()}}, tmp_path / "x.pth")
    detector = Positions(size, class_token)
    report = load_weights(detector, str(tmp_path / "x.pth"))
    found = detector.backbone.net.pos_embed.detach()
    rows, columns = size[0] // 16, size[1] // 16
    assert bool(found[:, 0].eq(7).all()) == class_token
    grid = found[:, int(class_token) :].view(rows, columns, -1)
    assert (grid.diff(dim=0) > 0).all() and grid.diff(dim=1).abs().max() < 1e-5
    assert "backbone.net.patch_embed.proj.weight" in {m.detector for m in report.matched}
    lacking = {n.name for n in report.unmatched_file if "head" not in n.name}
    assert lacking <= {"model.encoder.cls_token", "model.encoder.norm.weight", "model.encoder.norm.bias"}
