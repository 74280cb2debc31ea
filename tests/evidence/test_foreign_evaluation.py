"""Models of others are judged as a bundle is, and what they lack is said and not made up."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import onnx
import polars as pl
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from pneumoscope.bundle import read_bundle
from pneumoscope.cli import main
from pneumoscope.errors import DataError, ModelError
from pneumoscope.evaluation import choose_operating_points
from pneumoscope.evaluation.calibration import fit_calibration
from pneumoscope.evidence import (
    describe_bundle,
    describe_foreign,
    evaluate_subject,
    open_model,
    parse_description,
)

OWN = """
name: the bundle's own graph
input: {size: [64, 64], channels: 3, layout: NCHW, values: imagenet}
output: {name: logit, meaning: logit}
trained_on: phantoms, says its maker
licence: CC-BY-4.0
citation: Doe et al. 2025
"""


def _open_own(bundle, text=OWN, **changes):
    said = parse_description(text, "own.yaml")
    return open_model(bundle / "model.onnx", said.model_copy(update=changes))


def build_linear(path, slope, offset=0.0):
    """Write a graph whose logit is the image's mean, 0..1, times a slope, plus an offset."""
    nodes = [
        helper.make_node("ReduceMean", ["image", "axes"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "slope"], ["steep"]),
        helper.make_node("Add", ["steep", "offset"], ["logit"]),
    ]
    floats = {"slope": np.float32(slope), "offset": np.float32(offset)}
    graph = helper.make_graph(
        nodes, "linear",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 1, 64, 64])],
        [helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["n"])],
        [numpy_helper.from_array(np.array([1, 2, 3]), "axes"),
         *(numpy_helper.from_array(np.array(value), name) for name, value in floats.items())],
    )  # fmt: skip
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path
    )
    return path


LINEAR = """
name: brightness
input: {size: [64, 64], channels: 1, layout: NCHW, values: 0..1}
output: {meaning: logit}
"""


@pytest.fixture
def linear(tmp_path):
    """Open a model that answers by brightness."""

    def open_linear(slope, offset=0.0, text=LINEAR):
        path = build_linear(tmp_path / "linear.onnx", slope, offset)
        return open_model(path, parse_description(text, "linear.yaml"))

    return open_linear


@pytest.fixture(scope="module")
def parted(strangers, tmp_path_factory):
    """Strangers in val and test: eight of each class in test, the other twelve in val."""
    root = tmp_path_factory.mktemp("parted")
    for label in ("NORMAL", "PNEUMONIA"):
        for number, file in enumerate(sorted((strangers / label).iterdir())):
            folder = root / "data" / ("test" if number < 8 else "val") / label
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, folder)
    return root / "data"


# -- the same way for both ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def both(erring_bundle, strangers, tmp_path_factory):
    out = tmp_path_factory.mktemp("both")
    ours = evaluate_subject(describe_bundle(erring_bundle), strangers, out / "ours")
    theirs = evaluate_subject(describe_foreign(_open_own(erring_bundle)), strangers, out / "theirs")
    return ours, theirs


def test_a_bundles_own_graph_ranks_as_the_bundle_does(both):
    ours, theirs = (r.metrics[r.stage]["all"] for r in both)
    for name in ("auc", "average_precision", "n"):
        assert theirs[name] == ours[name]
    assert theirs["intervals"]["auc"] == ours["intervals"]["auc"]


def test_a_bundles_own_graph_gives_its_logits(both):
    ours, theirs = (pl.read_csv(r.out / "predictions.csv") for r in both)
    assert ours["path"].to_list() == theirs["path"].to_list()
    np.testing.assert_allclose(theirs["logit"], ours["logit"], rtol=1e-6)
    wanted = 1 / (1 + np.exp(-theirs["logit"].to_numpy()))
    np.testing.assert_allclose(theirs["probability"], wanted, rtol=1e-9)
    lacking = {"seen", "rejection", "outside_population"}
    assert set(ours.columns) - set(theirs.columns) == lacking


