"""The runtime: a bundle and an image become a finding. No torch."""

from pneumoscope.runtime.batching import Answer, Batcher
from pneumoscope.runtime.decoder import Decoder, Prepared
from pneumoscope.runtime.engine import ENGINES, Engine, Outputs, start_engine
from pneumoscope.runtime.finding import (
    RECORD_FIELDS,
    REFERRAL_BAND,
    Decision,
    Finding,
    Status,
    WarningCode,
    decide_by_band,
)
from pneumoscope.runtime.golden import TOLERANCES, measure_deviation
from pneumoscope.runtime.heatmap import (
    CAPTION,
    draw_heatmap,
    encode_heatmap,
    paint_influence,
    save_heatmap,
    scale_map,
)
from pneumoscope.runtime.inputs import INPUTS, measure_images, read_inputs, replace_inputs
from pneumoscope.runtime.judgement import Objection
from pneumoscope.runtime.precision import PRECISIONS, equal_reference
from pneumoscope.runtime.predictor import Predictor, find_bundle, find_bundled_model, load
from pneumoscope.runtime.results import (
    CSV_HEADER,
    ResultsFile,
    check_results_name,
    encode_csv,
    encode_jsonl,
)
from pneumoscope.runtime.stream import count_cores, map_in_order

__all__ = [
    "CAPTION",
    "CSV_HEADER",
    "ENGINES",
    "INPUTS",
    "PRECISIONS",
    "RECORD_FIELDS",
    "REFERRAL_BAND",
    "TOLERANCES",
    "Answer",
    "Batcher",
    "Decision",
    "Decoder",
    "Engine",
    "Finding",
    "Objection",
    "Outputs",
    "Predictor",
    "Prepared",
    "ResultsFile",
    "Status",
    "WarningCode",
    "check_results_name",
    "count_cores",
    "decide_by_band",
    "draw_heatmap",
    "encode_csv",
    "encode_heatmap",
    "encode_jsonl",
    "equal_reference",
    "find_bundle",
    "find_bundled_model",
    "load",
    "map_in_order",
    "measure_deviation",
    "measure_images",
    "paint_influence",
    "read_inputs",
    "replace_inputs",
    "save_heatmap",
    "scale_map",
    "start_engine",
]
