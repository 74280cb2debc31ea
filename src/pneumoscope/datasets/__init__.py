"""Data sets: folders, archives, tables and arrays become a manifest, a split, and pixels."""

from pneumoscope.datasets.acquisition import (
    FEATURES,
    MEASURED,
    estimate_quality,
    measure_acquisition,
)
from pneumoscope.datasets.archives import extract_archive
from pneumoscope.datasets.arrays import read_radiograph, split_ref
from pneumoscope.datasets.audit import (
    CopyKind,
    DuplicatePair,
    Leakage,
    count_straddling,
    find_leakage,
    list_duplicates,
)
from pneumoscope.datasets.collection import open_collection
from pneumoscope.datasets.download import fetch_archive, fetch_kaggle
from pneumoscope.datasets.items import (
    LABELS,
    NORMAL,
    PNEUMONIA,
    SPLITS,
    Collection,
    CollectionOptions,
    Item,
    Layout,
    Skipped,
)
from pneumoscope.datasets.manifest import (
    MANIFEST_SCHEMA,
    Manifest,
    build_manifest,
    read_manifest,
    write_manifest,
)
from pneumoscope.datasets.naming import parse_name
from pneumoscope.datasets.pixels import PIXEL_METHOD, load_pixels
from pneumoscope.datasets.reorganization import (
    DESTINATION,
    LinkMode,
    ReorganizeResult,
    reorganize,
)
from pneumoscope.datasets.splits import (
    Grouping,
    SplitResult,
    assign_splits,
    check_splits,
    count_images,
    count_leaked,
    parse_ratios,
    resolve_splits,
)

__all__ = [
    "DESTINATION",
    "FEATURES",
    "LABELS",
    "MANIFEST_SCHEMA",
    "MEASURED",
    "NORMAL",
    "PIXEL_METHOD",
    "PNEUMONIA",
    "SPLITS",
    "Collection",
    "CollectionOptions",
    "CopyKind",
    "DuplicatePair",
    "Grouping",
    "Item",
    "Layout",
    "Leakage",
    "LinkMode",
    "Manifest",
    "ReorganizeResult",
    "Skipped",
    "SplitResult",
    "assign_splits",
    "build_manifest",
    "check_splits",
    "count_images",
    "count_leaked",
    "count_straddling",
    "estimate_quality",
    "extract_archive",
    "fetch_archive",
    "fetch_kaggle",
    "find_leakage",
    "list_duplicates",
    "load_pixels",
    "measure_acquisition",
    "open_collection",
    "parse_name",
    "parse_ratios",
    "read_manifest",
    "read_radiograph",
    "reorganize",
    "resolve_splits",
    "split_ref",
    "write_manifest",
]
