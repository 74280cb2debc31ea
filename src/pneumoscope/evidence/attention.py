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
from PIL import Image

from pneumoscope._files import write_atomically
from pneumoscope.datasets.phantom import MASKS
from pneumoscope.evaluation.metrics import Labels
from pneumoscope.evidence.attention_figures import (
    draw_examples,
    plot_conditions,
    plot_influence,
    plot_randomisation,
)
from pneumoscope.evidence.influence import KINDS, measure_influence, measure_localisation
from pneumoscope.evidence.lungs import clean_mask, find_lungs, judge_mask
from pneumoscope.evidence.masking import enlarge_mask, measure_masking
from pneumoscope.evidence.randomisation import measure_randomisation
from pneumoscope.runtime import Predictor

Progress = Callable[[int, int], None]
SCHEMA = 1
#: Fewer usable images of a class than this tell nothing.
_FEWEST = 5
_EXAMPLES_OF_A_KIND = 2


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


@dataclass(frozen=True)
class Attention:
    """What was found, and the figures that show it."""

    tree: dict[str, Any]
    """As in `attention.json`."""
    summary: tuple[str, ...]
    """The same in sentences, the most telling first."""
    figures: dict[str, Path]
    """Title → PNG."""


@dataclass(frozen=True)
class LungMasks:
    """Masks of images, and which of them may be used."""

    masks: NDArray[np.bool_]
    """bool [N, size, size]."""
    reasons: tuple[str | None, ...]
    """Why the mask of an image is not used; None where it is."""

    @property
    def usable(self) -> NDArray[np.bool_]:
        """bool [N]."""
        return np.array([reason is None for reason in self.reasons], bool)


def outline_lungs(squares: NDArray[np.uint8], progress: Progress | None = None) -> LungMasks:
    """Return the lungs of resampled radiographs, uint8 [N, size, size], each mask judged."""
    masks, reasons = [], []
    for start in range(0, len(squares), 64):
        for probabilities in find_lungs(squares[start : start + 64]):
            mask = clean_mask(probabilities)
            reasons.append(judge_mask(mask, probabilities))
            masks.append(enlarge_mask(mask, squares.shape[-1]))
        if progress:
            progress(len(masks), len(squares))
    return LungMasks(np.stack(masks), tuple(reasons))


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
    """
    options = options or AttentionOptions()
    rows = _draw_rows(len(squares), options)
    found = outline_lungs(squares[rows], progress)
    kept = np.flatnonzero(found.usable)
    frame, squares, masks = frame[rows][kept], squares[rows][kept], found.masks[kept]
    labels: Labels = (frame["label"] == "PNEUMONIA").to_numpy().astype(np.int64)
    tree: dict[str, Any] = {
        "schema": SCHEMA,
        "research_use": "not a diagnosis",
        "images": len(rows),
        "used": len(kept),
        "masks_not_used": dict(Counter(_name_reason(r) for r in found.reasons if r is not None)),
        "used_normal": int((labels == 0).sum()),
        "used_pneumonia": int((labels == 1).sum()),
        "masking": None,
        "influence": None,
        "randomisation": None,
        "lesions": None,
    }
    figures: dict[str, Path] = {}
    if min(tree["used_normal"], tree["used_pneumonia"]) >= _FEWEST:
        figures = _measure_all(
            tree, predictor, frame, squares, masks, labels, out, options, engine, progress
        )
    write_atomically(out / "attention.json", json.dumps(tree, indent=2) + "\n")
    return Attention(tree, tuple(describe_attention(tree)), figures)


def _measure_all(
    tree: dict[str, Any],
    predictor: Predictor,
    frame: pl.DataFrame,
    squares: NDArray[np.uint8],
    masks: NDArray[np.bool_],
    labels: Labels,
    out: Path,
    options: AttentionOptions,
    engine: str,
    progress: Progress | None,
) -> dict[str, Path]:
    """Fill the tree and draw the figures."""
    patients = frame["patient"].to_list()
    outputs = predictor.predict_pixels(squares)
    probabilities = predictor.calibrate(outputs.logits)
    called = probabilities >= predictor.operating_points["balanced"].threshold
    tree["masking"] = measure_masking(
        predictor, squares, labels, masks, patients, seed=options.seed, progress=progress
    )
    tree["influence"] = measure_influence(
        outputs.activation_maps, masks, labels, called, patients, seed=options.seed
    )
    tree["randomisation"] = measure_randomisation(
        predictor.bundle,
        _draw_evenly(squares, labels, options),
        engine=engine,
        precision=predictor.precision,
        draws=options.draws,
        seed=options.seed,
        progress=progress,
    )
    lesions = {
        i: m
        for i, p in enumerate(frame["path"])
        if (m := read_lesion(p, masks.shape[-1])) is not None
    }
    if lesions:
        chosen = list(lesions)
        tree["lesions"] = measure_localisation(
            outputs.activation_maps[chosen], np.stack([lesions[i] for i in chosen])
        )
    folder = out / "figures"
    examples = _choose_examples(labels, called, probabilities)
    return {
        "Answers without the lungs, and without all but the lungs": plot_conditions(
            tree["masking"], folder
        ),
        "Influence inside the lungs": plot_influence(tree["influence"], folder),
        "Heat-maps while the weights are randomised": plot_randomisation(
            tree["randomisation"], folder
        ),
        "What the model was shown": draw_examples(
            examples, squares, masks, outputs.activation_maps, probabilities, folder
        ),
    }


def read_lesion(path: str, size: int) -> NDArray[np.bool_] | None:
    """Return where a phantom's lesion is, bool [size, size]; None where none is known."""
    file = Path(path)
    mask = file.parent.parent / MASKS / f"{file.stem}.png"
    if not mask.is_file():
        return None
    with Image.open(mask) as image:
        grey = image.convert("L").resize((size, size), Image.Resampling.BOX)
    found = np.asarray(grey) > 127
    return found if found.any() else None


