"""The network as an ONNX graph without weights of its own: it points into `model.safetensors`.

Written node by node rather than traced: a hundred lines that depend on no exporter, give the same
bytes every time, and name every node as the network names its layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx
from onnx import TensorProto, helper
from torch import nn

from pneumoscope import __version__
from pneumoscope.bundle import TensorPlace
from pneumoscope.network.resnet import PARTS, PneumoniaResNet50

#: Read by OpenVINO and ONNX Runtime of the last years alike.
OPSET = 17
_IR_VERSION = 8
_TYPES = {"float16": TensorProto.FLOAT16, "float32": TensorProto.FLOAT}
_STRIDE = 32


def build_graph(
    network: PneumoniaResNet50, places: Mapping[str, TensorPlace], *, size: int, location: str
) -> bytes:
    """Return the bytes of an ONNX file for `network`.

    Input `image`: float32 [N, 3, size, size], normalised. Outputs, float32: `logit` [N],
    `activation_map` [N, h, w] in logit units, `features` [N, 2048].

    Parameters
    ----------
    places
        Where each parameter lies in the file of the weights.
    size
        Side of the input, pixels.
    location
        Name of the file of the weights, in the same folder.
    """
    writer = _GraphWriter(places, location)
    last = writer.add_backbone(network, "image")
    writer.add_head(last)
    side = -(-size // _STRIDE)
    graph = helper.make_graph(
        writer.nodes,
        "pneumonia_resnet50",
        [_declare("image", ["N", 3, size, size])],
        [
            _declare("logit", ["N"]),
            _declare("activation_map", ["N", side, side]),
            _declare("features", ["N", network.fc.in_features]),
        ],
        initializer=writer.initializers,
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=_IR_VERSION,
        producer_name="pneumoscope",
        producer_version=__version__,
    )
    return bytes(model.SerializeToString(deterministic=True))


class _GraphWriter:
    """Collects nodes and the initializers that they need."""

    def __init__(self, places: Mapping[str, TensorPlace], location: str) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._places = places
        self._location = location
        self._loaded: dict[str, str] = {}

    def add_backbone(self, network: PneumoniaResNet50, x: str) -> str:
        """Add all up to the last feature map; return its name."""
        x = self._add_convolution("conv1", network.conv1, x)
        x = self._add_batch_norm("bn1", network.bn1, x)
        x = self._add("Relu", "relu", [x])
        pool = network.maxpool
        x = self._add(
            "MaxPool",
            "maxpool",
            [x],
            kernel_shape=_pair(pool.kernel_size),
            strides=_pair(pool.stride),
            pads=_pair(pool.padding) * 2,
        )
        for part in PARTS[1:]:
            for index, block in enumerate(getattr(network, part)):
                x = self._add_block(f"{part}.{index}", block, x)
        return x

    def add_head(self, feature_map: str) -> None:
        """Add pooling, the linear unit, and the class-activation map that it implies."""
        weight, bias = self._load("fc.weight"), self._load("fc.bias")
        one = self._add_integers("axis", [1])
        self._add("ReduceMean", "avgpool", [feature_map], "features", axes=[2, 3], keepdims=0)
        column = self._add("Gemm", "fc", ["features", weight, bias], transB=1)
        self._add("Squeeze", "logit", [column, one], "logit")
        kernel = self._add_integers("kernel_shape", [1, -1, 1, 1])
        kernel = self._add("Reshape", "activation_kernel", [weight, kernel])
        planes = self._add("Conv", "activation_planes", [feature_map, kernel], kernel_shape=[1, 1])
        self._add("Squeeze", "activation_map", [planes, one], "activation_map")

    def _add_block(self, name: str, block: nn.Module, x: str) -> str:
        """Add one bottleneck: three convolutions and the shortcut around them."""
        parts: dict[str, Any] = dict(block.named_children())
        y = x
        for index in (1, 2, 3):
            y = self._add_convolution(f"{name}.conv{index}", parts[f"conv{index}"], y)
            y = self._add_batch_norm(f"{name}.bn{index}", parts[f"bn{index}"], y)
            if index < 3:
                y = self._add("Relu", f"{name}.relu{index}", [y])
        if parts.get("downsample") is not None:
            convolution, norm = parts["downsample"]
            x = self._add_convolution(f"{name}.downsample.0", convolution, x)
            x = self._add_batch_norm(f"{name}.downsample.1", norm, x)
        y = self._add("Add", f"{name}.add", [y, x])
        return self._add("Relu", f"{name}.relu3", [y])

    def _add_convolution(self, name: str, layer: nn.Conv2d, x: str) -> str:
        return self._add(
            "Conv",
            name,
            [x, self._load(f"{name}.weight")],
            kernel_shape=list(layer.kernel_size),
            strides=list(layer.stride),
            pads=[int(side) for side in layer.padding] * 2,
        )

    def _add_batch_norm(self, name: str, layer: nn.BatchNorm2d, x: str) -> str:
        fields = ("weight", "bias", "running_mean", "running_var")
        inputs = [x, *(self._load(f"{name}.{field}") for field in fields)]
        return self._add("BatchNormalization", name, inputs, epsilon=layer.eps)

    def _load(self, name: str) -> str:
        """Return the name of a float32 value that holds a parameter; engines fold the cast."""
        if name not in self._loaded:
            place = self._places[name]
            stored = TensorProto(
                name=name,
                dims=place.shape,
                data_type=_TYPES[place.dtype],
                data_location=TensorProto.EXTERNAL,
            )
            entries = {"location": self._location, "offset": place.offset, "length": place.length}
            for key, value in entries.items():
                stored.external_data.add(key=key, value=str(value))
            self.initializers.append(stored)
            self._loaded[name] = name
            if place.dtype == "float16":
                self._loaded[name] = self._add("Cast", f"{name}/cast", [name], to=TensorProto.FLOAT)
        return self._loaded[name]

    def _add_integers(self, name: str, values: list[int]) -> str:
        self.initializers.append(helper.make_tensor(name, TensorProto.INT64, [len(values)], values))
        return name

    def _add(
        self, kind: str, name: str, inputs: list[str], output: str | None = None, **attributes: Any
    ) -> str:
        output = output or f"{name}/out"
        self.nodes.append(helper.make_node(kind, inputs, [output], name=name, **attributes))
        return output


def _declare(name: str, shape: list[str | int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _pair(value: int | tuple[int, int]) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)