def test_metrics_have_the_same_shape_and_make_nothing_up(both):
    ours, theirs = (r.metrics[r.stage]["all"] for r in both)
    assert theirs.keys() == ours.keys()
    assert theirs["as_decided"]["rejected"] is None
    assert ours["as_decided"]["rejected"] is not None
    assert theirs["operating_points"].keys() == {"balanced"}


def test_the_report_says_what_is_not_known_and_who_says_what(both):
    page = (both[1].out / "report.html").read_text(encoding="utf-8")
    items = json.loads((both[1].out / "report.json").read_text())["items"]
    assert items[4]["status"] == "not available"
    assert both[1].metrics[both[1].stage]["all"]["seen"] is None
    text = " ".join(re.sub("<[^>]+>", " ", page).split())
    assert text.index("was trained on these images is not known") < text.index("What was found")
    assert both[1].warnings[0].startswith("Whether the model was trained on these images")
    for words in (
        "Read as: the bundle&#39;s own graph (ONNX on OpenVINO",
        "Trained on, as its description says: phantoms, says its maker",
        "Licence: CC-BY-4.0",
        "Citation: Doe et al. 2025",
        "Not available: Heat-maps",
        "Not available: Input gate and population check",
        "The threshold is 0.5, for the model&#39;s description states none.",
    ):
        assert words in text, words
    assert "chosen on validation" not in text
    assert "influence map" not in text
    assert not (both[1].out / "figures" / "gallery.png").exists()


def test_a_bundles_report_has_none_of_that(both):
    page = (both[0].out / "report.html").read_text(encoding="utf-8")
    assert "Not available: " not in page
    assert "The model</h2>" not in page
    assert "Thresholds were chosen on validation images" in page


def test_which_file_was_judged_is_written_down(both, erring_bundle):
    page = (both[1].out / "report.html").read_text(encoding="utf-8")
    assert read_bundle(erring_bundle).info.files["model.onnx"].sha256 in page


def test_judging_twice_gives_the_same_numbers(both, erring_bundle, strangers, tmp_path):
    again = evaluate_subject(
        describe_foreign(_open_own(erring_bundle)), strangers, tmp_path / "out"
    )
    for name in ("metrics.json", "predictions.csv"):
        assert (again.out / name).read_bytes() == (both[1].out / name).read_bytes()


def test_stated_thresholds_decide(erring_bundle, strangers, tmp_path):
    text = OWN + "threshold: 0.4\nreferral_band: {rule_out: 0.3, rule_in: 0.7}\n"
    result = evaluate_subject(
        describe_foreign(_open_own(erring_bundle, text)), strangers, tmp_path / "out"
    )
    points = result.metrics["model"]["all"]["operating_points"]
    assert {name: point["threshold"] for name, point in points.items()} == {
        "rule_out": 0.3, "balanced": 0.4, "rule_in": 0.7,
    }  # fmt: skip
    rows = pl.read_csv(result.out / "predictions.csv")
    p = rows["probability"]
    wanted = np.where(p < 0.3, "NORMAL", np.where(p >= 0.7, "PNEUMONIA", "REFER"))
    assert rows["decision"].to_list() == wanted.tolist()


# -- answers that betray a mistake ----------------------------------------------------------------


def test_constant_answers_are_pointed_out(linear, strangers, tmp_path):
    result = evaluate_subject(describe_foreign(linear(1e-4, 1.0)), strangers, tmp_path / "out")
    (warning,) = [w for w in result.warnings if "nearly the same" in w]
    assert "probability 0.7311 to 0.7311" in warning
    assert "not normalised" in warning
    assert warning in (result.out / "report.html").read_text()


@pytest.mark.parametrize("slope", [10, -10])
def test_an_output_the_wrong_way_round_is_pointed_out(linear, rng, tmp_path, slope):
    for label, level in (("NORMAL", 100), ("PNEUMONIA", 110)):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(12):
            noise = rng.normal(level + rng.normal(0, 4), 40, (64, 64)).clip(0, 255)
            image = Image.fromarray(noise.astype(np.uint8))
            image.save(tmp_path / "data" / label / f"{number}.png")
    result = evaluate_subject(describe_foreign(linear(slope)), tmp_path / "data", tmp_path / "out")
    auc = result.metrics["model"]["all"]["auc"]
    assert (auc > 0.9) if slope > 0 else (auc < 0.1)
    said = any("Normal images score higher than pneumonias" in w for w in result.warnings)
    assert said == (slope < 0)


