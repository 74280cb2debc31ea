"""Does a model look at the lungs? Answers without them, heat-maps over them, maps without weights.

pneumoscope evaluate bundled DATA --attention --out evaluation/
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pneumoscope._files import write_atomically
from pneumoscope.datasets import read_labels
from pneumoscope.errors import DataError
from pneumoscope.evaluation.arrays import Labels
from pneumoscope.evidence.attention.figures import (
    draw_examples,
    plot_conditions,
    plot_influence,
    plot_randomisation,
)
from pneumoscope.evidence.attention.influence import (
    KINDS,
    measure_influence,
    measure_localisation,
    read_lesion,
)
from pneumoscope.evidence.attention.lungs import outline_lungs
from pneumoscope.evidence.attention.masking import measure_masking
from pneumoscope.evidence.attention.randomisation import measure_randomisation
from pneumoscope.runtime import Predictor

Progress = Callable[[int, int], None]
SCHEMA = 1
#: Fewer usable images of a class than this tell nothing.
_FEWEST = 5
_EXAMPLES_OF_A_KIND = 2
#: A rank correlation with the original from which a map under random weights is much the same.
_ALIKE = 0.5


@dataclass(frozen=True)
class AttentionOptions:
    """How much is asked: every image is answered seven times, and the network started anew."""

    most: int = 500
    """Images at most; drawn at random from more."""
    randomised: int = 40
    """Images whose maps are followed while the weights are randomised."""
    draws: int = 2
    """Times that the weights are randomised."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.most < 2 * _FEWEST:
            raise DataError(
                f"To see where a model looks takes at least {2 * _FEWEST} images, asked are "
                f"{self.most}: leave out --attention-images, or name more."
            )
        if self.randomised < 2 or self.draws < 1:
            raise DataError(
                "To see what maps owe to the weights takes at least 2 images and one draw; found "
                f"{self.randomised} and {self.draws}."
            )


@dataclass(frozen=True)
class Attention:
    """What was found, and the figures that show it."""

    tree: dict[str, Any]
    """As in `attention.json`."""
    summary: tuple[str, ...]
    """The same in sentences, the most telling first."""
    figures: dict[str, Path]
    """Title → PNG."""


def measure_attention(
    predictor: Predictor,
    frame: pl.DataFrame,
    squares: NDArray[np.uint8],
    out: Path,
    options: AttentionOptions | None = None,
    *,
    engine: str = "openvino",
    progress: Progress | None = None,
) -> Attention:
    """Measure, write `attention.json` and the figures below `out`, and return both.

    Parameters
    ----------
    frame
        path, label and patient of each image.
    squares
        The same images, resampled, uint8 [N, size, size].
    engine
        For the network under random weights.
    """
    options = options or AttentionOptions()
    rows = _draw_rows(len(squares), options)
    found = outline_lungs(squares[rows], progress)
    kept = np.flatnonzero(found.usable)
    shown = _Shown(frame[rows][kept], squares[rows][kept], found.masks[kept])
    tree: dict[str, Any] = {
        "schema": SCHEMA,
        "note": "research use, not a diagnosis",
        "images": len(rows),
        "used": {"NORMAL": int((shown.labels == 0).sum()), "PNEUMONIA": int(shown.labels.sum())},
        "masks_not_used": dict(Counter(fault.value for fault in found.faults if fault is not None)),
        "masking": None,
        "influence": None,
        "randomisation": None,
        "lesions": None,
    }
    figures: dict[str, Path] = {}
    if min(tree["used"].values()) >= _FEWEST:
        answers = _answer(predictor, shown)
        tree |= _measure_masks(predictor, shown, answers, options, progress)
        tree["randomisation"] = measure_randomisation(
            predictor.bundle,
            _draw_evenly(shown, options),
            engine=engine,
            precision=predictor.precision,
            draws=options.draws,
            seed=options.seed,
            progress=progress,
        )
        figures = _draw_figures(tree, shown, answers, out / "figures")
    write_atomically(out / "attention.json", json.dumps(tree, indent=2) + "\n")
    return Attention(tree, tuple(describe_attention(tree)), figures)


@dataclass(frozen=True)
class _Shown:
    """Images whose lungs were found."""

    frame: pl.DataFrame
    squares: NDArray[np.uint8]
    masks: NDArray[np.bool_]

    @property
    def labels(self) -> Labels:
        return read_labels(self.frame)


@dataclass(frozen=True)
class _Answers:
    """What the model makes of them as they are."""

    maps: NDArray[np.float32]
    probabilities: NDArray[np.float64]
    called: NDArray[np.bool_]


def _answer(predictor: Predictor, shown: _Shown) -> _Answers:
    outputs = predictor.predict_pixels(shown.squares)
    probabilities = predictor.calibrate(outputs.logits)
    threshold = predictor.operating_points["balanced"].threshold
    return _Answers(outputs.activation_maps, probabilities, probabilities >= threshold)


