"""Images that a model has seen are known again, also as another file."""

import io

import numpy as np
import pytest
from PIL import Image

from pneumoscope.bundle import ImageHashes
from pneumoscope.datasets.duplicates import fingerprint
from pneumoscope.datasets.phantom import draw_phantom
from pneumoscope.images import read


def encode(pixels, side=None, kind="PNG", **options):
    image = Image.fromarray(pixels)
    if side:
        image = image.resize((side, side), Image.Resampling.BILINEAR)
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def hash_image(data):
    radiograph = read(data)
    return radiograph.sha256, fingerprint(radiograph).phash.tobytes().hex()


def hash_images(files):
    sha256, phash = zip(*map(hash_image, files), strict=True)
    return ImageHashes(sha256, phash)


@pytest.fixture(scope="module")
def drawn():
    return [draw_phantom(np.random.default_rng(seed), None, size=512).pixels for seed in range(8)]


@pytest.mark.parametrize(
    "copy",
    [{"side": 224}, {"kind": "JPEG", "quality": 60}, {"side": 300, "kind": "JPEG", "quality": 85}],
)
def test_a_copy_is_known_again_and_another_image_is_not(drawn, copy):
    known = hash_images([encode(pixels) for pixels in drawn[:4]])
    found = known.find(hash_images([encode(pixels, **copy) for pixels in drawn]))
    assert found.tolist() == [True] * 4 + [False] * 4


def test_the_same_file_is_known_without_a_perceptual_hash():
    known = ImageHashes(("aa" * 32, "bb" * 32))
    assert known.find(ImageHashes(("bb" * 32, "cc" * 32))).tolist() == [True, False]


def test_nothing_is_known_to_who_has_seen_nothing():
    assert ImageHashes().find(ImageHashes(("aa" * 32,), ("aa" * 32,))).tolist() == [False]
    assert ImageHashes(("aa" * 32,)).find(ImageHashes()).tolist() == []


def test_two_memories_become_one(drawn):
    one, other = (hash_images([encode(pixels)]) for pixels in drawn[:2])
    both = hash_images([encode(pixels, side=224) for pixels in drawn[:2]])
    assert (one | other).find(both).all()
    assert one.find(both).tolist() == [True, False]