def test_numbers_that_are_no_probabilities_stop_the_work(linear, strangers, tmp_path):
    text = LINEAR.replace("meaning: logit", "meaning: probability")
    with pytest.raises(ModelError, match="probability takes 0 to 1: is it logit"):
        linear(5.0, 0.0, text)


@pytest.mark.parametrize(("offset", "called"), [(0.0, "PNEUMONIA"), (-10.0, "NORMAL")])
def test_one_decision_for_all_images_is_pointed_out(linear, strangers, tmp_path, offset, called):
    result = evaluate_subject(describe_foreign(linear(10.0, offset)), strangers, tmp_path / "out")
    (warning,) = [w for w in result.warnings if "the threshold does not fit" in w]
    assert warning.startswith(f"All 40 images are called {called} (probability ")
    assert result.metrics["model"]["all"]["fn"] == (0 if called == "PNEUMONIA" else 20)


# -- thresholds from a part that is not judged ----------------------------------------------------


def test_calibration_is_fitted_on_the_other_part_alone(linear, parted, tmp_path):
    model = linear(20.0, -3.0)
    result = evaluate_subject(
        describe_foreign(model), parted, tmp_path / "a", split="test", calibrate_on="val"
    )
    val = evaluate_subject(describe_foreign(model), parted, tmp_path / "b", split="val")
    rows = pl.read_csv(val.out / "predictions.csv")
    labels = (rows["label"] == "PNEUMONIA").to_numpy().astype(np.int64)
    fitted = fit_calibration(labels, rows["logit"].to_numpy())
    z = rows["logit"].to_numpy() / fitted.temperature + fitted.bias
    wanted = choose_operating_points(labels, 1 / (1 + np.exp(-z)))
    points = result.metrics["model"]["test"]["operating_points"]
    for name, point in wanted.items():
        assert points[name]["threshold"] == pytest.approx(point.threshold)
        assert points[name]["target"] == point.target
    judged = pl.read_csv(result.out / "predictions.csv")
    assert judged.height == 16
    z = judged["logit"].to_numpy() / fitted.temperature + fitted.bias
    np.testing.assert_allclose(judged["probability"], 1 / (1 + np.exp(-z)), rtol=1e-9)
    assert any("fitted on 24 images of val (12 with pneumonia)" in note for note in result.notes)
    assert any("PNEUMONIA cases are few" in said for said in result.warnings)
    page = (result.out / "report.html").read_text()
    assert "Thresholds were chosen on images of val, none of whose patients is judged" in page


def test_labels_that_are_judged_move_no_threshold(linear, parted, tmp_path):
    swapped = tmp_path / "swapped" / "data"
    shutil.copytree(parted, swapped)
    (swapped / "test" / "NORMAL").rename(swapped / "test" / "x")
    (swapped / "test" / "PNEUMONIA").rename(swapped / "test" / "NORMAL")
    (swapped / "test" / "x").rename(swapped / "test" / "PNEUMONIA")
    found = [
        evaluate_subject(
            describe_foreign(linear(20.0, -3.0)),
            data,
            tmp_path / f"out{number}",
            calibrate_on="val",
        )
        for number, data in enumerate((parted, swapped))
    ]
    one, two = (r.metrics["model"]["test"]["operating_points"] for r in found)
    assert {n: p["threshold"] for n, p in one.items()} == {
        n: p["threshold"] for n, p in two.items()
    }


def test_patients_who_are_judged_set_no_threshold(linear, strangers, tmp_path):
    files = {label: sorted((strangers / label).iterdir())[:10] for label in ("NORMAL", "PNEUMONIA")}
    rows = [
        {
            "path": str(file),
            "label": label,
            "split": "test" if number < 5 else "val",
            # The first of val is the first of test once more.
            "patient": f"{label}-{0 if number == 5 else number}",
        }
        for label, found in files.items()
        for number, file in enumerate(found)
    ]
    pl.DataFrame(rows).write_csv(tmp_path / "list.csv")
    result = evaluate_subject(
        describe_foreign(linear(20.0)), tmp_path / "list.csv", tmp_path / "out", calibrate_on="val"
    )
    assert any("fitted on 8 images of val (4 with" in note for note in result.notes)
    assert any("2 images of val were left out of that" in note for note in result.notes)


