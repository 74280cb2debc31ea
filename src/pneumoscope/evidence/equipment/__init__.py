"""What a bundle learns from its calibration part: thresholds, precisions, gate statistics."""
