"""Starting a model: compiled models that are kept, golden images, precisions on offer."""

import io

import numpy as np
import pytest
import torch

import pneumoscope
from pneumoscope.bundle import GOLDEN, GRAPH, ImageHashes, PrecisionInfo, read_bundle, write_files
from pneumoscope.errors import BundleError, PneumoscopeError
from pneumoscope.network import load_network, save_bundle
from pneumoscope.runtime import measure_deviation, start_engine

SQUARES = np.random.default_rng(3).integers(0, 256, (4, 64, 64), np.uint8)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("PNEUMOSCOPE_CACHE", str(folder))
    return folder


def rewrite(source, target, *, files=None, **changes):
    """Copy a bundle with other files or another description."""
    opened = read_bundle(source)
    kept = {name: opened.file(name) for name in opened.info.files}
    return write_files(target, opened.info.model_copy(update=changes), kept | (files or {})).path


def pack(**arrays):
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def offer(info, **changes):
    """Describe a precision whose numbers are those of fp32."""
    fields = {
        "graph": GRAPH,
        "calibration": info.calibration,
        "operating_points": info.operating_points,
        "images": 100,
        "auc_change": 0.0001,
        "decisions_changed": 0.0,
        "probability_change": 0.002,
        "accepted": True,
    }
    return PrecisionInfo(**fields | changes)


# -- compiled models ------------------------------------------------------------------------------


def test_other_weights_in_the_same_place_give_other_answers(bundle, tmp_path):
    """The graph's bytes are the same in both: only the weights beside it differ."""
    place = tmp_path / "model"
    rewrite(bundle, place)
    before = pneumoscope.load(place).predict_pixels(SQUARES).logits
    again = pneumoscope.load(place).predict_pixels(SQUARES).logits
    assert (before == again).all()
    network = load_network(bundle)
    with torch.no_grad():
        network.fc.weight.mul_(-1)
        network.fc.bias.mul_(-1)
    info = read_bundle(bundle).info
    save_bundle(
        place,
        network,
        info,
        reference=read_bundle(bundle).reference(),
        training_images=ImageHashes(),
    )
    after = pneumoscope.load(place).predict_pixels(SQUARES).logits
    assert after == pytest.approx(-before, abs=1e-5)


def test_a_second_start_finds_the_compiled_model(bundle, cache):
    pneumoscope.load(bundle)
    kept = {path: path.stat().st_mtime_ns for path in cache.rglob("*.blob")}
    assert kept
    pneumoscope.load(bundle)
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*.blob")} == kept


@pytest.mark.parametrize("seed", range(3))
def test_a_damaged_compiled_model_is_not_run(bundle, cache, seed):
    expected = pneumoscope.load(bundle).predict_pixels(SQUARES).logits
    (blob,) = cache.rglob("*.blob")
    data = np.frombuffer(blob.read_bytes(), np.uint8).copy()
    data[np.random.default_rng(seed).integers(0, len(data), 512)] ^= 0x40
    blob.write_bytes(data.tobytes())
    assert (pneumoscope.load(bundle).predict_pixels(SQUARES).logits == expected).all()


def test_without_room_for_compiled_models_answers_are_the_same(bundle, cache, tmp_path):
    expected = pneumoscope.load(bundle).predict_pixels(SQUARES).logits
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PNEUMOSCOPE_CACHE", str(blocked))
        assert (pneumoscope.load(bundle).predict_pixels(SQUARES).logits == expected).all()


def test_only_the_compiled_models_used_last_are_kept(bundle, cache):
    for number in range(15):
        (cache / "compiled" / f"old{number}").mkdir(parents=True)
    pneumoscope.load(bundle)
    kept = list((cache / "compiled").iterdir())
    assert len(kept) == 12
    assert any(list(folder.glob("*.blob")) for folder in kept)


# -- golden images --------------------------------------------------------------------------------


