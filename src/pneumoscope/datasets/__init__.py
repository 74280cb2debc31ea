"""Data sets: folders, archives, tables and arrays become a manifest, a split, and pixels."""

from pneumoscope.datasets.acquisition import (
    FEATURES,
    MEASURED,
    estimate_quality,
    measure_acquisition,
)
from pneumoscope.datasets.archives import check_growth, extract_archive
from pneumoscope.datasets.arrays import read_radiograph, split_ref
from pneumoscope.datasets.collection import open_collection
from pneumoscope.datasets.copies import CopyKind, DuplicatePair, list_duplicates
from pneumoscope.datasets.dealing import Grouping
from pneumoscope.datasets.download import fetch_archive, fetch_kaggle
from pneumoscope.datasets.folds import assign_folds, check_folds, list_folds, split_by_fold
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
    map_labels,
)
from pneumoscope.datasets.leakage import (
    Leakage,
    count_leaked,
    count_straddling,
    describe_leak,
    find_leakage,
    mark_leaked,
)
from pneumoscope.datasets.manifest import (
    MANIFEST_SCHEMA,
    Manifest,
    build_manifest,
    read_labels,
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
from pneumoscope.datasets.split_file import (
    SavedSplit,
    read_folds,
    save_split,
    write_split_file,
)
from pneumoscope.datasets.splits import (
    SplitResult,
    assign_splits,
    check_splits,
    count_images,
    parse_ratios,
    resolve_splits,
)
from pneumoscope.datasets.tables import read_columns

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
    "SavedSplit",
    "Skipped",
    "SplitResult",
    "assign_folds",
    "assign_splits",
    "build_manifest",
    "check_folds",
    "check_growth",
    "check_splits",
    "count_images",
    "count_leaked",
    "count_straddling",
    "describe_leak",
    "estimate_quality",
    "extract_archive",
    "fetch_archive",
    "fetch_kaggle",
    "find_leakage",
    "list_duplicates",
    "list_folds",
    "load_pixels",
    "map_labels",
    "mark_leaked",
    "measure_acquisition",
    "open_collection",
    "parse_name",
    "parse_ratios",
    "read_columns",
    "read_folds",
    "read_labels",
    "read_manifest",
    "read_radiograph",
    "reorganize",
    "resolve_splits",
    "save_split",
    "split_by_fold",
    "split_ref",
    "write_manifest",
    "write_split_file",
]
