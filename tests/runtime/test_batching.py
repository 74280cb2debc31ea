"""Batches of what waits: each gets its own answer, whoever waits beside it."""

from __future__ import annotations

import io
import threading
import time

import numpy as np
import pytest
from PIL import Image

from pneumoscope.errors import OverloadedError
from pneumoscope.runtime import Batcher, Decoder, Status, load


@pytest.fixture(scope="module")
def predictor(bundle):
    return load(bundle)


@pytest.fixture(scope="module")
def decoder(predictor):
    decoder = Decoder(predictor.preprocessing, workers=1)
    yield decoder
    decoder.close()


@pytest.fixture
def pictures(rng) -> list[bytes]:
    found = []
    for _ in range(12):
        stream = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (80, 80), dtype=np.uint8)).save(stream, "PNG")
        found.append(stream.getvalue())
    return found


class _Gate:
    """A predictor whose first batch waits until it is let go."""

    def __init__(self, predictor):
        self._predictor = predictor
        self.open = threading.Event()
        self.sizes: list[int] = []
        self.preprocessing = predictor.preprocessing

    def answer_prepared(self, prepared):
        self.sizes.append(len(prepared))
        self.open.wait(30)
        return self._predictor.answer_prepared(prepared)

    def report_error(self, name, message):
        return self._predictor.report_error(name, message)


def test_each_image_gets_the_answer_that_it_gets_alone(predictor, decoder, pictures):
    batcher = Batcher(predictor, decoder)
    futures = [batcher.submit(data, f"{n}.png") for n, data in enumerate(pictures)]
    answers = [future.result() for future in futures]
    batcher.close()
    for number, (data, answer) in enumerate(zip(pictures, answers, strict=True)):
        alone = predictor.predict(data, name=f"{number}.png")
        assert answer.finding.path == f"{number}.png"
        assert answer.finding.decision == alone.decision
        assert answer.finding.probability == pytest.approx(alone.probability, abs=1e-5)
        assert set(answer.timings) == {"decode", "wait", "forward", "total"}


def test_what_waits_is_answered_together_and_never_more_than_allowed(predictor, decoder, pictures):
    slow = _Gate(predictor)
    batcher = Batcher(slow, decoder, most=4)
    futures = [batcher.submit(data, "x.png") for data in pictures]
    while len(slow.sizes) < 1 or batcher._ready.qsize() < len(pictures) - slow.sizes[0]:
        time.sleep(0.01)
    slow.open.set()
    assert all(future.result().finding.status is Status.OK for future in futures)
    batcher.close()
    assert sum(slow.sizes) == len(pictures)
    assert max(slow.sizes) <= 4
    assert slow.sizes[1:3] == [4, 4]


def test_one_more_than_may_be_on_their_way_is_refused(predictor, decoder, pictures):
    slow = _Gate(predictor)
    batcher = Batcher(slow, decoder, limit=2)
    futures = [batcher.submit(data, "x.png") for data in pictures[:2]]
    with pytest.raises(OverloadedError, match="2 images are being answered"):
        batcher.submit(pictures[2], "y.png")
    slow.open.set()
    assert [future.result().finding.status for future in futures] == [Status.OK, Status.OK]
    assert batcher.on_their_way == 0
    assert batcher.submit(pictures[2], "y.png").result().finding.status is Status.OK
    batcher.close()


def test_what_cannot_be_read_is_a_finding_and_hinders_nobody(predictor, decoder, pictures):
    batcher = Batcher(predictor, decoder)
    bad, good = batcher.submit(b"junk", "bad.png"), batcher.submit(pictures[0], "good.png")
    assert bad.result().finding.status is Status.ERROR
    assert bad.result().finding.message.startswith("bad.png")
    assert good.result().finding.status is Status.OK
    batcher.close()


def test_a_batch_that_fails_fails_for_its_images_only(predictor, decoder, pictures):
    class Failing(_Gate):
        def answer_prepared(self, prepared):
            self.sizes.append(len(prepared))
            if len(self.sizes) == 1:
                raise RuntimeError("no memory")
            return self._predictor.answer_prepared(prepared)

    batcher = Batcher(Failing(predictor), decoder)
    with pytest.raises(RuntimeError, match="no memory"):
        batcher.submit(pictures[0], "x.png").result()
    assert batcher.submit(pictures[1], "y.png").result().finding.status is Status.OK
    batcher.close()
