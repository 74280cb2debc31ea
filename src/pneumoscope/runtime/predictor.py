"""The predictor: a bundle and an image become a finding."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pneumoscope._probability import format_probability
from pneumoscope.bundle import Bundle, find_shipped_bundle, read_bundle
from pneumoscope.errors import BundleError, ImageError, PneumoscopeError
from pneumoscope.images import Radiograph, from_array, normalise, read, resample
from pneumoscope.runtime.engine import Engine, Outputs, start_engine
from pneumoscope.runtime.finding import Decision, Finding, Status, WarningCode

#: A path, the bytes of a file, a radiograph, or pixels with their photometric interpretation.
Image = str | os.PathLike[str] | bytes | Radiograph | tuple[NDArray[np.generic], str]
_BATCH = 8


def load(
    bundle: str | os.PathLike[str] | None = None,
    *,
    engine: str = "openvino",
    precision: str = "fp32",
    operating_point: str | None = None,
) -> Predictor:
    """Open a bundle (the one in the box by default) and make it ready to answer.

    Raises
    ------
    BundleError
        The bundle is missing, damaged, foreign or newer than this version.
    """
    opened = read_bundle(Path(bundle) if bundle is not None else find_bundled_model())
    return Predictor(opened, engine=engine, precision=precision, operating_point=operating_point)


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
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        engine: str = "openvino",
        precision: str = "fp32",
        operating_point: str | None = None,
    ) -> None:
        info = bundle.info
        self.bundle = bundle
        self.precision = precision
        self.operating_point = operating_point or info.decides
        if self.operating_point not in info.operating_points:
            raise PneumoscopeError(
                f"The bundle has no operating point {operating_point!r}: it has "
                f"{', '.join(info.operating_points)}."
            )
        self.threshold = info.operating_points[self.operating_point].threshold
        self._spec = info.preprocessing
        self.warnings = _list_warnings(bundle)
        bundle.file("model.safetensors")  # verified: the graph's weights lie in it
        self._engine: Engine = start_engine(engine, precision, bundle.file("model.onnx"))

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
        outputs = self.predict_pixels(resample(radiograph, self._spec)[None])
        return self._judge(radiograph, outputs, 0)

    def predict_many(
        self,
        images: Iterable[Image],
        *,
        jobs: int | None = None,
    ) -> Iterator[Finding]:
        """Answer images in order, as a stream: memory does not grow with their number.

        Decoding runs ahead in `jobs` threads. An array comes as a pair with its photometric
        interpretation. What cannot be read becomes a finding with status `error`; the rest goes on.
        """
        for batch in self._read_ahead(images, jobs or os.cpu_count() or 1):
            read_ones = [entry for entry in batch if not isinstance(entry, Finding)]
            outputs = None
            if read_ones:
                outputs = self.predict_pixels(np.stack([square for _, square in read_ones]))
            row = 0
            for entry in batch:
                if isinstance(entry, Finding):
                    yield entry
                    continue
                assert outputs is not None
                yield self._judge(entry[0], outputs, row)
                row += 1

    def predict_pixels(self, squares: NDArray[np.uint8]) -> Outputs:
        """Run the network on resampled images, uint8 [N, size, size]; nothing is judged."""
        parts = [
            self._engine.run(normalise(squares[start : start + _BATCH], self._spec))
            for start in range(0, len(squares), _BATCH)
        ]
        return Outputs(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))

    def calibrate(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return calibrated probabilities, 0..1, of logits."""
        return self.bundle.info.calibration.apply(logits)

    # -- inside -------------------------------------------------------------------------------

    def _read(self, image: Image, name: str | None = None) -> Radiograph:
        if isinstance(image, Radiograph):
            return image
        if isinstance(image, tuple):
            return from_array(*image, name=name or "array")
        return read(image, name=name, target_size=self._spec.size)

    def _prepare(self, image: Image) -> tuple[Radiograph, NDArray[np.uint8]] | Finding:
        try:
            radiograph = self._read(image)
            return radiograph, resample(radiograph, self._spec)
        except ImageError as error:
            return Finding(
                path=_name(image),
                status=Status.ERROR,
                message=str(error),
                operating_point=self.operating_point,
                threshold=self.threshold,
                precision=self.precision,
                bundle=self.bundle.sha256,
            )

    def _read_ahead(
        self, images: Iterable[Image], jobs: int
    ) -> Iterator[list[tuple[Radiograph, NDArray[np.uint8]] | Finding]]:
        """Yield batches of prepared images while the next ones are being decoded."""
        source = iter(images)
        with ThreadPoolExecutor(jobs) as pool:
            waiting: list[Future[Any]] = [
                pool.submit(self._prepare, image) for image in islice(source, 2 * _BATCH + jobs)
            ]
            try:
                while waiting:
                    batch = [future.result() for future in waiting[:_BATCH]]
                    del waiting[:_BATCH]
                    waiting += [
                        pool.submit(self._prepare, image) for image in islice(source, len(batch))
                    ]
                    yield batch
            finally:
                for future in waiting:
                    future.cancel()

    def _judge(self, radiograph: Radiograph, outputs: Outputs, row: int) -> Finding:
        points = self.bundle.info.operating_points
        logit = outputs.logits[row]
        probability = float(self.calibrate(logit))
        called = probability >= self.threshold
        decision = Decision.PNEUMONIA if called else Decision.NORMAL
        side = "at or above" if called else "below"
        rule_out, rule_in = points.get("rule_out"), points.get("rule_in")
        return Finding(
            path=radiograph.source,
            sha256=radiograph.sha256,
            status=Status.OK,
            decision=decision,
            probability=probability,
            logit=float(logit),
            operating_point=self.operating_point,
            threshold=self.threshold,
            rule_out=rule_out.threshold if rule_out else None,
            rule_in=rule_in.threshold if rule_in else None,
            warnings=self.warnings,
            message=(
                f"{decision.value}: probability {format_probability(probability)}, {side} "
                f"the threshold {format_probability(self.threshold)} ({self.operating_point})."
            ),
            precision=self.precision,
            bundle=self.bundle.sha256,
            activation_map=outputs.activation_maps[row],
            geometry=self.bundle.info.preprocessing.geometry,
        )


def _list_warnings(bundle: Bundle) -> tuple[WarningCode, ...]:
    data = bundle.info.data
    warnings = [WarningCode.PHANTOM_MODEL] if data.phantom else []
    if data.contaminated:
        warnings.append(WarningCode.CONTAMINATED_MODEL)
    return tuple(warnings)


def _name(image: Image) -> str:
    if isinstance(image, Radiograph):
        return image.source
    if isinstance(image, str | os.PathLike):
        return os.fspath(image)
    return "array" if isinstance(image, tuple) else "image"
