"""The predictor: a bundle and an image become a finding."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pneumoscope.bundle import Bundle, find_shipped_bundle, read_bundle
from pneumoscope.errors import BundleError, ImageError, PneumoscopeError
from pneumoscope.images import (
    PreprocessingSpec,
    Radiograph,
    from_array,
    normalise,
    read,
    resample,
)
from pneumoscope.runtime.engine import Engine, Outputs, start_engine
from pneumoscope.runtime.finding import Finding
from pneumoscope.runtime.golden import confirm_golden
from pneumoscope.runtime.judgement import Judge, Objection
from pneumoscope.runtime.precision import choose_precision, describe_precision
from pneumoscope.runtime.stream import count_cores, map_in_order

#: A path, the bytes of a file, a radiograph, or pixels with their photometric interpretation.
Image = str | os.PathLike[str] | bytes | Radiograph | tuple[NDArray[np.generic], str]
_BATCH = 8
#: Images that a thread of a stream holds at once; more would not be faster.
_CHUNK = 4


def load(
    bundle: str | os.PathLike[str] | None = None,
    *,
    engine: str = "openvino",
    precision: str = "fp32",
    operating_point: str | None = None,
    streams: int = 1,
) -> Predictor:
    """Open a bundle (the one in the box by default, or as `bundled`) and make it ready to answer.

    Parameters are those of `Predictor`.

    Raises
    ------
    BundleError
        The bundle is missing, damaged, foreign or newer than this version.
    """
    return Predictor(
        read_bundle(find_bundle(bundle)),
        engine=engine,
        precision=precision,
        operating_point=operating_point,
        streams=streams,
    )


def find_bundle(named: str | os.PathLike[str] | None) -> Path:
    """Return the folder of a bundle: the model in the box for `bundled` and None.

    A folder that is really called so, here, goes first.

    Raises
    ------
    BundleError
        The model in the box is asked for, and this version carries none.
    """
    if named is None or (Path(named) == Path("bundled") and not Path(named).exists()):
        return find_bundled_model()
    return Path(named)


def find_bundled_model() -> Path:
    """Return the folder of the model in the box.

    Raises
    ------
    BundleError
        This version carries none.
    """
    folder = find_shipped_bundle()
    if folder is None:
        raise BundleError(
            "No model is in the box of this version: name one with --bundle DIR, or train one with "
            "`pneumoscope train` (its run folder holds bundle/)."
        )
    return folder


class Predictor:
    """Answers images with findings; one instance may serve many threads.

    The same image gets the same decision alone, in a batch, and in any order.

    Parameters
    ----------
    engine
        `openvino`, or `onnxruntime` where its extra is installed.
    precision
        `fp32`, `bf16`, `int8`, or `auto`: the fastest that bundle and processor have.
    operating_point
        One threshold to decide alone; None for the referral band.
    streams
        Forward passes side by side, each on its share of the cores: 1 answers a single image
        soonest; for many, `count_cores()` gives up to a fifth more images a second.

    Raises
    ------
    PneumoscopeError
        The bundle does not have the precision or the operating point; `streams` is below 1.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        engine: str = "openvino",
        precision: str = "fp32",
        operating_point: str | None = None,
        streams: int = 1,
    ) -> None:
        if streams < 1:
            raise PneumoscopeError(f"At least one stream is needed, found {streams}.")
        self.bundle = bundle
        self.precision = choose_precision(precision, bundle.info)
        path = describe_precision(self.precision, bundle.info)
        self._spec = bundle.info.preprocessing
        self._judge = Judge(
            bundle, self.precision, path.calibration, path.operating_points, operating_point
        )
        self.operating_points = path.operating_points
        """By name, those of the precision in use."""
        self.operating_point = self._judge.operating_point
        self.threshold = self._judge.threshold
        self.rule_out, self.rule_in = self._judge.rule_out, self._judge.rule_in
        self.warnings = self._judge.warnings
        self._engine: Engine = start_engine(engine, bundle, self.precision, streams)
        confirm_golden(bundle, self._engine, self.precision)

    def predict(
        self,
        image: Image | NDArray[np.generic],
        photometric_interpretation: str | None = None,
        *,
        name: str | None = None,
    ) -> Finding:
        """Answer one image.

        Parameters
        ----------
        image
            A path, the bytes of a file, a `Radiograph`, or a uint8 or uint16 array.
        photometric_interpretation
            What an array's pixels mean: MONOCHROME1, MONOCHROME2 or RGB; needed for arrays.
        name
            What the finding calls the image where it has no path.

        Raises
        ------
        ImageError
            The image cannot be read; `predict_many` makes findings of such errors instead.
        """
        if isinstance(image, np.ndarray):
            if photometric_interpretation is None:
                raise ImageError(
                    "An array needs its photometric interpretation: MONOCHROME1, MONOCHROME2 "
                    "or RGB."
                )
            image = image, photometric_interpretation
        radiograph = self._read(image, name)
        square = resample(radiograph, self._spec)
        return self._judge.judge(radiograph, square, self.predict_pixels(square[None]), 0)

    def predict_many(
        self, images: Iterable[Image], *, jobs: int | None = None
    ) -> Generator[Finding, None, None]:
        """Answer images in order, as a stream: memory does not grow with their number.

        What cannot be read becomes a finding with status `error`; the rest goes on. Close the
        generator (`contextlib.closing`) to stop its threads before its end.

        Parameters
        ----------
        images
            May be endless: read only a little ahead. An array comes as a pair with its photometric
            interpretation.
        jobs
            Threads that read, decode and answer; as many as there are cores by default.

        Raises
        ------
        PneumoscopeError
            `jobs` is below 1.
        """
        if jobs is not None and jobs < 1:
            raise PneumoscopeError(f"At least one job is needed, found {jobs}.")
        return map_in_order(self._answer, images, jobs=jobs or count_cores(), chunk=_CHUNK)

    def predict_pixels(self, squares: NDArray[np.uint8]) -> Outputs:
        """Run the network on resampled images, uint8 [N, size, size]; nothing is judged."""
        parts = [
            self._engine.run(normalise(squares[start : start + _BATCH], self._spec))
            for start in range(0, len(squares), _BATCH)
        ]
        return Outputs(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))

    @property
    def preprocessing(self) -> PreprocessingSpec:
        """How an image becomes the square that `predict_pixels` takes."""
        return self._spec

    def answer_prepared(
        self, prepared: Sequence[tuple[Radiograph, NDArray[np.uint8]]]
    ) -> list[Finding]:
        """Answer images that were read and resampled already, in order, with their findings.

        Parameters
        ----------
        prepared
            Each radiograph with its square, uint8 [size, size], resampled as `preprocessing` says;
            of the radiograph only its facts matter, not its pixels.
        """
        outputs = self.predict_pixels(np.stack([square for _, square in prepared]))
        return [self._judge.judge(*pair, outputs, row) for row, pair in enumerate(prepared)]

    def report_error(self, name: str, message: str) -> Finding:
        """Return the finding on an image that could not be read."""
        return self._judge.report_error(name, message)

    def examine(
        self, radiograph: Radiograph, square: NDArray[np.uint8], features: NDArray[np.float32]
    ) -> Objection:
        """Return what speaks against answering an image; `predict` asks this by itself.

        Parameters
        ----------
        square
            The radiograph resampled for the network, uint8 [size, size].
        features
            Of its forward pass, float32 [2048].
        """
        return self._judge.examine(radiograph, square, features)

    def calibrate(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return calibrated probabilities, 0..1, of logits."""
        return self._judge.calibrate(logits)

    # -- inside -------------------------------------------------------------------------------

    def _read(self, image: Image, name: str | None = None) -> Radiograph:
        if isinstance(image, Radiograph):
            return image
        if isinstance(image, tuple):
            return from_array(*image, name=name or "array")
        return read(image, name=name, target_size=self._spec.size)

    def _answer(self, images: Iterable[Image]) -> list[Finding]:
        """Answer one chunk of a stream."""
        prepared = [self._prepare(image) for image in images]
        readable = [entry for entry in prepared if not isinstance(entry, Finding)]
        answers = iter(self.answer_prepared(readable) if readable else [])
        return [entry if isinstance(entry, Finding) else next(answers) for entry in prepared]

    def _prepare(self, image: Image) -> tuple[Radiograph, NDArray[np.uint8]] | Finding:
        try:
            radiograph = self._read(image)
            return radiograph, resample(radiograph, self._spec)
        except ImageError as error:
            return self._judge.report_error(_name(image), str(error))


def _name(image: Image) -> str:
    if isinstance(image, Radiograph):
        return image.source
    if isinstance(image, str | os.PathLike):
        return os.fspath(image)
    return "array" if isinstance(image, tuple) else "image"
