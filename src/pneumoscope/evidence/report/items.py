"""What a report on a diagnostic model has to say, item by item, and whether this one says it.

The fifteen items gather what CLAIM 2024 (Tejani et al.), TRIPOD+AI (Collins et al. 2024,
doi:10.1136/bmj-2023-078378), STARD-AI (2025), DECIDE-AI (Vasey et al. 2022), MI-CLAIM (Norgeot et
al. 2020) and model cards (Mitchell et al. 2019) ask for and software can tell. What is not known
is called so, and never made up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pneumoscope.evidence.report.context import EvaluationContext


class ItemStatus(StrEnum):
    """Whether an item is in the report."""

    REPORTED = "reported"
    PARTLY = "partly reported"
    NOT_AVAILABLE = "not available"


@dataclass(frozen=True)
class ReportItem:
    """One item of the checklist."""

    number: int
    title: str
    asked_by: str
    """Where the guidelines ask for it."""
    status: ItemStatus
    text: str
    """What is reported, or what is missing and how to add it."""
    section: str
    """The page anchor of what it refers to."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as they stand in `report.json`."""
        return {**vars(self), "status": self.status.value}


def list_items(
    context: EvaluationContext, metrics: Mapping[str, Any], shown: Mapping[str, Any]
) -> list[ReportItem]:
    """Return the fifteen items with what this evaluation can say of each.

    Parameters
    ----------
    metrics
        The tree of `metrics.json`.
    shown
        Its part that the report is about.
    """
    items = []
    for number, (title, asked_by, section, tell) in enumerate(_ITEMS, start=1):
        status, text = tell(context, metrics, shown)
        items.append(ReportItem(number, title, asked_by, status, text, section))
    return items


_Told = tuple[ItemStatus, str]
_Tree = Mapping[str, Any]


def _tell_use(context: EvaluationContext, _metrics: _Tree, _shown: _Tree) -> _Told:
    card = context.card
    if card is None or not (card.intended_use or card.population):
        return ItemStatus.NOT_AVAILABLE, (
            "Nobody has stated an intended use: `pneumoscope bundle annotate` takes it. Research "
            "use, not a diagnosis."
        )
    missing = [
        name
        for name, text in (
            ("intended use", card.intended_use), ("users", card.users),
            ("population", card.population), ("what it is not for", card.out_of_scope),
        )
        if not text
    ]  # fmt: skip
    if missing:
        return ItemStatus.PARTLY, f"As the model's card states; not stated: {', '.join(missing)}."
    return ItemStatus.REPORTED, "As the model's card states."


def _tell_data(context: EvaluationContext, _metrics: _Tree, _shown: _Tree) -> _Told:
    known = "Sources, number and fingerprint of the images"
    missing = "Dates, setting and eligibility of these images are not in the files"
    if context.card is not None and context.card.data:
        return ItemStatus.PARTLY, f"{known}; of the training data what the card states. {missing}."
    return ItemStatus.PARTLY, f"{known}. {missing}, and nobody has stated them."


def _tell_flow(context: EvaluationContext, _metrics: _Tree, _shown: _Tree) -> _Told:
    excluded = context.data_summary["excluded"]
    images = sum(bool(entry.get("is_image", True)) for entry in excluded)
    others = (
        f" {len(excluded) - images} other files are no images." if images < len(excluded) else ""
    )
    if not images:
        return ItemStatus.REPORTED, f"No image was left out.{others}"
    return ItemStatus.REPORTED, f"{images} images were left out, each with its reason.{others}"


def _tell_characteristics(context: EvaluationContext, _metrics: _Tree, _shown: _Tree) -> _Told:
    if not context.data_summary.get("characteristics"):
        return ItemStatus.NOT_AVAILABLE, "The parts were not described."
    return ItemStatus.PARTLY, "Classes, patients and sizes. Age and sex: not available."