@pytest.mark.parametrize(
    ("split", "part", "sentence"),
    [
        ("val", "val", "would choose thresholds on images that they are judged by"),
        ("all", "val", "--calibrate-on val while all is judged"),
        ("test", "test", "--calibrate-on takes val or train, found 'test'"),
        ("test", "train", "needs images of both classes, found 0 NORMAL and 0 PNEUMONIA"),
    ],
)
def test_thresholds_are_never_chosen_on_what_is_judged(
    linear, parted, tmp_path, split, part, sentence
):
    with pytest.raises(DataError, match=sentence):
        evaluate_subject(
            describe_foreign(linear(20.0)), parted, tmp_path / "out", split=split, calibrate_on=part
        )
    assert not (tmp_path / "out").exists()


def test_a_bundle_is_not_recalibrated_on_the_way(bundle, parted, tmp_path):
    with pytest.raises(ModelError, match="a bundle brings calibration and thresholds"):
        evaluate_subject(describe_bundle(bundle), parted, tmp_path / "out", calibrate_on="val")


# -- the command ----------------------------------------------------------------------------------


@pytest.fixture
def run(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["pneumoscope", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main()
        return caught.value.code, *capsys.readouterr()

    return run


def test_the_command_says_first_how_it_understood_the_model(run, parted, tmp_path):
    build_linear(tmp_path / "linear.onnx", 20.0)
    (tmp_path / "linear.yaml").write_text(LINEAR)
    code, out, err = run(
        "evaluate", tmp_path / "linear.onnx", parted, "--out", tmp_path / "out",
        "--description", tmp_path / "linear.yaml", "--calibrate-on", "val",
    )  # fmt: skip
    assert code in {0, None}
    assert re.fullmatch(
        r"Read as: brightness \(ONNX on OpenVINO [\d.]+\): input 'image' NCHW \[1, 64, 64\], "
        r"values 0\.\.1, bilinear stretch; output 'logit' \[N\], logit; pneumonia from "
        r"probability 0\.500 on\.",
        err.splitlines()[0],
    )
    assert "Warning: Whether the model was trained on these images is not known" in err
    assert "of 8 pneumonias" in out
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["final"] == "model"


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("MODEL DATA", "say with --description FILE.yaml what it takes and answers"),
        ("MODEL DATA --description gone.yaml", "gone.yaml cannot be read"),
        ("MODEL DATA --description GOOD --precision int8", "Models of others are judged in fp32"),
        ("MODEL DATA --description GOOD --engine x", "--engine takes openvino or onnxruntime"),
        ("gone.onnx DATA --description GOOD", "There is no model at gone.onnx"),
        ("BUNDLE DATA --description GOOD", "--description goes with a model of others"),
        ("BUNDLE DATA --calibrate-on val", "--calibrate-on goes with a model of others"),
        ("MODEL DATA --description BAD", "input.layout takes NCHW"),
        ("timm:resnet18 DATA --description GOOD", "state their file as checkpoint"),
    ],
)
def test_misuse_with_models_of_others_is_one_sentence(
    run, bundle, parted, tmp_path, monkeypatch, line, sentence
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.yaml").write_text(LINEAR)
    (tmp_path / "bad.yaml").write_text(LINEAR.replace("NCHW", "CHWN"))
    places = {
        "MODEL": build_linear(tmp_path / "m.onnx", 20.0), "DATA": parted, "BUNDLE": bundle,
        "GOOD": "good.yaml", "BAD": "bad.yaml",
    }  # fmt: skip
    words = [places.get(word, word) for word in line.split()]
    code, out, err = run("evaluate", *words, "--out", tmp_path / "out")
    assert (code, out) == (2, "")
    assert sentence in err
    assert len(err.strip().splitlines()) == 1