@pytest.fixture
def golden(bundle, tmp_path):
    """Return a function that makes a bundle whose recorded answers are off by this much."""
    logits = pneumoscope.load(bundle).predict_pixels(SQUARES).logits

    def make(off):
        arrays = pack(squares=SQUARES, logits_fp32=logits + np.float32(off))
        return rewrite(bundle, tmp_path / "golden", files={GOLDEN: arrays})

    return make


def test_a_machine_that_answers_as_recorded_starts(golden):
    opened = read_bundle(golden(0.001))
    pneumoscope.load(opened.path)
    engine = start_engine("openvino", opened, "fp32")
    assert measure_deviation(opened, engine, "fp32") == pytest.approx(0.001, abs=1e-4)


def test_a_machine_that_answers_otherwise_is_refused_every_time(golden, cache):
    folder = golden(0.5)
    for path in sorted(cache.rglob("confirmed")):
        path.unlink()  # the fixture has started the same weights already
    for _ in range(2):
        with pytest.raises(BundleError, match=r"otherwise than recorded: a logit differs by 0\.5"):
            pneumoscope.load(folder)


def test_what_was_confirmed_once_is_not_run_again(golden, monkeypatch):
    folder = golden(0.0)
    pneumoscope.load(folder)
    monkeypatch.setattr(
        "pneumoscope.runtime.golden.measure_deviation", lambda *_: pytest.fail("run again")
    )
    pneumoscope.load(folder)


# -- precisions -----------------------------------------------------------------------------------


def test_a_precision_has_thresholds_of_its_own(bundle, tmp_path):
    info = read_bundle(bundle).info
    points = {
        name: point.model_copy(update={"threshold": 0.9})
        for name, point in info.operating_points.items()
    }
    offered = rewrite(
        bundle, tmp_path / "both", precisions={"bf16": offer(info, operating_points=points)}
    )
    finding = pneumoscope.load(offered, precision="bf16").predict(SQUARES[0], "MONOCHROME2")
    assert finding.precision == "bf16"
    assert finding.rule_out == finding.rule_in == 0.9
    exact = pneumoscope.load(offered).predict(SQUARES[0], "MONOCHROME2")
    assert exact.precision == "fp32"
    assert exact.threshold == info.operating_points["balanced"].threshold
    assert finding.logit == pytest.approx(exact.logit, abs=0.3)  # noise, in 8 bits of mantissa


def test_what_disagreed_is_refused_with_its_numbers(bundle, tmp_path):
    info = read_bundle(bundle).info
    refused = offer(info, accepted=False, decisions_changed=0.031, auc_change=-0.004)
    folder = rewrite(bundle, tmp_path / "refused", precisions={"int8": refused})
    with pytest.raises(PneumoscopeError, match=r"changed 3\.1% of the decisions.*-0\.0040.*fp32"):
        pneumoscope.load(folder, precision="int8")
    assert pneumoscope.load(folder, precision="auto").precision == "fp32"


@pytest.mark.parametrize(
    ("instructions", "expected"),
    [
        ("avx512_vnni avx512_bf16", "int8"),
        ("avx2 amx_bf16", "bf16"),
        ("avx2", "fp32"),
        ("", "fp32"),  # a system that does not tell
    ],
)
def test_auto_takes_what_the_processor_speeds_up(
    bundle, tmp_path, monkeypatch, instructions, expected
):
    info = read_bundle(bundle).info
    both = {"bf16": offer(info), "int8": offer(info)}
    folder = rewrite(bundle, tmp_path / "all", precisions=both)
    monkeypatch.setattr("pneumoscope.runtime.precision.read_instructions", lambda: instructions)
    assert pneumoscope.load(folder, precision="auto").precision == expected


def test_onnx_runtime_has_no_bf16(bundle, tmp_path):
    info = read_bundle(bundle).info
    folder = rewrite(bundle, tmp_path / "bf16", precisions={"bf16": offer(info)})
    with pytest.raises(PneumoscopeError, match="ONNX Runtime computes in fp32 or int8"):
        pneumoscope.load(folder, precision="bf16", engine="onnxruntime")
