"""Collections: whatever images a person has, told apart by layout and said aloud."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from pneumoscope.datasets.archives import is_archive, unpack_archive
from pneumoscope.datasets.arrays import list_rows
from pneumoscope.datasets.items import (
    LABELS,
    MANIFEST_NAME,
    SPLITS,
    Collection,
    CollectionOptions,
    Item,
    Layout,
    Origins,
    Skipped,
    map_labels,
)
from pneumoscope.datasets.naming import parse_name
from pneumoscope.datasets.tables import read_table
from pneumoscope.errors import DataError
from pneumoscope.images import is_image_file


def open_collection(
    path: str | Path,
    options: CollectionOptions | None = None,
    *,
    labelled: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Collection:
    """Find the images in a folder, a table, an array file, or an archive of these.

    Where they need not be `labelled`, no label is looked at: a class may be missing, or all, and a
    folder may hold images without class folders.

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
    try:
        root, layout = _recognise(path, options.layout, labelled)
        collection = _READERS[layout](root, options, labelled)
    except OSError as error:
        raise DataError(f"{error.filename or path} cannot be read: {error.strerror}.") from error
    what = "labelled images" if labelled else "images"
    if not collection.items:
        raise DataError(f"{root} holds no {what} in the layout {layout.value!r}.")
    described = f"{len(collection.items)} images, labels unseen"
    if labelled:
        described = _check_classes(collection)
    notes += [f"{root} has the layout {layout.value!r}: {described}.", *collection.notes]
    if any(item.source == "phantom" for item in collection.items):
        notes.append("These are synthetic phantoms: for demonstrations and tests only.")
    return Collection(root, layout, collection.items, tuple(notes), collection.skipped)


def _check_classes(collection: Collection) -> str:
    """Return how many images each class has; raise `DataError` where one is missing."""
    counts = Counter(item.label for item in collection.items)
    described = ", ".join(f"{counts[label]} {label}" for label in LABELS)
    if any(counts[label] < 2 for label in LABELS):
        missing = len(counts) < len(LABELS)
        advice = " If the disease has another name, say it with --positive." if missing else ""
        raise DataError(
            f"{collection.root} has {described}: two classes with at least 2 images each are "
            f"needed.{advice}"
        )
    return described


# -- recognising --------------------------------------------------------------------------------

_TABLES = {".csv": Layout.MANIFEST, ".parquet": Layout.MANIFEST, ".npz": Layout.NPZ}


def _recognise(path: Path, forced: Layout | None, labelled: bool) -> tuple[Path, Layout]:
    if path.is_file():
        found = _TABLES.get(path.suffix.lower())
        if found is None or forced not in {None, found}:
            wanted = (
                f"in the layout {forced.value!r}"
                if forced
                else "a manifest (.csv, .parquet), a .npz or an archive"
            )
            raise DataError(f"{path} is not {wanted}.")
        return path.resolve(), found
    # The folder itself, then the one inside that an archive adds; one class folder last, since it
    # may be that one.
    inside = sorted(p for p in path.iterdir() if p.is_dir() and _is_visible(p))
    candidates = [path, *(p for p in inside if p.name not in SPLITS)]
    for least in (2, 1):
        for folder in candidates:
            for place, layout in _list_layouts(folder, least, labelled):
                if forced in {None, layout}:
                    return place.resolve(), layout
    if forced is not None:
        raise DataError(f"{path} does not have the layout {forced.value!r}.")
    raise DataError(
        f"{path} has no layout that is known: neither train/test folders with one folder a class, "
        "nor class folders such as NORMAL and PNEUMONIA, nor a manifest.csv, .parquet or .npz."
    )


def _list_layouts(folder: Path, least: int, labelled: bool) -> Iterator[tuple[Path, Layout]]:
    """Yield the layouts that a folder can be read in, with where they start, the likeliest first.

    `least` is how many class folders it takes. Where images need not be `labelled`, a folder of
    images without class folders will do, at last.
    """
    splits = [name for name in SPLITS if (folder / name).is_dir()]
    if len(splits) == 3 and (folder / MANIFEST_NAME).is_file():
        yield folder, Layout.REORGANIZED
    if splits and any(_list_places(folder / name, labelled) for name in splits):
        yield folder, Layout.KAGGLE
    table = _find_table(folder)
    if table is not None and table.stem == "manifest":
        yield table, _TABLES[table.suffix.lower()]
    if len(_list_classes(folder)) >= least:
        yield folder, Layout.FOLDERS
    if table is not None and table.stem != "manifest":
        yield table, _TABLES[table.suffix.lower()]
    if least == 1 and not labelled and _list_places(folder, labelled):
        yield folder, Layout.FOLDERS


