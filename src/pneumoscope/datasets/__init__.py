"""Data sets: folders, archives, tables and arrays become a manifest, a split, and pixels."""

from pneumoscope.datasets.archives import extract_archive
from pneumoscope.datasets.arrays import read_radiograph, split_ref
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
from pneumoscope.datasets.tables import read_columns

__all__ = [
    "DESTINATION",
    "LABELS",
    "MANIFEST_SCHEMA",
    "NORMAL",
    "PIXEL_METHOD",
    "PNEUMONIA",
    "SPLITS",
    "Collection",
    "CollectionOptions",
    "Grouping",
    "Item",
    "Layout",
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
    "extract_archive",
    "fetch_archive",
    "fetch_kaggle",
    "load_pixels",
    "open_collection",
    "parse_ratios",
    "read_columns",
    "read_manifest",
    "read_radiograph",
    "reorganize",
    "resolve_splits",
    "split_ref",
    "write_manifest",
]
