"""Whatever happens to a bundle on its way is noticed, and said in one sentence."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pneumoscope._files import hash_bytes
from pneumoscope.bundle import Bundle, BundleInfo, is_bundle, read_bundle, verify_bundle
from pneumoscope.bundle.seal import parse_info
from pneumoscope.errors import BundleError

MakeBundle = Callable[..., Bundle]
MakeInfo = Callable[..., BundleInfo]


def _flip(path: Path, position: int, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1 << bit
    path.write_bytes(data)


def _reseal(path: Path, change: Callable[[dict], None]) -> None:
    """Edit bundle.json as someone would who knows how the seal is made."""
    tree = json.loads((path / "bundle.json").read_text())
    change(tree)
    tree["seal"] = "0" * 64
    text = json.dumps(tree)
    tree["seal"] = hash_bytes(text.encode())
    (path / "bundle.json").write_text(json.dumps(tree))


def test_every_byte_of_the_description_is_guarded(make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    data = bytearray((bundle.path / "bundle.json").read_bytes())
    for position in range(len(data)):
        data[position] ^= 1 << position % 8
        with pytest.raises(BundleError):
            parse_info(bytes(data), "it")
        data[position] ^= 1 << position % 8
    assert parse_info(bytes(data), "it") == bundle.info


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_flipped_bit_of_any_file_is_noticed(
    make_bundle: MakeBundle, data: st.DataObject
) -> None:
    bundle = make_bundle()
    name = data.draw(st.sampled_from(sorted([*bundle.info.files, "bundle.json"])))
    file = bundle.path / name
    position = data.draw(st.integers(0, file.stat().st_size - 1))
    _flip(file, position, data.draw(st.integers(0, 7)))
    if name == "bundle.json":
        with pytest.raises(BundleError):
            read_bundle(bundle.path)
    else:
        assert verify_bundle(bundle.path) == [
            f"{name} is damaged (its sha256 is not the recorded one)"
        ]
        with pytest.raises(BundleError, match=re.escape(name)):
            read_bundle(bundle.path).file(name)


def test_only_opened_files_are_hashed_and_only_once(make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    _flip(bundle.path / "reference.npz", 5, 1)
    opened = read_bundle(bundle.path)
    assert opened.file("model.safetensors").is_file()
    with pytest.raises(BundleError, match=r"reference\.npz is damaged"):
        opened.reference()
    _flip(bundle.path / "model.safetensors", 5, 1)
    assert opened.file("model.safetensors").is_file()  # remembered
    assert len(opened.verify()) == 2  # looked at again


def test_a_graph_is_not_opened_with_damaged_weights(make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    _flip(bundle.path / "model.safetensors", -1, 0)
    with pytest.raises(BundleError, match=r"model\.safetensors is damaged"):
        read_bundle(bundle.path).file("model.onnx")


def test_a_truncated_file_is_reported_with_its_sizes(make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    (bundle.path / "README.md").write_bytes(b"short")
    assert re.match(r"README.md is damaged \(5 bytes, not [\d,]+\)", verify_bundle(bundle.path)[0])


def test_a_file_lost_after_opening_is_missing(make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    (bundle.path / "model.onnx").unlink()
    assert bundle.verify() == ["model.onnx is missing"]
    with pytest.raises(BundleError, match=r"model\.onnx is missing"):
        bundle.file("model.onnx")


def test_a_folder_where_a_file_should_be_cannot_be_read(make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    (bundle.path / "model.onnx").unlink()
    (bundle.path / "model.onnx").mkdir()
    assert len(bundle.verify()) == 1


def test_an_unknown_file_is_named_with_those_there_are(make_bundle: MakeBundle) -> None:
    with pytest.raises(BundleError, match=r"has no file model\.int8\.onnx; it has README\.md, "):
        make_bundle().file("model.int8.onnx")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        # a folder that is not there
        (lambda path: shutil.rmtree(path), "There is no bundle at"),
        # any other folder
        (lambda path: (path / "bundle.json").unlink(), "is not a bundle: it has no bundle.json"),
        # a file that never came
        (lambda path: (path / "model.onnx").unlink(), "model.onnx is missing"),
        # an empty file, as a full disk leaves it
        (lambda path: (path / "bundle.json").write_bytes(b""), r"damaged \(no JSON\)"),
        # bytes that are no text
        (lambda path: (path / "bundle.json").write_bytes(b"\xff\xfe\x00"), r"damaged \(no JSON\)"),
        # nesting that exhausts a naive parser
        (lambda path: (path / "bundle.json").write_text("[" * 60_000), r"damaged \(no JSON\)"),
        # JSON of another kind
        (lambda path: (path / "bundle.json").write_text("[1]"), "not from Pneumoscope"),
        # another program's bundle.json
        (lambda path: (path / "bundle.json").write_text('{"name": "x"}'), "not from Pneumoscope"),
        # far too large
        (lambda path: (path / "bundle.json").write_text(" " * 65_536), "larger than a bundle's"),
        # from the future, whatever else it holds
        (
            lambda path: _reseal(path, lambda tree: tree.update(schema_version=99, novelty=1)),
            "has schema 99, but this version .* understands up to 2",
        ),
        # edited by hand
        (
            lambda path: (path / "bundle.json").write_text(
                (path / "bundle.json").read_text().replace("0.4", "0.9")
            ),
            "damaged or edited since it was written",
        ),
        # without a seal
        (
            lambda path: (path / "bundle.json").write_text('{"format": "pneumoscope-bundle"}'),
            "the seal does not match",
        ),
        # a field that this version does not know
        (
            lambda path: _reseal(path, lambda tree: tree.update(novelty=1)),
            "does not follow the schema, at novelty",
        ),
        # a whole file left out of the list
        (
            lambda path: _reseal(path, lambda tree: tree["files"].pop("reference.npz")),
            "lists no reference.npz",
        ),
    ],
)
def test_what_is_no_good_bundle_is_refused_in_one_sentence(
    make_bundle: MakeBundle, damage: Callable[[Path], None], sentence: str
) -> None:
    path = make_bundle().path
    damage(path)
    with pytest.raises(BundleError, match=sentence) as caught:
        read_bundle(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "name", ["../outside", "/etc/passwd", "a/b", "a\\b", "..", ".hidden", "", "C:x", "bundle.json"]
)
def test_a_file_name_cannot_leave_the_folder(make_bundle: MakeBundle, name: str) -> None:
    path = make_bundle().path
    entry = {"sha256": "0" * 64, "size": 1}
    _reseal(path, lambda tree: tree["files"].update({name: entry}))
    with pytest.raises(BundleError, match="no name for a file inside a bundle"):
        read_bundle(path)


def test_arrays_of_python_objects_are_never_opened(tmp_path: Path, make_bundle: MakeBundle) -> None:
    path = make_bundle().path
    np.savez(path / "reference.npz", evil=np.array([{"a": 1}], dtype=object))
    data = (path / "reference.npz").read_bytes()
    entry = {"sha256": hash_bytes(data), "size": len(data)}
    _reseal(path, lambda tree: tree["files"].update({"reference.npz": entry}))
    with pytest.raises(BundleError, match="holds no plain arrays"):
        read_bundle(path).reference()


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"sha256": np.zeros(32, np.uint8)},
        {"sha256": np.zeros((1, 32))},
        {"sha256": np.zeros((1, 32), np.uint8), "phash": np.zeros((1, 8), np.uint8)},
    ],
)
def test_training_images_of_another_form_are_refused(
    make_bundle: MakeBundle, arrays: dict[str, np.ndarray]
) -> None:
    path = make_bundle().path
    np.savez(path / "training_images.npz", **arrays)
    data = (path / "training_images.npz").read_bytes()
    entry = {"sha256": hash_bytes(data), "size": len(data)}
    _reseal(path, lambda tree: tree["files"].update({"training_images.npz": entry}))
    with pytest.raises(BundleError, match=r"holds no (sha256|phash)"):
        read_bundle(path).training_images()


def test_an_archive_that_unfolds_too_far_is_refused(
    make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = make_bundle()
    monkeypatch.setattr("pneumoscope.bundle.reading._MAX_ARRAYS_BYTES", 100)
    with pytest.raises(BundleError, match="unfolds into too much"):
        bundle.reference()


def test_verifying_reports_progress(make_bundle: MakeBundle) -> None:
    calls: list[tuple[int, int]] = []
    assert verify_bundle(make_bundle().path, progress=lambda *call: calls.append(call)) == []
    assert calls == [(n, 5) for n in range(1, 6)]


def test_a_bundle_is_recognised_by_its_description(tmp_path: Path, make_bundle: MakeBundle) -> None:
    assert is_bundle(make_bundle().path)
    assert not is_bundle(tmp_path)
