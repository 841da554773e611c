"""Sizes of the two-stage presets against torchvision's own builders."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import nn
from torchvision.models import resnet50
from torchvision.models.detection import fasterrcnn_resnet50_fpn, maskrcnn_resnet50_fpn
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNN, MaskRCNNHeads

from nasdet.models import count_costs
from nasdet.space.presets import SYSTEMS


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("name", "builder"),
    [("faster_rcnn_r50_fpn", fasterrcnn_resnet50_fpn), ("mask_rcnn_r50_fpn", maskrcnn_resnet50_fpn)],
)
def test_equal_to_the_builder(name: str, builder: object) -> None:
    with torch.device("meta"):
        theirs = builder(weights=None, weights_backbone=None, num_classes=91)
    assert count_costs(SYSTEMS[name].spec).params == _count(theirs)


def test_group_norm_everywhere() -> None:
    norm = functools.partial(nn.GroupNorm, 32)
    with torch.device("meta"):
        backbone = _resnet_fpn_extractor(resnet50(norm_layer=norm), 5, norm_layer=norm)
        box = FastRCNNConvFCHead((256, 7, 7), [256] * 4, [1024], norm_layer=norm)
        mask = MaskRCNNHeads(256, [256] * 4, 1, norm_layer=norm)
        theirs = MaskRCNN(backbone, 81, box_head=box, mask_head=mask)
    assert count_costs(SYSTEMS["mask_rcnn_r50_fpn_gn"].spec).params == _count(theirs)


def test_a_cascade_has_two_more_heads_without_boxes_by_class() -> None:
    with torch.device("meta"):
        theirs = fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=81)
        more = TwoMLPHead(256 * 49, 1024), nn.Linear(1024, 81), nn.Linear(1024, 4)
    by_class = _count(theirs.roi_heads.box_predictor.bbox_pred) - _count(more[2])
    assert count_costs(SYSTEMS["cascade_rcnn_r50_fpn"].spec).params == _count(theirs) - by_class + 2 * sum(
        _count(m) for m in more
    )
