"""What runs the files of others: ONNX graphs, Keras models, timm checkpoints, behind one interface.

No file that could run code is opened: no pickle, no Lambda layer, no operator library.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import re
import sys
import warnings
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from pneumoscope._extras import require_extra
from pneumoscope.errors import MissingExtraError, ModelError
from pneumoscope.evidence.foreign.description import ModelDescription
from pneumoscope.runtime import ENGINES

_BACKENDS = ("torch", "tensorflow", "jax")
#: Older ones run code from files in spite of safe mode (CVE-2025-9905, CVE-2025-9906 and kin).
_SAFE_KERAS = (3, 13, 1)
#: The types of numbers that an image may have, as OpenVINO, ONNX Runtime and Keras call them.
_TYPES: dict[str, type[np.generic]] = {
    **dict.fromkeys(("f32", "tensor(float)", "float32"), np.float32),
    **dict.fromkeys(("f16", "tensor(float16)", "float16"), np.float16),
    **dict.fromkeys(("f64", "tensor(double)", "float64"), np.float64),
    **dict.fromkeys(("u8", "tensor(uint8)", "uint8"), np.uint8),
}


class Port(NamedTuple):
    """An input or an output of a model."""

    name: str
    shape: tuple[int | None, ...] | None
    """With the images first; None where a length, or even their number, is open."""
    dtype: type[np.generic] | None
    """None for a type that no image has."""


class ModelEngine(Protocol):
    """Runs a model of others."""

    kind: str
    """What runs it, for people."""
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    def run(self, images: NDArray[Any], source: str, output: str) -> NDArray[Any]:
        """Give images to the input `source` and return the output of a name."""
        ...


class OpenVinoGraph:
    """An ONNX graph on OpenVINO's CPU device, in fp32."""

    def __init__(self, path: Path) -> None:
        import openvino
        from openvino.frontend import FrontEndManager

        self.kind = f"ONNX on OpenVINO {openvino.get_version().split('-')[0]}"
        core = openvino.Core()
        # As ONNX and as nothing else: `read_model` would try other formats on what is damaged.
        reader = FrontEndManager().load_by_framework("onnx")
        try:
            model = reader.convert(reader.load(str(path)))
            # Always said: AMX machines would else compute everything in bf16.
            hints = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
            self._model = core.compile_model(model, "CPU", hints)
        except Exception as error:
            raise _refuse(path, "OpenVINO", "onnxruntime") from error
        self.inputs = tuple(map(_read_openvino_port, self._model.inputs))
        self.outputs = tuple(map(_read_openvino_port, self._model.outputs))
        if not self.inputs or not self.outputs:  # an empty file is an empty graph
            raise _refuse(path, "OpenVINO", "onnxruntime")

    def run(self, images: NDArray[Any], source: str, output: str) -> NDArray[Any]:
        """Give images to the input `source` and return the output of a name."""
        try:
            return np.array(self._model({source: images})[output])
        except RuntimeError as error:
            raise _fail(images, error) from error


class OnnxRuntimeGraph:
    """An ONNX graph on ONNX Runtime's CPU provider."""

    def __init__(self, path: Path) -> None:
        require_extra("onnxruntime", "onnxruntime", purpose="--engine onnxruntime")
        import onnxruntime

        self.kind = f"ONNX on ONNX Runtime {onnxruntime.__version__}"
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        try:
            self._session: Any = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise _refuse(path, "ONNX Runtime", "openvino") from error
        self.inputs = tuple(map(_read_onnx_port, self._session.get_inputs()))
        self.outputs = tuple(map(_read_onnx_port, self._session.get_outputs()))

    def run(self, images: NDArray[Any], source: str, output: str) -> NDArray[Any]:
        """Give images to the input `source` and return the output of a name."""
        try:
            return np.asarray(self._session.run([output], {source: images})[0])
        except Exception as error:
            raise _fail(images, error) from error


class KerasModel:
    """A `.keras` or `.h5` file, opened in Keras' safe mode, on the backend that is installed."""

    def __init__(self, path: Path) -> None:
        require_extra("keras", "keras", purpose="A Keras model")
        _choose_backend()
        keras = importlib.import_module("keras")
        if tuple(map(int, re.findall(r"\d+", keras.__version__)[:3])) < _SAFE_KERAS:
            raise MissingExtraError(
                f"Keras {keras.__version__} is installed, which may run code from a model's file: "
                "pip install --upgrade 'pneumoscope[keras]'."
            )
        self.kind = f"Keras {keras.__version__} on {keras.backend.backend()}"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                # An absolute path: other names could be addresses on the network to Keras.
                model = keras.saving.load_model(str(path.absolute()), compile=False, safe_mode=True)
            self.inputs = tuple(map(_read_keras_port, model.inputs))
            ports = [_read_keras_port(tensor) for tensor in model.outputs]
            # Where there are several, people know them by their layers' names.
            names = getattr(model, "output_names", None) or [port.name for port in ports]
            self.outputs = tuple(
                port._replace(name=name) for name, port in zip(names, ports, strict=True)
            )
        except Exception as error:
            raise _refuse_keras(path, error) from error
        self._model: Any = model
        self._flatten = keras.tree.flatten

    def run(self, images: NDArray[Any], source: str, output: str) -> NDArray[Any]:
        """Give images to the only input and return the output of a name."""
        try:
            with warnings.catch_warnings():  # of Keras, about NumPy
                warnings.simplefilter("ignore")
                found = self._flatten(self._model.predict_on_batch(images))
        except Exception as error:
            raise _fail(images, error) from error
        place = [port.name for port in self.outputs].index(output)
        return np.asarray(found[place])


