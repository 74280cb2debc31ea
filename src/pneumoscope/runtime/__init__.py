"""The runtime: a bundle and an image become a finding. No torch."""

from pneumoscope.runtime.engine import ENGINES, Engine, Outputs
from pneumoscope.runtime.finding import (
    RECORD_FIELDS,
    REFERRAL_BAND,
    Decision,
    Finding,
    Status,
    WarningCode,
)
from pneumoscope.runtime.heatmap import (
    CAPTION,
    draw_heatmap,
    encode_heatmap,
    save_heatmap,
    scale_map,
)
from pneumoscope.runtime.precision import PRECISIONS
from pneumoscope.runtime.predictor import Predictor, find_bundled_model, load

__all__ = [
    "CAPTION",
    "ENGINES",
    "PRECISIONS",
    "RECORD_FIELDS",
    "REFERRAL_BAND",
    "Decision",
    "Engine",
    "Finding",
    "Outputs",
    "Predictor",
    "Status",
    "WarningCode",
    "draw_heatmap",
    "encode_heatmap",
    "find_bundled_model",
    "load",
    "save_heatmap",
    "scale_map",
]