def _measure_masks(
    predictor: Predictor,
    shown: _Shown,
    answers: _Answers,
    options: AttentionOptions,
    progress: Progress | None,
) -> dict[str, Any]:
    """Return all that needs masks: of lungs, and of lesions where they are known."""
    patients, seed = shown.frame["patient"].to_list(), options.seed
    found: dict[str, Any] = {
        "masking": measure_masking(
            predictor, shown.squares, shown.labels, shown.masks, patients,
            seed=seed, progress=progress,
        ),
        "influence": measure_influence(
            answers.maps, shown.masks, shown.labels, answers.called, patients, seed=seed
        ),
    }  # fmt: skip
    size = shown.masks.shape[-1]
    lesions = [read_lesion(path, size) for path in shown.frame["path"]]
    known = [row for row, lesion in enumerate(lesions) if lesion is not None]
    if known:
        masks = np.stack([lesion for lesion in lesions if lesion is not None])
        found["lesions"] = measure_localisation(answers.maps[known], masks)
    return found


def _draw_figures(
    tree: dict[str, Any], shown: _Shown, answers: _Answers, folder: Path
) -> dict[str, Path]:
    examples = _choose_examples(shown.labels, answers)
    return {
        "Answers without the lungs, and without all but the lungs": plot_conditions(
            tree["masking"], folder
        ),
        "Influence inside the lungs": plot_influence(tree["influence"], folder),
        "Heat-maps while the weights are randomised": plot_randomisation(
            tree["randomisation"], folder
        ),
        "What the model was shown": draw_examples(
            examples, shown.squares, shown.masks, answers.maps, answers.probabilities, folder
        ),
    }


def describe_attention(tree: dict[str, Any]) -> list[str]:
    """Return sentences on what was found."""
    used = sum(tree["used"].values())
    masks = f"Lung masks of {used} of {tree['images']} images are used"
    if tree["masking"] is None:
        return [f"{masks}: at least {_FEWEST} of each class are needed to say anything."]
    conditions = tree["masking"]["conditions"]
    said = [
        f"AUC {_say(conditions['whole'])} on whole images, {_say(conditions['lungs_removed'])} "
        f"without the lungs, {_say(conditions['chest_removed'])} without the lungs and all between "
        f"them, {_say(conditions['only_lungs'])} with nothing but the lungs.",
        f"{masks}; the rest had no outline in the shape of lungs and is left out of this part.",
    ]
    outside = conditions["chest_removed"]["intervals"].get("auc")
    if outside and outside[0] > 0.5:
        said.append(
            "The model ranks these images better than chance without seeing a lung: part of its "
            "answer comes from elsewhere."
        )
    ill = tree["influence"]["PNEUMONIA"]
    if ill["inside"] is not None:
        said.append(
            f"On pneumonias {ill['inside']:.0%} of the heat-map's influence lies inside the lungs, "
            f"which cover {ill['area']:.0%} of the image: {ill['times_area']:.2f} times chance; "
            f"the mean map of all images would give {ill['mean_map']:.0%}."
        )
    said.append(_describe_randomisation(tree["randomisation"]))
    if tree["lesions"] is not None:
        lesions = tree["lesions"]
        said.append(
            f"The heat-map's maximum hits the lesion in {lesions['hit']:.0%} of {lesions['n']} "
            f"phantoms, {lesions['times_chance']:.1f} times chance."
        )
    return said


def _describe_randomisation(found: dict[str, Any]) -> str:
    means = [found["stages"][place]["spearman"]["mean"] for place in (0, -1)]
    means.append(found["another_image"]["spearman"]["mean"])
    first, last, strangers = (round(mean, 2) + 0.0 for mean in means)  # no minus before a zero
    verdict = (
        "they change with the model"
        if last < _ALIKE
        else "they hardly change with the model, and explain it little"
    )
    return (
        f"Heat-maps correlate {first:+.2f} with the original ones once the head is random, and "
        f"{last:+.2f} once all layers are; those of different images correlate {strangers:+.2f}: "
        f"{verdict}."
    )


def _say(condition: dict[str, Any]) -> str:
    interval = condition["intervals"].get("auc")
    value = "–" if condition["auc"] is None else f"{condition['auc']:.3f}"
    return f"{value} ({interval[0]:.3f}–{interval[1]:.3f})" if interval else value


def _draw_rows(count: int, options: AttentionOptions) -> NDArray[np.int64]:
    if count <= options.most:
        return np.arange(count)
    generator = np.random.default_rng(options.seed)
    return np.sort(generator.choice(count, options.most, replace=False))


def _draw_evenly(shown: _Shown, options: AttentionOptions) -> NDArray[np.uint8]:
    """Return images of both classes, as many of each where there are enough."""
    generator = np.random.default_rng(options.seed)
    rows = [
        generator.permutation(np.flatnonzero(shown.labels == value))[: options.randomised // 2]
        for value in (0, 1)
    ]
    return np.asarray(shown.squares[generator.permutation(np.concatenate(rows))])


def _choose_examples(labels: Labels, answers: _Answers) -> list[tuple[str, int]]:
    """Return kind and row of the surest answers of each kind, errors first."""
    ill, called = labels == 1, answers.called
    rows_of = (ill & ~called, ~ill & called, ill & called, ~ill & ~called)
    chosen = []
    for kind, rows in zip(KINDS, rows_of, strict=True):
        places = np.flatnonzero(rows)
        order = np.argsort(np.abs(answers.probabilities[places] - 0.5))[::-1]
        chosen += [(kind, int(row)) for row in places[order][:_EXAMPLES_OF_A_KIND]]
    return chosen
