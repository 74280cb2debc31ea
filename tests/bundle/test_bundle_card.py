"""The model card says what is known, and hides nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pneumoscope.bundle import (
    Bundle,
    BundleInfo,
    Calibration,
    CardFacts,
    CostFacts,
    DataInfo,
    DatasetFacts,
    FoldInfo,
    LicenceInfo,
    OperatingPointInfo,
    PrecisionInfo,
    summarise_folds,
    write_card,
)
from pneumoscope.images import PreprocessingSpec

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
    assert "| balanced (decides alone) | 0.400 | Youden | 0.970 | 0.900 |" in write_card(
        make_info()
    )


# -- the hub's own reading ------------------------------------------------------------------------

FOLDS = summarise_folds(
    [
        FoldInfo(
            name="fold0",
            n=900,
            auc=0.96,
            sensitivity=0.98,
            specificity=0.8,
            accuracy=0.9,
            referred=0.07,
            intervals={"auc": (0.94, 0.98), "referred": (0.05, 0.09)},
        ),
        FoldInfo(name="fold1", n=910, auc=0.98, sensitivity=0.99, accuracy=0.94, referred=0.05),
    ]
)
FACTS = CardFacts(
    users="Those who\nstudy models.",
    population="Children aged 1 to 5.",
    out_of_scope=["on adults", "to diagnose"],
    dataset=DatasetFacts(id="tiny-set", name="The tiny set", doi="10.1234/x", licence="CC BY 4.0"),
    data="Two physicians graded each image.",
    failure_modes=["Sure and wrong on adults."],
    cost=CostFacts(machine="an old desk", cores=2, hours=10.5),
    citations=["@misc{x,\n  title = {```x}\n}"],
)
LICENCE = LicenceInfo(name="CC-BY-4.0", attribution="Weights by A; data by B.")


@pytest.fixture
def full(make_info: MakeInfo) -> BundleInfo:
    metrics = {
        "finetuned": {"test": {"n": 9, "auc": 0.98, "recall": 0.9, "accuracy": None}},
        "block_folds": FOLDS.model_dump(mode="json"),
    }
    return make_info(card=FACTS, licence=LICENCE, metrics=metrics)


def test_the_hub_reads_licence_and_results(full: BundleInfo) -> None:
    data = ModelCard(write_card(full)).data
    assert data.license == "cc-by-4.0"
    assert data.get("license_name") is None
    assert data.model_name == "tiny"
    found = {(r.dataset_split, r.metric_type): r.metric_value for r in data.eval_results}
    folds = "mean of 2 folds of acquisition blocks"
    assert found == {
        (folds, "roc_auc"): 0.97,
        (folds, "recall"): 0.985,
        (folds, "accuracy"): 0.92,
        ("test", "roc_auc"): 0.98,
        ("test", "recall"): 0.9,
    }
    assert {r.dataset_type for r in data.eval_results} == {"tiny-set"}
    front, _ = _split(write_card(full))
    assert front.pop("model_name") == front["model-index"][0]["name"]
    assert yaml.safe_load(str(data)) == front  # nothing that the hub would write otherwise


@pytest.mark.parametrize(
    ("name", "front"),
    [
        ("Apache-2.0", {"license": "apache-2.0"}),
        ("LicenseRef-hospital", {"license": "other", "license_name": "licenseref-hospital"}),
    ],
)
def test_a_licence_is_named_as_the_hub_names_it(
    make_info: MakeInfo, name: str, front: dict[str, str]
) -> None:
    card = write_card(make_info(licence=LicenceInfo(name=name, attribution="Me.")))
    data = ModelCard(card).data.to_dict()
    assert {key: data[key] for key in data if key.startswith("license")} == front


@given(st.text(min_size=1, max_size=40), st.text(min_size=1, max_size=40))
def test_whatever_a_bundle_says_the_front_matter_stays_one(name: str, dataset: str) -> None:
    info = _make_plain_info(name, dataset)
    front, _ = _split(write_card(info))
    assert front["license"] == "other"
    assert front["model_name"] == " ".join(front["model_name"].split())
    results = front["model-index"][0]["results"]
    assert results[0]["dataset"]["type"] == "x"


def _make_plain_info(name: str, dataset: str) -> BundleInfo:
    return BundleInfo(
        name=name,
        created="2026-11-24",
        preprocessing=PreprocessingSpec(),
        operating_points={"balanced": OperatingPointInfo(threshold=0.5, target="x")},
        training={"final": "trained"},
        metrics={"trained": {"test": {"auc": 0.9}}},
        data=DataInfo(layout="folders", sources=["x"], counts={}),
        card=CardFacts(dataset=DatasetFacts(id="x", name=dataset)),
    )


def test_contaminated_results_are_not_listed(make_info: MakeInfo) -> None:
    data = DataInfo(layout="kaggle", sources=[], counts={}, contaminated=True)
    assert ModelCard(write_card(make_info(data=data, card=FACTS))).data.eval_results is None


# -- what people state ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "Users: Those who study models.",
        "It must not be used\n\n- on adults\n- to diagnose\n",
        "The tiny set, doi:10.1234/x; CC BY 4.0.",
        "Two physicians graded each image.",
        "Cost: 10.5 hours on 2 cores (an old desk), 21 core hours; energy not measured.",
        "- Sure and wrong on adults.\n",
        "The weights: CC-BY-4.0. Weights by A; data by B.",
        "```bibtex\n@misc{x,\n  title = {'''x}\n}\n\n@inproceedings{he2016deep,",
    ],
)
def test_a_card_says_what_people_state(full: BundleInfo, text: str) -> None:
    assert text in write_card(full)


def test_a_card_says_what_nobody_has_stated(make_info: MakeInfo) -> None:
    card = write_card(make_info())
    for text in (
        "Users: not stated.",
        "Population: not stated.",
        "Cost: not stated.",
        "Nobody has stated under what terms",
        "no faster arithmetic was compared",
    ):
        assert text in card
    assert "must not be used\n" not in card


def test_folds_come_with_intervals_mean_and_spread(full: BundleInfo) -> None:
    card = write_card(full)
    assert (
        "| fold0 | 900 | 0.960 (0.940–0.980) | 0.980 | 0.800 | 0.900 | 0.070 (0.050–0.090) |"
        in card
    )
    assert "| mean |  | 0.970 | 0.985 | – | 0.920 | 0.060 |" in card
    assert "| spread (SD) |  | 0.014 | 0.007 | – | 0.028 | 0.014 |" in card


def test_one_fold_has_no_mean(make_info: MakeInfo) -> None:
    one = summarise_folds(FOLDS.folds[:1])
    info = make_info(card=FACTS, metrics={"block_folds": one.model_dump(mode="json")})
    card = write_card(info)
    assert "| fold0 | 900 |" in card
    assert "| mean |" not in card
    assert {r.dataset_split for r in ModelCard(card).data.eval_results} == {"acquisition blocks"}


def test_folds_of_another_form_are_refused(make_info: MakeInfo) -> None:
    with pytest.raises(ValidationError, match=r"folds\n +Field required"):
        make_info(metrics={"block_folds": {"fold0": {"auc": 0.9}}})


def test_the_referral_band_is_a_sentence(make_info: MakeInfo) -> None:
    card = write_card(make_info())
    assert (
        "Below 0.100 the answer is NORMAL, from 0.800 on PNEUMONIA, and between them REFER" in card
    )
    alone = {"balanced": OperatingPointInfo(threshold=0.5, target="x")}
    assert "REFER" not in write_card(make_info(operating_points=alone))


def test_the_training_is_told(make_info: MakeInfo) -> None:
    stage = {"name": "trained", "trainable": ["layer4", "head"], "epochs": 9, "batch_size": 32}
    training = {
        "seed": 3,
        "device_taken": "cpu",
        "precision_taken": "bf16",
        "weights_taken": {"note": "Starting from random weights."},
        "recipe": {"name": "robust", "stages": [stage]},
    }
    card = write_card(make_info(training=training))
    assert "Recipe `robust`:" in card
    assert "| trained | layer4, head | 9 | 32 | – |" in card
    assert "Starting from random weights. Seed 3, device cpu, precision bf16." in card


def test_precisions_are_offered_or_refused_with_their_difference(make_info: MakeInfo) -> None:
    points = make_info().operating_points
    found = PrecisionInfo(
        calibration=Calibration(),
        operating_points=points,
        images=500,
        auc_change=-0.0004,
        decisions_changed=0.012,
        probability_change=0.11,
        accepted=False,
    )
    card = write_card(make_info(precisions={"int8": found}))
    assert "| int8 | refused | -0.0004 | 1.20% | 0.1100 | 500 |" in card


@pytest.mark.parametrize(
    ("statistics", "said"),
    [
        ((), "by plain facts of it. Nothing checks whether"),
        (("gate_threshold",), "its looks and the network's features. Nothing checks"),
        (("gate_threshold", "population_limit"), "features. A population check answers REFER"),
    ],
)
def test_the_checks_before_an_answer_are_told(
    make_info: MakeInfo, statistics: tuple[str, ...], said: str
) -> None:
    assert said in write_card(make_info(), statistics)


def test_a_bundle_tells_the_checks_that_its_own_statistics_allow(
    make_bundle: Callable[..., Bundle],
) -> None:
    reference = {"logits": np.zeros(2), "population_weight": np.zeros(3)}
    card = make_bundle(reference=reference).file("README.md").read_text()
    assert "A population check answers REFER" in card
