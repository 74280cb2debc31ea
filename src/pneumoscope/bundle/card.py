"""The model card, written from what the bundle knows about itself, and honest about the rest.

Mitchell et al. 2019, doi:10.1145/3287560.3287596, for what a card should tell. What only people
can say (users, population, failure modes) is in the bundle as `card`; without it the card says so.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from pneumoscope._probability import format_probability
from pneumoscope.bundle._front_matter import write_front_matter
from pneumoscope.bundle._markdown import flatten, write_list, write_table
from pneumoscope.bundle.schema import (
    BLOCK_FOLDS,
    FOLD_NUMBERS,
    BlockFolds,
    BundleInfo,
    CardFacts,
)

#: What the evaluation calls a number, and what the card calls it.
_COLUMNS = {
    "n": "images",
    "auc": "AUC",
    "accuracy": "accuracy",
    "recall": "sensitivity",
    "specificity": "specificity",
    "f1": "F1",
}

_INTENDED_USE = """\
Research and teaching: to study how such a model is trained, validated and explained. It is no \
medical device, was cleared by no authority, and must not decide about a patient."""

_LIMITS = (
    "It knows only the population, the machines and the labels of the data above; elsewhere it "
    "may be wrong with confidence. Validate locally before any study.",
    "It answers one question, pneumonia or not. Everything else it neither sees nor reports.",
    "The heat-map shows what influenced the score, not where pneumonia is.",
)

_RESNET = """\
@inproceedings{he2016deep,
  title = {Deep Residual Learning for Image Recognition},
  author = {He, Kaiming and Zhang, Xiangyu and Ren, Shaoqing and Sun, Jian},
  booktitle = {IEEE Conference on Computer Vision and Pattern Recognition},
  pages = {770--778},
  year = {2016},
  doi = {10.1109/CVPR.2016.90}
}"""


def write_card(info: BundleInfo, statistics: Collection[str] = ()) -> str:
    """Return the text of `README.md` with Hugging Face front matter.

    `statistics` names the arrays of `reference.npz`, which tell what a bundle can check.
    """
    facts = info.card or CardFacts()
    sections = [
        write_front_matter(info),
        f"# {_write_text(info.name)}",
        "A ResNet50 that gives the probability of pneumonia on frontal chest radiographs, made "
        "with Pneumoscope. **Research use, not a diagnosis.**",
        *_write_warnings(info),
        "## Intended use",
        *_write_use(facts),
        "## Data",
        *_write_data(info, facts),
        "## Training",
        *_write_training(info, facts),
        "## Results",
        *_write_results(info),
        "## Operating points",
        *_write_points(info),
        *_write_recalibrations(info),
        "## Input and output",
        *_write_interface(info),
        _write_checks(statistics),
        "## Precisions",
        _write_precisions(info),
        "## Limits",
        write_list([*_LIMITS, *facts.failure_modes]),
        "## Licence",
        _write_licence(info),
        "## How to cite",
        _write_citations(info, facts),
        "## Made with",
        _write_versions(info),
    ]
    return "\n\n".join(sections) + "\n"


def _write_text(text: str) -> str:
    return flatten(text).replace("|", "\\|")


def _write_warnings(info: BundleInfo) -> list[str]:
    warnings = list(info.warnings)
    if info.data.phantom and not any("phantom" in warning for warning in warnings):
        warnings.insert(
            0, "Trained on synthetic phantoms: for demonstrations and tests only, never on people."
        )
    if info.data.contaminated and not any("start" in warning for warning in warnings):
        warnings.append("Started from weights that have seen test images: numbers too good.")
    return [f"> **Warning.** {_write_text(warning)}" for warning in warnings]


def _write_use(facts: CardFacts) -> list[str]:
    parts = [
        flatten(facts.intended_use or _INTENDED_USE),
        f"Users: {flatten(facts.users or 'not stated.')}",
        f"Population: {flatten(facts.population or 'not stated.')}",
    ]
    if facts.ages:
        parts.append(
            f"Ages: from {facts.ages[0]:g} to under {facts.ages[1]:g} years. Where a DICOM header "
            "says otherwise, the answer is REFER."
        )
    if facts.out_of_scope:
        parts += ["It must not be used", write_list(facts.out_of_scope)]
    return parts


def _write_data(info: BundleInfo, facts: CardFacts) -> list[str]:
    data, parts = info.data, []
    if facts.dataset:
        where = f", doi:{facts.dataset.doi}" if facts.dataset.doi else ""
        terms = flatten(facts.dataset.licence or "licence not stated")
        parts.append(f"{flatten(facts.dataset.name)}{where}; {terms}.")
    if facts.data:
        parts.append(flatten(facts.data))
    parts.append(
        f"Sources: {', '.join(_write_text(s) for s in data.sources) or 'not recorded'} "
        f"(layout {_write_text(data.layout)})."
    )
    if data.counts:
        classes = sorted({name for row in data.counts.values() for name in row})
        rows = [[split, *(row.get(c, 0) for c in classes)] for split, row in data.counts.items()]
        parts.append(write_table(["part", *classes], rows))
    parts.append(
        "`training_images.npz` holds hashes of every image that it was trained on, so that "
        "nobody tests it on them unawares."
    )
    return parts


def _write_training(info: BundleInfo, facts: CardFacts) -> list[str]:
    parts, training = [], info.training
    recipe, origin = _get_mapping(training, "recipe"), _get_mapping(training, "weights_taken")
    stages = [stage for stage in recipe.get("stages") or [] if isinstance(stage, Mapping)]
    if stages:
        header = ["stage", "trains", "epochs, at most", "images a batch", "learning rate"]
        keys = ("name", "trainable", "epochs", "batch_size", "learning_rate")
        rows = [[_list_words(stage.get(key, "–")) for key in keys] for stage in stages]
        parts += [f"Recipe `{_write_text(str(recipe.get('name')))}`:", write_table(header, rows)]
    known = {
        "seed": training.get("seed"),
        "device": training.get("device_taken"),
        "precision": training.get("precision_taken"),
    }
    words = ", ".join(f"{name} {_write_text(str(v))}" for name, v in known.items() if v is not None)
    sentence = f"{words[:1].upper()}{words[1:]}." if words else "The run was not recorded."
    parts.append(f"{_write_text(str(origin.get('note') or ''))} {sentence}".strip())
    if facts.cost:
        cost = facts.cost
        energy = f"{cost.energy_kwh:g} kWh" if cost.energy_kwh else "energy not measured"
        parts.append(
            f"Cost: {cost.hours:g} hours on {cost.cores} cores ({flatten(cost.machine)}), "
            f"{cost.hours * cost.cores:.3g} core hours; {energy}."
        )
    else:
        parts.append("Cost: not stated.")
    return parts


def _get_mapping(tree: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = tree.get(name)
    return found if isinstance(found, Mapping) else {}


def _list_words(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _write_results(info: BundleInfo) -> list[str]:
    parts, folds = [], info.read_block_folds()
    if folds:
        parts += [
            "By fold of acquisition blocks: each row is a model that never saw these blocks, of "
            "the same recipe but for what its name says, and decides as this one does. REFER "
            "counts as flagged for sensitivity and specificity, and as wrong for accuracy. 95 % "
            "intervals.",
            _write_folds(folds),
        ]
    rows = []
    for stage, numbers_by_part in info.metrics.items():
        if stage == BLOCK_FOLDS or not isinstance(numbers_by_part, Mapping):
            continue
        for part, numbers in numbers_by_part.items():
            if isinstance(numbers, Mapping):
                rows.append([stage, part, *(_write_metric(numbers, key) for key in _COLUMNS)])
    if rows:
        changed = "before it was recalibrated, " if info.recalibrations else ""
        parts += [
            f"At the end of training, {changed}at the threshold `balanced`; `val` chose the "
            "thresholds, so that its numbers are too good:",
            write_table(["stage", "part", *_COLUMNS.values()], rows),
        ]
    return parts or [
        "No numbers are stored in this bundle; see the report of the run that made it."
    ]


def _write_folds(folds: BlockFolds) -> str:
    rows: list[list[str]] = []
    for fold in folds.folds:
        numbers = fold.model_dump(mode="json")
        rows.append(
            [fold.name, str(fold.n), *(_write_metric(numbers, name) for name in FOLD_NUMBERS)]
        )
    summaries = [("mean", folds.mean), ("spread (SD)", folds.spread)] if len(rows) > 1 else []
    for title, summary in summaries:
        rows.append([title, "", *(_write_metric(summary, name) for name in FOLD_NUMBERS)])
    return write_table(["blocks", "images", "AUC", *FOLD_NUMBERS[1:]], rows)


def _write_metric(numbers: Mapping[Any, Any], key: str) -> str:
    value = numbers.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "–"
    text = str(value) if isinstance(value, int) else f"{value:.3f}"
    intervals = numbers.get("intervals")
    interval = intervals.get(key) if isinstance(intervals, Mapping) else None
    if isinstance(interval, list) and len(interval) == 2 and None not in interval:
        text += f" ({interval[0]:.3f}–{interval[1]:.3f})"
    return text


def _write_points(info: BundleInfo) -> list[str]:
    points = info.operating_points
    rows = [
        [
            f"{name} (decides alone)" if name == info.decides else name,
            format_probability(point.threshold),
            point.target,
            "–" if point.sensitivity is None else f"{point.sensitivity:.3f}",
            "–" if point.specificity is None else f"{point.specificity:.3f}",
        ]
        for name, point in points.items()
    ]
    header = ["name", "threshold", "chosen for", "sensitivity there", "specificity there"]
    parts = [write_table(header, rows)]
    if {"rule_out", "rule_in"} <= points.keys():
        low, high = (format_probability(points[name].threshold) for name in ("rule_out", "rule_in"))
        parts.append(
            f"Below {low} the answer is NORMAL, from {high} on PNEUMONIA, and between them REFER: "
            "a person must look. The point that decides alone does so only where that is asked for."
        )
    return parts


def _write_recalibrations(info: BundleInfo) -> list[str]:
    """Tell of every change for a place; nothing where there was none."""
    parts = ["## Recalibration"] if info.recalibrations else []
    for found in info.recalibrations:
        sample, old = found.sample, found.calibration
        images = ", ".join(f"{n} {label}" for label, n in sample.counts.items())
        who = "patients not known" if sample.patients is None else f"{sample.patients} patients"
        points = ", ".join(
            f"{name} {format_probability(point.threshold)}"
            for name, point in found.operating_points.items()
        )
        parts += [
            f"{_write_text(found.created)}: calibration and thresholds were set anew, the weights "
            f"left as they were, from {images} ({who}) of "
            f"{', '.join(_write_text(source) for source in sample.sources)}; fingerprint of the "
            f"sample `{sample.fingerprint[:16]}`. Method: {_write_text(found.method)}.",
            f"Before: probability = sigmoid(logit / {old.temperature:g} + {old.bias:g}); "
            f"thresholds {points}; bundle `{found.bundle[:16]}`.",
            *_write_cross_fitted(found.cross_fitted),
        ]
        if found.notes:
            parts.append(write_list(found.notes))
    return parts


def _write_cross_fitted(numbers: Mapping[str, Any]) -> list[str]:
    rows = []
    for name in _get_mapping(numbers, "before"):
        row = [str(name).replace("_", " ")]
        for when in ("before", "after", "change"):
            number = _get_mapping(_get_mapping(numbers, when), name)
            tree = {name: number.get("value"), "intervals": {name: number.get("interval")}}
            row.append(_write_metric(tree, name))
        rows.append(row)
    if not rows:
        return []
    return [
        "On the images of the sample, each judged by a fit that it was no part of (95 % "
        "intervals; REFER counts as flagged):",
        write_table(["", "before", "after", "change"], rows),
    ]


def _write_interface(info: BundleInfo) -> list[str]:
    spec, calibration = info.preprocessing, info.calibration
    return [
        f"Input `image`: float32 [N, 3, {spec.size}, {spec.size}], grey replicated, "
        f"{spec.geometry.value} to a square, {spec.resampler.value} resampling, "
        f"{spec.normalisation.value} normalisation. Outputs: `logit` [N], `activation_map` "
        "[N, h, w], `features` [N, 2048]. Probability = sigmoid(logit / "
        f"{calibration.temperature:g} + {calibration.bias:g}).",
        "```python\n"
        "import pneumoscope\n\n"
        'finding = pneumoscope.load("this/folder").predict("radiograph.jpeg")\n'
        "```",
    ]


def _write_checks(statistics: Collection[str]) -> str:
    gate = any(name.startswith("gate_") for name in statistics)
    population = any(name.startswith("population_") for name in statistics)
    return (
        "Before an answer, an input gate rejects what is no usable frontal chest radiograph, by "
        + ("its file, its looks and the network's features. " if gate else "plain facts of it. ")
        + (
            "A population check answers REFER where an image looks like one of another population "
            "that it was shown. Both miss some and stop some wrongly."
            if population
            else "Nothing checks whether an image is of the population that it was trained on."
        )
    )


def _write_precisions(info: BundleInfo) -> str:
    if not info.precisions:
        return "fp32 only; no faster arithmetic was compared with it."
    rows = [
        [
            name,
            "offered" if found.accepted else "refused",
            f"{found.auc_change:+z.4f}",
            f"{found.decisions_changed:.2%}",
            f"{found.probability_change:.4f}",
            found.images,
        ]
        for name, found in info.precisions.items()
    ]
    header = ["precision", "", "AUC", "decisions changed", "largest change of a probability"]
    table = write_table([*header, "images compared"], rows)
    return f"Beside fp32, and against it on the images that set the thresholds:\n\n{table}"


def _write_licence(info: BundleInfo) -> str:
    if info.licence is None:
        return (
            "Nobody has stated under what terms these weights may be used. It depends on the data "
            "that they were trained on; ask who made them."
        )
    return f"The weights: {_write_text(info.licence.name)}. {_write_text(info.licence.attribution)}"


def _write_citations(info: BundleInfo, facts: CardFacts) -> str:
    software = (
        "@software{pneumoscope,\n"
        "  title = {Pneumoscope},\n"
        "  author = {{The Pneumoscope authors}},\n"
        f"  version = {{{flatten(info.versions.get('pneumoscope', 'not recorded'))}}}\n"
        "}"
    )
    entries = "\n\n".join(_write_entries([*facts.citations, _RESNET, software]))
    return f"```bibtex\n{entries}\n```"


def _write_entries(entries: Iterable[str]) -> list[str]:
    """Return entries that keep their lines, but cannot end the block that they stand in."""
    return [
        "\n".join(line.rstrip() for line in entry.replace("`", "'").strip().splitlines())
        for entry in entries
    ]


def _write_versions(info: BundleInfo) -> str:
    versions = ", ".join(f"{_write_text(n)} {_write_text(v)}" for n, v in info.versions.items())
    return f"{versions or 'versions not recorded'}; {_write_text(info.created)}."
