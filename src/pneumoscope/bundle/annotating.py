"""Writing a bundle's card anew, with what people state about the model."""

from __future__ import annotations

import os
from pathlib import Path

from pneumoscope.bundle.reading import Bundle, read_bundle
from pneumoscope.bundle.schema import (
    BLOCK_FOLDS,
    CARD,
    BlockFolds,
    BundleInfo,
    CardFacts,
    LicenceInfo,
)
from pneumoscope.bundle.writing import write_files


def annotate_bundle(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    facts: CardFacts | None = None,
    licence: LicenceInfo | None = None,
    folds: BlockFolds | None = None,
) -> Bundle:
    """Write the bundle with these statements to `out`, in place where None; return it opened.

    What is not given stays as it was. No probability changes; where ages are stated, people of
    others are referred.

    Raises
    ------
    BundleError
        The bundle is damaged, or `out` cannot be written.
    """
    bundle = read_bundle(source)
    info = bundle.info
    metrics = info.metrics | ({BLOCK_FOLDS: folds.model_dump(mode="json")} if folds else {})
    stated: BundleInfo = info.model_copy(
        update={
            "card": facts or info.card,
            "licence": licence or info.licence,
            "metrics": metrics,
        }
    )
    files: dict[str, bytes | Path] = {
        name: bundle.file(name) for name in info.files if name != CARD
    }
    return write_files(out or source, stated, files)