def _find_table(folder: Path) -> Path | None:
    """Return the folder's manifest, or its one table or array file; None if there are several."""
    tables = [
        entry
        for entry in sorted(folder.iterdir())
        if entry.suffix.lower() in _TABLES and _is_visible(entry) and entry.is_file()
    ]
    manifests = [entry for entry in tables if entry.stem == "manifest"]
    return manifests[0] if manifests else tables[0] if len(tables) == 1 else None


def _list_classes(folder: Path) -> list[Path]:
    """Return the class folders: visible folders with at least one image directly or below."""
    skipped = {"lesion_masks", "masks", "heatmaps", *SPLITS}
    return [
        entry
        for entry in sorted(folder.iterdir())
        if entry.is_dir()
        and _is_visible(entry)
        and entry.name not in skipped
        and any(is_image_file(file) for file in _walk(entry, frozenset({folder.resolve()})))
    ]


def _list_places(folder: Path, labelled: bool) -> list[Path]:
    """Return the class folders, and where labels are not looked at the folder's own images."""
    own = [] if labelled else [p for p in sorted(folder.iterdir()) if _is_own_image(p)]
    return [*_list_classes(folder), *own]


def _is_own_image(path: Path) -> bool:
    return path.is_file() and _is_visible(path) and is_image_file(path)


def _is_visible(path: Path) -> bool:
    return not path.name.startswith(".") and path.name != "__MACOSX"


def _is_text(path: Path) -> bool:
    """Return whether a name can be written down in tables: on Linux it may be any bytes."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _walk(folder: Path, above: frozenset[Path] = frozenset()) -> Iterator[Path]:
    """Yield the files below a folder in a stable order, without hidden ones.

    Links to folders are followed, but not in a circle.
    """
    above |= {folder.resolve()}
    for entry in sorted(folder.iterdir()):
        if not _is_visible(entry):
            continue
        if not entry.is_dir():
            yield entry
        elif not entry.is_symlink() or entry.resolve() not in above:
            yield from _walk(entry, above)


# -- reading ------------------------------------------------------------------------------------


def _read_folders(root: Path, options: CollectionOptions, labelled: bool) -> Collection:
    return _collect(root, Layout.FOLDERS, {None: root}, options, labelled)


def _read_kaggle(root: Path, options: CollectionOptions, labelled: bool) -> Collection:
    splits = {name: root / name for name in SPLITS if (root / name).is_dir()}
    return _collect(root, Layout.KAGGLE, dict(splits), options, labelled)


def _collect(
    root: Path,
    layout: Layout,
    parts: Mapping[str, Path] | Mapping[None, Path],
    options: CollectionOptions,
    labelled: bool,
) -> Collection:
    usual, origins = _name_source(root, layout), Origins()
    items: list[Item] = []
    skipped: list[Skipped] = []
    labels: dict[str, str] = {}
    if labelled:
        classes = {folder.name for part in parts.values() for folder in _list_classes(part)}
        labels = map_labels(sorted(classes), options.positive)
    for split, part in parts.items():
        above = frozenset({root.resolve(), part.resolve()})
        for place in _list_places(part, labelled):
            label = labels[place.name] if labelled else None
            for path in _walk(place, above) if place.is_dir() else (place,):
                if not _is_text(path):
                    name = str(path).encode(errors="backslashreplace").decode()
                    skipped.append(Skipped(name, f"{name}: the name is not UTF-8; rename the file"))
                    continue
                if not is_image_file(path):
                    skipped.append(Skipped(str(path), "not an image by its name", is_image=False))
                    continue
                source = "phantom" if origins.is_phantom(path) else usual
                items.append(_make_item(path, label, split, source))
    return Collection(root, layout, tuple(items), (), tuple(skipped))


def _make_item(path: Path, label: str | None, split: str | None, source: str) -> Item:
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


def _read_reorganized(root: Path, options: CollectionOptions, labelled: bool) -> Collection:
    found = read_table(root / MANIFEST_NAME, options, labelled)
    return Collection(root, Layout.REORGANIZED, *found)


def _read_manifest(root: Path, options: CollectionOptions, labelled: bool) -> Collection:
    return Collection(root, Layout.MANIFEST, *read_table(root, options, labelled))


def _read_npz(root: Path, options: CollectionOptions, labelled: bool) -> Collection:
    items, notes = list_rows(root, options.positive, labelled)
    return Collection(root, Layout.NPZ, items, notes)


_READERS = {
    Layout.KAGGLE: _read_kaggle,
    Layout.REORGANIZED: _read_reorganized,
    Layout.FOLDERS: _read_folders,
    Layout.MANIFEST: _read_manifest,
    Layout.NPZ: _read_npz,
}