def _tell_parts(context: EvaluationContext, metrics: _Tree, shown: _Tree) -> _Told:
    final = metrics[metrics["final"]]
    if "leaked" in final:
        return ItemStatus.REPORTED, (
            f"{final['leaked']['n']} test images have their patient or a copy in train: the "
            "numbers are too good, and are given for the others apart."
        )
    if context.history is not None:
        return ItemStatus.REPORTED, "By patient and near-identical copy, as far as both are known."
    seen = shown.get("seen")
    if seen is None:
        return ItemStatus.NOT_AVAILABLE, (
            "Which images the model was trained on is not known: nobody can say whether these are "
            "others."
        )
    if seen:
        apart = "; the others are judged apart" if "unseen" in final else ""
        return ItemStatus.REPORTED, (
            f"Of {shown['n']} images the model was trained or chosen on {seen}, or on others of "
            f"their patients{apart}."
        )
    parts = context.data_summary.get("characteristics", {}).values()
    unknown = sum(part.get("images_of_unknown_patients") or 0 for part in parts)
    if unknown:
        return ItemStatus.PARTLY, (
            "The model was trained on none of these images. Of "
            f"{unknown} the patient is not known, so that nobody can say whether it was trained on "
            "others of theirs."
        )
    return ItemStatus.REPORTED, (
        "The model was trained on none of these images, nor on others of their patients."
    )


def _tell_reference(context: EvaluationContext, _metrics: _Tree, _shown: _Tree) -> _Told:
    if context.card is not None and context.card.data:
        return ItemStatus.PARTLY, (
            "Of the training data, what the card states. Who labelled the images judged here is "
            "not in the files."
        )
    return ItemStatus.NOT_AVAILABLE, "Who labelled the images, and from what, is not in the files."


def _tell_preprocessing(context: EvaluationContext, _metrics: _Tree, shown: _Tree) -> _Told:
    if context.preprocessing is None:
        return ItemStatus.NOT_AVAILABLE, "Not recorded."
    if shown["as_decided"].get("rejected") is None:
        return ItemStatus.PARTLY, "Exact and versioned. There was no input gate."
    return ItemStatus.REPORTED, (
        "Exact and versioned. Judged past the input gate; what it would reject is counted."
    )


def _tell_model(context: EvaluationContext, _metrics: _Tree, _shown: _Tree) -> _Told:
    if "recipe" in context.configuration or context.training:
        return ItemStatus.REPORTED, "Recipe, seed, weights, versions and machine."
    return ItemStatus.PARTLY, "The file by its SHA-256; how it was trained is not known."


def _tell_choice(context: EvaluationContext, _metrics: _Tree, _shown: _Tree) -> _Told:
    return ItemStatus.REPORTED, context.thresholds


def _tell_precision(_context: EvaluationContext, _metrics: _Tree, shown: _Tree) -> _Told:
    return ItemStatus.REPORTED, (
        f"{shown['support_pneumonia']} pneumonias and {shown['support_normal']} normal images; the "
        "widths of the intervals say what they can show."
    )


def _tell_performance(_context: EvaluationContext, _metrics: _Tree, _shown: _Tree) -> _Told:
    return ItemStatus.REPORTED, (
        "AUC, sensitivity, specificity, predictive values at several prevalences, likelihood "
        "ratios, F1, MCC; bootstrap over patients where they are known, DeLong, Wilson."
    )


def _tell_calibration(_context: EvaluationContext, _metrics: _Tree, shown: _Tree) -> _Told:
    if shown["calibration"]["as_answered"]["line"] is None:
        return ItemStatus.PARTLY, "Diagram, Brier score and error; slope and intercept undefined."
    return ItemStatus.REPORTED, "Diagram with counts, slope, intercept, Brier score and error."


def _tell_subgroups(_context: EvaluationContext, _metrics: _Tree, shown: _Tree) -> _Told:
    names = ", ".join(shown["subgroups"])
    missing = "Age and sex: not available, unless a column is named with --subgroup."
    if not names:
        return ItemStatus.NOT_AVAILABLE, f"The data tell no groups apart. {missing}"
    return ItemStatus.PARTLY, f"By {names}. {missing}"


