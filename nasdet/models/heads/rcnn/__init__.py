"""Two-stage heads: Faster, Mask and Cascade R-CNN are one head, whose specification says which parts it has."""

from nasdet.models.heads.rcnn.head import RcnnHead

__all__ = ["RcnnHead"]
