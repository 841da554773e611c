"""What a trained detector does: metrics on a split, boxes on images."""
