"""Heat-maps: Grad-CAM laid over every pixel of the radiograph, never louder than the answer."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_grad_cam import GradCAM

import pneumoscope
from pneumoscope.errors import ImageError
from pneumoscope.images import from_array, normalise, read, resample
from pneumoscope.network import PneumoniaResNet50, draw_weights, initialise_head, load_network
from pneumoscope.runtime import (
    CAPTION,
    Decision,
    draw_heatmap,
    encode_heatmap,
    save_heatmap,
    scale_map,
)


@pytest.fixture(scope="module")
def predictor(bundle):
    return pneumoscope.load(bundle)


@pytest.fixture
def large(phantoms, tmp_path):
    """A radiograph many times larger than the network's input, as hospitals have them."""
    path = tmp_path / "large.jpeg"
    with Image.open(sorted((phantoms / "PNEUMONIA").iterdir())[0]) as image:
        image.resize((1001, 803)).save(path, quality=95)
    return path


@pytest.fixture
def activation_map(rng):
    return rng.normal(size=(7, 7)).astype(np.float32)


def _run_grad_cam(network, images):
    """Return the library's Grad-CAM on layer4, before it is scaled to 0..1."""
    with GradCAM(network, [network.layer4]) as cam:
        targets = [lambda logit: logit] * len(images)
        cam(images, targets)
        hooks = cam.activations_and_grads
        maps = cam.get_cam_image(
            images,
            network.layer4,
            targets,
            hooks.activations[0].numpy(),
            hooks.gradients[0].numpy(),
        )
    return np.maximum(maps, 0)


def _check_same_up_to_scale(found, expected):
    assert expected.max() > 0
    assert found.shape == expected.shape
    assert found / found.max() == pytest.approx(expected / expected.max(), abs=1e-3)


def test_the_map_is_grad_cam_of_layer4(predictor, phantoms):
    network = load_network(predictor.bundle)
    shown = 0
    for path in sorted((phantoms / "PNEUMONIA").iterdir())[:4]:
        spec = predictor.bundle.info.preprocessing
        images = torch.from_numpy(normalise(resample(read(path), spec)[None], spec))
        expected = _run_grad_cam(network, images)[0]
        found = np.maximum(predictor.predict(path).activation_map, 0)
        assert (found.max() > 0) == (expected.max() > 0)
        if found.max() > 0:
            _check_same_up_to_scale(found, expected)
            shown += 1
    if not shown:
        pytest.skip("no phantom has influence for pneumonia")


def test_the_map_is_grad_cam_at_the_full_input_size():
    network = PneumoniaResNet50().eval()
    draw_weights(network, seed=0)
    initialise_head(network, seed=0)
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = network.explain(images).activation_map.numpy()
    assert found.shape == (2, 7, 7)
    for one, expected in zip(np.maximum(found, 0), _run_grad_cam(network, images), strict=True):
        _check_same_up_to_scale(one, expected)


@pytest.mark.parametrize(
    ("probability", "peak"), [(0.0, 0.0), (0.1, 0.25), (0.2, 0.5), (0.4, 1.0), (0.9, 1.0)]
)
def test_the_map_is_full_only_where_pneumonia_is_called(activation_map, probability, peak):
    scaled = scale_map(activation_map, probability, threshold=0.4)
    assert scaled.max() == pytest.approx(peak)
    assert scaled.min() == 0  # what speaks against pneumonia is cut


def test_no_influence_gives_no_colour(activation_map):
    assert not scale_map(-np.abs(activation_map), 0.9, 0.4).any()
    assert scale_map(activation_map, 0.0, threshold=0.0).max() == 1


def test_a_sure_normal_stays_grey(activation_map, rng):
    radiograph = from_array(rng.integers(0, 256, (90, 70), dtype=np.uint8), "MONOCHROME2")
    grey = radiograph.pixels[..., None].astype(int)
    colour = {
        p: np.abs(draw_heatmap(radiograph, activation_map, p, 0.5) - grey).max()
        for p in (0.0, 0.05, 0.5)
    }
    assert colour[0.0] <= 1
    assert colour[0.05] < 0.4 * colour[0.5]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(64, 64), (301, 203), (1, 40)])
