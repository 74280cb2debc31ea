"""int8: the graph of a bundle, quantised after training, for engines and processors that gain.

Post-training quantisation by NNCF (https://github.com/openvinotoolkit/nncf): weights per channel,
activations per tensor, both symmetric-friendly for ONNX Runtime and OpenVINO alike, ranges from
images that the caller brings. The linear head and the activation map stay in fp32.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from pneumoscope._extras import require_extra
from pneumoscope._quiet import hush_loggers
from pneumoscope.bundle import GRAPH, Bundle

#: Nodes that keep fp32: they cost next to nothing, and their outputs are read by people.
_FP32 = ("fc", "activation_planes", "avgpool")


def quantise_graph(bundle: Bundle, images: Iterable[NDArray[np.float32]]) -> bytes:
    """Return the bytes of an int8 ONNX file with inputs and outputs as `model.onnx` has them.

    It holds its own weights: int8 ones cannot point into a file of float16.

    Parameters
    ----------
    images
        Normalised inputs, float32 [1, 3, size, size], from which the activations' ranges are
        taken; some hundreds, of both classes.
    """
    require_extra("int8", "nncf", "onnx", purpose="quantising a bundle")
    import nncf

    model = fold_graph(bundle.file(GRAPH))
    inputs = [{"image": image} for image in images]
    with _silence():
        quantised = nncf.quantize(
            model,
            nncf.Dataset(inputs),
            subset_size=len(inputs),
            ignored_scope=nncf.IgnoredScope(names=list(_FP32)),
        )
    return bytes(quantised.SerializeToString(deterministic=True))


@contextmanager
def _silence() -> Iterator[None]:
    """Keep progress bars, warnings and logs of NNCF, and of torch that it loads, off the terminal.

    They tell of no result. What goes wrong is raised all the same.
    """
    with (
        hush_loggers("nncf", "torch"),
        warnings.catch_warnings(action="ignore"),
        redirect_stdout(io.StringIO()),
    ):
        yield


def fold_graph(path: Path) -> onnx.ModelProto:
    """Return the graph in float32 with its weights inside, batch norm folded into convolutions.

    The same arithmetic as `fold_batch_norm`, on the file: what a bundle holds is what is quantised.
    """
    model = onnx.load(path)
    graph = model.graph
    values = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    producers = {node.output[0]: node for node in graph.node}
    for node in graph.node:
        if node.op_type == "Cast" and node.input[0] in values:
            values[node.output[0]] = values[node.input[0]].astype(np.float32)
    kept, folded = [], {}
    for node in graph.node:
        if node.op_type == "Cast":
            continue
        if node.op_type != "BatchNormalization":
            kept.append(node)
            continue
        convolution = producers[node.input[0]]
        scale, shift, mean, variance = (values[name] for name in node.input[1:])
        epsilon = next(a.f for a in node.attribute if a.name == "epsilon")
        factor = scale / np.sqrt(variance + np.float32(epsilon))
        kernel = values[convolution.input[1]] * factor[:, None, None, None]
        folded[f"{convolution.name}.weight/folded"] = kernel
        folded[f"{convolution.name}.bias/folded"] = shift - mean * factor
        del convolution.input[1:]
        convolution.input.extend(list(folded)[-2:])
        convolution.output[0] = node.output[0]
    values |= folded
    needed = {name for node in kept for name in node.input}
    del graph.node[:], graph.initializer[:]
    graph.node.extend(kept)
    graph.initializer.extend(
        numpy_helper.from_array(np.ascontiguousarray(values[name]), name)
        for name in sorted(needed & values.keys())
    )
    onnx.checker.check_model(model)
    return model
