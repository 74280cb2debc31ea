"""What a model loses elsewhere, against what it reached at home."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from pneumoscope.bundle import read_bundle
from pneumoscope.cli.app import app
from pneumoscope.errors import DataError
from pneumoscope.evaluation import Interval, compute_metrics, wilson_interval
from pneumoscope.evidence.external import (
    InternalNumbers,
    compare_external,
    read_internal,
    subtract_intervals,
)


@pytest.mark.parametrize(
    ("one", "other"), [((56, 70), (48, 80)), ((29, 29), (20, 30)), ((9, 10), (3, 10))]
)
def test_from_wilsons_intervals_it_is_newcombes(one, other):
    proportions = pytest.importorskip("statsmodels.stats.proportion")
    oracle = proportions.confint_proportions_2indep(*one, *other, method="newcomb")
    found = subtract_intervals(
        one[0] / one[1], wilson_interval(*one), other[0] / other[1], wilson_interval(*other)
    )
    assert (found.low, found.high) == pytest.approx(oracle, abs=1e-6)


def test_it_is_newcombes_published_example():
    """56/70 against 48/80, method 10: 0.0524 to 0.3339 (Newcombe 1998, table II)."""
    found = subtract_intervals(0.8, wilson_interval(56, 70), 0.6, wilson_interval(48, 80))
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def draw(rng, patients, effect):
    """Return labels, probabilities and patients: two images each, which resemble each other."""
    labels = np.repeat(rng.integers(0, 2, patients), 2)
    level = np.repeat(rng.normal(0, 1, patients), 2)
    odds = effect * (labels - 0.5) + level + rng.normal(0, 0.3, 2 * patients)
    return labels, 1 / (1 + np.exp(-odds)), [f"p{i // 2}" for i in range(2 * patients)]


def test_the_interval_is_that_of_resampling_both_samples_by_patient():
    rng = np.random.default_rng(0)
    samples = [draw(rng, 150, 3.0), draw(rng, 100, 1.5)]
    trees = [compute_metrics(y, p, 0.5, g).to_dict() for y, p, g in samples]
    found = {d.name: d for d in compare_external(InternalNumbers("test", trees[0]), trees[1]).drops}
    drops = []
    for _ in range(1000):
        values = []
        for labels, probabilities, groups in samples:
            chosen = rng.integers(0, len(groups) // 2, len(groups) // 2)
            rows = np.concatenate([2 * chosen, 2 * chosen + 1])
            positives = probabilities[rows][labels[rows] == 1]
            values.append((positives >= 0.5).mean())
        drops.append(values[0] - values[1])
    low, high = np.quantile(drops, (0.025, 0.975))
    assert found["recall"].interval.low == pytest.approx(low, abs=0.03)
    assert found["recall"].interval.high == pytest.approx(high, abs=0.03)


def test_a_drop_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(400):
        a, b = rng.binomial(80, 0.95), rng.binomial(60, 0.8)
        found = subtract_intervals(a / 80, wilson_interval(a, 80), b / 60, wilson_interval(b, 60))
        hits += found.low <= 0.15 <= found.high
    assert 0.92 < hits / 400 < 0.98


def test_what_is_not_defined_has_no_drop():
    home = {"n": 9, "auc": None, "recall": 1.0, "specificity": 0.5,
            "intervals": {"recall": [0.7, 1.0]}}  # fmt: skip
    away = home | {"auc": 0.7}
    found = compare_external(InternalNumbers("test", home), away).to_dict()
    assert [row["drop"] for row in found["drops"]] == [None, 0.0, 0.0]
    assert found["drops"][0]["drop_text"] == "–"
    assert found["drops"][2]["interval"] is None


def test_an_interval_without_doubt_gives_one_without():
    assert subtract_intervals(1, Interval(1, 1), 0.5, Interval(0.5, 0.5)) == Interval(0.5, 0.5)


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (None, "is no evaluation: metrics.json cannot be read"),
        ("[]", "holds no numbers of an evaluation"),
        ("{", "holds no numbers of an evaluation"),
        ('{"final": "x", "x": {}}', "holds no numbers of an evaluation"),
        ('{"final": "x", "x": {"test": {"threshold": 0.5}}}', "holds no numbers of an evaluation"),
        (
            '{"final": "x", "x": {"test": {"threshold": 0.5, "n": 1, "auc": 1, "recall": 1, '
            '"specificity": 1, "intervals": {}}}}',
            "judged another bundle or precision: it decided at 0.5, this one decides at 0.7",
        ),
    ],
)
def test_what_is_no_evaluation_of_this_bundle_is_a_sentence(tmp_path, tree, message):
    if tree is not None:
        (tmp_path / "metrics.json").write_text(tree)
    with pytest.raises(DataError, match=message):
        read_internal(tmp_path, 0.7)


def test_the_drop_comes_first_in_print_and_report(bundle, finished_run, strangers, tmp_path):
    """The run itself is the evaluation at home: its bundle was judged on its test part."""
    out = tmp_path / "away"
    answer = CliRunner().invoke(
        app,
        ["evaluate", str(bundle), str(strangers), "--out", str(out), "--internal",
         str(finished_run)],
    )  # fmt: skip
    assert answer.exit_code == 0, answer.output
    assert answer.stdout.startswith("Drop from ")
    tree = json.loads((out / "metrics.json").read_text())
    home = json.loads((finished_run / "metrics.json").read_text())["finetuned"]["test"]
    external = tree["external"]
    assert external["internal_split"] == "test"
    for row in external["drops"]:
        assert row["internal"] == home[row["name"]]
        assert row["external"] == tree["finetuned"]["all"][row["name"]]
        assert row["drop"] == pytest.approx(row["internal"] - row["external"])
        assert row["interval"][0] <= row["drop"] <= row["interval"][1]
    page = (out / "report.html").read_text()
    assert page.index("Elsewhere against at home") < page.index("What was found")


def test_images_at_home_that_the_bundle_has_seen_are_named(bundle, phantoms, tmp_path):
    from pneumoscope.evidence import describe_bundle, evaluate_subject

    out = tmp_path / "home"
    evaluate_subject(describe_bundle(bundle), phantoms, out)
    threshold = read_bundle(bundle).info.operating_points["balanced"].threshold
    found = read_internal(out, threshold)
    assert found.split == "unseen"
    assert found.notes == ()
    (out / "metrics.json").write_text(json.dumps({"final": "x", "x": {"all": dict(found.numbers)}}))
    assert "images were among those" in read_internal(out, threshold).notes[0]
