"""The model card, written from what the bundle knows about itself, and honest about the rest.

Front matter: https://huggingface.co/docs/hub/model-cards (Mitchell et al. 2019,
doi:10.1145/3287560.3287596, for what a card should tell).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from pneumoscope._probability import format_probability
from pneumoscope.bundle.schema import BundleInfo

#: What the evaluation calls a number, and what the card calls it.
_COLUMNS = {
    "n": "images",
    "auc": "AUC",
    "accuracy": "accuracy",
    "recall": "sensitivity",
    "specificity": "specificity",
    "f1": "F1",
}

_LIMITS = """\
- It knows only the population, the machines and the labels of the data above; elsewhere it may be
  wrong with confidence. Validate locally before any study.
- It answers one question, pneumonia or not. Everything else it neither sees nor reports.
- The heat-map shows what influenced the score, not where pneumonia is."""


def write_card(info: BundleInfo) -> str:
    """Return the text of `README.md` with Hugging Face front matter."""
    sections = [
        _write_front_matter(info),
        f"# {_one_line(info.name)}",
        "A ResNet50 that gives the probability of pneumonia on frontal chest radiographs, made "
        "with Pneumoscope. **Research use, not a diagnosis.**",
        *_write_warnings(info),
        "## Intended use",
        "Research and teaching: to study how such a model is trained, validated and explained. It "
        "is no medical device, was cleared by no authority, and must not decide about a patient.",
        "## Data",
        *_write_data(info),
        "## Results",
        *_write_results(info),
        "## Operating points",
        _write_points(info),
        "## Input and output",
        *_write_interface(info),
        "## Limits",
        _LIMITS,
        "## Made with",
        _write_versions(info),
    ]
    return "\n\n".join(sections) + "\n"


def _write_front_matter(info: BundleInfo) -> str:
    tags = ["chest-x-ray", "pneumonia", "resnet50", "medical-imaging", "research-use-only"]
    if info.data.phantom:
        tags.append("synthetic-data")
    lines = [
        "---",
        "library_name: pneumoscope",
        "pipeline_tag: image-classification",
        # No licence is claimed: it depends on the data, which the bundle cannot judge.
        "license: other",
        "license_name: not-stated",
        "tags:",
        *(f"- {tag}" for tag in tags),
        # JSON text is YAML text: quoted, so that no name can break out of the front matter.
        f"model_name: {json.dumps(_one_line(info.name))}",
        "---",
    ]
    return "\n".join(lines)


def _write_warnings(info: BundleInfo) -> list[str]:
    warnings = list(info.warnings)
    if info.data.phantom and not any("phantom" in warning for warning in warnings):
        warnings.insert(
            0, "Trained on synthetic phantoms: for demonstrations and tests only, never on people."
        )
    if info.data.contaminated and not any("start" in warning for warning in warnings):
        warnings.append("Started from weights that have seen test images: numbers too good.")
    return [f"> **Warning.** {_one_line(warning)}" for warning in warnings]


def _write_data(info: BundleInfo) -> list[str]:
    data = info.data
    parts = [
        f"Sources: {', '.join(_one_line(s) for s in data.sources) or 'not recorded'} "
        f"(layout {_one_line(data.layout)})."
    ]
    if data.counts:
        classes = sorted({name for row in data.counts.values() for name in row})
        rows = [[split, *(row.get(c, 0) for c in classes)] for split, row in data.counts.items()]
        parts.append(_write_table(["part", *classes], rows))
    parts.append(
        "`training_images.npz` holds the sha256 of every image that it was trained on, so that "
        "nobody tests it on them unawares."
    )
    return parts


def _write_results(info: BundleInfo) -> list[str]:
    rows = []
    for stage, parts in info.metrics.items():
        if not isinstance(parts, Mapping):
            continue
        for part, numbers in parts.items():
            if isinstance(numbers, Mapping):
                rows.append([stage, part, *(_write_metric(numbers, key) for key in _COLUMNS)])
    if not rows:
        return ["No numbers are stored in this bundle; see the report of the run that made it."]
    return [_write_table(["stage", "part", *_COLUMNS.values()], rows)]


def _write_metric(numbers: Mapping[str, Any], key: str) -> str:
    value = numbers.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "–"
    text = str(value) if isinstance(value, int) else f"{value:.3f}"
    intervals = numbers.get("intervals")
    interval = intervals.get(key) if isinstance(intervals, Mapping) else None
    if isinstance(interval, list) and len(interval) == 2 and None not in interval:
        text += f" ({interval[0]:.3f}–{interval[1]:.3f})"
    return text


def _write_points(info: BundleInfo) -> str:
    rows = [
        [
            f"{name} (decides)" if name == info.decides else name,
            format_probability(point.threshold),
            point.target,
            "–" if point.sensitivity is None else f"{point.sensitivity:.3f}",
            "–" if point.specificity is None else f"{point.specificity:.3f}",
        ]
        for name, point in info.operating_points.items()
    ]
    header = ["name", "threshold", "chosen for", "sensitivity there", "specificity there"]
    return _write_table(header, rows)


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


def _write_versions(info: BundleInfo) -> str:
    versions = ", ".join(f"{_one_line(n)} {_one_line(v)}" for n, v in info.versions.items())
    return f"{versions or 'versions not recorded'}; {_one_line(info.created)}."


def _write_table(header: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    columns = list(header)
    lines: list[list[object]] = [columns, ["---"] * len(columns), *(list(row) for row in rows)]
    return "\n".join("| " + " | ".join(_one_line(str(c)) for c in line) + " |" for line in lines)


def _one_line(text: str) -> str:
    """Return text that cannot start a new line or table cell."""
    return " ".join(text.split()).replace("|", "\\|")
