"""Recalibrating for a place: what moves, what stays, what is refused, what is recorded."""

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import pneumoscope
from pneumoscope._files import hash_file
from pneumoscope.bundle import (
    GRAPH,
    REFERENCE,
    WEIGHTS,
    Calibration,
    ImageHashes,
    pack_arrays,
    read_bundle,
    write_files,
)
from pneumoscope.cli.app import app
from pneumoscope.datasets import build_manifest, open_collection
from pneumoscope.errors import BundleError, DataError, PneumoscopeError
from pneumoscope.evidence import (
    RecalibrationPlan,
    describe_bundle,
    evaluate_subject,
    recalibrate_bundle,
)
from pneumoscope.evidence.sample_size import check_cases, count_needed, list_shortages
from pneumoscope.runtime import equal_reference


def ignore(title, done, total):
    pass


@pytest.fixture(scope="module")
def offering(bundle, tmp_path_factory):
    """The bundle, with bf16 on offer."""
    opened = read_bundle(bundle)
    info = opened.info.model_copy(update={"precisions": {"bf16": equal_reference(opened.info)}})
    files = {name: opened.file(name) for name in info.files}
    return write_files(tmp_path_factory.mktemp("offering") / "bundle", info, files).path


@pytest.fixture(scope="module")
def made(offering, strangers, tmp_path_factory):
    out = tmp_path_factory.mktemp("recalibrated") / "bundle"
    with pytest.MonkeyPatch.context() as patch:
        # Scores of a hardly trained network lie so close that bf16 may change one decision of 40.
        patch.setattr("pneumoscope.evidence.equipment.precisions.MAX_DECISIONS_CHANGED", 1)
        patch.setattr("pneumoscope.evidence.equipment.precisions.MAX_AUC_CHANGE", 1)
        return recalibrate_bundle(offering, out, RecalibrationPlan(strangers), ignore)


# -- what stays and what moves --------------------------------------------------------------------


def test_the_weights_are_equal_to_the_last_byte(made, offering):
    for name in (WEIGHTS, GRAPH):
        assert hash_file(made.bundle.path / name) == hash_file(offering / name)
    assert made.bundle.verify() == []


def test_another_bundle_is_never_written_over(made, offering, strangers):
    before = hash_file(made.bundle.path / "bundle.json")
    with pytest.raises(BundleError, match="holds a bundle, which is never overwritten"):
        recalibrate_bundle(offering, made.bundle.path, RecalibrationPlan(strangers), ignore)
    assert hash_file(made.bundle.path / "bundle.json") == before


def test_logits_stay_and_probabilities_move(made, offering, strangers):
    image = next((strangers / "NORMAL").iterdir())
    one, two = (pneumoscope.load(path).predict(image) for path in (offering, made.bundle.path))
    assert two.logit == one.logit
    assert two.probability == pytest.approx(float(made.bundle.info.calibration.apply(one.logit)))
    assert two.threshold == made.bundle.info.operating_points["balanced"].threshold


def test_probabilities_come_nearer_to_the_share_of_pneumonias(made):
    found = made.comparison
    share = found.prevalence
    assert abs(found.after["expected"].value - share) <= abs(found.before["expected"].value - share)
    assert found.after["log_loss"].value <= found.before["log_loss"].value + 0.01


def test_the_inputs_kept_are_those_of_the_sample(offering, made, strangers, tmp_path):
    """Also where the bundle kept those of other images before, or others than are known here."""
    opened = read_bundle(offering)
    stale = {name: np.zeros(7, np.float32) for name in ("input_contrast", "input_unknown")}
    files = {name: opened.file(name) for name in opened.info.files}
    files[REFERENCE] = pack_arrays(opened.reference() | stale)
    source = write_files(tmp_path / "stale", opened.info, files).path
    found = recalibrate_bundle(source, tmp_path / "out", RecalibrationPlan(strangers), ignore)
    images = build_manifest(open_collection(strangers)).frame["path"]
    contrast = [f.inputs["contrast"] for f in pneumoscope.load(offering).predict_many(images)]
    for bundle in (made.bundle, found.bundle):
        arrays = bundle.reference()
        assert arrays["input_contrast"] == pytest.approx(contrast, rel=1e-5)
        assert len(arrays["logits"]) == len(contrast)
        assert "input_unknown" not in arrays