def test_the_overlay_has_the_size_of_the_radiograph(activation_map, rng, shape, dtype):
    pixels = rng.integers(0, np.iinfo(dtype).max, shape).astype(dtype)
    overlay = draw_heatmap(from_array(pixels, "MONOCHROME2"), activation_map, 0.9, 0.5)
    assert overlay.shape == (*shape, 3)
    assert overlay.dtype == np.uint8


def test_saved_heat_maps_have_every_pixel_of_the_file(predictor, large, tmp_path):
    (finding,) = predictor.predict_many([large])  # answered at a reduced scale
    picture, raw = save_heatmap(tmp_path / "out", finding, large)
    with Image.open(picture) as image:
        assert image.format == "JPEG"
        saved = np.asarray(image)
    assert saved.shape[1] == 1001
    assert 803 < saved.shape[0] < 803 * 1.15  # the caption stands below
    expected = draw_heatmap(
        read(large), finding.activation_map, finding.probability, finding.threshold
    )
    assert np.abs(saved[:800].astype(int) - expected[:800]).mean() < 3
    assert (np.load(raw) == finding.activation_map).all()


def test_the_answer_does_not_depend_on_whether_a_map_is_drawn(predictor, large, tmp_path):
    before = predictor.predict(large).to_record()
    save_heatmap(tmp_path, predictor.predict(large), large)
    assert predictor.predict(large).to_record() == before


@pytest.mark.parametrize("form", ["path", "bytes", "radiograph"])
def test_a_map_is_saved_from_whatever_was_answered(predictor, large, tmp_path, form):
    image = {"path": large, "bytes": large.read_bytes(), "radiograph": read(large)}[form]
    picture, raw = save_heatmap(tmp_path / "out", predictor.predict(image), image)
    stem = "image" if form == "bytes" else "large"
    assert picture.name.startswith(f"{stem}-")
    assert picture.name.endswith(".heatmap.jpg")
    assert raw.name.endswith(".activation_map.npy")


def test_a_map_is_not_laid_over_another_image(predictor, large, tmp_path):
    finding = predictor.predict(large)
    with Image.open(large) as image:
        turned = image.rotate(180)
    turned.save(large)
    with pytest.raises(ImageError, match="has changed since it was answered"):
        save_heatmap(tmp_path / "out", finding, large)
    assert not (tmp_path / "out").exists()


def test_a_finding_without_an_answer_has_no_map(predictor, large, tmp_path):
    finding = dataclasses.replace(predictor.predict(large), activation_map=None)
    with pytest.raises(ValueError, match="no heat-map"):
        save_heatmap(tmp_path, finding, large)
    with pytest.raises(ValueError, match="no heat-map"):
        encode_heatmap(read(large), finding)


@pytest.mark.parametrize("width", [28, 64, 224, 640, 2048])
def test_the_caption_says_what_the_colours_are_not(predictor, rng, monkeypatch, width):
    """The words are drawn into the picture itself, whole, so that they travel with it."""
    from PIL import ImageDraw

    drawn = []
    original = ImageDraw.ImageDraw.text

    def text(self, place, words, *args, **kwargs):
        drawn.append(words)
        right, bottom = self.textbbox(place, words, font=kwargs["font"])[2:]
        assert right <= self._image.width
        assert bottom <= self._image.height
        assert kwargs["font"].size >= 10
        return original(self, place, words, *args, **kwargs)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)
    radiograph = from_array(rng.integers(0, 256, (64, width), dtype=np.uint8), "MONOCHROME2")
    answered = from_array(rng.integers(0, 256, (64, 64), dtype=np.uint8), "MONOCHROME2")
    finding = predictor.predict(answered)  # a strip gets no answer
    encode_heatmap(radiograph, finding)
    assert CAPTION == "influence map, not the location of pneumonia"
    assert any(CAPTION in words and "research use" in words for words in drawn)
    assert any(finding.decision.value in words for words in drawn)


@pytest.mark.parametrize("decision", list(Decision))
def test_every_decision_can_be_drawn_even_on_a_tiny_image(predictor, phantoms, decision):
    path = sorted((phantoms / "NORMAL").iterdir())[0]
    finding = dataclasses.replace(predictor.predict(path), decision=decision)
    with Image.open(io.BytesIO(encode_heatmap(read(path), finding))) as image:
        assert image.width >= 64
        assert image.height > 64
