"""Subgroups: the same numbers for each kind of image, small groups with all their width."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pneumoscope.evaluation.arrays import Groups, Labels, Scores
from pneumoscope.evaluation.metrics import Metrics, compute_metrics

UNKNOWN = "unknown"
#: Numbers of a subgroup.
NUMBERS = ("recall", "specificity", "auc")
#: A column of numbers with so few values is one of categories, such as 0 and 1.
_FEW = 5


@dataclass(frozen=True)
class Subgroup:
    """The numbers of one group."""

    name: str
    metrics: Metrics
    borrowed_normals: bool
    """Whether the NORMAL images are those of all: the group is one of pneumonias."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as they stand in `metrics.json`."""
        tree = self.metrics.to_dict()
        names = [name for name in NUMBERS if not (self.borrowed_normals and name == "specificity")]
        return {
            "name": self.name,
            "n": self.metrics.positives if self.borrowed_normals else self.metrics.n,
            "positives": self.metrics.positives,
            "negatives": 0 if self.borrowed_normals else self.metrics.negatives,
            "fn": self.metrics.fn,
            "fp": None if self.borrowed_normals else self.metrics.fp,
            **{name: tree[name] for name in names},
            "intervals": {name: pair for name, pair in tree["intervals"].items() if name in names},
        }


def cut_values(values: Sequence[object], bins: Sequence[float] | None = None) -> list[str]:
    """Return the name of each image's group, in a word that people read.

    Text stands for itself. Numbers are cut at `bins`, by default at their tertiles rounded to
    where people can read them; of up to five different ones each is a group. What is empty is
    `unknown`.
    """
    texts = ["" if value is None else str(value).strip() for value in values]
    texts = ["" if text.lower() == "nan" else text for text in texts]
    numbers = _parse_numbers(texts)
    if numbers is None:
        return [text or UNKNOWN for text in texts]
    known = numbers[~np.isnan(numbers)]
    if bins is None and len(np.unique(known)) <= _FEW:
        return [UNKNOWN if np.isnan(number) else f"{number:g}" for number in numbers]
    edges = _find_tertiles(known) if bins is None else np.unique(np.asarray(bins, np.float64))
    said = [f"{edge:,.12g}" if abs(edge) >= 10_000 else f"{edge:.12g}" for edge in edges]
    names = [f"≤ {said[0]}", *(f"> {a} to {b}" for a, b in itertools.pairwise(said))]
    names.append(f"> {said[-1]}")
    places = np.searchsorted(edges, numbers, "left")
    return [
        UNKNOWN if np.isnan(number) else names[place]
        for number, place in zip(numbers, places, strict=True)
    ]


def _find_tertiles(known: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the tertiles with as few digits as move none by more than 1 % of the range."""
    edges = np.unique(np.quantile(known, [1 / 3, 2 / 3]))
    if (known == np.floor(known)).all():
        edges = np.unique(np.floor(edges))  # which cuts whole numbers in the same place
    most = np.ptp(known) / 100
    for digits in range(2, 17):
        rounded = np.array([float(f"{edge:.{digits}g}") for edge in edges])
        if len(np.unique(rounded)) == len(edges) and np.abs(rounded - edges).max() <= most:
            return rounded
    return edges


def _parse_numbers(texts: list[str]) -> NDArray[np.float64] | None:
    """Return the numbers, NaN where empty; None where one is no number, or all are empty."""
    try:
        numbers = np.array([float(text) if text else np.nan for text in texts])
    except ValueError:
        return None
    numbers[~np.isfinite(numbers)] = np.nan
    return None if np.isnan(numbers).all() else numbers


def order_groups(names: Sequence[str]) -> list[str]:
    """Return the groups as they are shown: ranges by size, else by name, `unknown` last."""

    def key(name: str) -> tuple[bool, bool, float, str]:
        first = name.removeprefix("≤ ").removeprefix("> ").split(" ")[0]
        try:
            return name == UNKNOWN, name.startswith(">"), float(first.replace(",", "")), name
        except ValueError:
            return name == UNKNOWN, False, 0.0, name

    return sorted(set(names), key=key)


def judge_subgroups(
    labels: Labels,
    probabilities: Scores,
    threshold: float,
    names: Sequence[str],
    groups: Groups = None,
    *,
    kinds_of_pneumonia: bool = False,
) -> list[Subgroup]:
    """Return the numbers of each group, at one threshold for all.

    Parameters
    ----------
    labels
        int [N], 0 (NORMAL) or 1 (PNEUMONIA).
    probabilities
        float [N], 0..1.
    names
        Group of each image, as `cut_values` gives them.
    groups
        Patient of each image, None where unknown.
    kinds_of_pneumonia
        Whether groups are kinds of pneumonia, of which a NORMAL image has none: the NORMAL images
        are then the same for all, and a specificity of the group has no meaning.
    """
    member = np.array(names, dtype=np.str_)
    normal = labels == 0
    found = []
    for name in order_groups(member[~normal].tolist() if kinds_of_pneumonia else list(names)):
        rows = member == name
        if kinds_of_pneumonia:
            rows = (rows & ~normal) | normal
        patients = (
            None if groups is None else [groups[row] for row in np.flatnonzero(rows).tolist()]
        )
        metrics = compute_metrics(labels[rows], probabilities[rows], threshold, patients)
        found.append(Subgroup(name, metrics, kinds_of_pneumonia))
    return found
