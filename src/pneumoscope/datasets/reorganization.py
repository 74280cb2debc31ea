"""Reorganising: any collection becomes DST/{train,val,test}/{NORMAL,PNEUMONIA} and a manifest."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import polars as pl
from PIL import Image

from pneumoscope._files import (
    build_folder,
    find_cache_folder,
    hash_bytes,
    hash_file,
    write_atomically,
)
from pneumoscope.datasets.arrays import read_radiograph, split_ref
from pneumoscope.datasets.collection import open_collection
from pneumoscope.datasets.dealing import Grouping, name_images
from pneumoscope.datasets.items import (
    LABELS,
    MANIFEST_NAME,
    PHANTOM_MARKER,
    SPLITS,
    CollectionOptions,
    Skipped,
)
from pneumoscope.datasets.leakage import describe_leak
from pneumoscope.datasets.manifest import Manifest, build_manifest, write_manifest
from pneumoscope.datasets.splits import (
    Ratios,
    assign_splits,
    check_splits,
    count_images,
    describe_replaced,
    describe_sites,
    take_part,
)
from pneumoscope.errors import DataError

DESTINATION = Path("data/chest_xray_reorganized")
_SETTINGS = "reorganization.json"


class LinkMode(StrEnum):
    """How a file comes to its new place."""

    HARD = "hard"
    """A hard link: no space, and the source may go. Falls back to a copy across disks."""
    SYM = "sym"
    """A symbolic link: no space, but the source must stay."""
    COPY = "copy"


@dataclass(frozen=True)
class ReorganizeResult:
    """What was made, and what should be said."""

    destination: Path
    counts: dict[str, dict[str, int]]
    notes: tuple[str, ...]
    excluded: tuple[Skipped, ...] = field(default=())
    changed: bool = True
    """False where the same was there already."""


def reorganize(
    source: str | Path,
    destination: str | Path = DESTINATION,
    *,
    options: CollectionOptions | None = None,
    ratios: Ratios = (80, 10, 10),
    grouping: Grouping = Grouping.PATIENT,
    seed: int = 0,
    link: LinkMode = LinkMode.HARD,
    limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ReorganizeResult:
    """Split a collection anew and lay it out as folders; the source is left as it is.

    The folder appears when all is in it; an interrupted run leaves none. Running it twice changes
    nothing; other settings need another folder.

    `limit` takes a part of about so many images: whole patients, drawn by the seed, both classes in
    their shares.

    Raises
    ------
    DataError
        The destination holds something else, lies within the source or has no room, or the data
        make no split.
    """
    destination = Path(destination).resolve()
    _check_places(Path(source), destination)
    collection = open_collection(source, options)
    manifest = build_manifest(collection, progress=progress)
    kept = manifest.frame if limit is None else take_part(manifest.frame, limit, seed)
    frame = assign_splits(kept, ratios=ratios, grouping=grouping, seed=seed)
    check_splits(frame, ratios)
    frame = frame.with_columns(_name_targets(frame).alias("target")).sort("target")
    settings = _describe(frame, ratios, grouping, seed, link)
    notes = [*collection.notes, *manifest.notes, *describe_replaced(manifest.frame)]
    if kept.height < manifest.frame.height:
        notes.append(f"A part is taken: {kept.height} of {manifest.frame.height} images.")
    if grouping is Grouping.IMAGE:
        notes.append(describe_leak(frame))
    if grouping is Grouping.SITE:
        notes += describe_sites(frame)
    counts = count_images(frame)
    excluded = (*collection.skipped, *manifest.excluded)
    if destination.exists() and any(destination.iterdir()):
        _check_same(destination, settings, frame)
        notes.append(f"{destination} is as it should be: nothing was changed.")
        return ReorganizeResult(destination, counts, tuple(notes), excluded, changed=False)
    notes += _build(frame, destination, settings, link, collection.root, manifest)
    return ReorganizeResult(destination, counts, tuple(notes), excluded)


def _check_places(source: Path, destination: Path) -> None:
    inside = source.is_dir() and destination.is_relative_to(source.resolve())
    if inside:
        raise DataError(
            f"{destination} lies within {source}, which would then hold every image twice: "
            "choose a destination outside."
        )
    if destination.exists() and not destination.is_dir():
        raise DataError(f"{destination} is a file: choose a folder.")


def _name_targets(frame: pl.DataFrame) -> pl.Series:
    """Return where each image goes: split/label/name; equal names get a mark of the content."""
    names = [_name_file(ref) for ref in frame["path"]]
    keys = list(zip(frame["split"], frame["label"], names, strict=True))
    taken = Counter((split, label, name.casefold()) for split, label, name in keys)
    targets = []
    for (split, label, name), content in zip(keys, name_images(frame), strict=True):
        if taken[split, label, name.casefold()] > 1:
            sha256, _, rank = content.partition("-")  # the rank tells equal files apart
            name = f"{Path(name).stem}-{sha256[:12]}-{rank}{Path(name).suffix}"
        targets.append(f"{split}/{label}/{name}")
    return pl.Series(targets, dtype=pl.String)


def _name_file(ref: str) -> str:
    file, row = split_ref(ref)
    return f"{Path(file).stem}-{row.replace('/', '-')}.png" if row else Path(file).name


def _describe(
    frame: pl.DataFrame, ratios: Ratios, grouping: Grouping, seed: int, link: LinkMode
) -> dict[str, Any]:
    content = hash_bytes("\n".join([*frame["target"], *frame["sha256"]]).encode())
    return {
        "ratios": list(ratios),
        "grouping": grouping.value,
        "seed": seed,
        "link": link.value,
        "images": frame.height,
        "content": content,
    }


def _check_same(destination: Path, settings: dict[str, Any], frame: pl.DataFrame) -> None:
    """Accept a folder that holds exactly this; refuse any other."""
    try:
        found = json.loads((destination / f".{_SETTINGS}").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if found != settings:
        what = "was made with other settings or images" if found else "holds something else"
        raise DataError(f"{destination} {what}: remove it, or choose another folder.")
    missing = [t for t in frame["target"] if not (destination / t).exists()]
    if missing or not (destination / MANIFEST_NAME).is_file():
        raise DataError(
            f"{destination} has lost {len(missing)} files, such as "
            f"{(missing or [MANIFEST_NAME])[0]}: remove it and run again."
        )


def _build(
    frame: pl.DataFrame,
    destination: Path,
    settings: dict[str, Any],
    link: LinkMode,
    root: Path,
    manifest: Manifest,
) -> list[str]:
    """Lay everything out beside the destination, then move it there at once."""
    notes: list[str] = []
    if link is LinkMode.SYM and root.resolve().is_relative_to(find_cache_folder().resolve()):
        link = LinkMode.HARD
        notes.append(
            "Hard links are made: the archive is unpacked in the cache, which comes and goes."
        )
    try:
        with build_folder(destination) as staging:
            for split in SPLITS:
                for label in LABELS:
                    (staging / split / label).mkdir(parents=True)
            copied = sum(
                _place(ref, staging / target, link)
                for ref, target in frame.select("path", "target").iter_rows()
            )
            if copied and link is LinkMode.HARD:
                notes.append(f"{copied} files were copied: they lie on another disk, or in arrays.")
            if "phantom" in frame["source"].to_list() and (root / PHANTOM_MARKER).is_file():
                shutil.copyfile(root / PHANTOM_MARKER, staging / PHANTOM_MARKER)
            write_manifest(_describe_placed(frame, staging), staging / MANIFEST_NAME)
            write_atomically(staging / f".{_SETTINGS}", json.dumps(settings))
    except OSError as error:
        raise DataError(f"{destination} cannot be made: {error.strerror or error}.") from error
    return notes


def _place(ref: str, target: Path, link: LinkMode) -> int:
    """Bring one image to its place; return 1 where it had to be copied."""
    file, row = split_ref(ref)
    if row is not None:
        Image.fromarray(read_radiograph(ref).pixels).save(target)
        return 1
    if link is LinkMode.SYM:
        target.symlink_to(Path(file).resolve())
        return 0
    if link is LinkMode.HARD:
        try:
            os.link(Path(file).resolve(), target)
            return 0
        except OSError as error:
            if error.errno not in {
                errno.EXDEV,
                errno.EPERM,
                errno.EMLINK,
                errno.EACCES,
                errno.ENOTSUP,
            }:
                raise
    shutil.copyfile(file, target)
    return 1


def _describe_placed(frame: pl.DataFrame, folder: Path) -> pl.DataFrame:
    """Return the manifest of what lies in `folder`; rows of arrays are files of their own now."""
    hashes = [
        sha256 if split_ref(ref)[1] is None else hash_file(folder / target)
        for ref, sha256, target in frame.select("path", "sha256", "target").iter_rows()
    ]
    return frame.with_columns(
        pl.Series("path", [str(folder / target) for target in frame["target"]]),
        pl.Series("sha256", hashes),
    ).drop("target")
