"""Equipping a bundle: what is fitted on held-out images, and what is refused."""

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import pneumoscope
from pneumoscope.bundle import GOLDEN, WEIGHTS, LicenceInfo, read_bundle
from pneumoscope.cli.app import app
from pneumoscope.datasets import read_manifest
from pneumoscope.errors import DataError
from pneumoscope.evidence import Equipment, equip_bundle
from pneumoscope.network import fold_graph, quantise_graph
from pneumoscope.runtime import INPUTS, read_inputs


def ignore(title, done, total):
    pass


def spoil(bundle, images):
    """Return a graph of other weights, as a quantiser that went wrong would."""
    del images
    model = fold_graph(bundle.file("model.onnx"))
    head = next(t for t in model.graph.initializer if t.name.startswith("fc.weight"))
    head.raw_data = (-np.frombuffer(head.raw_data, np.float32)).tobytes()
    return model.SerializeToString()


@pytest.fixture(scope="module")
def manifest(finished_run):
    return finished_run / "manifest.parquet"


@pytest.fixture(scope="module")
def equipped(bundle, manifest, tmp_path_factory):
    out = tmp_path_factory.mktemp("equipped") / "bundle"
    plan = Equipment(
        manifest,
        quantiser=quantise_graph,
        licence=LicenceInfo(name="CC-BY-4.0", attribution="The phantoms' makers"),
    )
    return equip_bundle(bundle, out, plan, ignore).bundle


def test_weights_stay_and_what_was_held_out_is_kept_to_compare_with(equipped, bundle, manifest):
    before = read_bundle(bundle)
    assert equipped.info.files[WEIGHTS] == before.info.files[WEIGHTS]
    assert equipped.training_images() == before.training_images()
    held = read_manifest(manifest).filter(split="val")
    arrays = equipped.reference()
    assert len(arrays["logits"]) == held.height
    assert arrays["labels"].tolist() == (held["label"] == "PNEUMONIA").to_list()
    assert equipped.info.licence.name == "CC-BY-4.0"


def test_the_inputs_of_the_calibration_part_are_kept_in_the_order_of_its_logits(equipped, manifest):
    held = read_manifest(manifest).filter(split="val")
    arrays = equipped.reference()
    kept = read_inputs(arrays)
    assert tuple(kept) == INPUTS
    found = list(pneumoscope.load(equipped.path).predict_many(held["path"]))
    for name, values in kept.items():
        assert values.dtype == np.float32
        assert values == pytest.approx([finding.inputs[name] for finding in found], rel=1e-3), name
    answered = [row for row, finding in enumerate(found) if finding.logit is not None]
    assert [found[row].logit for row in answered] == pytest.approx(
        arrays["logits"][answered], abs=1e-4
    )


def test_probabilities_hold_on_the_calibration_part(equipped):
    arrays = equipped.reference()
    probabilities = equipped.info.calibration.apply(arrays["logits"])
    assert probabilities.mean() == pytest.approx(arrays["labels"].mean(), abs=0.02)


def test_every_precision_says_how_near_it_came(equipped):
    assert set(equipped.info.precisions) == {"bf16", "int8"}
    for name, found in equipped.info.precisions.items():
        assert found.images == len(equipped.reference()["logits"])
        near = abs(found.auc_change) <= 0.002 and found.decisions_changed <= 0.005
        assert found.accepted == near, name
        assert equipped.info.has(found.graph) == (near or found.graph == "model.onnx")


def test_golden_images_are_answered_as_recorded(equipped):
    arrays = equipped.arrays(GOLDEN)
    assert arrays["squares"].shape == (4, 64, 64)
    predictor = pneumoscope.load(equipped.path)
    answers = predictor.predict_pixels(arrays["squares"]).logits
    assert answers == pytest.approx(arrays["logits_fp32"], abs=1e-4)


def test_an_int8_graph_that_decides_otherwise_is_not_shipped(bundle, manifest, tmp_path):
    made = equip_bundle(
        bundle, tmp_path / "out", Equipment(manifest, quantiser=spoil), ignore
    ).bundle
    found = made.info.precisions["int8"]
    assert not found.accepted
    assert abs(found.auc_change) > 0.002
    assert not made.info.has("model.int8.onnx")
    assert pneumoscope.load(made.path, precision="auto").precision in {"fp32", "bf16"}


def test_of_another_population_only_the_part_to_learn_from_is_read(bundle, manifest, tmp_path):
    frame = read_manifest(manifest)
    learnt = []
    for name, rows in (("whole", frame), ("half", frame.filter(split="train"))):
        outside = tmp_path / f"{name}.csv"
        rows.select("path", "label", "split").write_csv(outside)
        plan = Equipment(manifest, outside=outside)
        made = equip_bundle(bundle, tmp_path / name, plan, ignore).bundle
        learnt.append(made.reference()["population_weight"])
    np.testing.assert_array_equal(*learnt)


def test_data_without_the_splits_of_training_is_refused(bundle, phantoms, tmp_path):
    with pytest.raises(DataError, match="has no split 'train': equipping takes the manifest of"):
        equip_bundle(bundle, tmp_path / "out", Equipment(phantoms), ignore)


def test_a_calibration_part_without_one_of_the_classes_is_refused(bundle, manifest, tmp_path):
    rows = read_manifest(manifest).filter(
        (pl.col("split") == "train") | (pl.col("label") == "NORMAL")
    )
    rows.select("path", "label", "split", "patient").write_csv(tmp_path / "healthy.csv")
    with pytest.raises(DataError, match=r"val part of .*healthy\.csv has no PNEUMONIA image"):
        equip_bundle(bundle, tmp_path / "out", Equipment(tmp_path / "healthy.csv"), ignore)
    assert not (tmp_path / "out").exists()


def test_the_command_says_what_was_fitted(bundle, manifest, tmp_path):
    out = tmp_path / "ready"
    answer = CliRunner().invoke(
        app, ["bundle", "equip", str(bundle), str(manifest), "--out", str(out), "--no-int8"]
    )
    assert answer.exit_code == 0, answer.output
    held = read_manifest(manifest).filter(split="val")
    for label, needed in (("NORMAL", 150), ("PNEUMONIA", 120)):
        cases = held.filter(label=label)["group"].n_unique()
        assert f"Warning: {cases} {label} cases are few: a s" in answer.stderr
        assert f"to support it takes {needed} (rule of three)." in answer.stderr
    assert "NORMAL below" in answer.stdout
    assert "bf16 " in answer.stdout
    assert read_bundle(out).info.precisions.keys() == {"bf16"}
