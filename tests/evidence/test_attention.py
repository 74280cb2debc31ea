"""`evaluate --attention`: what it writes on phantoms, whose lesions are known."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from pneumoscope.errors import DataError, ModelError
from pneumoscope.evidence import (
    AttentionOptions,
    Questions,
    describe_bundle,
    evaluate_subject,
    read_lesion,
)
from pneumoscope.evidence.attention.masking import CONDITIONS
from pneumoscope.evidence.attention.measurement import describe_attention

QUICK = AttentionOptions(most=30, randomised=4, draws=1)
FIGURES = ("conditions", "influence", "randomisation", "examples")


@pytest.fixture(scope="module")
def result(bundle, strangers, tmp_path_factory):
    out = tmp_path_factory.mktemp("attention") / "out"
    return evaluate_subject(
        describe_bundle(bundle), strangers, out, questions=Questions(attention=QUICK)
    )


@pytest.fixture(scope="module")
def tree(result):
    return json.loads((result.out / "attention.json").read_text())


def test_every_image_drawn_is_used_or_counted(tree):
    assert tree["schema"] == 1
    assert tree["images"] == 30
    assert sum(tree["used"].values()) + sum(tree["masks_not_used"].values()) == 30
    assert min(tree["used"].values()) >= 5


def test_every_condition_has_its_numbers(tree):
    conditions = tree["masking"]["conditions"]
    assert set(conditions) == {condition.name for condition in CONDITIONS}
    for found in conditions.values():
        for name in ("auc", "recall", "specificity"):
            low, high = found["intervals"][name]
            assert 0 <= low <= found[name] <= high <= 1


def test_influence_and_randomisation_are_there(tree):
    assert 0 < tree["influence"]["all"]["area"] < 1
    assert tree["randomisation"]["n"] == 4
    assert len(tree["randomisation"]["stages"]) == 6


def test_lesions_of_phantoms_are_looked_for(tree):
    lesions = tree["lesions"]
    assert lesions["n"] == tree["used"]["PNEUMONIA"]
    assert lesions["times_chance"] == pytest.approx(lesions["hit"] / lesions["area"])


def test_figures_and_report_show_it(result):
    for name in FIGURES:
        assert (result.out / "figures" / f"attention_{name}.png").stat().st_size > 5000
        assert (result.out / "figures" / f"attention_{name}.svg").exists()
    page = (result.out / "report.html").read_text(encoding="utf-8")
    assert "Is it looking at the lungs?" in page
    for condition in CONDITIONS:
        assert condition.title.replace("'", "&#39;") in page
    assert page.count("data:image/png") >= len(FIGURES)


def test_the_same_seed_gives_the_same_numbers(bundle, strangers, tmp_path, tree):
    again = evaluate_subject(
        describe_bundle(bundle), strangers, tmp_path / "out", questions=Questions(attention=QUICK)
    )
    assert json.loads((again.out / "attention.json").read_text()) == tree


def test_images_without_lungs_are_left_out_and_said(bundle, tmp_path, rng):
    for label in ("NORMAL", "PNEUMONIA"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(6):
            noise = rng.integers(0, 256, (64, 64), dtype=np.uint8)
            Image.fromarray(noise).save(tmp_path / "data" / label / f"{number}.png")
    questions = Questions(attention=QUICK)
    found = evaluate_subject(
        describe_bundle(bundle), tmp_path / "data", tmp_path / "out", questions=questions
    )
    tree = json.loads((found.out / "attention.json").read_text())
    assert tree["used"] == {"NORMAL": 0, "PNEUMONIA": 0}
    assert sum(tree["masks_not_used"].values()) == 12
    assert tree["masking"] is None
    assert not list((found.out / "figures").glob("attention_*"))
    assert "0 of 12" in found.metrics[found.stage][found.split]["attention"][0]


def test_without_it_nothing_of_it_is_written(bundle, strangers, tmp_path):
    result = evaluate_subject(describe_bundle(bundle), strangers, tmp_path / "out")
    assert "attention" not in result.metrics[result.stage][result.split]
    assert not (tmp_path / "out" / "attention.json").exists()
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Not asked: <code>pneumoscope evaluate --attention</code>" in page


def test_an_older_answer_does_not_stand_beside_a_newer_one(bundle, strangers, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "attention.json").write_text("{}")
    (out / "report.pdf").write_bytes(b"%PDF-")
    evaluate_subject(describe_bundle(bundle), strangers, out)
    assert not (out / "attention.json").exists()
    assert not (out / "report.pdf").exists()


def test_a_model_without_heat_maps_is_told_before_the_long_work(bundle, strangers, tmp_path):
    subject = dataclasses.replace(describe_bundle(bundle), predictor=None)
    questions = Questions(attention=QUICK)
    with pytest.raises(ModelError, match="gives no heat-maps"):
        evaluate_subject(subject, strangers, tmp_path / "out", questions=questions)
    assert not (tmp_path / "out").exists()


def test_lesions_are_read_where_they_are_known(strangers):
    sick = sorted((strangers / "PNEUMONIA").iterdir())[0]
    well = sorted((strangers / "NORMAL").iterdir())[0]
    lesion = read_lesion(sick, 224)
    assert lesion.shape == (224, 224)
    assert lesion.any()
    assert read_lesion(well, 224) is None


@pytest.mark.parametrize(
    ("last", "said"), [(0.02, "change with the model"), (0.93, "hardly change with the model")]
)
def test_what_is_said_of_the_maps_depends_on_what_was_found(tree, last, said):
    stages = [dict(stage) for stage in tree["randomisation"]["stages"]]
    stages[-1] = stages[-1] | {"spearman": {"mean": last, "low": last, "high": last}}
    changed = tree | {"randomisation": tree["randomisation"] | {"stages": stages}}
    assert any(said in sentence for sentence in describe_attention(changed))


@pytest.mark.parametrize(("low", "said"), [(0.45, False), (0.8, True)])
def test_an_answer_from_outside_the_chest_is_said(tree, low, said):
    conditions = tree["masking"]["conditions"]
    removed = conditions["chest_removed"] | {"intervals": {"auc": [low, 0.9]}}
    masking = tree["masking"] | {"conditions": conditions | {"chest_removed": removed}}
    sentences = describe_attention(tree | {"masking": masking})
    assert any("without seeing a lung" in sentence for sentence in sentences) is said


def test_too_few_images_are_refused():
    with pytest.raises(DataError, match="at least"):
        AttentionOptions(most=3)
