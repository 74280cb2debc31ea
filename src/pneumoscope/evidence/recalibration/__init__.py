"""A bundle for another site: thresholds and calibration from a small labelled sample."""
