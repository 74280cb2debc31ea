"""What a collection is made of: labelled images, what was left out, and how it lies on disk."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path, PurePath

from pneumoscope.errors import DataError

NORMAL, PNEUMONIA = "NORMAL", "PNEUMONIA"
LABELS = (NORMAL, PNEUMONIA)
SPLITS = ("train", "val", "test")
MANIFEST_NAME = "manifest.parquet"
PHANTOM_MARKER = "phantom.json"


class Layout(StrEnum):
    """How a collection lies on disk."""

    KAGGLE = "kaggle"
    """train/, val/ and test/ (some may be absent), each with one folder a class."""
    REORGANIZED = "reorganized"
    """What `pneumoscope data reorganize` writes: the same with a manifest beside it."""
    FOLDERS = "folders"
    """One folder a class."""
    MANIFEST = "manifest"
    """A CSV or Parquet table with a path and a label a row."""
    NPZ = "npz"
    """MedMNIST's arrays: train_images, train_labels, and so on."""


@dataclass(frozen=True)
class CollectionOptions:
    """What a person may say about a collection; the default is to find out."""

    layout: Layout | None = None
    positive: str | None = None
    label_column: str = "label"
    patient_column: str | None = None
    split_column: str | None = None


@dataclass(frozen=True)
class Item:
    """One image, mostly with its label."""

    ref: str
    """Absolute path, or `/abs/file.npz#train/17`."""
    label: str | None
    """NORMAL or PNEUMONIA; None where labels are not looked at."""
    split: str | None = None
    patient: str | None = None
    subtype: str = "none"
    source: str = ""
    fold: str | None = None


@dataclass(frozen=True)
class Skipped:
    """A file that was left out, and why."""

    path: str
    reason: str
    is_image: bool = True
    """Whether it was meant to be one, by its name or by a table."""


@dataclass(frozen=True)
class Collection:
    """Images in a stated order, with what should be said about them."""

    root: Path
    layout: Layout
    items: tuple[Item, ...]
    notes: tuple[str, ...] = ()
    skipped: tuple[Skipped, ...] = field(default=())


class Origins:
    """Tells which images are phantoms: those in or below a folder that carries their marker."""

    def __init__(self) -> None:
        self._known: dict[PurePath, bool] = {}

    def is_phantom(self, file: str | Path) -> bool:
        """Whether a marker lies beside the image's class folder, or beside its split.

        Where the image, or a folder above it, is a link, its own place counts as well.
        """
        file = Path(file)
        if self._is_marked(file.parent):
            return True
        return file.is_symlink() and self._is_marked(file.resolve().parent)

    def _is_marked(self, folder: Path) -> bool:
        if folder not in self._known:
            real = folder.resolve()
            around = {folder, *folder.parents[:2], real, *real.parents[:2]}
            self._known[folder] = any((place / PHANTOM_MARKER).is_file() for place in around)
        return self._known[folder]


def map_labels(names: list[str], positive: str | None) -> dict[str, str]:
    """Return class name → NORMAL or PNEUMONIA.

    Raises
    ------
    DataError
        The names are not known and none is said to be the positive one.
    """
    if positive is not None:
        chosen = [name for name in names if name.lower() == positive.lower()]
        if not chosen:
            raise DataError(f"There is no class {positive!r}: found {', '.join(names)}.")
        if len({name.lower() for name in names}) > 2:
            raise DataError(f"Two classes are needed, found {len(names)}: {', '.join(names)}.")
        return {name: PNEUMONIA if name in chosen else NORMAL for name in names}
    known = {"normal": NORMAL, "0": NORMAL, "0.0": NORMAL, "false": NORMAL, "healthy": NORMAL}
    known |= {"pneumonia": PNEUMONIA, "1": PNEUMONIA, "1.0": PNEUMONIA, "true": PNEUMONIA}
    unknown = [name for name in names if name.lower() not in known]
    if unknown:
        raise DataError(
            f"The classes are {', '.join(names)}: say with --positive which one is the disease, "
            "or name them NORMAL and PNEUMONIA."
        )
    return {name: known[name.lower()] for name in names}