def _tell_robustness(context: EvaluationContext, _metrics: _Tree, _shown: _Tree) -> _Told:
    done = [
        name
        for name, found in (
            ("under stated shifts", context.robustness),
            ("elsewhere against at home", context.internal),
        )
        if found is not None
    ]
    if len(done) == 2:
        return ItemStatus.REPORTED, f"{done[0].capitalize()}, and {done[1]}."
    shifts = "`evaluate --robustness` shifts the images"
    home = "`evaluate --internal` compares with home"
    if done:
        hint = home if context.robustness is not None else shifts
        return ItemStatus.PARTLY, f"Only {done[0]}: {hint}."
    return ItemStatus.NOT_AVAILABLE, f"Not asked: {shifts}, {home}."


def _tell_failures(context: EvaluationContext, _metrics: _Tree, shown: _Tree) -> _Told:
    missed = (
        f"All {shown['fn']} missed pneumonias by name" if shown["fn"] else "No pneumonia missed"
    )
    told = f"{missed}, limits, software and its licence"
    if context.attention is not None:
        return ItemStatus.REPORTED, f"{told}; heat-maps and their sanity check."
    return ItemStatus.PARTLY, (
        f"{told}. The sanity check of heat-maps was not asked for: `evaluate --attention`."
    )


#: Title, who asks for it, page anchor, and what tells of it.
_ITEMS: tuple[tuple[str, str, str, Callable[[EvaluationContext, _Tree, _Tree], _Told]], ...] = (
    (
        "Intended use, users, population, what it is not for",
        "CLAIM 3; TRIPOD+AI 3a–b; DECIDE-AI 2; model card",
        "use",
        _tell_use,
    ),
    (
        "Data: source, dates, setting, eligibility, licence",
        "CLAIM 7–8; TRIPOD+AI 5–6; STARD-AI",
        "data",
        _tell_data,
    ),
    (
        "Flow of images: found, left out and why, used",
        "CLAIM 33; STARD",
        "flow",
        _tell_flow,
    ),
    (
        "Classes and demographics of each part",
        "CLAIM 34; TRIPOD+AI 20",
        "characteristics",
        _tell_characteristics,
    ),
    (
        "How the parts were made, and what they share",
        "CLAIM 20–21; MI-CLAIM 2",
        "parts",
        _tell_parts,
    ),
    (
        "Reference standard and its quality",
        "CLAIM 14–18; STARD",
        "reference",
        _tell_reference,
    ),
    (
        "Preprocessing, and what is done with poor images",
        "CLAIM 9; TRIPOD+AI 27a; DECIDE-AI",
        "preprocessing",
        _tell_preprocessing,
    ),
    (
        "Model, starting weights, training, seed, machine, software",
        "CLAIM 22–25; TRIPOD+AI 12, 22; DECIDE-AI 4a",
        "model",
        _tell_model,
    ),
    (
        "How model and threshold were chosen",
        "CLAIM 26; TRIPOD+AI 12",
        "points",
        _tell_choice,
    ),
    (
        "Sample size and what it can show",
        "CLAIM 19; TRIPOD+AI 10",
        "precision",
        _tell_precision,
    ),
    (
        "Performance with 95 % intervals, and the 2×2 table",
        "CLAIM 28–29, 36; STARD; TRIPOD+AI 23a",
        "numbers",
        _tell_performance,
    ),
    (
        "Calibration",
        "TRIPOD+AI 12, 23a",
        "calibration",
        _tell_calibration,
    ),
    (
        "Subgroups and fairness",
        "TRIPOD+AI 3c, 14, 23; STARD-AI",
        "subgroups",
        _tell_subgroups,
    ),
    (
        "Robustness and external validation",
        "CLAIM 30, 32; MI-CLAIM 4–5",
        "robustness",
        _tell_robustness,
    ),
    (
        "Failures, explanation and its sanity check, limits, availability",
        "CLAIM 31, 37–38, 41; TRIPOD+AI 18, 26; MI-CLAIM 5–6",
        "failures",
        _tell_failures,
    ),
)
