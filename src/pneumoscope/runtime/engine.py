"""Inference engines behind one interface: OpenVINO by default, ONNX Runtime as an extra."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from pneumoscope._extras import require_extra
from pneumoscope.bundle import Bundle
from pneumoscope.errors import BundleError, PneumoscopeError
from pneumoscope.runtime.compiled import open_memory
from pneumoscope.runtime.precision import describe_precision
from pneumoscope.runtime.stream import count_cores

if TYPE_CHECKING:
    import openvino

ENGINES = ("openvino", "onnxruntime")
_OUTPUTS = ("logit", "activation_map", "features")
_WARMING_UP = threading.Lock()


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

    memory: Path | None
    """A folder of this machine for this graph at this precision; None where nothing can be kept."""

    def run(self, images: NDArray[np.float32]) -> Outputs:
        """Answer normalised images, float32 [N, 3, size, size]."""
        ...


class OpenVinoEngine:
    """A graph on OpenVINO's CPU device, at a stated precision."""

    def __init__(self, bundle: Bundle, precision: str, streams: int = 1, keep: bool = True) -> None:
        import openvino

        graph = bundle.file(describe_precision(precision, bundle.info).graph)
        core = openvino.Core()
        hints: dict[str, Any] = {
            # Always said: AMX machines would else compute everything in bf16.
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
            "PERFORMANCE_HINT": "LATENCY",
        }
        if streams > 1:
            hints |= {"PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": str(streams)}
        version = openvino.get_version()
        self.memory = None
        if keep:
            self.memory = open_memory(bundle, precision, "openvino", version, sorted(hints.items()))
        if self.memory is not None:
            hints["CACHE_DIR"] = str(self.memory)
        try:
            self._model = core.compile_model(core.read_model(graph), "CPU", hints)
        except RuntimeError as error:
            raise BundleError(f"{graph} is no graph that OpenVINO reads.") from error
        self._local = threading.local()
        size = self._model.input("image").partial_shape[-1].get_length()
        # The bindings hang where two threads use them for the first time at once.
        with _WARMING_UP:
            self.run(np.zeros((1, 3, size, size), np.float32))

    def run(self, images: NDArray[np.float32]) -> Outputs:
        """Answer normalised images; every thread has its own request."""
        if not hasattr(self._local, "request"):
            self._local.request = self._model.create_infer_request()
        request: openvino.InferRequest = self._local.request
        results = request.infer({"image": images}, share_inputs=True)
        return Outputs(*(results[name].copy() for name in _OUTPUTS))


class OnnxRuntimeEngine:
    """The same graph on ONNX Runtime's CPU provider."""

    def __init__(self, bundle: Bundle, precision: str, streams: int = 1, keep: bool = True) -> None:
        require_extra("onnxruntime", "onnxruntime", purpose="--engine onnxruntime")
        import onnxruntime

        if precision == "bf16":
            raise PneumoscopeError("ONNX Runtime computes in fp32 or int8: take --engine openvino.")
        graph = bundle.file(describe_precision(precision, bundle.info).graph)
        self.memory = None
        if keep:
            self.memory = open_memory(bundle, precision, "onnxruntime", onnxruntime.__version__)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = max(1, count_cores() // streams)
        try:
            self._session: Any = onnxruntime.InferenceSession(
                str(graph), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise BundleError(f"{graph} is no graph that ONNX Runtime reads.") from error

    def run(self, images: NDArray[np.float32]) -> Outputs:
        """Answer normalised images."""
        return Outputs(*self._session.run(list(_OUTPUTS), {"image": images}))


def start_engine(
    name: str, bundle: Bundle, precision: str, streams: int = 1, *, keep: bool = True
) -> Engine:
    """Return the engine of this name on a bundle, whose files are verified first.

    Parameters
    ----------
    streams
        Forward passes that run side by side, each on its share of the cores: one answers a single
        image soonest, one for each core answers many soonest.
    keep
        Whether this machine keeps what it prepares for the next start; not for passing weights.

    Raises
    ------
    PneumoscopeError
        An unknown engine, or a precision that it does not have.
    """
    if name not in ENGINES:
        raise PneumoscopeError(f"--engine takes {' or '.join(ENGINES)}, found {name!r}.")
    engine = OpenVinoEngine if name == "openvino" else OnnxRuntimeEngine
    return engine(bundle, precision, streams, keep)