class TimmNetwork:
    """A network of timm with the weights of a checkpoint, on PyTorch."""

    def __init__(self, architecture: str, checkpoint: Path, description: ModelDescription) -> None:
        require_extra("timm", "torch", "timm", "safetensors", purpose="A timm model")
        from pneumoscope.network import TimmClassifier

        taken = description.input
        self._network = TimmClassifier(
            architecture, checkpoint, taken.channels, (taken.size[0], taken.size[1])
        )
        self.kind = f"timm's {architecture} on {self._network.version}"
        # Weights do not say for which size they are; of the channels they do, and were asked.
        shape = (None, taken.channels, None, None)
        self.inputs: tuple[Port, ...] = (Port("image", shape, np.float32),)
        self.outputs: tuple[Port, ...] = (
            Port("logits", (None, self._network.classes), np.float32),
        )

    def run(self, images: NDArray[Any], source: str, output: str) -> NDArray[Any]:
        """Return the network's answer to images, its only input."""
        try:
            return self._network.run(images)
        except (RuntimeError, AssertionError, ValueError) as error:
            raise _fail(images, error) from error


def start_graph(path: Path, engine: str) -> ModelEngine:
    """Return the ONNX graph of a file on the engine of this name."""
    if engine not in ENGINES:
        raise ModelError(f"--engine takes {' or '.join(ENGINES)}, found {engine!r}.")
    return OpenVinoGraph(path) if engine == "openvino" else OnnxRuntimeGraph(path)


# -- inside ------------------------------------------------------------------------------------


def _choose_backend() -> None:
    """Say on what Keras is to run, unless somebody has, to the first that is installed."""
    if "KERAS_BACKEND" in os.environ or "keras" in sys.modules:
        return
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    try:
        named = json.loads((home / "keras.json").read_text())["backend"]
    except (OSError, ValueError, LookupError, TypeError):
        named = None
    # Keras itself writes tensorflow into that file, whether it is there or not.
    for name in (named, *_BACKENDS):
        if isinstance(name, str) and name in _BACKENDS and importlib.util.find_spec(name):
            os.environ["KERAS_BACKEND"] = name
            return
    raise MissingExtraError(
        "A Keras model needs torch, tensorflow or jax to run on: pip install 'pneumoscope[train]', "
        "which brings torch."
    )


def _read_openvino_port(port: Any) -> Port:
    shape = None
    if port.partial_shape.rank.is_static:
        shape = tuple(d.get_length() if d.is_static else None for d in port.partial_shape)
    return Port(port.get_any_name(), shape, _TYPES.get(port.element_type.get_type_name()))


def _read_onnx_port(port: Any) -> Port:
    shape = tuple(d if isinstance(d, int) and d > 0 else None for d in port.shape or ())
    return Port(port.name, shape or None, _TYPES.get(port.type))


def _read_keras_port(tensor: Any) -> Port:
    # Of other types, such as bfloat16, Keras makes its own.
    return Port(tensor.name, tuple(tensor.shape), _TYPES.get(str(tensor.dtype), np.float32))


def _refuse(path: Path, engine: str, other: str) -> ModelError:
    return ModelError(
        f"{path} is no graph that {engine} reads: it is damaged, of another kind, lacks its "
        f"external data, or has operators that {engine} has not (try --engine {other})."
    )


def _refuse_keras(path: Path, error: Exception) -> ModelError:
    said = " ".join(str(error).split())
    if "safe_mode" in said or "unsafe" in said.lower():
        return ModelError(
            f"{path} is refused: it holds code (a Lambda layer), which would run when it is "
            "opened; save the model with layers of Keras only, or export it to ONNX."
        )
    return ModelError(
        f"{path} cannot be read as a Keras model: it is damaged, holds weights only, or has layers "
        f"that are not Keras' own ({said[:160]}); a whole model as `model.save(FILE)` writes it, "
        "or an ONNX file, is needed."
    )


def _fail(images: NDArray[Any], error: Exception) -> ModelError:
    said = " ".join(str(error).split())
    return ModelError(
        f"The model takes no images of shape {list(images.shape)}, as its description has them: "
        f"{said[:200]}"
    )
