"""int8: the folded graph, and what quantising it costs."""

import logging
import sys
import warnings

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest

from pneumoscope.bundle import GRAPH
from pneumoscope.datasets.phantom import Disease, draw_phantom
from pneumoscope.images import normalise
from pneumoscope.network import fold_graph, quantise_graph

OUTPUTS = ["logit", "activation_map", "features"]


@pytest.fixture(scope="module")
def opened(bundle):
    return bundle


@pytest.fixture(scope="module")
def images(opened):
    size = opened.info.preprocessing.size
    diseases = [None, Disease.CONSOLIDATION] * 4
    drawn = [
        draw_phantom(np.random.default_rng(i), disease, size=size).pixels
        for i, disease in enumerate(diseases)
    ]
    return normalise(np.stack(drawn), opened.info.preprocessing)


@pytest.fixture(scope="module")
def int8(opened, images):
    return quantise_graph(opened, (image[None] for image in images))


def answer(model, images):
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(OUTPUTS, {"image": images})


def test_folding_the_graph_keeps_every_answer(opened, images):
    folded = fold_graph(opened.file(GRAPH))
    kinds = {node.op_type for node in folded.graph.node}
    assert not kinds & {"BatchNormalization", "Cast"}
    before = answer(str(opened.file(GRAPH)), images)
    after = answer(folded.SerializeToString(), images)
    for old, new in zip(before, after, strict=True):
        assert np.abs(new - old).max() < 1e-4 * np.abs(old).max()


def test_int8_stays_near_fp32_in_both_engines(opened, images, int8):
    reference = answer(str(opened.file(GRAPH)), images)
    compiled = openvino.Core().compile_model(
        openvino.Core().read_model(int8), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    theirs = compiled({"image": images})
    exact, ours = reference[2], answer(int8, images)[2]
    # Weights without training are no reference for the head: its answers are differences of noise.
    assert np.abs(ours - exact).mean() < 0.15 * exact.mean()
    assert np.abs(theirs["features"] - ours).mean() < 0.15 * exact.mean()


def test_convolutions_are_quantised_and_the_map_and_head_are_not(int8):
    model = onnx.load_from_string(int8)
    made_by = {output: node for node in model.graph.node for output in node.output}
    stored = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Conv":
            source = made_by.get(node.input[1])
            quantised = source is not None and source.op_type == "DequantizeLinear"
            assert quantised == (node.name != "activation_planes"), node.name
            if quantised:
                assert stored[source.input[0]] == onnx.TensorProto.INT8
        if node.op_type == "Gemm":
            assert made_by.get(node.input[1]) is None


def test_the_file_is_a_quarter_of_float32_and_the_same_every_time(opened, images, int8, capfd):
    assert len(int8) < 27e6  # 23.5 million weights, a byte each
    assert quantise_graph(opened, (image[None] for image in images)) == int8
    assert "".join(capfd.readouterr()) == ""  # nor does anything stand on the terminal


def test_what_other_libraries_say_meanwhile_stays_off_the_terminal(opened, monkeypatch, capsys):
    logged = logging.Handler()
    logged.emit = lambda record: print(record.getMessage(), file=sys.stderr)

    def chat(model, *_args, **_kwargs):
        print("Statistics collection 100%")
        warnings.warn("a later version will do otherwise", FutureWarning, stacklevel=1)
        for name in ("nncf", "torch.utils.cpp_extension"):
            logging.getLogger(name).warning("No CUDA runtime is found")
        return model

    monkeypatch.setattr("nncf.quantize", chat)
    loggers = [logging.getLogger(name) for name in ("nncf", "torch")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(logged)
    try:
        quantise_graph(opened, [])
    finally:
        for logger in loggers:
            logger.removeHandler(logged)
    assert "".join(capsys.readouterr()) == ""
    assert [logger.level for logger in loggers] == before
