"""What breaks a model first is found: planted weaknesses, and the trained bundle's own."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from pneumoscope.bundle import OperatingPointInfo
from pneumoscope.evaluation import Interval
from pneumoscope.evaluation.paired_drop import Drop
from pneumoscope.evidence import (
    Questions,
    RobustnessPlan,
    describe_bundle,
    evaluate_subject,
    measure_robustness,
)
from pneumoscope.evidence.robustness.measurement import draw_sample
from pneumoscope.evidence.robustness.result import TOLERANCES
from pneumoscope.evidence.robustness.shifts import SHIFTS
from pneumoscope.evidence.robustness.writing import plot_robustness, write_robustness
from pneumoscope.images import PreprocessingSpec

SIDE = 32
BY_NAME = {shift.name: shift for shift in SHIFTS}


class _Answers(NamedTuple):
    logits: np.ndarray


class _Planted:
    """Answers by one number of a square, scaled so that 0 divides the classes."""

    preprocessing = PreprocessingSpec(size=SIDE)

    def __init__(self, measure, thresholds=(0.3, 0.5, 0.7)):
        self._measure = measure
        names = ("rule_out", "balanced", "rule_in")
        self.operating_points = {
            name: OperatingPointInfo(threshold=threshold, target="planted")
            for name, threshold in zip(names, thresholds, strict=True)
        }

    def predict_pixels(self, squares):
        return _Answers(np.array([self._measure(s / 255.0) for s in squares], np.float32))

    def calibrate(self, logits):
        return 1 / (1 + np.exp(-np.asarray(logits, np.float64)))


#: Pneumonias are brighter in the middle; the edge is dark.
LABELS = np.arange(60) % 2
PATIENTS = [f"p{row // 3}" for row in range(60)]


@pytest.fixture(scope="module")
def squares():
    rng = np.random.default_rng(2)
    down, across = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    disc = np.exp(-3 * (down**2 + across**2))
    levels = 0.5 + 0.14 * LABELS + rng.normal(0, 0.015, 60)
    return np.stack([(disc * level * 255).astype(np.uint8) for level in levels])


def _measure(classifier, squares, *names, **options):
    plan = RobustnessPlan(shifts=[BY_NAME[n] for n in names] if names else SHIFTS, **options)
    return measure_robustness(classifier, squares, LABELS, PATIENTS, plan=plan)


@pytest.fixture(scope="module")
def by_brightness(squares):
    middle = np.mean([s.mean() / 255 for s in squares])
    return _Planted(lambda square: (square.mean() - middle) * 300)


@pytest.fixture(scope="module")
def result(by_brightness, squares):
    return _measure(by_brightness, squares, "light", "gamma_light", "rotation", "translation",
                    "noise")  # fmt: skip


# -- what breaks ----------------------------------------------------------------------------------


def test_a_model_that_reads_brightness_is_broken_by_brightness_and_not_by_a_turn(result):
    found = {r.shift.name: r.breaks_at for r in result.shifts}
    assert result.unshifted.numbers["auc"].value == 1
    assert found["rotation"] is None
    assert found["noise"] is None or found["noise"].strength > 2
    assert found["light"].strength == 1
    assert {r.shift.name for r in result.ranking[:2]} == {"light", "gamma_light"}
    assert "brightness raised, at strength 1" in result.describe() or "gamma" in result.describe()


def test_a_model_that_reads_the_corners_is_broken_by_what_moves_or_covers_them(squares):
    marked = squares.copy()
    marked[LABELS == 1, :2, :2] = 255
    classifier = _Planted(lambda square: (square[:2, :2].mean() - 0.5) * 20)
    result = _measure(classifier, marked, "corners", "blur", "flat", "gamma_dark")
    assert result.ranking[0].shift.name == "corners"
    level = result.ranking[0].breaks_at
    assert level.strength == 1
    assert level.numbers["sensitivity"].value == 0
    assert level.drops["sensitivity"].value == 1
    assert level.broken[0] in {"auc", "sensitivity"}


def test_a_constant_answer_breaks_under_nothing(squares):
    result = _measure(_Planted(lambda square: 1.0), squares, "noise", "inversion")
    assert result.ranking == []
    assert "No shift breaks it" in result.describe()
    assert result.unshifted.numbers["sensitivity"].value == 1
    assert result.to_dict()["breaks_first"] == []


def test_a_loss_breaks_only_beyond_its_tolerance_and_beyond_chance(result):
    level = result.unshifted

    def broken(value, low):
        drop = Drop(value, Interval(low, 2 * value))
        return replace(level, drops={"sensitivity": drop}).broken

    limit = TOLERANCES["sensitivity"]
    assert broken(limit, 0.001) == ["sensitivity"]
    assert broken(limit - 0.001, 0.001) == []
    assert broken(limit + 0.2, 0.0) == []


def test_the_weakest_strength_ranks_first_then_the_largest_loss(result):
    def fake(strengths_lost):
        levels = [
            replace(
                result.unshifted,
                strength=strength,
                drops={"auc": Drop(strengths_lost.get(strength, 0), Interval(0.01, 1))},
            )
            for strength in range(1, 6)
        ]
        return replace(result.shifts[0], levels=tuple(levels))

    late, early, worse = fake({4: 0.5}), fake({2: 0.1}), fake({2: 0.2, 3: 0.0})
    ranked = replace(result, shifts=(late, early, worse, fake({}))).ranking
    assert ranked == [worse, early, late]


# -- numbers --------------------------------------------------------------------------------------


def test_refer_counts_as_flagged_and_is_counted(squares):
    # Everything scores 0.5: between the thresholds.
    result = _measure(_Planted(lambda square: 0.0), squares, "noise")
    band = result.unshifted.by_band
    assert (band["referred"].value, band["sensitivity"].value) == (1, 1)
    assert band["specificity"].value == 0
    assert result.unshifted.as_decided is None


def test_every_number_has_an_interval_that_holds_it(result):
    for level in (result.unshifted, *(lv for r in result.shifts for lv in r.levels)):
        for number in (*level.numbers.values(), *level.by_band.values()):
            assert number.interval.low - 1e-12 <= number.value <= number.interval.high + 1e-12
        assert set(level.drops) == (set() if level.strength == 0 else set(TOLERANCES))
        for name, drop in level.drops.items():
            before = result.unshifted.numbers[name].value
            assert drop.value == pytest.approx(before - level.numbers[name].value)


def test_the_same_seed_gives_the_same_result(by_brightness, squares, result):
    again = _measure(by_brightness, squares, "light", "gamma_light", "rotation", "translation",
                     "noise")  # fmt: skip
    assert json.dumps(again.to_dict()) == json.dumps(result.to_dict())
    other = _measure(by_brightness, squares, "translation", seed=1)
    assert other.to_dict()["shifts"][0] != result.to_dict()["shifts"][3]


def test_progress_counts_every_image(by_brightness, squares):
    seen = []
    plan = RobustnessPlan(
        shifts=[BY_NAME["dark"]], progress=lambda done, total: seen.append((done, total))
    )
    measure_robustness(by_brightness, squares, LABELS, plan=plan)
    assert seen[-1] == (360, 360)


# -- the sample -----------------------------------------------------------------------------------


def test_a_sample_keeps_patients_whole_and_classes_in_proportion(rng):
    sizes = rng.integers(1, 6, 200)
    patients = [f"p{i}" for i, size in enumerate(sizes) for _ in range(size)]
    labels = np.array([int(i % 4 != 0) for i, size in enumerate(sizes) for _ in range(size)])
    rows = draw_sample(labels, patients, 100, seed=1)
    assert 90 <= len(rows) <= 100
    assert (np.diff(rows) > 0).all()
    taken = {patients[row] for row in rows}
    assert all((row in rows) == (patients[row] in taken) for row in range(len(labels)))
    assert labels[rows].mean() == pytest.approx(labels.mean(), abs=0.05)
    assert not np.array_equal(rows, draw_sample(labels, patients, 100, seed=2))
    assert np.array_equal(rows, draw_sample(labels, patients, 100, seed=1))


def test_a_class_of_one_large_patient_is_in_the_sample_all_the_same():
    labels = np.array([0] * 30 + [1] * 12)
    patients = [None] * 30 + ["only"] * 12
    rows = draw_sample(labels, patients, 10, seed=0)
    assert labels[rows].sum() == 12
    assert len(draw_sample(labels, None, 10, seed=0)) == 10
    assert len(draw_sample(labels, patients, 42, seed=0)) == 42


# -- files ----------------------------------------------------------------------------------------


def test_the_files_say_what_was_found(result, tmp_path):
    figures = write_robustness(tmp_path, result)
    tree = json.loads((tmp_path / "robustness.json").read_text())
    assert tree["schema"] == "pneumoscope.robustness/1"
    assert tree["sentence"] == result.describe()
    assert [s["name"] for s in tree["shifts"]] == [r.shift.name for r in result.shifts]
    assert [level["strength"] for level in tree["shifts"][0]["levels"]] == [1, 2, 3, 4, 5]
    for png in figures.values():
        with Image.open(png) as image:
            assert np.asarray(image.convert("L")).std() > 5
        assert "<svg" in png.with_suffix(".svg").read_text()
    curves = tmp_path / "figures" / "robustness.svg"
    assert "stroke-dasharray" in curves.read_text()  # lines differ by more than colour
    again = plot_robustness(result, tmp_path / "again")
    assert again.read_bytes() == curves.with_suffix(".png").read_bytes()


# -- within an evaluation -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def evaluated(erring_bundle, strangers, tmp_path_factory):
    out = tmp_path_factory.mktemp("shifted") / "out"
    plan = RobustnessPlan(24, shifts=[BY_NAME["noise"], BY_NAME["flat"]])
    return evaluate_subject(
        describe_bundle(erring_bundle), strangers, out, questions=Questions(robustness=plan)
    ), plan


def test_an_evaluation_with_shifts_reports_them(evaluated):
    result, _ = evaluated
    short = result.metrics[result.stage][result.split]["robustness"]
    tree = json.loads((result.out / "robustness.json").read_text())
    assert json.loads((result.out / "metrics.json").read_text()) == result.metrics
    assert short["images"] == tree["images"] == 24
    assert short["sentence"] == tree["sentence"]
    page = (result.out / "report.html").read_text()
    assert "each changed in 2 ways at five strengths" in page
    assert "contrast lowered" in page
    assert page.count('alt="Robustness') == 2


def test_what_the_gate_would_stop_stands_beside_the_numbers(evaluated):
    result, _ = evaluated
    tree = json.loads((result.out / "robustness.json").read_text())
    plain = tree["unshifted"]
    assert plain["as_decided"]["rejected"]["value"] == 0
    # Six parts in seven of the contrast are gone: the gate calls that blank.
    flat = tree["shifts"][1]["levels"][-1]
    assert flat["as_decided"]["rejected"]["value"] == flat["stopped"] > 0.9
    assert flat["as_decided"]["specificity"]["value"] < 0.1
    assert flat["auc"]["value"] is not None


def test_a_break_amid_shifts_leaves_the_evaluation_whole(
    erring_bundle, strangers, evaluated, tmp_path
):
    def stop(done, total):
        raise KeyboardInterrupt

    _, plan = evaluated
    out = tmp_path / "out"
    questions = Questions(robustness=replace(plan, progress=stop))
    with pytest.raises(KeyboardInterrupt):
        evaluate_subject(describe_bundle(erring_bundle), strangers, out, questions=questions)
    assert (out / "report.html").is_file()
    assert (out / "metrics.json").is_file()
    assert not (out / "robustness.json").exists()


def test_an_evaluation_without_shifts_leaves_none_of_an_earlier_one(
    erring_bundle, strangers, evaluated, tmp_path
):
    earlier, _ = evaluated
    out = tmp_path / "out"
    shutil.copytree(earlier.out, out)
    evaluate_subject(describe_bundle(erring_bundle), strangers, out)
    assert not (out / "robustness.json").exists()
    assert not list((out / "figures").glob("shifts.*"))
    assert (
        "Not asked: <code>pneumoscope evaluate --robustness</code>"
        in (out / "report.html").read_text()
    )
