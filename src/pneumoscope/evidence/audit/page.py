"""The audit for people: one self-contained page, a plain answer first, then what it rests on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pneumoscope import __version__
from pneumoscope._files import write_atomically
from pneumoscope.datasets import LABELS, SPLITS, DuplicatePair, read_radiograph
from pneumoscope.errors import ImageError
from pneumoscope.evaluation import wilson_interval
from pneumoscope.evidence.audit.drift import Drift
from pneumoscope.evidence.audit.figures import draw_distributions, draw_probes
from pneumoscope.evidence.audit.findings import Audit, count_flow, count_splits, say_name
from pneumoscope.evidence.audit.probes import Probe
from pneumoscope.evidence.report.html import (
    embed_picture,
    embed_png,
    make_shortener,
    open_templates,
    shrink,
)

_MOST_SUSPECTS, _MOST_LEFT_OUT = 36, 20
#: Pairs that are drawn: across splits or labels, and others.
_MOST_TELLING, _MOST_HARMLESS = 24, 6
_SIDE = 192


def write_page(
    path: Path, audit: Audit, *, progress: Callable[[int, int], None] | None = None
) -> None:
    """Write the page; nothing in it is fetched from elsewhere."""
    frame = audit.manifest.frame
    pairs = _choose_pairs(audit.duplicates)
    suspects = audit.judgement.suspects[:_MOST_SUSPECTS]
    named = list(
        dict.fromkeys([*(p for d in pairs for p in (d.a, d.b)), *(s.path for s in suspects)])
    )
    thumbs = {}
    for done, ref in enumerate(named, start=1):
        thumbs[ref] = _draw_thumbnail(ref)
        if progress:
            progress(done, len(named))
    rows = frame.filter(frame["path"].is_in(named)).select("path", "split", "label").rows()
    where = {ref: f"{split or 'no split'}, {label}" for ref, split, label in rows}
    available = [p for p in audit.contrasts[0].probes if p.auc is not None and p.name != "all"]
    templates = open_templates()
    templates.filters["short"] = make_shortener(named)
    templates.filters["say"] = say_name
    templates.filters["probe"] = _show_probe
    templates.filters["distances"] = _show_distances
    left_out = (*audit.collection.skipped, *audit.manifest.excluded)
    page = templates.get_template("audit.html").render(
        title=audit.collection.root.name,
        reasons=audit.reasons,
        cautions=audit.cautions,
        has_splits=bool(frame["split"].drop_nulls().len()),
        flow=count_flow(audit),
        left_out=sorted(left_out, key=lambda entry: not entry.is_image),
        shown_out=_MOST_LEFT_OUT,
        balance=_list_balance(audit),
        notes=audit.notes,
        straddling=audit.straddling,
        known_patients=frame["patient"].drop_nulls().n_unique(),
        unnamed=frame["patient"].null_count(),
        duplicates=audit.duplicates,
        exact=sum(pair.kind == "exact" for pair in audit.duplicates),
        crossing=sum(pair.across_splits for pair in audit.duplicates),
        contradicting=sum(pair.across_labels for pair in audit.duplicates),
        pairs=[
            vars(pair)
            | {"first": thumbs[pair.a], "second": thumbs[pair.b], "kind": pair.kind.value}
            | {"a_where": where[pair.a], "b_where": where[pair.b]}
            for pair in pairs
        ],
        judgement=audit.judgement,
        trust=_say_trust(audit.judgement.auc),
        suspects=[vars(suspect) | {"image": thumbs[suspect.path]} for suspect in suspects],
        strongest=max(available, key=lambda p: p.auc or 0.0) if available else None,
        contrasts=audit.contrasts,
        probe_names=[probe.name for probe in audit.contrasts[0].probes],
        has_same_label=any(contrast.about == "acquisition" for contrast in audit.contrasts),
        absent=[
            f"{_capitalise(say_name(probe.name))}: {probe.reason}."
            for probe in audit.contrasts[0].probes
            if probe.reason
        ],
        drift=audit.drift,
        figures=_draw_figures(audit),
        seed=audit.seed,
        version=__version__,
    )
    write_atomically(path, page)


def _choose_pairs(duplicates: Sequence[DuplicatePair]) -> list[DuplicatePair]:
    telling = [pair for pair in duplicates if pair.across_splits or pair.across_labels]
    harmless = [pair for pair in duplicates if not (pair.across_splits or pair.across_labels)]
    return [*telling[:_MOST_TELLING], *harmless[:_MOST_HARMLESS]]


def _draw_figures(audit: Audit) -> dict[str, str]:
    frame = audit.manifest.frame
    shown = {
        "AUC of each probe, PNEUMONIA against NORMAL, with 95 % interval": draw_probes(
            audit.contrasts[0].probes
        ),
        "The features by label": draw_distributions(
            audit.features, frame["label"].to_list(), LABELS
        ),
    }
    if audit.drift:
        splits = [split for split in SPLITS if split in frame["split"].to_list()]
        shown["The features by split"] = draw_distributions(
            audit.features, frame["split"].to_list(), splits
        )
    return {name: embed_png(png) for name, png in shown.items() if png}


def _draw_thumbnail(ref: str) -> str:
    """Return an image as a small JPEG data: URI, empty where it is gone since it was read."""
    try:
        radiograph = read_radiograph(ref, _SIDE)
    except ImageError:
        return ""
    return embed_picture(shrink(radiograph.to_grey(), _SIDE))


def _list_balance(audit: Audit) -> list[dict[str, Any]]:
    rows = []
    for split, counts in count_splits(audit).items():
        normal, pneumonia = (counts[label] for label in LABELS)
        interval = wilson_interval(pneumonia, normal + pneumonia)
        assert interval is not None  # a split that is there has images
        rows.append(
            {
                "split": "no split" if split == "none" else split,
                "normal": normal,
                "pneumonia": pneumonia,
                "share": f"{pneumonia / (normal + pneumonia):.1%} "
                f"({interval.low:.1%}–{interval.high:.1%})",
            }
        )
    return rows


def _say_trust(auc: float | None) -> str:
    """Say how far a judge with such an AUC is to be trusted."""
    if auc is None:
        return ""
    if auc >= 0.95:
        return "where it is sure and the label disagrees, the label deserves a second look."
    if auc >= 0.85:
        return "it errs often enough that many of its suspects will be labelled rightly."
    return "it cannot tell the classes apart well enough, and its suspects mean little."


def _capitalise(text: str) -> str:
    return text[:1].upper() + text[1:]


def _show_probe(probe: Probe) -> str:
    if probe.auc is None:
        return "–"
    if probe.interval is None:
        return f"{probe.auc:.2f}"
    return f"{probe.auc:.2f} ({probe.interval.low:.2f}–{probe.interval.high:.2f})"


def _show_distances(part: Drift) -> str:
    known = [(name, d) for name, d in part.distances.items() if d is not None]
    largest = sorted(known, key=lambda pair: pair[1], reverse=True)[:3]
    return ", ".join(f"{say_name(name)} {distance:.2f}" for name, distance in largest)
