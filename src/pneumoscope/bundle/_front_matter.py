"""The front matter of a model card, as the Hugging Face hub reads it.

https://huggingface.co/docs/hub/model-cards: licence, library, tags, and results as `model-index`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pneumoscope.bundle._markdown import flatten, write_yaml
from pneumoscope.bundle.schema import BundleInfo, DatasetFacts, FoldNumber

_TAGS = ["chest-x-ray", "pneumonia", "resnet50", "medical-imaging", "research-use-only"]

# Identifiers of the hub, among those that weights and data carry: SPDX's in lower case.
_HUB_LICENCES = {
    "apache-2.0", "bsd-2-clause", "bsd-3-clause", "cc-by-4.0", "cc-by-nc-4.0", "cc-by-nc-nd-4.0",
    "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-sa-4.0", "cc0-1.0", "mit", "mpl-2.0", "unlicense",
}  # fmt: skip

#: What the hub calls a number, and what we do, in block folds and in the metrics of a stage.
_HUB_METRICS: dict[FoldNumber, tuple[str, str, str]] = {
    "auc": ("roc_auc", "AUC", "auc"),
    "sensitivity": ("recall", "sensitivity", "recall"),
    "specificity": ("specificity", "specificity", "specificity"),
    "accuracy": ("accuracy", "accuracy", "accuracy"),
}


def write_front_matter(info: BundleInfo) -> str:
    """Return the lines between the dashes, dashes included."""
    tree: dict[str, Any] = {
        "library_name": "pneumoscope",
        "pipeline_tag": "image-classification",
        **_name_licence(info),
        "tags": [*_TAGS, *(["synthetic-data"] if info.data.phantom else [])],
        "model_name": info.name,
    }
    results = _list_results(info)
    if results:
        tree["model-index"] = [{"name": info.name, "results": results}]
    return f"---\n{write_yaml(tree)}\n---"


def _name_licence(info: BundleInfo) -> dict[str, str]:
    # Where nobody has said, none is claimed: it depends on the data, which we cannot judge.
    if info.licence is None:
        return {"license": "other", "license_name": "not-stated"}
    name = info.licence.name.lower()
    return (
        {"license": name} if name in _HUB_LICENCES else {"license": "other", "license_name": name}
    )


def _list_results(info: BundleInfo) -> list[dict[str, Any]]:
    """Return results of a named collection; without a name, the hub has no place for them."""
    dataset = info.card.dataset if info.card else None
    if dataset is None or info.data.contaminated:
        return []
    results = []
    folds = info.read_block_folds()
    if folds:
        n = len(folds.folds)
        split = f"mean of {n} folds of acquisition blocks" if n > 1 else "acquisition blocks"
        results += _write_result(dataset, split, folds.mean)
    stage = info.metrics.get(str(info.training.get("final")))
    test = stage.get("test") if isinstance(stage, Mapping) else None
    if isinstance(test, Mapping):
        found: dict[FoldNumber, Any] = {
            key: test.get(name) for key, (_, _, name) in _HUB_METRICS.items()
        }
        results += _write_result(dataset, "test", found)
    return results


def _write_result(
    dataset: DatasetFacts, split: str, numbers: Mapping[FoldNumber, Any]
) -> list[dict[str, Any]]:
    metrics = [
        {"type": kind, "name": name, "value": round(numbers[key], 4)}
        for key, (kind, name, _) in _HUB_METRICS.items()
        if isinstance(numbers.get(key), float)
    ]
    if not metrics:
        return []
    return [
        {
            "task": {"type": "image-classification"},
            "dataset": {"type": dataset.id, "name": flatten(dataset.name), "split": split},
            "metrics": metrics,
        }
    ]
