"""Collections: whatever labelled images a person has, told apart by layout and said aloud."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from pneumoscope.datasets.archives import is_archive, unpack_archive
from pneumoscope.datasets.arrays import list_rows
from pneumoscope.datasets.items import (
    LABELS,
    MANIFEST_NAME,
    PHANTOM_MARKER,
    SPLITS,
    Collection,
    CollectionOptions,
    Item,
    Layout,
    Skipped,
    map_labels,
)
from pneumoscope.datasets.naming import parse_name
from pneumoscope.datasets.tables import read_table
from pneumoscope.errors import DataError
from pneumoscope.images import is_image_name


def open_collection(
    path: str | Path,
    options: CollectionOptions | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Collection:
    """Find the labelled images in a folder, a table, an array file, or an archive of these.

    Raises
    ------
    DataError
        Nothing is there, the layout is not recognised, or there is only one class.
    """
    options = options or CollectionOptions()
    path = Path(path)
    if not path.exists():
        raise DataError(
            f"{path} does not exist: name a folder, a CSV or Parquet manifest, a .npz, or an "
            "archive of these; `pneumoscope data fetch` or `data phantom` make one."
        )
    notes: list[str] = []
    if path.is_file() and is_archive(path):
        path = unpack_archive(path, progress=progress)
        notes.append(f"The archive was unpacked into {path}.")
    root, layout = _recognise(path, options.layout)
    collection = _READERS[layout](root, options)
    counts = Counter(item.label for item in collection.items)
    described = ", ".join(f"{counts[label]} {label}" for label in LABELS)
    notes += [f"{root} has the layout {layout.value!r}: {described}.", *collection.notes]
    if not collection.items:
        raise DataError(f"{root} holds no labelled images in the layout {layout.value!r}.")
    missing = [label for label in LABELS if counts[label] < 2]
    if missing:
        raise DataError(
            f"{root} has {described}: two classes with at least 2 images each are needed, "
            "name the positive one with --positive if its name is another."
        )
    if all(item.patient is None for item in collection.items):
        notes.append("Patients are unknown: images of one patient may straddle splits.")
    if any(item.source == "phantom" for item in collection.items):
        notes.append("These are synthetic phantoms: for demonstrations and tests only.")
    return Collection(root, layout, collection.items, tuple(notes), collection.skipped)


# -- recognising --------------------------------------------------------------------------------


def _recognise(path: Path, forced: Layout | None) -> tuple[Path, Layout]:
    if path.is_file():
        suffix = path.suffix.lower()
        found = {".csv": Layout.MANIFEST, ".parquet": Layout.MANIFEST, ".npz": Layout.NPZ}.get(
            suffix
        )
        if found is None or forced not in {None, found}:
            wanted = (
                f"in the layout {forced.value!r}"
                if forced
                else "a manifest (.csv, .parquet), a .npz or an archive"
            )
            raise DataError(f"{path} is not {wanted}.")
        return path.resolve(), found
    candidates = [path, *sorted(p for p in path.iterdir() if p.is_dir() and _is_visible(p))]
    for folder in candidates:  # the folder itself, then the one inside that an archive adds
        layout = _recognise_folder(folder)
        if layout is not None and forced in {None, layout}:
            return folder.resolve(), layout
        if forced in {Layout.KAGGLE, Layout.FOLDERS} and layout in {Layout.REORGANIZED, forced}:
            return folder.resolve(), forced
    if forced is not None:
        raise DataError(f"{path} does not have the layout {forced.value!r}.")
    raise DataError(
        f"{path} has no layout that is known: neither train/test folders with one folder a class, "
        "nor class folders such as NORMAL and PNEUMONIA, nor a manifest.csv, .parquet or .npz."
    )


def _recognise_folder(folder: Path) -> Layout | None:
    splits = [name for name in SPLITS if (folder / name).is_dir()]
    if len(splits) == 3 and (folder / MANIFEST_NAME).is_file():
        return Layout.REORGANIZED
    if splits and any(_list_classes(folder / name) for name in splits):
        return Layout.KAGGLE
    classes = _list_classes(folder)
    return Layout.FOLDERS if len(classes) >= 1 and folder.name not in SPLITS else None


def _list_classes(folder: Path) -> list[Path]:
    """Return the class folders: visible folders with at least one image directly or below."""
    skipped = {"lesion_masks", "masks", "heatmaps", *SPLITS}
    return [
        entry
        for entry in sorted(folder.iterdir())
        if entry.is_dir()
        and _is_visible(entry)
        and entry.name not in skipped
        and next(_walk_images(entry), None) is not None
    ]


def _is_visible(path: Path) -> bool:
    return not path.name.startswith(".") and path.name != "__MACOSX"


def _walk_images(folder: Path) -> Iterator[Path]:
    """Yield image files below a folder in a stable order, without hidden ones."""
    for entry in sorted(folder.iterdir()):
        if not _is_visible(entry):
            continue
        if entry.is_dir():
            yield from _walk_images(entry)
        elif is_image_name(entry.name):
            yield entry


# -- reading ------------------------------------------------------------------------------------


def _read_folders(root: Path, options: CollectionOptions) -> Collection:
    return _collect(root, Layout.FOLDERS, {None: root}, options)


def _read_kaggle(root: Path, options: CollectionOptions) -> Collection:
    splits = {name: root / name for name in SPLITS if (root / name).is_dir()}
    return _collect(root, Layout.KAGGLE, dict(splits), options)


def _collect(
    root: Path,
    layout: Layout,
    parts: dict[str | None, Path] | dict[str, Path],
    options: CollectionOptions,
) -> Collection:
    source = "phantom" if (root / PHANTOM_MARKER).is_file() else _name_source(root, layout)
    items: list[Item] = []
    skipped: list[Skipped] = []
    classes = {folder.name for part in parts.values() for folder in _list_classes(part)}
    labels = map_labels(sorted(classes), options.positive)
    for split, part in parts.items():
        for folder in _list_classes(part):
            for path in sorted(folder.rglob("*")):
                inner = path.relative_to(folder)
                if (
                    path.is_dir()
                    or any(p.startswith(".") for p in inner.parts)
                    or "__MACOSX" in inner.parts
                ):
                    continue
                if not is_image_name(inner):
                    skipped.append(Skipped(str(path), "not an image by its name"))
                    continue
                items.append(_make_item(path, labels[folder.name], split, source))
    return Collection(root, layout, tuple(items), (), tuple(skipped))


def _make_item(path: Path, label: str, split: str | None, source: str) -> Item:
    parts = parse_name(path.name)
    return Item(
        ref=str(path),
        label=label,
        split=split,
        patient=parts.patient if parts else None,
        subtype=parts.subtype if parts else "none",
        source=source,
    )


def _name_source(root: Path, layout: Layout) -> str:
    return "kaggle" if layout is Layout.KAGGLE else root.name


def _read_reorganized(root: Path, options: CollectionOptions) -> Collection:
    return Collection(
        root, Layout.REORGANIZED, *_split_rows(read_table(root / MANIFEST_NAME, options))
    )


def _read_manifest(root: Path, options: CollectionOptions) -> Collection:
    return Collection(root, Layout.MANIFEST, *_split_rows(read_table(root, options)))


def _split_rows(
    rows: tuple[tuple[Item, ...], tuple[Skipped, ...]],
) -> tuple[tuple[Item, ...], tuple[str, ...], tuple[Skipped, ...]]:
    items, skipped = rows
    notes = (f"{len(skipped)} rows name files that do not exist.",) if skipped else ()
    return items, notes, skipped


def _read_npz(root: Path, options: CollectionOptions) -> Collection:
    items, notes = list_rows(root, options.positive)
    return Collection(root, Layout.NPZ, items, notes)


_READERS = {
    Layout.KAGGLE: _read_kaggle,
    Layout.REORGANIZED: _read_reorganized,
    Layout.FOLDERS: _read_folders,
    Layout.MANIFEST: _read_manifest,
    Layout.NPZ: _read_npz,
}


def read_marker(root: Path) -> dict[str, object] | None:
    """Return what a folder of phantoms says about itself; None for any other folder."""
    marker = root / PHANTOM_MARKER
    try:
        tree = json.loads(marker.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return tree if isinstance(tree, dict) else None
