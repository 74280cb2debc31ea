"""Initial weights: where they come from, what is refused, and what must not have been seen."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import pickle
import re
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save, save_file
from torch import Tensor

from pneumoscope.bundle import (
    Bundle,
    BundleInfo,
    DataInfo,
    ImageHashes,
    LicenceInfo,
    OperatingPointInfo,
    annotate_bundle,
)
from pneumoscope.errors import BundleError, DownloadError, WeightsError
from pneumoscope.images import Normalisation, PreprocessingSpec
from pneumoscope.network import (
    IMAGENET,
    PneumoniaResNet50,
    WeightsSource,
    choose_weights,
    draw_weights,
    fetch_weights,
    find_weights,
    load_initial_weights,
    load_network,
    save_bundle,
)
from pneumoscope.network.states import read_state

NOWHERE = WeightsSource("http://127.0.0.1:9/resnet50-00000000.pth", "00000000")
SEEN = "5e" * 32


class _Server(ThreadingHTTPServer):
    """Serves a folder; notes what was asked for, and may break off half-way."""

    asked: list[str]
    break_off: bool = False


class _Handler(SimpleHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.server.break_off:
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            self.wfile.write(b"x" * 1000)
            return
        super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="session")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as torchvision publishes it: the official schema, 1,000 classes."""
    path = tmp_path_factory.mktemp("official") / "resnet50-5ca1ab1e.pth"
    torch.save(torchvision.models.resnet50(num_classes=1000).state_dict(), path)
    return path


@pytest.fixture
def server(official: Path) -> Iterator[_Server]:
    handler = partial(_Handler, directory=str(official.parent))
    with _Server(("127.0.0.1", 0), handler) as server:
        server.asked = []
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def source(official: Path, server: _Server) -> WeightsSource:
    digest = hashlib.sha256(official.read_bytes()).hexdigest()
    return WeightsSource(f"http://127.0.0.1:{server.server_port}/{official.name}", digest)


@pytest.fixture(autouse=True)
def _fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PNEUMOSCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


