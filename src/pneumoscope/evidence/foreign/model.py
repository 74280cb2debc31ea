"""Models of others: a file and its description become something that can be judged."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pneumoscope._files import hash_file
from pneumoscope._probability import format_probability
from pneumoscope.bundle import Calibration, OperatingPointInfo, is_bundle
from pneumoscope.errors import ModelError
from pneumoscope.evidence.foreign.description import ModelDescription
from pneumoscope.evidence.foreign.engines import (
    KerasModel,
    ModelEngine,
    Port,
    TimmNetwork,
    start_graph,
)
from pneumoscope.evidence.foreign.meaning import check_count, convert_to_logits
from pneumoscope.images import RectangularSpec

KERAS_SUFFIXES = (".keras", ".h5", ".hdf5")
CHECKPOINT_SUFFIXES = (".safetensors", ".pth", ".pt")
SUFFIXES = (".onnx", *KERAS_SUFFIXES, *CHECKPOINT_SUFFIXES)
_TIMM = "timm:"
_BATCH = 8


class ForeignAnswers(NamedTuple):
    """What a model of others gives for N images: no heat-maps and no features."""

    logits: NDArray[np.float64]
    """float64 [N], of pneumonia."""


@dataclass(frozen=True)
class ForeignModel:
    """A `Classifier` of others; it answers alone: no gate, no heat-maps, no list of images seen."""

    path: Path
    sha256: str
    description: ModelDescription
    engine: ModelEngine = field(repr=False)
    source: Port
    target: Port
    table: NDArray[np.generic] = field(repr=False)
    """What each grey level becomes, in the input's type, [channels, 256]."""
    operating_points: Mapping[str, OperatingPointInfo]
    calibration: Calibration = field(default_factory=Calibration)

    @property
    def preprocessing(self) -> RectangularSpec:
        """How an image becomes the grey pixels that `predict_pixels` takes."""
        return self.description.input.preprocessing

    def predict_pixels(self, squares: NDArray[np.uint8]) -> ForeignAnswers:
        """Answer resampled images, uint8 [N, height, width], whatever they show.

        Raises
        ------
        ModelError
            The model fails on them, or answers what its description rules out.
        """
        # A graph for so many images at once takes neither fewer nor more.
        fixed = self.source.shape[0] if self.source.shape else None
        step = fixed or _BATCH
        logits = []
        for start in range(0, len(squares), step):
            part = squares[start : start + step]
            missing = step - len(part) if fixed else 0
            padded = np.pad(part, ((0, missing), (0, 0), (0, 0)), mode="edge")
            logits.append(self._run(padded)[: len(part)])
        return ForeignAnswers(np.concatenate(logits) if logits else np.empty(0))

    def calibrate(self, logits: NDArray[Any]) -> NDArray[np.float64]:
        """Return probabilities, 0..1: the model's own where nothing was calibrated."""
        return self.calibration.apply(logits)

    def recalibrate(
        self, calibration: Calibration, points: Mapping[str, OperatingPointInfo]
    ) -> ForeignModel:
        """Return the same model with another calibration, and thresholds that go with it."""
        return dataclasses.replace(self, calibration=calibration, operating_points=points)

    def summarise(self) -> str:
        """Return in one line how the model is understood."""
        taken, given = self.description.input, self.description.output
        place = "" if given.index is None else f" at {given.index}"
        colour = f" {taken.colour or 'RGB'}" if taken.channels == 3 else ""
        values = taken.values if isinstance(taken.values, str) else repr(taken.values)
        if taken.values == "caffe":
            colour = " BGR"
        threshold = format_probability(self.operating_points["balanced"].threshold)
        return (
            f"{self.description.name} ({self.engine.kind}): input {self.source.name!r} "
            f"{taken.layout} {list(taken.shape)}{colour}, values {values}, "
            f"{taken.resampler} {taken.geometry}; output {self.target.name!r} "
            f"{_show_shape(self.target.shape)}, {given.meaning}{place}; pneumonia from "
            f"probability {threshold} on."
        )

    def _run(self, squares: NDArray[np.uint8]) -> NDArray[np.float64]:
        images = np.stack([row[squares] for row in self.table], axis=1)
        if self.description.input.layout == "NHWC":
            images = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
        found = self.engine.run(images, self.source.name, self.target.name)
        where = f"The output {self.target.name!r} of {self.path.name}"
        if found.size == 0 or found.size % len(images) or found.shape[:1] != images.shape[:1]:
            raise ModelError(
                f"{where} has the shape {list(found.shape)} for {len(images)} images: one row of "
                "numbers an image is needed."
            )
        numbers = found.reshape(len(images), -1)
        check_count(self.description.output, numbers.shape[1], where)
        return convert_to_logits(numbers, self.description.output, where)


