"""The saved model: its files, schema, integrity and model card. Reading needs no torch."""

from pneumoscope.bundle.annotating import annotate_bundle
from pneumoscope.bundle.card import write_card
from pneumoscope.bundle.facts import read_facts, read_folds, summarise_folds
from pneumoscope.bundle.hub import PushedBundle, push_bundle
from pneumoscope.bundle.image_hashes import ImageHashes
from pneumoscope.bundle.reading import (
    Bundle,
    find_shipped_bundle,
    is_bundle,
    read_bundle,
    verify_bundle,
)
from pneumoscope.bundle.schema import (
    FOLD_NUMBERS,
    GOLDEN,
    GRAPH,
    REFERENCE,
    REQUIRED_FILES,
    WEIGHTS,
    BlockFolds,
    BundleInfo,
    Calibration,
    CardFacts,
    CostFacts,
    DataInfo,
    DatasetFacts,
    FileInfo,
    FoldInfo,
    LicenceInfo,
    OperatingPointInfo,
    PrecisionInfo,
)
from pneumoscope.bundle.tensors import TensorPlace, narrow, pack_tensors, view_tensors
from pneumoscope.bundle.writing import pack_arrays, pack_images, write_bundle, write_files

__all__ = [
    "FOLD_NUMBERS",
    "GOLDEN",
    "GRAPH",
    "REFERENCE",
    "REQUIRED_FILES",
    "WEIGHTS",
    "BlockFolds",
    "Bundle",
    "BundleInfo",
    "Calibration",
    "CardFacts",
    "CostFacts",
    "DataInfo",
    "DatasetFacts",
    "FileInfo",
    "FoldInfo",
    "ImageHashes",
    "LicenceInfo",
    "OperatingPointInfo",
    "PrecisionInfo",
    "PushedBundle",
    "TensorPlace",
    "annotate_bundle",
    "find_shipped_bundle",
    "is_bundle",
    "narrow",
    "pack_arrays",
    "pack_images",
    "pack_tensors",
    "push_bundle",
    "read_bundle",
    "read_facts",
    "read_folds",
    "summarise_folds",
    "verify_bundle",
    "view_tensors",
    "write_bundle",
    "write_card",
    "write_files",
]