def describe_attention(tree: dict[str, Any]) -> list[str]:
    """Return sentences on what was found."""
    left_out = tree["images"] - tree["used"]
    said = [
        f"Lung masks were found for {tree['used']} of {tree['images']} images; the others are "
        "left out of this part."
        if left_out
        else f"Lung masks were found for all {tree['used']} images."
    ]
    if tree["masking"] is None:
        return [
            f"{said[0]} At least {_FEWEST} of each class are needed to say where the model looks."
        ]
    conditions = tree["masking"]["conditions"]
    said.insert(
        0,
        f"AUC {_say(conditions['whole'])} on whole images, {_say(conditions['lungs_removed'])} "
        f"without the lungs, {_say(conditions['chest_removed'])} without the lungs and all between "
        f"them, {_say(conditions['only_lungs'])} with nothing but the lungs.",
    )
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
            f"which cover {ill['area']:.0%} of the image: {ill['times_area']:.2f} times chance."
        )
    last = tree["randomisation"]["stages"][-1]["spearman"]["mean"]
    first = tree["randomisation"]["stages"][0]["spearman"]["mean"]
    said.append(
        f"Heat-maps depend on the weights: with a random head they correlate {first:+.2f} with the "
        f"original ones, with all layers random {last:+.2f}."
    )
    if tree["lesions"] is not None:
        lesions = tree["lesions"]
        said.append(
            f"The heat-map's maximum hits the lesion in {lesions['hit']:.0%} of {lesions['n']} "
            f"phantoms, {lesions['times_chance']:.1f} times chance."
        )
    return said


def _say(condition: dict[str, Any]) -> str:
    interval = condition["intervals"].get("auc")
    value = "–" if condition["auc"] is None else f"{condition['auc']:.3f}"
    return f"{value} ({interval[0]:.3f}–{interval[1]:.3f})" if interval else value


def _draw_rows(count: int, options: AttentionOptions) -> NDArray[np.int64]:
    if count <= options.most:
        return np.arange(count)
    generator = np.random.default_rng(options.seed)
    return np.sort(generator.choice(count, options.most, replace=False))


def _draw_evenly(
    squares: NDArray[np.uint8], labels: Labels, options: AttentionOptions
) -> NDArray[np.uint8]:
    """Return images of both classes, as many of each where there are enough."""
    generator = np.random.default_rng(options.seed)
    rows = [
        generator.permutation(np.flatnonzero(labels == value))[: options.randomised // 2]
        for value in (0, 1)
    ]
    return np.asarray(squares[generator.permutation(np.concatenate(rows))])


def _choose_examples(
    labels: Labels, called: NDArray[np.bool_], probabilities: NDArray[np.float64]
) -> list[tuple[str, int]]:
    """Return kind and row of the surest answers of each kind, errors included."""
    ill = labels == 1
    kinds = dict(
        zip(KINDS, (ill & ~called, ~ill & called, ill & called, ~ill & ~called), strict=True)
    )
    chosen = []
    for kind, rows in kinds.items():
        places = np.flatnonzero(rows)
        order = np.argsort(np.abs(probabilities[places] - 0.5))[::-1]
        chosen += [(kind, int(row)) for row in places[order][:_EXAMPLES_OF_A_KIND]]
    return chosen


def _name_reason(reason: str) -> str:
    """Return the kind of a reason: its words without the numbers."""
    return " ".join(word for word in reason.split() if not any(c.isdigit() for c in word))