def is_foreign(model: str | Path) -> bool:
    """Whether this names a model of others, by its form: a file of theirs, or `timm:NAME`."""
    path = Path(model)
    return str(model).startswith(_TIMM) or (
        path.suffix.lower() in SUFFIXES and not is_bundle(path) and not path.is_dir()
    )


def open_model(
    model: str | Path,
    description: ModelDescription,
    *,
    folder: Path | None = None,
    engine: str = "openvino",
) -> ForeignModel:
    """Open a model of others, check it against its description, and let it answer two images.

    Parameters
    ----------
    model
        A `.onnx`, `.keras` or `.h5` file; timm's weights (`.safetensors`, or `.pth` and `.pt` of
        plain tensors) with `architecture` in the description; or `timm:NAME` with `checkpoint`.
    folder
        Where a relative `checkpoint` lies; the working folder by default.
    engine
        Of ONNX files: `openvino` or `onnxruntime`.

    Raises
    ------
    ModelError
        The file is missing or damaged, or is not as the description says.
    WeightsError
        A checkpoint of timm is damaged or does not fit.
    MissingExtraError
        What runs it is not installed.
    """
    path, started = _start(str(model), description, folder or Path(), engine)
    taken, given = description.input, description.output
    source = _choose_port(started.inputs, taken.name, "input", path)
    target = _choose_port(started.outputs, given.name, "output", path)
    if len(started.inputs) > 1:
        raise ModelError(
            f"{path} takes {len(started.inputs)} inputs ({_list_names(started.inputs)}), and an "
            "image is all that can be given."
        )
    _check_shape(description, source, path)
    if target.shape is not None and len(target.shape) > 1 and None not in target.shape[1:]:
        count = int(np.prod([d for d in target.shape[1:] if d is not None]))
        check_count(given, count, f"The output {target.name!r} of {path.name}")
    opened = ForeignModel(
        path=path,
        sha256=hash_file(path),
        description=description,
        engine=started,
        source=source,
        target=target,
        table=_build_table(description, source, path),
        operating_points=_read_points(description),
    )
    height, width = taken.size
    black = np.zeros((height, width), np.uint8)
    ramp = np.broadcast_to(np.linspace(0, 255, width).astype(np.uint8), (height, width))
    opened.predict_pixels(np.stack([black, ramp]))
    return opened


# -- inside ------------------------------------------------------------------------------------


def _start(
    model: str, description: ModelDescription, folder: Path, engine: str
) -> tuple[Path, ModelEngine]:
    """Return the model's file, and the model started."""
    architecture = description.architecture
    if model.startswith(_TIMM):
        architecture = model.removeprefix(_TIMM)
        if description.architecture not in {None, architecture}:
            raise ModelError(
                f"{model} is asked for, but the description's architecture is "
                f"{description.architecture}."
            )
        if description.checkpoint is None:
            raise ModelError(
                f"{model} names a network without weights: state their file as checkpoint in the "
                "description."
            )
        path = folder / description.checkpoint
        if path.suffix.lower() not in CHECKPOINT_SUFFIXES:
            raise ModelError(
                f"checkpoint takes a file {', '.join(CHECKPOINT_SUFFIXES)}, found {path.name}."
            )
    else:
        path = Path(model)
        if description.checkpoint is not None:
            raise ModelError(
                f"checkpoint goes with timm:NAME in place of a file, found {model} and "
                f"{description.checkpoint}."
            )
    suffix = path.suffix.lower()
    if not path.is_file():
        raise ModelError(f"There is no model at {path}.")
    if suffix in CHECKPOINT_SUFFIXES:
        if architecture is None:
            raise ModelError(
                f"{path} holds weights without their network: state timm's name of it as "
                "architecture in the description, such as resnet18, or export the model to ONNX."
            )
        return path, TimmNetwork(architecture, path, description)
    if architecture is not None:
        raise ModelError(f"architecture goes with timm's weights, found {path.name}: leave it out.")
    return path, KerasModel(path) if suffix in KERAS_SUFFIXES else start_graph(path, engine)