def test_a_wrong_calibration_is_undone(offering, strangers, made, tmp_path):
    """Logits read as if they were 4 higher: the new bundle answers nearly as without."""
    opened = read_bundle(offering)
    old = opened.info.calibration
    wrong = Calibration(temperature=old.temperature, bias=old.bias + 4)
    info = opened.info.model_copy(update={"calibration": wrong, "precisions": {}})
    files = {name: opened.file(name) for name in info.files}
    source = write_files(tmp_path / "wrong", info, files).path
    found = recalibrate_bundle(source, tmp_path / "out", RecalibrationPlan(strangers), ignore)
    logits = made.bundle.reference()["logits"]
    one, two = (item.bundle.info.calibration.apply(logits) for item in (made, found))
    before = wrong.apply(logits)
    assert np.abs(one - two).mean() < np.abs(one - before).mean() / 3


def test_every_precision_gets_thresholds_of_its_own(made):
    found = made.bundle.info.precisions["bf16"]
    assert found.images == 40
    assert found.calibration != read_bundle(made.bundle.path).info.recalibrations[0].calibration
    assert pneumoscope.load(made.bundle.path, precision="bf16").precision == "bf16"


def test_a_precision_that_no_longer_agrees_is_dropped_and_said(
    offering, strangers, tmp_path, monkeypatch
):
    monkeypatch.setattr("pneumoscope.evidence.equipment.precisions.MAX_DECISIONS_CHANGED", -1)
    found = recalibrate_bundle(offering, tmp_path / "out", RecalibrationPlan(strangers), ignore)
    assert found.bundle.info.precisions == {}
    assert any("bf16 was dropped: against fp32" in note for note in found.record.notes)


def test_a_precision_that_does_not_run_here_is_dropped_and_said(
    offering, strangers, tmp_path, monkeypatch
):
    from pneumoscope.runtime import Predictor

    def refuse(bundle, *, precision="fp32", **options):
        if precision == "bf16":
            raise PneumoscopeError("This machine answers otherwise.")
        return Predictor(bundle, **options)

    monkeypatch.setattr("pneumoscope.evidence.recalibration.recalibrating.Predictor", refuse)
    found = recalibrate_bundle(offering, tmp_path / "out", RecalibrationPlan(strangers), ignore)
    assert found.bundle.info.precisions == {}
    assert any("could not be judged here: This machine" in note for note in found.notes)


# -- the record -----------------------------------------------------------------------------------


def test_the_record_says_what_was_before_and_from_what(made, offering):
    before = read_bundle(offering)
    (record,) = made.bundle.info.recalibrations
    assert record == made.record
    assert record.bundle == before.sha256
    assert record.calibration == before.info.calibration
    assert record.operating_points == before.info.operating_points
    assert record.sample.counts == {"NORMAL": 20, "PNEUMONIA": 20}
    assert record.sample.sources == ["phantom"]
    assert record.cross_fitted["n"] == 40


def test_the_card_tells_of_it(made):
    card = (made.bundle.path / "README.md").read_text(encoding="utf-8")
    assert "## Recalibration" in card
    assert made.record.sample.fingerprint[:16] in card
    change = made.record.cross_fitted["change"]["log_loss"]["interval"]
    assert f"({change[0]:.3f}–{change[1]:.3f}) |" in card
    assert "cases are few" in card


def test_a_second_recalibration_is_added_to_the_first(made, tmp_path):
    from pneumoscope.datasets.phantom import write_phantoms

    write_phantoms(tmp_path / "others", 70, seed=123, size=64)
    plan = RecalibrationPlan(tmp_path / "others")
    found = recalibrate_bundle(made.bundle.path, tmp_path / "out", plan, ignore)
    records = found.bundle.info.recalibrations
    assert [record.bundle for record in records][1] == made.bundle.sha256
    assert records[0] == made.record


def test_the_sample_counts_as_seen_from_then_on(made, strangers, tmp_path):
    frame = build_manifest(open_collection(strangers)).frame
    images = ImageHashes(tuple(frame["sha256"]), tuple(frame["phash"]))
    assert made.bundle.training_images().find(images).all()
    judged = evaluate_subject(describe_bundle(made.bundle.path), strangers, tmp_path / "judged")
    assert any("trained or chosen on" in text for text in judged.warnings)


# -- what is refused or warned of -----------------------------------------------------------------


def test_images_that_the_bundle_has_seen_are_refused(offering, phantoms, tmp_path):
    with pytest.raises(DataError, match="trained the bundle or set its thresholds, or are of"):
        recalibrate_bundle(offering, tmp_path / "out", RecalibrationPlan(phantoms), ignore)
    assert not (tmp_path / "out").exists()


