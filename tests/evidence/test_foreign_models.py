"""Models of others answer as their own libraries do, and are refused where they are not as said."""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from pneumoscope.errors import MissingExtraError, ModelError, WeightsError
from pneumoscope.evidence import is_foreign, open_model, parse_description
from pneumoscope.evidence.foreign.engines import _choose_backend

ENGINES = ("openvino", "onnxruntime")
SIZE = (24, 32)
IMAGENET = (np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225]))


def describe(meaning="logit", *, index=None, output=None, **taken):
    """Return the description of a small model."""
    said = {"size": list(SIZE), "channels": 3, "layout": "NCHW", "values": "0..1", **taken}
    answers = {"meaning": meaning, "index": index, "name": output}
    extra = {k: said.pop(k) for k in ("architecture", "checkpoint", "threshold") if k in said}
    return parse_description(
        json.dumps({"name": "tiny", "input": said, "output": answers, **extra}), "tiny.yaml"
    )


def build_onnx(path: Path, *, shape=("n", 3, *SIZE), classes=1, layout="NCHW", batch="n",
               dtype=TensorProto.FLOAT, extra_input=False) -> Path:  # fmt: skip
    """Write a graph: the mean of each channel, a linear layer, and a sigmoid as a second output."""
    shape = [batch, *shape[1:]]
    channels = shape[1] if layout == "NCHW" else shape[3]
    rng = np.random.default_rng(5)
    kernel = rng.normal(0, 2, (channels, classes)).astype(np.float32)
    axes = [2, 3] if layout == "NCHW" else [1, 2]
    nodes = [
        helper.make_node("Cast", ["image"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["wide", "axes"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "kernel"], ["score"]),
        helper.make_node("Sigmoid", ["score"], ["share"]),
    ]
    inputs = [helper.make_tensor_value_info("image", dtype, shape)]
    if extra_input:
        inputs.append(helper.make_tensor_value_info("age", TensorProto.FLOAT, [batch, classes]))
        nodes.append(helper.make_node("Add", ["share", "age"], ["older"]))
    outputs = ["score", "share", *(["older"] if extra_input else [])]
    graph = helper.make_graph(
        nodes, "tiny", inputs,
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [batch, classes]) for n in outputs],
        [numpy_helper.from_array(np.array(axes), "axes"),
         numpy_helper.from_array(kernel, "kernel")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


@pytest.fixture
def squares(rng):
    """Eleven images: more than a batch, and not a multiple of one."""
    return rng.integers(0, 256, (11, *SIZE), dtype=np.uint8)


def _ask_onnx(path, images, output):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.concatenate([session.run([output], {"image": one[None]})[0] for one in images])


# -- ONNX -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_a_graph_answers_as_it_does_by_hand(tmp_path, squares, engine, layout):
    shape = ("n", 3, *SIZE) if layout == "NCHW" else ("n", *SIZE, 3)
    path = build_onnx(tmp_path / "m.onnx", shape=shape, layout=layout)
    said = describe(output="score", layout=layout, values="imagenet")
    found = open_model(path, said, engine=engine).predict_pixels(squares).logits
    mean, std = IMAGENET
    images = ((squares[..., None] / 255 - mean) / std).astype(np.float32)
    images = images.transpose(0, 3, 1, 2) if layout == "NCHW" else images
    oracle = _ask_onnx(path, images, "score")[:, 0]
    np.testing.assert_allclose(found, oracle, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("values", "by_hand"),
    [
        ("-1..1", lambda grey: grey / 127.5 - 1),
        ("0..255", lambda grey: grey),
        ("-1024..1024", lambda grey: (2 * (grey / 255) - 1.0) * 1024),
        ({"range": "0..255", "mean": 100.5, "std": 40}, lambda grey: (grey - 100.5) / 40),
    ],
)
def test_one_channel_of_any_range_is_what_the_model_sees(tmp_path, squares, values, by_hand):
    path = build_onnx(tmp_path / "m.onnx", shape=("n", 1, *SIZE))
    said = describe(output="score", channels=1, values=values)
    found = open_model(path, said).predict_pixels(squares).logits
    images = by_hand(squares.astype(np.float64))[:, None].astype(np.float32)
    np.testing.assert_allclose(found, _ask_onnx(path, images, "score")[:, 0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("batch", [1, 4])
def test_a_graph_of_a_fixed_batch_answers_any_number(tmp_path, squares, engine, batch):
    fixed = build_onnx(tmp_path / "fixed.onnx", batch=batch)
    open_batch = build_onnx(tmp_path / "open.onnx")
    said = describe(output="score")
    found = open_model(fixed, said, engine=engine).predict_pixels(squares).logits
    wanted = open_model(open_batch, said, engine=engine).predict_pixels(squares).logits
    assert len(found) == 11
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "dtype", [TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.UINT8], ids=str
)
def test_images_have_the_type_that_the_graph_declares(tmp_path, squares, engine, dtype):
    said = describe(output="score", values="0..255")
    typed = open_model(build_onnx(tmp_path / "t.onnx", dtype=dtype), said, engine=engine)
    plain = open_model(build_onnx(tmp_path / "p.onnx"), said, engine=engine)
    found, wanted = (model.predict_pixels(squares).logits for model in (typed, plain))
    np.testing.assert_allclose(found, wanted, rtol=1e-3)


def test_sigmoid_softmax_and_inverted_outputs_mean_the_same(tmp_path, squares):
    one = build_onnx(tmp_path / "one.onnx")
    logit = open_model(one, describe(output="score")).predict_pixels(squares).logits
    share = open_model(one, describe("probability", output="share")).predict_pixels(squares).logits
    well = open_model(one, describe("probability_of_normal", output="share"))
    np.testing.assert_allclose(share, logit, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(well.predict_pixels(squares).logits, -logit, rtol=1e-4, atol=1e-5)
    three = build_onnx(tmp_path / "three.onnx", classes=3)
    images = np.repeat((squares / 255).astype(np.float32)[:, None], 3, 1)
    scores = torch.from_numpy(_ask_onnx(three, images, "score")).double()
    ill = torch.softmax(scores, 1)[:, [0, 2]].sum(1).numpy()
    found = open_model(three, describe("class_logits", index=[0, 2], output="score"))
    p = found.calibrate(found.predict_pixels(squares).logits)
    np.testing.assert_allclose(p, ill, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"channels": 1}, r"takes \[N, 3, 24, 32\] as input 'image', the description says NCHW "
                          r"\[N, 1, 24, 32\]: see input.channels"),
        ({"size": [32, 32]}, r"the description says NCHW \[N, 3, 32, 32\]: see input.size"),
        ({"layout": "NHWC"}, r"NHWC \[N, 24, 32, 3\]: input.layout is NCHW"),
        ({"name": "x"}, "has no input 'x': it has image"),
        ({"output": "logits"}, "has no output 'logits': it has score, share"),
        ({"output": None}, r"has 2 outputs \(score, share\): say with output.name"),
        ({"index": 1}, "output.index is 1, but The output 'score' .* has 1 number an image"),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_graph_is_named(tmp_path, engine, changes, sentence):
    path = build_onnx(tmp_path / "m.onnx")
    with pytest.raises(ModelError, match=sentence):
        open_model(path, describe(**{"output": "score", **changes}), engine=engine)


def test_the_wrong_meaning_is_noticed_before_any_image_is_read(tmp_path):
    path = build_onnx(tmp_path / "m.onnx")
    said = describe("probability", output="score", values="0..255")
    with pytest.raises(ModelError, match="probability takes 0 to 1: is it logit"):
        open_model(path, said)


def test_a_model_that_takes_more_than_an_image_is_refused(tmp_path):
    path = build_onnx(tmp_path / "m.onnx", extra_input=True)
    said = describe(output="older", name="image")
    with pytest.raises(ModelError, match=r"takes 2 inputs \(image, age\)"):
        open_model(path, said)


def test_whole_numbers_need_a_range_of_whole_numbers(tmp_path):
    path = build_onnx(tmp_path / "m.onnx", dtype=TensorProto.UINT8)
    with pytest.raises(ModelError, match=r"takes uint8 .*: input.values is 0\.\.255"):
        open_model(path, describe(output="score"))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("cut", [0, 7, 150, -20])
def test_a_damaged_graph_is_one_sentence(tmp_path, engine, cut, capfd):
    data = build_onnx(tmp_path / "m.onnx").read_bytes()
    (tmp_path / "bad.onnx").write_bytes(data[:cut])
    with pytest.raises(ModelError, match=r"bad\.onnx is no graph that .* reads: it is damaged"):
        open_model(tmp_path / "bad.onnx", describe(output="score"), engine=engine)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("engine", ENGINES)
def test_weights_outside_of_the_folder_are_not_read(tmp_path, engine):
    """External data may name any file of the machine."""
    (tmp_path / "inner").mkdir()
    (tmp_path / "secret.bin").write_bytes(np.ones(300, np.float32).tobytes())
    model = onnx.load(build_onnx(tmp_path / "m.onnx"))
    kernel = next(t for t in model.graph.initializer if t.name == "kernel")
    kernel.ClearField("raw_data")
    kernel.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "../secret.bin"), ("offset", "0"), ("length", "12")):
        kernel.external_data.add(key=key, value=value)
    path = tmp_path / "inner" / "m.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="is no graph"):
        open_model(path, describe(output="score"), engine=engine)


