"""The description of a model of others: what it may say, and one sentence where it may not."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pneumoscope.errors import ModelError
from pneumoscope.evidence import ModelDescription, parse_description, read_description
from pneumoscope.evidence.foreign.values import Scale
from pneumoscope.images import (
    Geometry,
    Normalisation,
    PreprocessingSpec,
    RectangularSpec,
    Resampler,
    from_array,
    normalise,
    resample,
)

DOCS = Path(__file__).parents[2] / "docs"
GOOD = """
name: theirs
input: {size: [64, 48], channels: 3, layout: NCHW, values: imagenet}
output: {meaning: logit}
"""


def _parse(**changes):
    """Parse a good description with fields changed: `input__size=[1, 2]`; None takes one away."""
    tree = {
        "name": "theirs",
        "input": {"size": [64, 48], "channels": 3, "layout": "NCHW", "values": "imagenet"},
        "output": {"meaning": "logit"},
    }
    for key, value in changes.items():
        *path, last = key.split("__")
        node = tree[path[0]] if path else tree
        if value is None:
            del node[last]
        else:
            node[last] = value
    return parse_description(json.dumps(tree), "theirs.yaml")


def test_what_is_not_said_has_stated_defaults():
    found = parse_description(GOOD, "theirs.yaml")
    assert found.decisive_threshold == 0.5
    assert found.output.places == (0,)
    assert found.input.shape == (3, 64, 48)
    spec = found.input.preprocessing
    assert spec.shape == (64, 48)
    assert (spec.resampler, spec.geometry) == (Resampler.BILINEAR, Geometry.STRETCH)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"name": None}, "name is missing: it takes what reports call the model"),
        ({"input__size": None}, "input.size is missing: it takes height and width in pixels"),
        ({"input__size": 224}, r"input.size takes height and width .*; found 224\."),
        ({"input__size": [224]}, r"input.size takes .*; found \[224\]"),
        ({"input__size": [224, "a"]}, r"input.size takes .*; found \[224, 'a'\]"),
        ({"input__size": [4, 224]}, "input.size takes"),
        ({"input__channels": 4}, "input.channels takes 1 or 3; found 4"),
        ({"input__channels": "3"}, "input.channels takes 1 or 3; found '3'"),
        ({"input__layout": "NHCW"}, "input.layout takes NCHW .* or NHWC .*; found 'NHCW'"),
        ({"input__values": "imagnet"}, "input.values takes imagenet, caffe, a range .* 'imagnet'"),
        ({"input__values": 255}, "input.values takes .*; found 255"),
        ({"input__values": {"range": "0..1", "men": 3}}, r"input.values takes .*'men': 3"),
        ({"input__values": {"mean": [1, 2]}}, "2 numbers for mean, one for each .* needed: 3"),
        ({"input__values": {"std": 0}}, "std takes numbers above 0"),
        ({"input__values": "1..1"}, "black and white may not become the same number"),
        ({"input__channels": 1}, "3 numbers for mean, .*: 1"),
        ({"input__resampler": "cubic"}, "input.resampler takes one of bilinear, .*'cubic'"),
        ({"input__colour": "BRG"}, "input.colour takes RGB or BGR"),
        ({"input__values": "caffe", "input__colour": "RGB"}, "caffe is BGR by definition"),
        ({"input__chanels": 3}, "there is no field input.chanels: channels may be meant"),
        ({"zzz": 1}, "there is no field zzz: allowed are name, input, output, threshold"),
        ({"output__meaning": "sigmoid"}, "output.meaning takes one of logit, probability, .*"),
        ({"output__meaning": "class_logits"}, "class_logits needs index"),
        ({"output__index": [1, 2]}, "several places need class_logits"),
        ({"output__index": -1}, "output.index takes the place of pneumonia"),
        ({"output__meaning": "class_logits", "output__index": [1, 1]}, "none of them twice"),
        ({"threshold": 1.5}, "threshold takes the probability, 0 to 1"),
        ({"threshold": "half"}, "threshold takes .*; found 'half'"),
        ({"referral_band": {"rule_out": 0.6, "rule_in": 0.9}}, "thresholds must rise"),
        ({"referral_band": {"rule_out": 0.2, "rule_in": 2}}, "referral_band.rule_in takes"),
        ({"input": 3}, "input takes a mapping with size"),
    ],
)
def test_a_mistake_is_named_with_what_was_found_and_what_is_allowed(changes, sentence):
    with pytest.raises(ModelError, match=sentence) as caught:
        _parse(**changes)
    assert str(caught.value).startswith("In theirs.yaml, ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "needs the fields name, input and output"),
        ("- 1", "needs the fields"),
        ("a: [", "not valid YAML"),
        ("a: &x [1]\nb: *x", "YAML aliases"),
        ("a: &x [*x]", "YAML aliases"),
        (b"\xff\xfe\x00", "not valid YAML"),
        ("a: !!python/object/apply:os.system ['true']", "not valid YAML"),
        ("[" * 60_000, "nested too deeply"),
        ("x" * 70_000, "more than 64 KiB"),
    ],
)
def test_what_is_no_description_is_refused_in_one_sentence(text, sentence):
    with pytest.raises(ModelError, match=sentence) as caught:
        parse_description(text, "theirs.yaml")
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"nowhere\.yaml cannot be read: No such file"):
        read_description(tmp_path / "nowhere.yaml")


_LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
_TREES = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=8,
)


@given(
    place=st.sampled_from(
        ["name", "input", "output", "threshold", "referral_band", "zzz"]
        + [f"input__{name}" for name in ("size", "channels", "values", "colour", "name")]
        + [f"output__{name}" for name in ("meaning", "index", "name")]
    ),
    value=_TREES.filter(lambda tree: tree is not None),
)
def test_whatever_a_field_holds_there_is_a_description_or_one_sentence(place, value):
    with suppress(ModelError):
        assert isinstance(_parse(**{place: value}), ModelDescription)


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_whatever_a_file_holds_there_is_one_sentence(data):
    with pytest.raises(ModelError):
        parse_description(data, "theirs.yaml")


# -- values ---------------------------------------------------------------------------------------


def _normalise_torchxrayvision(level):
    """As `torchxrayvision.utils.normalize` writes it, for maxval 255."""
    return (2 * (level / 255) - 1.0) * 1024


@pytest.mark.parametrize(
    ("name", "oracle"),
    [
        ("0..1", lambda level: level / 255),
        ("-1..1", lambda level: level / 127.5 - 1),
        ("0..255", lambda level: level),
        ("-1024..1024", _normalise_torchxrayvision),
        ("1..0", lambda level: 1 - level / 255),
    ],
)
def test_a_range_says_what_black_and_white_become(name, oracle):
    level = np.arange(256, dtype=np.float64)
    table = Scale.from_name(name, backwards=False).build_table(1)
    np.testing.assert_allclose(table[0], oracle(level), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("values", "known"),
    [
        ("imagenet", Normalisation.IMAGENET),
        ("caffe", Normalisation.CAFFE),
        ("0..1", Normalisation.UNIT),
        ("-1..1", Normalisation.SIGNED),
    ],
)
def test_named_values_are_those_that_training_uses(values, known, rng):
    grey = rng.integers(0, 256, (40, 40), dtype=np.uint8)
    table = Scale.from_name(values, backwards=False).build_table(3)
    ours = normalise(grey, PreprocessingSpec(normalisation=known))
    np.testing.assert_allclose(table[:, grey], ours, rtol=1e-6, atol=1e-6)


def test_mean_and_std_are_in_the_units_of_the_range():
    scale = Scale(range="0..255", mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
    named = Scale.from_name("imagenet", backwards=False)
    np.testing.assert_allclose(scale.build_table(3), named.build_table(3), atol=1e-5)


def test_bgr_turns_the_channels_round():
    backwards = _parse(input__colour="BGR").input.scale.build_table(3)
    np.testing.assert_array_equal(backwards, _parse().input.scale.build_table(3)[::-1])


# -- geometry -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(50, 37), (150, 90), (401, 600)])
def test_aliased_bilinear_is_that_of_other_libraries(rng, size):
    """OpenCV, TensorFlow and PyTorch without antialiasing agree; Pillow rounds to grey levels."""
    pixels = rng.integers(0, 256, (300, 400), dtype=np.uint8)
    spec = RectangularSpec(size=size[0], width=size[1], resampler=Resampler.BILINEAR_ALIASED)
    found = resample(from_array(pixels, "MONOCHROME2"), spec)
    tensor = torch.from_numpy(pixels).float()[None, None]
    oracle = torch.nn.functional.interpolate(tensor, size, mode="bilinear", antialias=False)
    assert found.shape == size
    assert np.abs(found - oracle.numpy()[0, 0]).max() <= 1.01


@pytest.mark.parametrize("geometry", list(Geometry))
def test_a_rectangle_is_filled_without_distortion_where_that_is_asked(geometry):
    """A white square on black, in a wide image, comes out with the sides that geometry says."""
    pixels = np.zeros((100, 200), np.uint8)
    pixels[40:60, 90:110] = 255
    spec = RectangularSpec(size=200, width=100, geometry=geometry, resampler=Resampler.NEAREST)
    out = resample(from_array(pixels, "MONOCHROME2"), spec)
    assert out.shape == (200, 100)
    rows, columns = np.nonzero(out.any(1))[0], np.nonzero(out.any(0))[0]
    sides = {
        Geometry.STRETCH: (40, 10),
        Geometry.LETTERBOX: (10, 10),
        Geometry.CENTER_CROP: (40, 40),
    }
    assert (len(rows), len(columns)) == sides[geometry]
    assert abs(rows.mean() - 99.5) <= 1
    assert abs(columns.mean() - 49.5) <= 1


def test_files_for_models_of_others_are_decoded_in_full(tmp_path, rng):
    from pneumoscope.datasets import load_pixels, open_collection
    from pneumoscope.datasets.manifest import build_manifest

    for label in ("NORMAL", "PNEUMONIA"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for name in ("a.jpeg", "b.jpeg"):
            noise = rng.integers(0, 256, (700, 900), dtype=np.uint8)
            Image.fromarray(noise).save(tmp_path / "data" / label / name, quality=95)
    frame = build_manifest(open_collection(tmp_path / "data")).frame
    spec = RectangularSpec(size=60, width=80, resampler=Resampler.NEAREST)
    pixels = load_pixels(frame, spec)
    for path, square in zip(frame["path"], pixels, strict=True):
        with Image.open(path) as image:
            oracle = image.resize((80, 60), Image.Resampling.NEAREST)
        np.testing.assert_array_equal(square, np.asarray(oracle))


# -- pages ----------------------------------------------------------------------------------------


def _list_examples():
    for page in ("how-to/judge-another-model.md", "reference/model-description.md"):
        text = (DOCS / page).read_text(encoding="utf-8")
        for number, block in enumerate(re.findall(r"^```yaml\n(.*?)^```", text, re.DOTALL | re.M)):
            yield pytest.param(block, id=f"{page}-{number}")


@pytest.mark.parametrize("text", list(_list_examples()))
def test_the_examples_of_the_pages_are_valid(text):
    assert parse_description(text, "example.yaml").name


def test_the_examples_are_found_at_all():
    assert len(list(_list_examples())) >= 6


def test_the_reference_names_every_field_and_every_meaning():
    from pneumoscope.evidence.foreign.description import (
        InputDescription,
        Meaning,
        OutputDescription,
    )

    models = (ModelDescription, InputDescription, OutputDescription, Scale)
    fields = {name for model in models for name in model.model_fields}
    page = (DOCS / "reference" / "model-description.md").read_text("utf-8")
    words = set(re.findall(r"[\w.]+", page))
    assert fields | {meaning.value for meaning in Meaning} <= words
    assert {r.value for r in Resampler} | {g.value for g in Geometry} <= words