def test_too_few_cases_are_refused_with_the_reason(offering, strangers, tmp_path):
    frame = build_manifest(open_collection(strangers)).frame
    few = pl.concat([frame.filter(pl.col("label") == "NORMAL"),
                     frame.filter(pl.col("label") == "PNEUMONIA").head(9)])  # fmt: skip
    few.select("path", "label").write_csv(tmp_path / "few.csv")
    with pytest.raises(
        DataError, match=r"\d PNEUMONIA cases .* up to \d\d% may be wrong .* At least 10"
    ):
        recalibrate_bundle(
            offering, tmp_path / "out", RecalibrationPlan(tmp_path / "few.csv"), ignore
        )


def test_images_of_one_patient_are_one_case(offering, strangers, tmp_path):
    frame = build_manifest(open_collection(strangers)).frame
    rows = frame.select("path", "label").with_row_index("row")
    pairs = rows.with_columns(patient=pl.format("p{}", pl.col("row") // 4)).drop("row")
    pairs.write_csv(tmp_path / "pairs.csv")
    with pytest.raises(DataError, match=r"has 5 \w+ cases"):
        recalibrate_bundle(
            offering, tmp_path / "out", RecalibrationPlan(tmp_path / "pairs.csv"), ignore
        )


def test_the_bundle_itself_is_not_overwritten(offering, strangers):
    with pytest.raises(PneumoscopeError, match="is the bundle itself"):
        recalibrate_bundle(offering, offering, RecalibrationPlan(strangers), ignore)


def test_a_split_that_is_not_there_is_a_sentence(offering, strangers, tmp_path):
    plan = RecalibrationPlan(strangers, split="val")
    with pytest.raises(DataError, match="The data has no split 'val', it has none"):
        recalibrate_bundle(offering, tmp_path / "out", plan, ignore)


def test_sizes_follow_the_rule_of_three():
    assert [count_needed(share) for share in (0.9, 0.975, 0.98, 0.99)] == [30, 120, 150, 300]
    targets = {"PNEUMONIA": 0.975, "NORMAL": 0.98}
    assert list_shortages({"PNEUMONIA": 120, "NORMAL": 150}, targets) == []
    (said,) = list_shortages({"PNEUMONIA": 40, "NORMAL": 150}, targets)
    assert "known to 87%–100% only; to support it takes 120" in said
    check_cases({"NORMAL": 10, "PNEUMONIA": 10})
    with pytest.raises(DataError, match=r"0 NORMAL cases .* both classes"):
        check_cases({"NORMAL": 0, "PNEUMONIA": 10})


# -- cross-fitting --------------------------------------------------------------------------------


def test_no_image_is_judged_by_a_fit_that_it_was_part_of():
    from pneumoscope.evidence.recalibration.crossfitting import compare_by_folds

    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 60)
    logits = np.arange(60, dtype=np.float32)  # the logit names the image
    groups = [f"g{row // 2}" for row in range(60)]
    points = read_points()
    seen = []

    def fit(known_labels, known_logits):
        seen.append(set(known_logits.astype(int) // 2))
        return Calibration(), points

    found = compare_by_folds(labels, logits, groups, (Calibration(), points), fit)
    assert len(seen) == 5
    assert all(len(known) < 30 for known in seen)
    assert sum(30 - len(known) for known in seen) == 30  # each group was left out just once
    for name, change in found.change.items():
        assert change.value == 0, name


def read_points():
    from pneumoscope.bundle import OperatingPointInfo

    return {name: OperatingPointInfo(threshold=0.5, target="half")
            for name in ("rule_out", "balanced", "rule_in")}  # fmt: skip


# -- the command ----------------------------------------------------------------------------------


def test_the_command_says_before_and_after(offering, strangers, tmp_path):
    out = tmp_path / "ours"
    answer = CliRunner().invoke(
        app, ["recalibrate", str(offering), str(strangers), "--out", str(out)]
    )
    assert answer.exit_code == 0, answer.output
    for words in ("log loss", "sensitivity", "each judged by a fit", "NORMAL below", "not a diag"):
        assert words in answer.stdout
    assert "cases are few" in answer.stderr
    assert len(read_bundle(out).info.recalibrations) == 1
    assert CliRunner().invoke(app, ["bundle", "show", str(out)]).exit_code == 0
