"""The saved model: its files, schema, integrity and model card. Reading needs no torch."""

from pneumoscope.bundle.card import write_card
from pneumoscope.bundle.reading import (
    Bundle,
    find_shipped_bundle,
    is_bundle,
    read_bundle,
    verify_bundle,
)
from pneumoscope.bundle.schema import (
    GOLDEN,
    GRAPH,
    REFERENCE,
    WEIGHTS,
    BundleInfo,
    Calibration,
    DataInfo,
    FileInfo,
    LicenceInfo,
    OperatingPointInfo,
    PrecisionInfo,
)
from pneumoscope.bundle.tensors import TensorPlace, narrow, pack_tensors
from pneumoscope.bundle.writing import write_bundle, write_files

__all__ = [
    "GOLDEN",
    "GRAPH",
    "REFERENCE",
    "WEIGHTS",
    "Bundle",
    "BundleInfo",
    "Calibration",
    "DataInfo",
    "FileInfo",
    "LicenceInfo",
    "OperatingPointInfo",
    "PrecisionInfo",
    "TensorPlace",
    "find_shipped_bundle",
    "is_bundle",
    "narrow",
    "pack_tensors",
    "read_bundle",
    "verify_bundle",
    "write_bundle",
    "write_card",
    "write_files",
]
