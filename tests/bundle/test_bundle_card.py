"""The model card says what is known, and hides nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from pneumoscope.bundle import BundleInfo, DataInfo, write_card

MakeInfo = Callable[..., BundleInfo]


def _split(card: str) -> tuple[dict[str, Any], str]:
    _, front, text = card.split("---\n", 2)
    return yaml.safe_load(front), text


def test_the_front_matter_is_what_hugging_face_reads(make_info: MakeInfo) -> None:
    front, text = _split(write_card(make_info()))
    assert front["pipeline_tag"] == "image-classification"
    assert "research-use-only" in front["tags"]
    assert "synthetic-data" not in front["tags"]
    assert "Research use, not a diagnosis" in text


@pytest.mark.parametrize("name", ['a"b', "x\n---\nlicense: mit", "a: b #c", "{[|"])
def test_no_name_breaks_out_of_the_front_matter(make_info: MakeInfo, name: str) -> None:
    front, _ = _split(write_card(make_info(name=name)))
    assert front["license"] == "other"
    assert set(front) == {
        "library_name", "pipeline_tag", "license", "license_name", "tags", "model_name",
    }  # fmt: skip


@pytest.mark.parametrize("warnings", [[], ["Trained on synthetic phantoms: for demos."]])
def test_a_card_says_that_a_model_comes_from_phantoms(
    make_info: MakeInfo, warnings: list[str]
) -> None:
    data = DataInfo(layout="folders", sources=["phantom"], counts={}, phantom=True)
    front, text = _split(write_card(make_info(data=data, warnings=warnings)))
    assert "synthetic-data" in front["tags"]
    assert text.count("**Warning.**") == 1
    assert "synthetic phantoms" in text


def test_a_card_says_that_the_start_was_contaminated(make_info: MakeInfo) -> None:
    data = DataInfo(layout="kaggle", sources=[], counts={}, contaminated=True)
    assert "have seen test images" in write_card(make_info(data=data))


def test_results_come_with_their_intervals(make_info: MakeInfo) -> None:
    metrics = {
        "final": "finetuned",
        "finetuned": {
            "note": "x",
            "test": {"n": 624, "auc": 0.9812, "recall": True, "intervals": {"auc": [0.97, 0.99]}},
        },
    }
    text = write_card(make_info(metrics=metrics))
    assert "| finetuned | test | 624 | 0.981 (0.970–0.990) | – | – |" in text


def test_a_card_without_results_says_where_they_are(make_info: MakeInfo) -> None:
    assert "see the report of the run" in write_card(make_info(metrics={}))


def test_the_deciding_operating_point_is_marked(make_info: MakeInfo) -> None:
    assert "| balanced (decides) | 0.400 | Youden | 0.970 | 0.900 |" in write_card(make_info())