# -- timm -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def resnet(tmp_path_factory):
    """timm's resnet18 with random weights and three classes, and its file."""
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(0)
    network = timm.create_model("resnet18", num_classes=3, in_chans=1).eval()
    path = tmp_path_factory.mktemp("timm") / "theirs.safetensors"
    save_file(network.state_dict(), path)
    return network, path


def test_a_network_of_timm_answers_as_it_does_by_hand(resnet, squares):
    network, path = resnet
    said = describe("class_logits", index=[1, 2], channels=1, values="-1..1",
                    architecture="resnet18")  # fmt: skip
    model = open_model(path, said)
    images = torch.from_numpy(squares[:, None].astype(np.float32) / 127.5 - 1)
    with torch.inference_mode():
        p = torch.softmax(network(images).double(), 1)[:, 1:].sum(1).numpy()
    found = model.calibrate(model.predict_pixels(squares).logits)
    np.testing.assert_allclose(found, p, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_network_of_timm_may_be_named_and_its_file_be_one_of_torch(
    resnet, squares, tmp_path, wrapped
):
    network, path = resnet
    state = network.state_dict()
    torch.save({"state_dict": state, "epoch": 3} if wrapped else state, tmp_path / "t.pth")
    said = {"channels": 1, "index": 1}
    named = describe("class_logits", checkpoint="t.pth", **said)
    other = describe("class_logits", architecture="resnet18", **said)
    found = open_model("timm:resnet18", named, folder=tmp_path).predict_pixels(squares).logits
    np.testing.assert_array_equal(found, open_model(path, other).predict_pixels(squares).logits)


@pytest.mark.parametrize("shape", [None, (1,)], ids=["none", "one number"])
def test_counters_of_batches_may_be_written_in_any_way(resnet, squares, tmp_path, shape):
    from safetensors.torch import save_file

    state = {
        name: value.half() if shape and value.is_floating_point() else value
        for name, value in resnet[0].state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    if shape:
        state |= {
            name: torch.zeros(shape, dtype=torch.int64)
            for name in resnet[0].state_dict()
            if name.endswith("num_batches_tracked")
        }
    save_file(state, tmp_path / "other.safetensors")
    said = describe("class_logits", index=1, channels=1, architecture="resnet18")
    found, wanted = (
        open_model(path, said).predict_pixels(squares).logits
        for path in (tmp_path / "other.safetensors", resnet[1])
    )
    np.testing.assert_allclose(found, wanted, atol=0.05 if shape else 0)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "state timm's name of it as architecture"),
        ({"architecture": "resnet81"}, "no architecture 'resnet81': near are resnet18"),
        ({"architecture": "resnet34"}, "read as resnet34, does not fit: it lacks layer1.2"),
        ({"architecture": "resnet18", "channels": 3}, r"conv1.weight \[64, 1, 7, 7\] instead of"),
        ({"architecture": "convnext_tiny"}, "lacks the head head.fc"),
        ({"architecture": "resnet18", "layout": "NHWC"}, "input.layout is NCHW"),
        ({"architecture": "resnet18", "index": 3}, "has 3 numbers an image"),
        ({"architecture": "resnet18", "checkpoint": "x.pth"}, "checkpoint goes with timm:NAME"),
        ({"architecture": "hf-hub:someone/model"}, "no architecture 'hf-hub:someone/model'"),
    ],
)
def test_weights_that_do_not_fit_are_refused(resnet, changes, sentence):
    said = describe("class_logits", **{"index": 1, "channels": 1, **changes})
    with pytest.raises((ModelError, WeightsError), match=sentence):
        open_model(resnet[1], said)