@pytest.fixture(autouse=True)
def _empty_box(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this version brings, a test says itself what is in the box."""
    monkeypatch.setattr("pneumoscope.network.weights.find_shipped_bundle", lambda: None)


@pytest.fixture
def fresh() -> PneumoniaResNet50:
    return PneumoniaResNet50()


def _make_state(seed: int = 0) -> dict[str, Tensor]:
    network = PneumoniaResNet50()
    draw_weights(network, seed)
    return network.state_dict()


# -- ImageNet -----------------------------------------------------------------------------------


def test_imagenet_weights_are_fetched_once_and_fitted(
    fresh: PneumoniaResNet50, official: Path, server: _Server, source: WeightsSource
) -> None:
    calls: list[tuple[int, int]] = []
    origin = choose_weights(
        fresh, "imagenet", imagenet=source, progress=lambda *call: calls.append(call)
    )
    assert origin.name == "imagenet"
    assert origin.sha256 == source.sha256
    assert origin.normalisation is Normalisation.IMAGENET
    assert not origin.keeps_head
    assert "were downloaded" in origin.note
    size = official.stat().st_size
    assert calls[-1] == (size, size)
    theirs = torch.load(official, weights_only=True)
    ours = fresh.state_dict()
    assert all(torch.equal(ours[n], v) for n, v in theirs.items() if not n.startswith("fc."))
    assert ours["fc.weight"].shape == (1, 2048)

    again = choose_weights(fresh, "auto", imagenet=source)
    assert "were cached" in again.note
    assert len(server.asked) == 1


def test_torch_hubs_cache_is_used(
    tmp_path: Path, official: Path, server: _Server, source: WeightsSource
) -> None:
    hub = tmp_path / "torch" / "hub" / "checkpoints"
    hub.mkdir(parents=True)
    (hub / official.name).symlink_to(official)
    assert find_weights(source) == hub / official.name
    assert server.asked == []


def test_a_cached_file_with_another_hash_is_not_used(
    tmp_path: Path, official: Path, source: WeightsSource
) -> None:
    damaged = tmp_path / "cache" / "weights" / official.name
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"half a file")
    assert find_weights(source) is None
    assert fetch_weights(source) == damaged
    assert find_weights(source) == damaged


def test_a_server_with_other_bytes_is_not_believed(tmp_path: Path, source: WeightsSource) -> None:
    other = dataclasses.replace(source, sha256="11ad3fa6")
    with pytest.raises(DownloadError, match=r"not 11ad3fa6…: it is damaged or another file"):
        fetch_weights(other)
    assert list((tmp_path / "cache" / "weights").iterdir()) == []


def test_a_broken_connection_leaves_nothing(
    tmp_path: Path, server: _Server, source: WeightsSource
) -> None:
    server.break_off = True
    with pytest.raises(DownloadError, match="cannot be had"):
        fetch_weights(source)
    assert list((tmp_path / "cache" / "weights").iterdir()) == []


def test_an_endless_answer_is_cut_off(
    source: WeightsSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pneumoscope.network.download._MAX_BYTES", 1000)
    with pytest.raises(DownloadError, match="more than 1,000 bytes"):
        fetch_weights(source)


def test_a_mirror_serves_the_same_file(
    official: Path, server: _Server, source: WeightsSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = dataclasses.replace(source, url=f"https://example.invalid/{official.name}")
    monkeypatch.setenv("PNEUMOSCOPE_WEIGHTS_MIRROR", f"http://127.0.0.1:{server.server_port}/")
    assert fetch_weights(elsewhere).read_bytes() == official.read_bytes()
    assert server.asked == [f"/{official.name}"]


def test_a_mirror_may_be_a_folder(
    official: Path, source: WeightsSource, server: _Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PNEUMOSCOPE_WEIGHTS_MIRROR", official.parent.as_uri())
    assert fetch_weights(source).is_file()
    assert server.asked == []


def test_a_mirror_cannot_pass_off_another_file(
    tmp_path: Path, official: Path, server: _Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    (official.parent / IMAGENET.file_name).write_bytes(b"not the official weights")
    monkeypatch.setenv("PNEUMOSCOPE_WEIGHTS_MIRROR", f"http://127.0.0.1:{server.server_port}")
    with pytest.raises(DownloadError, match="not 11ad3fa6"):
        fetch_weights(IMAGENET)


def test_a_mirror_of_another_kind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PNEUMOSCOPE_WEIGHTS_MIRROR", "ftp://mirror")
    with pytest.raises(DownloadError, match="starts with http://, https:// or file://"):
        fetch_weights(IMAGENET)


def test_the_official_source_is_torchvisions_own() -> None:
    official = torchvision.models.ResNet50_Weights.IMAGENET1K_V2
    assert official.url == IMAGENET.url
    assert IMAGENET.file_name == "resnet50-11ad3fa6.pth"


# -- auto, bundled, none ------------------------------------------------------------------------


def test_offline_imagenet_names_the_other_ways(fresh: PneumoniaResNet50) -> None:
    with pytest.raises(DownloadError) as caught:
        choose_weights(fresh, "imagenet", imagenet=NOWHERE)
    sentence = str(caught.value)
    assert "cannot be had" in sentence
    assert "--weights none --recipe robust" in sentence
    assert "PNEUMOSCOPE_WEIGHTS_MIRROR" in sentence
    assert "\n" not in sentence


def test_auto_with_nothing_at_hand_does_not_start_from_random_weights_unasked(
    fresh: PneumoniaResNet50,
) -> None:
    with pytest.raises(WeightsError, match="Neither ImageNet weights nor bundled ones") as caught:
        choose_weights(fresh, "auto", imagenet=NOWHERE)
    assert str(caught.value).count("--weights none --recipe robust") == 1


def test_auto_takes_the_bundled_weights_offline_and_says_why(
    fresh: PneumoniaResNet50, bundle: Bundle
) -> None:
    origin = choose_weights(fresh, "auto", imagenet=NOWHERE, shipped=bundle.path)
    assert origin.name == "bundled"
    assert origin.keeps_head
    assert "come with Pneumoscope. ImageNet weights were not at hand: http://" in origin.note
    assert origin.note.count("ImageNet") == 1


def test_bundled_weights_that_are_not_in_the_box_are_a_sentence(fresh: PneumoniaResNet50) -> None:
    with pytest.raises(WeightsError, match="brings no weights of its own; use --weights imagenet"):
        choose_weights(fresh, "bundled")


@pytest.mark.parametrize("request_", ["auto", "bundled"])
def test_bundled_weights_are_found_in_the_box(
    fresh: PneumoniaResNet50,
    bundle: Bundle,
    monkeypatch: pytest.MonkeyPatch,
    request_: str,
) -> None:
    monkeypatch.setattr("pneumoscope.network.weights.find_shipped_bundle", lambda: bundle.path)
    origin = choose_weights(
        fresh, request_, imagenet=NOWHERE, test_images=ImageHashes(("aa" * 32,))
    )
    assert origin.name == "bundled"
    assert origin.note.startswith("Starting from the weights that come with Pneumoscope.")
    assert origin.normalisation is Normalisation.IMAGENET
    assert torch.equal(fresh.state_dict()["fc.weight"], load_network(bundle).fc.weight)
    with pytest.raises(WeightsError, match="weights bundled have seen 1 of 1 test images"):
        choose_weights(fresh, "bundled", test_images=ImageHashes((SEEN,)))


def test_auto_prefers_imagenet_to_the_box(
    fresh: PneumoniaResNet50, bundle: Bundle, source: WeightsSource
) -> None:
    assert choose_weights(fresh, imagenet=source, shipped=bundle.path).name == "imagenet"
    # Cached, it needs no server any more.
    offline = dataclasses.replace(source, url=f"http://127.0.0.1:9/{source.file_name}")
    assert choose_weights(fresh, imagenet=offline, shipped=bundle.path).name == "imagenet"


def test_the_licence_of_a_start_is_named(
    tmp_path: Path, fresh: PneumoniaResNet50, bundle: Bundle
) -> None:
    terms = LicenceInfo(name="CC-BY-4.0", attribution="Weights by A.")
    made = annotate_bundle(bundle.path, tmp_path / "b", licence=terms)
    for origin in (
        choose_weights(fresh, "bundled", shipped=made.path),
        choose_weights(fresh, str(made.path)),
    ):
        assert origin.note.endswith("They are under CC-BY-4.0: Weights by A.")


def test_random_weights_depend_on_the_seed_alone(fresh: PneumoniaResNet50) -> None:
    before = torch.random.get_rng_state()
    origin = choose_weights(fresh, "none", seed=7)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert (origin.name, origin.sha256, origin.normalisation) == ("none", None, None)
    assert torch.equal(fresh.conv1.weight, _make_state(7)["conv1.weight"])
    assert not torch.equal(fresh.conv1.weight, _make_state(8)["conv1.weight"])


# -- contamination ------------------------------------------------------------------------------


def test_auto_never_starts_from_weights_that_saw_a_test_image(
    fresh: PneumoniaResNet50, bundle: Bundle
) -> None:
    origin = choose_weights(
        fresh, "auto", imagenet=NOWHERE, shipped=bundle.path, seed=7,
        test_images=ImageHashes((SEEN, "aa" * 32, "bb" * 32, "cc" * 32)),
    )  # fmt: skip
    assert origin.name == "none"
    assert "bundled weights have seen 1 of 4 test images (25.0%), so random weights" in origin.note
    assert origin.training_images == ImageHashes()
    assert torch.equal(fresh.conv1.weight, _make_state(7)["conv1.weight"])


def test_named_weights_that_saw_a_test_image_are_refused(
    fresh: PneumoniaResNet50, bundle: Bundle
) -> None:
    with pytest.raises(WeightsError, match=r"have seen 1 of 2 test images \(50\.0%\); start from"):
        choose_weights(
            fresh,
            str(bundle.path),
            test_images=ImageHashes(
                (
                    SEEN,
                    "aa" * 32,
                )
            ),
        )


def test_weights_inside_a_bundle_remember_what_they_saw(
    fresh: PneumoniaResNet50, bundle: Bundle
) -> None:
    file = bundle.path / "model.safetensors"
    with pytest.raises(WeightsError, match="have seen 1 of 1 test images"):
        choose_weights(fresh, str(file), test_images=ImageHashes((SEEN,)))


@pytest.mark.parametrize("request_", ["auto", "bundled"])
def test_contamination_can_be_allowed_and_is_counted(
    fresh: PneumoniaResNet50, bundle: Bundle, request_: str
) -> None:
    origin = choose_weights(
        fresh, request_, test_images=ImageHashes((SEEN, "aa" * 32,)), allow_contamination=True,
        imagenet=NOWHERE, shipped=bundle.path,
    )  # fmt: skip
    assert origin.name == "bundled"
    assert origin.contaminated == 1
    assert "--allow-contamination" in origin.note
    assert "too good" in origin.note


def test_weights_that_saw_other_images_are_taken(fresh: PneumoniaResNet50, bundle: Bundle) -> None:
    origin = choose_weights(fresh, str(bundle.path), test_images=ImageHashes(("aa" * 32,)))
    assert origin.name == "bundle:plausible"
    assert origin.contaminated == 0
    assert origin.training_images == ImageHashes((SEEN,))
    assert origin.normalisation is Normalisation.IMAGENET
    assert origin.sha256 == bundle.info.files["model.safetensors"].sha256
    assert origin.keeps_head


def test_a_bundle_from_phantoms_says_so(tmp_path: Path, fresh: PneumoniaResNet50) -> None:
    draw_weights(fresh, 0)
    info = BundleInfo(
        name="demo",
        created="2026-11-24",
        preprocessing=PreprocessingSpec(normalisation=Normalisation.SIGNED),
        operating_points={"balanced": OperatingPointInfo(threshold=0.5, target="x")},
        data=DataInfo(layout="folders", sources=["phantom"], counts={}, phantom=True),
    )
    save_bundle(tmp_path / "b", fresh, info, reference={}, training_images=ImageHashes())
    origin = load_initial_weights(fresh, tmp_path / "b")
    assert origin.phantom
    assert "synthetic phantoms" in origin.note
    assert origin.normalisation is Normalisation.SIGNED


def test_a_damaged_bundle_is_no_start(
    tmp_path: Path, fresh: PneumoniaResNet50, bundle: Bundle
) -> None:
    for name in [*bundle.info.files, "bundle.json"]:
        (tmp_path / name).symlink_to(bundle.path / name)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(BundleError, match=r"model\.safetensors is damaged"):
        choose_weights(fresh, str(tmp_path))


# -- files --------------------------------------------------------------------------------------


def _wrap(state: dict[str, Tensor]) -> dict[str, Any]:
    return {"epoch": 3, "state_dict": {f"module.{name}": value for name, value in state.items()}}


def _prefix_twice(state: dict[str, Tensor]) -> dict[str, Any]:
    return {f"_orig_mod.model.{name}": value for name, value in state.items()}


def _drop_counters(state: dict[str, Tensor]) -> dict[str, Any]:
    return {n: v for n, v in state.items() if not n.endswith("num_batches_tracked")}


def _halve(state: dict[str, Tensor]) -> dict[str, Any]:
    return {n: v.bfloat16() if v.is_floating_point() else v for n, v in state.items()}


def _use_classes(state: dict[str, Tensor]) -> dict[str, Any]:
    return {**state, "fc.weight": torch.zeros(1000, 2048), "fc.bias": torch.zeros(1000)}


@pytest.mark.parametrize(
    ("change", "keeps_head"),
    [
        (dict, True),
        (_wrap, True),  # a checkpoint of a parallel run
        (_prefix_twice, True),  # a compiled model inside another module
        (_drop_counters, True),  # written before torch counted batches
        (_halve, True),  # another precision
        (_use_classes, False),  # ImageNet's head
        (lambda s: {n: v for n, v in s.items() if not n.startswith("fc.")}, False),  # headless
    ],
)
def test_state_dicts_of_many_writers_are_read(
    tmp_path: Path,
    fresh: PneumoniaResNet50,
    change: Callable[[dict[str, Tensor]], dict[str, Any]],
    keeps_head: bool,
) -> None:
    state = _make_state(5)
    state["fc.weight"] += 1
    torch.save(change(state), tmp_path / "w.pth")
    origin = choose_weights(fresh, str(tmp_path / "w.pth"), seed=1)
    assert origin.name == "file:w.pth"
    assert origin.keeps_head is keeps_head
    assert origin.normalisation is None
    assert "is not known" in origin.note
    torch.testing.assert_close(fresh.conv1.weight, state["conv1.weight"], atol=1e-2, rtol=1e-2)
    assert (fresh.fc.weight.mean() > 0.9) == keeps_head


def test_timms_safetensors_are_read(tmp_path: Path, fresh: PneumoniaResNet50) -> None:
    theirs = timm.create_model("resnet50", num_classes=1)
    save_file(theirs.state_dict(), tmp_path / "w.safetensors")
    origin = choose_weights(fresh, str(tmp_path / "w.safetensors"))
    assert origin.keeps_head
    assert torch.equal(fresh.layer4[2].conv3.weight, theirs.layer4[2].conv3.weight)


class _Evil:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_hostile_pickle_is_refused_and_never_runs(
    tmp_path: Path, fresh: PneumoniaResNet50, zipped: bool
) -> None:
    marker, file = tmp_path / "was here", tmp_path / "evil.pth"
    if zipped:
        torch.save({"conv1.weight": _Evil(marker)}, file)
    else:
        file.write_bytes(pickle.dumps(_Evil(marker)))
    with pytest.raises(
        WeightsError, match="is refused: it holds more than plain tensors"
    ) as caught:
        choose_weights(fresh, str(file))
    assert not marker.exists()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("empty.pth", b""),
        ("text.pth", b"hello, I am a text file"),
        ("half.pth", b"PK\x03\x04 half a zip"),
        ("empty.safetensors", b""),
        ("huge.safetensors", b"\xff" * 8 + b"{}"),
        ("half.safetensors", (100).to_bytes(8, "little") + b"{"),
    ],
)
def test_damaged_files_are_a_sentence(
    tmp_path: Path, fresh: PneumoniaResNet50, name: str, data: bytes
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(WeightsError, match=re.escape(name)):
        choose_weights(fresh, str(tmp_path / name))


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_whatever_bytes_a_file_has_the_answer_is_tensors_or_a_sentence(
    tmp_path: Path, data: st.DataObject
) -> None:
    tensors = {"a": torch.arange(3.0), "b": torch.zeros(2, 2)}
    stream, suffix = io.BytesIO(), data.draw(st.sampled_from([".pth", ".pt", ".safetensors"]))
    kind = data.draw(st.sampled_from(["zip", "legacy", "safetensors", "noise"]))
    if kind == "noise":
        stream.write(data.draw(st.binary(max_size=300)))
    elif kind == "safetensors":
        stream.write(save(tensors))
    else:
        torch.save(tensors, stream, _use_new_zipfile_serialization=kind == "zip")
    content = bytearray(stream.getvalue())
    for _ in range(data.draw(st.integers(0, 4)) if content else 0):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    file = tmp_path / f"w{suffix}"
    file.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    with contextlib.suppress(WeightsError):
        assert all(isinstance(value, Tensor) for value in read_state(file).values())


@pytest.mark.parametrize("tree", [[1, 2], {"a": 1}, {"state_dict": {}}, 5])
def test_files_without_tensors_are_a_sentence(
    tmp_path: Path, fresh: PneumoniaResNet50, tree: Any
) -> None:
    torch.save(tree, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="holds no tensors by name"):
        choose_weights(fresh, str(tmp_path / "w.pt"))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda s: {n: v for n, v in s.items() if not n.startswith("layer4")},
            r"lacks layer4\.0\.bn1\.bias, layer4\.0\.bn1\.running_mean, .* and \d+ more",
        ),
        (
            lambda s: {**s, "layer1.0.se.weight": torch.zeros(1)},
            r"has what ResNet50 has not: layer1\.0\.se\.weight;",
        ),
        (
            lambda s: {**s, "conv1.weight": torch.zeros(64, 1, 7, 7)},
            r"other shapes .* conv1\.weight \[64, 1, 7, 7\] instead of \[64, 3, 7, 7\]",
        ),
        (
            lambda s: {**s, "bn1.bias": torch.full((64,), np.nan)},
            r"is not finite in bn1\.bias",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(
    tmp_path: Path,
    fresh: PneumoniaResNet50,
    change: Callable[[dict[str, Tensor]], dict[str, Tensor]],
    sentence: str,
) -> None:
    torch.save(change(_make_state()), tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=sentence):
        choose_weights(fresh, str(tmp_path / "w.pth"))


def test_a_path_without_weights_names_what_is_allowed(
    tmp_path: Path, fresh: PneumoniaResNet50
) -> None:
    with pytest.raises(WeightsError, match="allowed are auto, imagenet, bundled, none"):
        choose_weights(fresh, "imagnet")
    with pytest.raises(WeightsError, match="is a folder, but not a bundle: it has no weights"):
        choose_weights(fresh, str(tmp_path))


def test_a_run_folder_points_to_its_bundle(
    tmp_path: Path, fresh: PneumoniaResNet50, bundle: Bundle
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "bundle").symlink_to(bundle.path)
    with pytest.raises(WeightsError, match=r"not a bundle; give .*run/bundle"):
        choose_weights(fresh, str(tmp_path / "run"))
