"""Inference engines behind one interface: OpenVINO by default, ONNX Runtime as an extra."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from pneumoscope._extras import require_extra
from pneumoscope.errors import BundleError, PneumoscopeError

ENGINES = ("openvino", "onnxruntime")
_OUTPUTS = ("logit", "activation_map", "features")


class Outputs(NamedTuple):
    """What one forward pass gives for N images."""

    logits: NDArray[np.float32]
    """float32 [N]."""
    activation_maps: NDArray[np.float32]
    """float32 [N, 7, 7], in logit units."""
    features: NDArray[np.float32]
    """float32 [N, 2048]."""


class Engine(Protocol):
    """Runs the graph of a bundle; safe to call from several threads."""

    def run(self, images: NDArray[np.float32]) -> Outputs:
        """Answer normalised images, float32 [N, 3, size, size]."""
        ...


class OpenVinoEngine:
    """The graph on OpenVINO's CPU device, at a stated precision."""

    def __init__(self, graph: Path, precision: str) -> None:
        import openvino

        core = openvino.Core()
        hints = {
            # Always said: AMX machines would else compute everything in bf16.
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
            "PERFORMANCE_HINT": "LATENCY",
        }
        try:
            self._model = core.compile_model(core.read_model(graph), "CPU", hints)
        except RuntimeError as error:
            raise BundleError(f"{graph} is no graph that OpenVINO reads.") from error
        self._local = threading.local()

    def run(self, images: NDArray[np.float32]) -> Outputs:
        """Answer normalised images; every thread has its own request."""
        if not hasattr(self._local, "request"):
            self._local.request = self._model.create_infer_request()
        results = self._local.request.infer({"image": images}, share_inputs=True)
        return Outputs(*(results[name].copy() for name in _OUTPUTS))


class OnnxRuntimeEngine:
    """The same graph on ONNX Runtime's CPU provider."""

    def __init__(self, graph: Path) -> None:
        require_extra("onnxruntime", "onnxruntime", purpose="--engine onnxruntime")
        import onnxruntime

        try:
            self._session: Any = onnxruntime.InferenceSession(
                str(graph), providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise BundleError(f"{graph} is no graph that ONNX Runtime reads.") from error

    def run(self, images: NDArray[np.float32]) -> Outputs:
        """Answer normalised images."""
        return Outputs(*self._session.run(list(_OUTPUTS), {"image": images}))


def start_engine(name: str, precision: str, graph: Path) -> Engine:
    """Return the engine of this name on a graph.

    Raises
    ------
    PneumoscopeError
        An unknown engine, or a precision that it does not have.
    """
    if name not in ENGINES:
        raise PneumoscopeError(f"--engine takes {' or '.join(ENGINES)}, found {name!r}.")
    if name == "openvino":
        return OpenVinoEngine(graph, precision)
    if precision == "bf16":
        raise PneumoscopeError("ONNX Runtime computes in fp32 or int8: take --engine openvino.")
    return OnnxRuntimeEngine(graph)
