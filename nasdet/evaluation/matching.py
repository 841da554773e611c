"""Which detection found which labelled object: the one place where detections are paired with ground truth.

hotcoco does it by COCO's rule, which a test compares with pycocotools object by object:

- Each class of each image stands for itself, and only its `most` detections of highest score count.
- Detections choose from the highest score down. Each takes the free object that it overlaps most, if their IoU is at
  least the threshold (`>=`); equal scores keep their order, and of equal overlaps the last object is taken.
- An object is taken once, so a second detection of it is a false positive.
- A crowd (`iscrowd`) is looked at only by a detection that found no object. Its overlap is the share of the detection
  that lies inside, any number of detections may be in it, and they count neither as right nor as wrong.
"""

from __future__ import annotations

from typing import Any

MOST_BOXES = 100
"""Boxes of each image and class that COCO counts."""


def match(
    ground_truth: dict[str, Any], results: Any, kind: str = "bbox", *, most: int = MOST_BOXES, by_size: bool = True
) -> Any:
    """Match the detections of a split at COCO's ten IoU thresholds.

    Args:
        ground_truth: COCO annotation dict with at least one annotation.
        results: of `Predictions.to_coco_array` for boxes, of `to_coco_masks` for masks.
        kind: bbox or segm, what IoU is computed of.
        most: detections of each image and class that count.
        by_size: match small, medium and large objects on their own too, as COCO's figures of sizes need it.

    Returns:
        hotcoco's `COCOeval` after `evaluate`; `eval_imgs` has the matches of each image, class and size.
    """
    from hotcoco import COCO, COCOeval

    truth = COCO(ground_truth)
    run = COCOeval(truth, truth.load_res(results), kind)
    run.params.max_dets = [1, 10, most]
    if not by_size:
        run.params.area_rng, run.params.area_rng_lbl = [run.params.area_rng[0]], ["all"]
    run.evaluate()
    return run
