"""Decoding apart: whatever an image does to its process, the others are read."""

from __future__ import annotations

import io
import os
import time

import numpy as np
import pytest
from PIL import Image

from pneumoscope.errors import ImageError
from pneumoscope.images import PreprocessingSpec, preprocess, read, resample
from pneumoscope.runtime import Decoder

SPEC = PreprocessingSpec(size=64)


@pytest.fixture(scope="module")
def decoder():
    decoder = Decoder(SPEC, workers=1, timeout=3)
    yield decoder
    decoder.close()


@pytest.fixture
def png(rng) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (90, 70), dtype=np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def test_an_image_is_prepared_as_it_is_for_training(decoder, png):
    prepared = decoder.prepare(png, "chest.png").result()
    alone = read(png, name="chest.png")
    np.testing.assert_array_equal(prepared.square, resample(alone, SPEC))
    assert prepared.radiograph.original_size == (70, 90)
    assert prepared.radiograph.sha256 == alone.sha256
    assert prepared.radiograph.pixels.shape == (64, 64)
    assert preprocess(prepared.radiograph, SPEC).shape == (3, 64, 64)


def test_what_is_no_image_is_an_error_in_a_sentence(decoder):
    with pytest.raises(ImageError, match=r"^notes\.txt is not an image"):
        decoder.prepare(b"hello", "notes.txt").result()


@pytest.mark.parametrize(
    ("work", "argument", "said"),
    [
        (os._exit, 3, "ended the process"),
        (os.abort, None, "ended the process"),
        (bytearray, 64 << 30, "ended the process"),
        (time.sleep, 60, "longer than 3 seconds"),
    ],
    ids=["exits", "crashes", "takes all memory", "hangs"],
)
def test_what_ends_its_process_fails_alone(decoder, png, work, argument, said):
    failing = decoder.run("bad.png", work, *([] if argument is None else [argument]))
    behind = decoder.prepare(png, "good.png")
    with pytest.raises(ImageError, match=said):
        failing.result()
    assert behind.result().square.shape == (64, 64)


def test_an_error_of_ours_comes_through_as_it_is(decoder):
    with pytest.raises(ZeroDivisionError):
        decoder.run("x", divmod, 1, 0).result()
