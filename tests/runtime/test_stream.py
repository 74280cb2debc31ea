"""Streams: in order, bounded, stoppable, and every image is answered as it is alone."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import count, islice

import pytest

import pneumoscope
from pneumoscope.bundle import read_bundle
from pneumoscope.errors import PneumoscopeError
from pneumoscope.runtime import Status
from pneumoscope.runtime.engine import OpenVinoEngine, start_engine
from pneumoscope.runtime.stream import map_in_order


def _double(part):
    return [item * 2 for item in part]


def _name_threads():
    return {thread.name for thread in threading.enumerate() if "pneumoscope" in thread.name}


@pytest.fixture(scope="module")
def predictor(bundle):
    return pneumoscope.load(bundle)


@pytest.fixture(scope="module")
def images(phantoms):
    return sorted(phantoms.rglob("*.jpeg"))


# -- any work -------------------------------------------------------------------------------------


@pytest.mark.parametrize("jobs", [1, 2, 7])
@pytest.mark.parametrize("chunk", [1, 4])
@pytest.mark.parametrize("length", [0, 1, 4, 30])
def test_results_keep_the_order_of_the_source(length, jobs, chunk):
    waits = random.Random(length)

    def work(part):
        time.sleep(waits.random() / 500)
        return _double(part)

    found = list(map_in_order(work, range(length), jobs=jobs, chunk=chunk))
    assert found == [item * 2 for item in range(length)]


def test_a_source_is_read_only_as_far_ahead_as_threads_need():
    taken = []

    def endless():
        for item in count():
            taken.append(item)
            yield item

    with closing(map_in_order(_double, endless(), jobs=3, chunk=4)) as results:
        for place, _ in enumerate(islice(results, 2_000), start=1):
            assert len(taken) - place < 2 * 3 * 4


def test_threads_work_at_the_same_time():
    together = threading.Barrier(3, timeout=20)

    def work(part):
        together.wait()  # breaks unless three are here
        return list(part)

    assert list(map_in_order(work, range(12), jobs=3, chunk=1)) == list(range(12))


def _rest_on_all_but_the_first(part):
    """Take ten seconds for a thousand items."""
    results = []
    for item in part:
        if item >= 1_000:
            time.sleep(0.01)
        results.append(item)
    return results


@pytest.mark.parametrize("how", ["close", "interrupt", "forget"])
def test_an_early_end_stops_the_threads_at_their_next_item(how):
    results = map_in_order(_rest_on_all_but_the_first, count(), jobs=2, chunk=1_000)
    assert next(results) == 0
    assert _name_threads()
    started = time.monotonic()
    if how == "close":
        results.close()
    elif how == "interrupt":
        with pytest.raises(KeyboardInterrupt):
            results.throw(KeyboardInterrupt)
    else:
        del results
    assert time.monotonic() - started < 2
    assert not _name_threads()


@pytest.mark.parametrize("place", [0, 9, 50])
def test_an_error_in_the_work_or_the_source_ends_the_stream(place):
    def fail(part):
        part = list(part)
        if place in part:
            raise OSError("gone")
        return part

    def break_off():
        yield from range(place)
        raise OSError("gone")

    for work, source in ((fail, range(100)), (_double, break_off())):
        with pytest.raises(OSError, match="gone"):
            list(map_in_order(work, source, jobs=2, chunk=4))
        assert not _name_threads()


# -- images ---------------------------------------------------------------------------------------


def test_an_image_is_answered_alike_alone_in_a_batch_and_in_any_order(predictor, images):
    alone = {str(path): predictor.predict(path) for path in images}
    for seed, jobs in enumerate((1, 2, 5)):
        shuffled = random.Random(seed).sample(images, len(images))
        found = list(predictor.predict_many(shuffled, jobs=jobs))
        assert [finding.path for finding in found] == [str(path) for path in shuffled]
        for finding in found:
            expected = alone[finding.path]
            assert finding.logit == pytest.approx(expected.logit, abs=1e-5)
            assert finding.decision is expected.decision
            assert finding.activation_map == pytest.approx(expected.activation_map, abs=1e-4)


def test_bad_images_stay_in_their_places(predictor, images):
    mixed = [x for path in images[:20] for x in (path, b"no image", b"")]
    found = list(predictor.predict_many(mixed, jobs=3))
    assert [f.status for f in found] == [Status.OK, Status.ERROR, Status.ERROR] * 20
    assert [f.path for f in found[::3]] == [str(path) for path in images[:20]]


def test_eight_threads_get_the_same_answers(predictor, images):
    expected = [finding.to_record() for finding in predictor.predict_many(images)]

    def answer(number):
        if number % 2:
            return [predictor.predict(path).to_record() for path in images]
        return [finding.to_record() for finding in predictor.predict_many(images, jobs=2)]

    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(answer, range(8)):
            for one, other in zip(found, expected, strict=True):
                assert one.pop("logit") == pytest.approx(other["logit"], abs=1e-5)
                assert one.pop("probability") == pytest.approx(other["probability"], abs=1e-5)
                assert one == {name: other[name] for name in one}


def test_a_model_has_answered_before_threads_use_it(bundle, monkeypatch):
    """The first use of OpenVINO by two threads at once may hang."""
    threads = []
    run = OpenVinoEngine.run

    def watch(engine, images):
        threads.append(threading.current_thread())
        return run(engine, images)

    monkeypatch.setattr(OpenVinoEngine, "run", watch)
    start_engine("openvino", read_bundle(bundle), "fp32")
    assert threads == [threading.current_thread()]


@pytest.mark.parametrize("jobs", [0, -1])
def test_no_jobs_are_refused_at_once(predictor, jobs):
    with pytest.raises(PneumoscopeError, match=f"At least one job is needed, found {jobs}"):
        predictor.predict_many([], jobs=jobs)
