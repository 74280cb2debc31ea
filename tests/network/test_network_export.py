"""One set of weights, three engines, one answer."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
import timm
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from pneumoscope.bundle import (
    Bundle,
    BundleInfo,
    DataInfo,
    ImageHashes,
    OperatingPointInfo,
    write_files,
)
from pneumoscope.errors import BundleError
from pneumoscope.images import PreprocessingSpec, preprocess, read
from pneumoscope.network import (
    PneumoniaResNet50,
    draw_weights,
    initialise_head,
    load_network,
    round_weights,
    save_bundle,
)

OUTPUTS = ("logit", "activation_map", "features")
Arrays = dict[str, NDArray[Any]]


def _run_torch(network: PneumoniaResNet50, images: NDArray[np.float32]) -> Arrays:
    with torch.inference_mode():
        return {
            k: v.numpy() for k, v in network.explain(torch.from_numpy(images))._asdict().items()
        }


def _run_onnxruntime(bundle: Bundle, images: NDArray[np.float32]) -> Arrays:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(bundle.file("model.onnx"), options)
    return dict(zip(OUTPUTS, session.run(OUTPUTS, {"image": images}), strict=True))


def _run_openvino(bundle: Bundle, images: NDArray[np.float32]) -> Arrays:
    hints = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    model = openvino.Core().compile_model(bundle.file("model.onnx"), "CPU", hints)
    answer = model({"image": images})
    return {name: answer[name] for name in OUTPUTS}


def _sigmoid(logit: NDArray[Any]) -> NDArray[Any]:
    return 1 / (1 + np.exp(-logit.astype(np.float64)))


def _check_agreement(bundle: Bundle, images: NDArray[np.float32]) -> float:
    """Compare the engines on the stored weights; return the largest difference in probability."""
    expected = _run_torch(load_network(bundle), images)
    assert np.ptp(_sigmoid(expected["logit"])) > 0.2  # else agreement would mean little
    worst = 0.0
    for answer in (_run_onnxruntime(bundle, images), _run_openvino(bundle, images)):
        for name in OUTPUTS:
            scale = np.abs(expected[name]).max()
            np.testing.assert_allclose(answer[name], expected[name], atol=1e-4 * scale)
        difference = np.abs(_sigmoid(answer["logit"]) - _sigmoid(expected["logit"])).max()
        worst = max(worst, float(difference))
    assert worst <= 1e-3
    return worst


def test_torch_onnxruntime_and_openvino_agree(bundle: Bundle, images: NDArray[np.float32]) -> None:
    _check_agreement(bundle, images)


@pytest.mark.real_data
def test_engines_agree_on_real_radiographs(bundle: Bundle, real_data: Path) -> None:
    files = sorted(real_data.glob("train/*/*.jpeg"))
    chosen = files[:: max(1, len(files) // 8)][:8]
    batch = np.stack([preprocess(read(file), PreprocessingSpec()) for file in chosen])
    worst = _check_agreement(bundle, batch)
    print(f"largest difference in probability over {len(chosen)} radiographs: {worst:.2e}")


def test_a_batch_gives_what_its_images_give_alone(
    bundle: Bundle, images: NDArray[np.float32]
) -> None:
    together = _run_openvino(bundle, images[:2])
    alone = _run_openvino(bundle, images[1:2])
    np.testing.assert_allclose(together["logit"][1:], alone["logit"], atol=1e-4)


def test_the_weights_open_in_timm(bundle: Bundle, images: NDArray[np.float32]) -> None:
    theirs = timm.create_model("resnet50", num_classes=1).eval()
    theirs.load_state_dict(load_file(bundle.file("model.safetensors")), strict=True)
    with torch.inference_mode():
        logit = theirs(torch.from_numpy(images[:2]))[:, 0].numpy()
    np.testing.assert_allclose(
        logit, _run_torch(load_network(bundle), images[:2])["logit"], atol=1e-4
    )


def test_weights_are_stored_once_and_as_halves(bundle: Bundle) -> None:
    state = load_file(bundle.file("model.safetensors"))
    assert state["fc.weight"].shape == (1, 2048)
    assert {v.dtype for v in state.values()} == {torch.float16, torch.int64}
    assert bundle.info.files["model.onnx"].size < 100_000
    assert sum(file.size for file in bundle.info.files.values()) < 80_000_000


def test_the_graph_is_valid_and_says_what_it_takes_and_gives(bundle: Bundle) -> None:
    path = bundle.file("model.onnx")
    onnx.checker.check_model(str(path), full_check=True)
    graph = onnx.load(path, load_external_data=False).graph
    shapes = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    assert shapes == {
        "image": ["N", 3, 224, 224],
        "logit": ["N"],
        "activation_map": ["N", 7, 7],
        "features": ["N", 2048],
    }
    names = [node.name for node in graph.node]
    assert len(set(names)) == len(names)


def test_a_mean_of_the_activation_map_is_the_logit_without_its_bias(
    bundle: Bundle, images: NDArray[np.float32]
) -> None:
    answer = _run_openvino(bundle, images[:2])
    bias = float(load_network(bundle).fc.bias.item())
    np.testing.assert_allclose(
        answer["activation_map"].mean((1, 2)) + bias, answer["logit"], atol=1e-3
    )


def test_another_size_gives_another_map(tmp_path: Path, network: PneumoniaResNet50) -> None:
    bundle = _save(tmp_path, network, preprocessing=PreprocessingSpec(size=72))
    image = np.zeros((1, 3, 72, 72), np.float32)
    answer = _run_openvino(bundle, image)
    expected = _run_torch(load_network(bundle), image)
    assert answer["activation_map"].shape == expected["activation_map"].shape == (1, 3, 3)
    np.testing.assert_allclose(answer["logit"], expected["logit"], atol=1e-3)


def test_a_weight_too_large_for_a_half_is_kept_whole(tmp_path: Path) -> None:
    network = PneumoniaResNet50()
    draw_weights(network, seed=0)
    with torch.no_grad():
        network.bn1.running_var.fill_(1e6)
    bundle = _save(tmp_path, network)
    assert load_network(bundle).bn1.running_var[0] == 1e6
    image = np.ones((1, 3, 224, 224), np.float32)
    np.testing.assert_allclose(
        _run_openvino(bundle, image)["logit"],
        _run_torch(load_network(bundle), image)["logit"],
        atol=1e-4,
    )


def test_rounding_gives_what_the_bundle_stores(network: PneumoniaResNet50, bundle: Bundle) -> None:
    rounded = PneumoniaResNet50()
    rounded.load_state_dict(network.state_dict())
    round_weights(rounded)
    stored = load_network(bundle).state_dict()
    assert all(torch.equal(value, stored[name]) for name, value in rounded.state_dict().items())


def test_weights_of_another_network_are_refused(tmp_path: Path, bundle: Bundle) -> None:
    files: dict[str, bytes | Path] = {name: bundle.file(name) for name in bundle.info.files}
    info = bundle.info.model_copy(update={"files": {}})
    other = write_files(tmp_path / "other", info, files | {"model.safetensors": b"not tensors"})
    with pytest.raises(BundleError, match=re.escape("weights are no ResNet50 with one output")):
        load_network(other.path)


def test_a_head_is_drawn_from_its_seed_alone() -> None:
    first, second = PneumoniaResNet50(), PneumoniaResNet50()
    initialise_head(first, 3)
    torch.rand(5)
    initialise_head(second, 3)
    assert torch.equal(first.fc.weight, second.fc.weight)


def _save(tmp_path: Path, network: PneumoniaResNet50, **changes: Any) -> Bundle:
    fields: dict[str, Any] = {
        "name": "other",
        "created": "2026-11-24T12:00:00+00:00",
        "preprocessing": PreprocessingSpec(),
        "operating_points": {"balanced": OperatingPointInfo(threshold=0.5, target="Youden")},
        "data": DataInfo(layout="kaggle", sources=[], counts={}),
    }
    info = BundleInfo(**{**fields, **changes})
    return save_bundle(tmp_path / "b", network, info, reference={}, training_images=ImageHashes())