def _choose_port(ports: tuple[Port, ...], name: str | None, kind: str, path: Path) -> Port:
    named = [port for port in ports if port.name == name]
    if name is not None and not named:
        raise ModelError(f"{path} has no {kind} {name!r}: it has {_list_names(ports)}.")
    if name is None and len(ports) != 1:
        raise ModelError(
            f"{path} has {len(ports)} {kind}s ({_list_names(ports)}): say with {kind}.name which "
            "one is meant."
        )
    return named[0] if named else ports[0]


def _check_shape(description: ModelDescription, source: Port, path: Path) -> None:
    """Compare what the model declares to take with what its description says."""
    if source.shape is None:
        return
    taken = description.input
    said = (None, *taken.shape)
    if len(source.shape) == 4 and _agree(source.shape[1:], taken.shape):
        return
    raise ModelError(
        f"{path} takes {_show_shape(source.shape)} as input {source.name!r}, the description says "
        f"{taken.layout} {_show_shape(said)}{_find_mistake(description, source.shape)}."
    )


def _find_mistake(description: ModelDescription, declared: tuple[int | None, ...]) -> str:
    """Return which field of the description is likely wrong, for the end of a sentence."""
    if len(declared) != 4:
        return ""
    taken = description.input
    channels, height, width = taken.channels, *taken.size
    first = taken.layout == "NCHW"
    if _agree(declared[1:], (height, width, channels) if first else (channels, height, width)):
        return f": input.layout is {'NHWC' if first else 'NCHW'}"
    found = declared[1:] if first else (declared[3], declared[1], declared[2])
    wrong = []
    if found[0] not in {None, channels}:
        wrong.append("input.channels")
    if not _agree(found[1:], (height, width)):
        wrong.append("input.size")
    return f": see {' and '.join(wrong)}"


def _agree(declared: tuple[int | None, ...], said: tuple[int, ...]) -> bool:
    return all(one in {None, other} for one, other in zip(declared, said, strict=True))


def _build_table(description: ModelDescription, source: Port, path: Path) -> NDArray[np.generic]:
    if source.dtype is None:
        raise ModelError(
            f"{path} takes another type of numbers as input {source.name!r} than float32, float16, "
            "float64 or uint8."
        )
    table = description.input.scale.build_table(description.input.channels)
    if source.dtype is np.uint8:
        if not np.array_equal(table, table.round().clip(0, 255)):
            raise ModelError(
                f"{path} takes uint8 as input {source.name!r}, but the description's values are no "
                "whole numbers of 0 to 255: input.values is 0..255."
            )
        table = table.round()
    return table.astype(source.dtype)


def _read_points(description: ModelDescription) -> dict[str, OperatingPointInfo]:
    stated = "as the model's description states"
    balanced = stated if description.threshold is not None else "0.5, for nobody stated another"
    points = {
        "balanced": OperatingPointInfo(threshold=description.decisive_threshold, target=balanced)
    }
    if description.referral_band is None:
        return points
    return {
        "rule_out": OperatingPointInfo(threshold=description.referral_band.rule_out, target=stated),
        **points,
        "rule_in": OperatingPointInfo(threshold=description.referral_band.rule_in, target=stated),
    }


def _list_names(ports: tuple[Port, ...]) -> str:
    return ", ".join(port.name for port in ports) or "none"


def _show_shape(shape: tuple[int | None, ...] | None) -> str:
    if shape is None:
        return "[?]"
    return f"[{', '.join('N' if d is None else str(d) for d in shape)}]"
