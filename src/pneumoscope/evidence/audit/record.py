"""What `audit.json` holds; docs/reference/audit.md states it."""

from __future__ import annotations

import dataclasses
from typing import Any

from pneumoscope import __version__
from pneumoscope.evidence.audit.drift import Drift
from pneumoscope.evidence.audit.findings import Audit, count_flow, count_splits
from pneumoscope.evidence.audit.probes import Contrast, Probe

AUDIT_SCHEMA = 1


def to_json(audit: Audit) -> dict[str, Any]:
    """Return plain values; what is not available is None."""
    frame = audit.manifest.frame
    left_out = (*audit.collection.skipped, *audit.manifest.excluded)
    reasons = audit.reasons
    return {
        "images": frame.height,
        "unreadable": audit.unreadable,
        "blank": audit.blank,
        "duplicates": [dataclasses.asdict(pair) for pair in audit.duplicates],
        "patients_across_splits": list(audit.straddling),
        "suspect_labels": [dataclasses.asdict(suspect) for suspect in audit.judgement.suspects],
        "shortcuts": {probe.name: probe.auc for probe in audit.contrasts[0].probes},
        "schema": AUDIT_SCHEMA,
        "usable": not reasons,
        "reasons": reasons,
        "cautions": audit.cautions,
        "flow": count_flow(audit),
        "left_out": [dataclasses.asdict(entry) for entry in left_out],
        "splits": count_splits(audit),
        "patients": {
            "known": frame["patient"].drop_nulls().n_unique(),
            "images_without": frame["patient"].null_count(),
            "across_splits": audit.straddling,
        },
        "judge": {
            "name": audit.judgement.judge,
            "auc": audit.judgement.auc,
            "interval": audit.judgement.interval and audit.judgement.interval.to_list(),
            "judged": audit.judgement.judged,
            "reason": audit.judgement.reason,
        },
        "shortcut_contrasts": [_describe_contrast(contrast) for contrast in audit.contrasts],
        "drift": [_describe_drift(part) for part in audit.drift],
        "root": str(audit.collection.root),
        "layout": audit.collection.layout.value,
        "notes": list(audit.notes),
        "seed": audit.seed,
        "pneumoscope": __version__,
        "intended_use": "Research use, not a diagnosis.",
    }


def _describe_contrast(contrast: Contrast) -> dict[str, Any]:
    return {
        "name": contrast.name,
        "about": contrast.about,
        "positives": contrast.positives,
        "negatives": contrast.negatives,
        "probes": {probe.name: _describe_probe(probe) for probe in contrast.probes},
    }


def _describe_drift(part: Drift) -> dict[str, Any]:
    return {
        "split": part.split,
        "label": part.label,
        "train_images": part.train,
        "other_images": part.other,
        "acquisition": _describe_probe(part.acquisition),
        "appearance": _describe_probe(part.appearance),
        "ks_distance": part.distances,
        "meaning": part.describe(),
    }


def _describe_probe(probe: Probe) -> dict[str, Any]:
    return {
        "auc": probe.auc,
        "interval": probe.interval and probe.interval.to_list(),
        "reason": probe.reason,
    }
