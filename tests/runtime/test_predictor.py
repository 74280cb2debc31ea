"""An image becomes a finding: the same one from a path, bytes or pixels, alone or among others."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

import pneumoscope
from pneumoscope.bundle import read_bundle, write_files
from pneumoscope.errors import BundleError, ImageError, PneumoscopeError
from pneumoscope.images import normalise, read, resample
from pneumoscope.network import load_network
from pneumoscope.runtime import ENGINES, Decision, Finding, Status, WarningCode

FIELDS = [
    "schema", "path", "sha256", "status", "decision", "probability", "logit", "operating_point",
    "threshold", "rule_out", "rule_in", "warnings", "message", "precision", "bundle",
]  # fmt: skip


@pytest.fixture(scope="module")
def predictor(bundle):
    return pneumoscope.load(bundle)


@pytest.fixture(scope="module")
def images(phantoms):
    return (
        sorted((phantoms / "NORMAL").iterdir())[:6] + sorted((phantoms / "PNEUMONIA").iterdir())[:6]
    )


def decide(probability, rule_out, rule_in):
    if probability < rule_out:
        return Decision.NORMAL
    return Decision.PNEUMONIA if probability >= rule_in else Decision.REFER


# -- one image ------------------------------------------------------------------------------------


def test_a_finding_says_what_was_decided_and_why(predictor, images):
    finding = predictor.predict(images[0])
    assert finding.status is Status.OK
    assert finding.decision is decide(finding.probability, finding.rule_out, finding.rule_in)
    assert finding.probability == pytest.approx(1 / (1 + np.exp(-finding.logit)))
    assert finding.rule_out <= finding.threshold <= finding.rule_in
    assert finding.operating_point == "referral_band"
    assert finding.bundle == predictor.bundle.sha256
    assert finding.warnings == (WarningCode.PHANTOM_MODEL,)
    assert finding.message.startswith(f"{finding.decision}: probability ")
    assert finding.activation_map.shape == (2, 2)  # 64 pixels / 32


def test_a_record_has_exactly_these_fields_in_this_order(predictor, images):
    record = predictor.predict(images[0]).to_record()
    assert list(record) == FIELDS
    assert json.loads(json.dumps(record)) == record
    assert record["schema"] == "pneumoscope.finding/1"
    assert list(Finding(path="x", status=Status.ERROR).to_record()) == FIELDS


def test_path_text_bytes_and_radiograph_are_the_same_image(predictor, images):
    expected = predictor.predict(images[0]).to_record()
    assert expected["path"] == str(images[0])
    for form in (str(images[0]), read(images[0])):
        assert predictor.predict(form).to_record() == expected
    from_bytes = predictor.predict(images[0].read_bytes(), name=str(images[0]))
    assert from_bytes.to_record() == expected
    assert predictor.predict(images[0].read_bytes()).path == "image"


def test_pixels_are_answered_as_their_interpretation_says(predictor, images):
    expected = predictor.predict(images[0]).logit
    grey = np.asarray(Image.open(images[0]))
    forms = {
        "MONOCHROME2": grey,
        "MONOCHROME1": 255 - grey,
        "RGB": np.repeat(grey[..., None], 3, 2),
    }
    for interpretation, pixels in forms.items():
        assert predictor.predict(pixels, interpretation).logit == pytest.approx(expected, abs=1e-5)
    deep = predictor.predict(grey.astype(np.uint16) * 257, "MONOCHROME2", name="deep")
    assert deep.logit == pytest.approx(expected, abs=1e-3)
    assert deep.path == "deep"
    assert predictor.predict(255 - grey, "MONOCHROME2").logit != pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("pixels", "interpretation", "sentence"),
    [
        (np.zeros((9, 9), np.uint8), None, "needs its photometric interpretation"),
        (np.zeros((9, 9), np.uint8), "INVERTED", "must be MONOCHROME1, MONOCHROME2 or RGB"),
        (np.zeros((9, 9)), "MONOCHROME2", "must be a uint8 or uint16 array, found float64"),
        (np.zeros((9, 9), np.uint8), "RGB", "RGB takes shape"),
    ],
)
def test_pixels_of_unknown_meaning_are_refused(predictor, pixels, interpretation, sentence):
    with pytest.raises(ImageError, match=sentence):
        predictor.predict(pixels, interpretation)


@pytest.mark.parametrize("content", [b"", b"no image", b"\xff\xd8\xff\xe0 half a JPEG"])
def test_one_bad_image_is_an_error(predictor, content):
    with pytest.raises(ImageError, match="image"):
        predictor.predict(content)


# -- many images ----------------------------------------------------------------------------------


def test_findings_come_in_order_and_as_they_do_alone(predictor, images):
    many = list(predictor.predict_many(images * 3, jobs=3))
    assert [finding.path for finding in many] == [str(path) for path in images * 3]
    for path, finding in zip(images, many[len(images) :], strict=False):
        alone = predictor.predict(path)
        assert finding.decision is alone.decision
        assert finding.probability == pytest.approx(alone.probability, abs=1e-6)


def test_bad_files_do_not_stop_the_others(predictor, images, tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "cut.jpeg").write_bytes(images[0].read_bytes()[:-200])
    bad = [tmp_path / name for name in ("empty.png", "text.jpg", "cut.jpeg", "gone.png")]
    mixed = [x for pair in zip(images[:4], bad, strict=True) for x in pair] + [tmp_path, b""]
    found = list(predictor.predict_many(mixed))
    assert [f.status for f in found] == [Status.OK, Status.ERROR] * 4 + [Status.ERROR] * 2
    assert [f.path for f in found[:-1]] == [str(path) for path in mixed[:-1]]
    for finding in found[1::2]:
        record = finding.to_record()
        assert record["decision"] is record["probability"] is record["sha256"] is None
        assert record["message"].endswith(".")
        assert "\n" not in record["message"]
        assert record["bundle"] == predictor.bundle.sha256
    assert [f.logit for f in found[:8:2]] == pytest.approx(
        [predictor.predict(p).logit for p in images[:4]], abs=1e-5
    )


def test_only_bad_files_are_answered_too(predictor):
    assert [f.status for f in predictor.predict_many([b""] * 20)] == [Status.ERROR] * 20
    assert list(predictor.predict_many([])) == []


def test_a_stream_is_read_only_a_little_ahead(predictor, images):
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield images[0]

    findings = predictor.predict_many(endless(), jobs=2)
    for _ in range(10):
        next(findings)
    findings.close()
    assert len(taken) < 50


def test_one_predictor_serves_many_threads(predictor, images):
    expected = [predictor.predict(path).logit for path in images]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda path: predictor.predict(path).logit, images * 4))
    assert found == pytest.approx(expected * 4, abs=1e-6)


# -- operating points, bundles, engines -----------------------------------------------------------


@pytest.mark.parametrize("name", ["rule_out", "balanced", "rule_in"])
def test_an_operating_point_brings_its_threshold(bundle, images, name):
    predictor = pneumoscope.load(bundle, operating_point=name)
    finding = predictor.predict(images[0])
    assert finding.operating_point == name
    assert finding.threshold == read_bundle(bundle).info.operating_points[name].threshold


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"operating_point": "best"}, "no operating point 'best': it has rule_out, balanced, rule"),
        ({"engine": "tensorrt"}, "takes openvino or onnxruntime, found 'tensorrt'"),
        ({"precision": "int4"}, "takes fp32, bf16, int8, auto, found 'int4'"),
    ],
)
def test_what_there_is_not_is_answered_with_what_there_is(bundle, options, sentence):
    with pytest.raises(PneumoscopeError, match=sentence):
        pneumoscope.load(bundle, **options)


def test_no_bundle_is_said(tmp_path):
    with pytest.raises(BundleError, match="There is no bundle at"):
        pneumoscope.load(tmp_path / "nowhere")


def test_calibration_moves_the_probability_and_not_the_logit(bundle, images, tmp_path):
    opened = read_bundle(bundle)
    files = {name: opened.file(name) for name in opened.info.files}
    calibration = opened.info.calibration.model_copy(update={"temperature": 2.0, "bias": 0.5})
    info = opened.info.model_copy(update={"calibration": calibration})
    write_files(tmp_path / "calibrated", info, files)
    before = pneumoscope.load(bundle).predict(images[0])
    after = pneumoscope.load(tmp_path / "calibrated").predict(images[0])
    assert after.logit == before.logit
    assert after.probability == pytest.approx(1 / (1 + np.exp(-(before.logit / 2 + 0.5))))


def _compare_engines(bundle, paths, at_most=1e-3):
    """Check that PyTorch and both engines answer alike; all start from the same files."""
    opened = read_bundle(bundle)
    spec = opened.info.preprocessing
    squares = np.stack([resample(read(path, target_size=spec.size), spec) for path in paths])
    with torch.inference_mode():
        expected = load_network(opened).explain(torch.from_numpy(normalise(squares, spec)))
    probabilities = opened.info.calibration.apply(expected.logit.numpy())
    for engine in ENGINES:
        found = list(pneumoscope.load(bundle, engine=engine).predict_many(paths))
        assert all(f.status is Status.OK for f in found)
        assert np.abs([f.probability for f in found] - probabilities).max() <= at_most
        maps = np.stack([f.activation_map for f in found])
        scale = expected.activation_map.abs().max()
        assert np.abs(maps - expected.activation_map.numpy()).max() <= 1e-3 * max(1, scale)


def test_all_engines_agree_on_phantoms(bundle, images):
    _compare_engines(bundle, images)


@pytest.mark.real_data
def test_all_engines_agree_on_real_radiographs(bundle, real_data):
    paths = sorted(p for p in real_data.rglob("*") if p.suffix.lower() in {".jpeg", ".jpg", ".png"})
    assert len(paths) >= 16
    _compare_engines(bundle, paths[:: len(paths) // 16][:16])


def test_a_stream_takes_arrays_and_outlives_what_is_no_image(predictor, images):
    pixels = np.asarray(Image.open(images[0]).convert("L"))
    odd = [(pixels, "MONOCHROME2"), None, 17, (pixels, "HSV"), (pixels * 1.0, "MONOCHROME2")]
    found = list(predictor.predict_many([*odd, images[0]]))
    assert [finding.status for finding in found] == ["ok", *["error"] * 4, "ok"]
    assert found[0].probability == pytest.approx(found[-1].probability, abs=1e-6)
    assert found[0].path == "array"


@pytest.mark.parametrize("engine", ENGINES)
def test_streams_side_by_side_answer_as_one_alone(bundle, images, engine):
    one = pneumoscope.load(bundle, engine=engine)
    two = pneumoscope.load(bundle, engine=engine, streams=2)
    for alone, beside in zip(one.predict_many(images), two.predict_many(images), strict=True):
        assert beside.decision == alone.decision
        assert beside.logit == pytest.approx(alone.logit, abs=1e-4)


def test_without_a_number_there_is_no_decision(bundle, images, monkeypatch):
    predictor = pneumoscope.load(bundle)
    engine = predictor._engine

    class Broken:
        def run(self, batch):
            outputs = engine.run(batch)
            return outputs._replace(logits=np.full_like(outputs.logits, np.nan))

    monkeypatch.setattr(predictor, "_engine", Broken())
    finding = predictor.predict(images[0])
    assert finding.status is Status.ERROR
    assert finding.decision is None
    assert "no finite number" in finding.message


def test_at_least_one_stream_is_needed(bundle):
    with pytest.raises(PneumoscopeError, match="At least one stream is needed, found 0"):
        pneumoscope.load(bundle, streams=0)