def test_a_pickled_module_is_not_opened(resnet, tmp_path):
    class Hostile:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/harmed",)

    torch.save(resnet[0], tmp_path / "module.pth")
    torch.save({"fc.weight": Hostile()}, tmp_path / "hostile.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Hostile()))
    for name in ("module.pth", "hostile.pt", "plain.pt"):
        said = describe("class_logits", index=1, architecture="resnet18")
        with pytest.raises(WeightsError, match=r"is refused|cannot be read"):
            open_model(tmp_path / name, said)
    assert not (tmp_path / "harmed").exists()


# -- Keras ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keras():
    """Keras on PyTorch; its files warn about NumPy while they are written."""
    pytest.importorskip("h5py")
    os.environ.setdefault("KERAS_BACKEND", "torch")
    return pytest.importorskip("keras")


def _save(model, path):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save(path)
    return path


@pytest.fixture(scope="module")
def small_keras(keras):
    keras.utils.set_random_seed(3)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((*SIZE, 3)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(4, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(1, activation="sigmoid"),
        ]
    )


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_keras_file_answers_as_it_does_by_hand(small_keras, squares, tmp_path, suffix):
    path = _save(small_keras, tmp_path / f"m{suffix}")
    said = describe("probability", layout="NHWC", values="0..255")
    model = open_model(path, said)
    images = np.repeat(squares[..., None], 3, -1).astype(np.float32)
    with torch.inference_mode():
        oracle = small_keras(torch.from_numpy(images), training=False).numpy()[:, 0]
    found = model.calibrate(model.predict_pixels(squares).logits)
    np.testing.assert_allclose(found, oracle, rtol=1e-4)


def test_an_output_of_a_keras_model_has_the_name_of_its_layer(keras, squares, tmp_path):
    layers = keras.layers
    image = keras.Input((*SIZE, 1))
    pooled = layers.GlobalAveragePooling2D()(image)
    ill = layers.Dense(2, activation="softmax", name="finding")(pooled)
    model = keras.Model(image, [layers.Dense(1, name="age")(pooled), ill])
    path = _save(model, tmp_path / "m.keras")
    taken = {"layout": "NHWC", "channels": 1}
    with pytest.raises(ModelError, match=r"2 outputs \(age, finding\): say with output.name"):
        open_model(path, describe("class_probabilities", index=1, **taken))
    opened = open_model(path, describe("class_probabilities", index=1, output="finding", **taken))
    images = torch.from_numpy((squares[..., None] / 255).astype(np.float32))
    with torch.inference_mode():
        oracle = model(images, training=False)[1].numpy()[:, 1]
    found = opened.calibrate(opened.predict_pixels(squares).logits)
    np.testing.assert_allclose(found, oracle, rtol=1e-4)


def test_a_keras_model_of_another_layout_is_named(small_keras, tmp_path):
    path = _save(small_keras, tmp_path / "m.keras")
    with pytest.raises(ModelError, match=r"takes \[N, 24, 32, 3\] .*: input.layout is NHWC"):
        open_model(path, describe("probability"))


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_code_in_a_keras_file_is_not_run(keras, tmp_path, suffix):
    harmed = tmp_path / "harmed"
    touch = f"__import__('pathlib').Path({str(harmed)!r}).touch()"
    layer = keras.layers.Lambda(eval(f"lambda x: ({touch}, x)[1]"), output_shape=(*SIZE, 3))
    model = keras.Sequential(
        [keras.Input((*SIZE, 3)), layer, keras.layers.Flatten(), keras.layers.Dense(1)]
    )
    path = _save(model, tmp_path / f"m{suffix}")
    harmed.unlink(missing_ok=True)  # building the model ran it
    with pytest.raises(ModelError, match=r"is refused: it holds code \(a Lambda layer\)"):
        open_model(path, describe(layout="NHWC"))
    assert not harmed.exists()


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_damaged_keras_file_is_one_sentence(small_keras, tmp_path, suffix):
    data = _save(small_keras, tmp_path / f"m{suffix}").read_bytes()
    for number, cut in enumerate((0, 100, len(data) // 2)):
        path = tmp_path / f"{number}{suffix}"
        path.write_bytes(data[:cut])
        with pytest.raises(ModelError, match="cannot be read as a Keras model") as caught:
            open_model(path, describe(layout="NHWC"))
        assert "\n" not in str(caught.value)


def test_a_keras_archive_without_a_model_is_one_sentence(keras, tmp_path):
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(ModelError, match="cannot be read as a Keras model"):
        open_model(tmp_path / "m.keras", describe(layout="NHWC"))


@pytest.mark.parametrize(
    ("written", "said", "chosen"),
    [
        (None, None, "torch"),  # nobody said anything: what is installed
        ("tensorflow", None, "torch"),  # Keras writes that by itself, whether it is there or not
        ("jax", "jax", "jax"),  # the user's word stands, whatever is installed
    ],
)
def test_the_backend_of_keras_is_the_users_or_one_that_is_there(
    tmp_path, monkeypatch, written, said, chosen
):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "keras", raising=False)
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n: None if n in {"tensorflow", "jax"} else find(n)
    )
    monkeypatch.setenv("KERAS_BACKEND", said or "")
    if said is None:
        monkeypatch.delenv("KERAS_BACKEND")
    if written:
        (tmp_path / "keras.json").write_text(json.dumps({"backend": written}))
    _choose_backend()
    assert os.environ["KERAS_BACKEND"] == chosen


def test_keras_without_anything_to_run_on_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.delitem(__import__("sys").modules, "keras", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="needs torch, tensorflow or jax"):
        _choose_backend()


# -- names ----------------------------------------------------------------------------------------


def test_a_model_of_others_is_told_by_its_form(bundle, tmp_path):
    assert all(map(is_foreign, ("a.onnx", "a.KERAS", "a.h5", "w.safetensors", "timm:resnet18")))
    (tmp_path / "saved.keras").mkdir()
    assert not any(map(is_foreign, (bundle, "bundled", "runs/x/bundle", tmp_path / "saved.keras")))


def test_a_model_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"There is no model at .*gone\.onnx"):
        open_model(tmp_path / "gone.onnx", describe())
    with pytest.raises(ModelError, match="state their file as checkpoint"):
        open_model("timm:resnet18", describe())


def test_an_architecture_is_for_weights_alone(tmp_path):
    path = build_onnx(tmp_path / "m.onnx")
    with pytest.raises(ModelError, match=r"architecture goes with timm's weights, found m\.onnx"):
        open_model(path, describe(output="score", architecture="resnet18"))
