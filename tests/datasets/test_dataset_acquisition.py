"""What a file and its pixels tell of how an image was made."""

from __future__ import annotations

import io

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pneumoscope.datasets import FEATURES, MEASURED, estimate_quality, measure_acquisition
from pneumoscope.images import read, resample


@given(quality=st.integers(1, 100))
def test_the_quality_that_a_file_was_written_with_is_found(quality):
    stream = io.BytesIO()
    Image.new("L", (8, 8)).save(stream, "JPEG", quality=quality)
    stream.seek(0)
    with Image.open(stream) as image:
        assert estimate_quality(np.array(image.quantization[0])) == quality


def test_a_table_of_a_devices_own_has_an_equivalent():
    flat = np.full(64, 3)
    assert 90 <= estimate_quality(flat) <= 100


def _measure(path):
    radiograph = read(path)
    width, height = radiograph.original_size
    frame = pl.DataFrame({"path": [str(path)], "width": [width], "height": [height]})
    return measure_acquisition(frame, resample(radiograph, MEASURED)[None]).row(0, named=True)


def test_a_jpeg_file_has_every_feature(tmp_path, rng):
    pixels = rng.integers(40, 200, (100, 150), dtype=np.uint8)
    path = tmp_path / "x.jpeg"
    Image.fromarray(pixels).save(path, quality=83)
    found = _measure(path)
    assert list(found) == list(FEATURES)
    assert found["width"] == 150
    assert found["height"] == 100
    assert found["aspect_ratio"] == 1.5
    assert found["jpeg_quality"] == 83
    assert found["bytes_per_pixel"] == path.stat().st_size / 15000
    assert found["mean_intensity"] == pytest.approx(pixels.mean() / 255, abs=0.01)


def test_a_png_file_has_bytes_but_no_quality(tmp_path, rng):
    path = tmp_path / "x.png"
    Image.fromarray(rng.integers(0, 256, (64, 64), dtype=np.uint8)).save(path)
    found = _measure(path)
    assert np.isnan(found["jpeg_quality"])
    assert found["bytes_per_pixel"] > 0.9


def test_a_row_of_an_array_has_neither():
    frame = pl.DataFrame({"path": ["/no/a.npz#train/0"], "width": [28], "height": [28]})
    found = measure_acquisition(frame, np.zeros((1, 128, 128), np.uint8)).row(0, named=True)
    assert np.isnan(found["jpeg_quality"])
    assert np.isnan(found["bytes_per_pixel"])
    assert found["width"] == 28


def test_a_dark_edge_and_a_marker_are_seen_where_they_are(tmp_path):
    pixels = np.full((256, 256), 120, np.uint8)
    pixels[:, :20] = 0
    pixels[4:30, 220:250] = 250
    path = tmp_path / "x.png"
    Image.fromarray(pixels).save(path)
    found = _measure(path)
    assert found["border_left"] == 1
    assert found["border_right"] == 0
    assert found["corner_top_right"] > 0.1
    assert found["corner_bottom_right"] == 0


def test_progress_ends_at_the_last_image():
    frame = pl.DataFrame({"path": ["/no/x"] * 70, "width": [8] * 70, "height": [8] * 70})
    seen = []
    measure_acquisition(
        frame, np.zeros((70, 128, 128), np.uint8), progress=lambda *step: seen.append(step)
    )
    assert seen == [(64, 70), (70, 70)]
