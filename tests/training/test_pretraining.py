"""Pretraining without labels: what it learns from, that it resumes, and what it remembers."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from pneumoscope.cli.app import app
from pneumoscope.errors import DataError, RunError, WeightsError
from pneumoscope.network import PneumoniaResNet50, choose_weights, read_backbone_facts
from pneumoscope.training import PretrainingRequest, Silent, pretrain, read_pretraining
from pneumoscope.training.pretraining import measure_contrast


class _Interrupting(Silent):
    """Stops after an epoch, as Ctrl-C does."""

    def __init__(self, after: int) -> None:
        self.left = after

    def on_message(self, text: str) -> None:
        self.left -= text.startswith("pretrained")
        if not self.left:
            raise KeyboardInterrupt


def _ask(phantoms, out, **changes) -> PretrainingRequest:
    plain = PretrainingRequest(phantoms, out, epochs=2, size=32, batch_size=16, seed=4)
    return dataclasses.replace(plain, **changes)


@pytest.fixture(scope="module")
def pretrained(phantoms, tmp_path_factory):
    """A backbone that was pretrained on the phantoms without a break; read-only."""
    out = tmp_path_factory.mktemp("pretrained") / "plain"
    return pretrain(_ask(phantoms, out), Silent())


def test_the_contrast_is_that_of_the_paper(rng):
    projected = torch.from_numpy(rng.normal(size=(6, 5)))
    loss, agreement = measure_contrast(projected, 0.5)
    unit = projected.numpy() / np.linalg.norm(projected.numpy(), axis=1, keepdims=True)
    losses, right = [], 0
    for i in range(6):  # equation 1, look by look
        partner = (i + 3) % 6
        others = [k for k in range(6) if k != i]
        terms = {k: np.exp(unit[i] @ unit[k] / 0.5) for k in others}
        losses.append(-np.log(terms[partner] / sum(terms.values())))
        right += max(terms, key=terms.get) == partner
    assert float(loss) == pytest.approx(np.mean(losses), abs=1e-6)
    assert agreement == pytest.approx(right / 6)


def test_looks_that_agree_cost_less_than_looks_that_do_not(rng):
    looks = torch.from_numpy(rng.normal(size=(8, 16)))
    agreeing, _ = measure_contrast(torch.cat([looks, looks]), 0.2)
    strangers, _ = measure_contrast(torch.cat([looks, looks.flip(0)]), 0.2)
    assert agreeing < strangers


def test_a_backbone_starts_a_network_and_remembers_its_images(pretrained):
    facts = read_backbone_facts(pretrained.backbone)
    assert len(facts.training_images.sha256) == pretrained.images == 60
    assert facts.phantom
    network = PneumoniaResNet50()
    origin = choose_weights(network, str(pretrained.backbone))
    assert "pretrained without labels on 60 images" in origin.note
    assert (origin.phantom, origin.keeps_head) == (True, False)
    for name, value in load_file(pretrained.backbone).items():
        assert torch.equal(network.state_dict()[name], value), name


def test_a_backbone_that_saw_a_test_image_is_refused(pretrained):
    seen = read_backbone_facts(pretrained.backbone).training_images
    with pytest.raises(WeightsError, match="have seen 60 of 60 test images"):
        choose_weights(PneumoniaResNet50(), str(pretrained.backbone), test_images=seen)


def test_only_the_training_part_of_a_split_is_looked_at(phantoms, tmp_path):
    files = sorted(phantoms.rglob("*.jpeg"))
    parts = ["train", "val", "test"]
    table = pl.DataFrame(
        {
            "path": [str(file) for file in files],
            "label": [file.parent.name for file in files],
            "split": [parts[i % 3] for i in range(len(files))],
        }
    )
    table.write_csv(tmp_path / "split.csv")
    request = _ask(tmp_path / "split.csv", tmp_path / "out", epochs=1)
    assert pretrain(request, Silent()).images == 20


def test_labels_play_no_part(pretrained, phantoms, tmp_path):
    files = sorted(phantoms.rglob("*.jpeg"))
    swapped = {"NORMAL": "PNEUMONIA", "PNEUMONIA": "NORMAL"}
    table = {"path": [str(f) for f in files], "label": [swapped[f.parent.name] for f in files]}
    pl.DataFrame(table).write_csv(tmp_path / "swapped.csv")
    other = pretrain(_ask(tmp_path / "swapped.csv", tmp_path / "out"), Silent())
    _assert_equal_weights(other.backbone, pretrained.backbone)


@pytest.mark.parametrize("layout", ["one class", "many classes", "no classes", "a table"])
def test_images_without_usable_labels_are_learned_from_as_any(
    pretrained, phantoms, tmp_path, layout
):
    files = [file for label in ("NORMAL", "PNEUMONIA") for file in _list_files(phantoms / label)]
    data = tmp_path / "data"
    for number, file in enumerate(files):
        folder = {"one class": "patients", "many classes": f"ward{number // 15}"}.get(layout, "")
        place = data / folder / f"{number:02}{file.suffix}"
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, place)
    if layout == "a table":
        data = tmp_path / "table.csv"
        pl.DataFrame({"path": [str(file) for file in files]}).write_csv(data)
    found = pretrain(_ask(data, tmp_path / "out"), Silent())
    _assert_equal_weights(found.backbone, pretrained.backbone)


def test_the_command_asks_for_no_label(phantoms, tmp_path):
    shutil.copytree(phantoms / "NORMAL", tmp_path / "data" / "NORMAL")
    arguments = ["--epochs", "1", "--size", "32", "--batch-size", "8", "--quiet"]
    answer = CliRunner().invoke(
        app, ["pretrain", str(tmp_path / "data"), "--out", str(tmp_path / "out"), *arguments]
    )
    assert answer.exit_code == 0, answer.output
    assert "Pretrained on 30 images, labels unseen" in answer.output
    assert "Next, on labelled images: pneumoscope train DATA --weights" in answer.output


def _list_files(folder):
    return sorted(folder.iterdir())


def test_an_interrupted_pretraining_ends_as_if_it_had_not_been(pretrained, phantoms, tmp_path):
    request = _ask(phantoms, tmp_path / "torn")
    with pytest.raises(KeyboardInterrupt):
        pretrain(request, _Interrupting(after=1))
    assert len(json.loads((request.out / "pretraining.json").read_text())["history"]) == 1
    resumed = pretrain(request, Silent(), resume=True)
    _assert_equal_weights(resumed.backbone, pretrained.backbone)


def test_a_pretraining_goes_on_without_its_data_being_named_again(pretrained, phantoms, tmp_path):
    out = tmp_path / "torn"
    with pytest.raises(KeyboardInterrupt):
        pretrain(_ask(phantoms, out), _Interrupting(after=1))
    asked = read_pretraining(out)
    assert asked == _ask(phantoms.resolve(), out)
    _assert_equal_weights(pretrain(asked, Silent(), resume=True).backbone, pretrained.backbone)
    with pytest.raises(RunError, match="holds no pretraining to resume"):
        read_pretraining(tmp_path / "nowhere")
    changed = CliRunner().invoke(app, ["pretrain", "--resume", "--out", str(out), "--epochs", "3"])
    assert changed.exit_code == 2
    assert "give the whole command again" in " ".join(changed.output.replace("│", " ").split())


def test_a_folder_is_not_taken_twice(pretrained, phantoms, tmp_path):
    with pytest.raises(RunError, match="is a finished pretraining"):
        pretrain(_ask(phantoms, pretrained.backbone.parent), Silent())
    with pytest.raises(RunError, match="holds no pretraining to resume"):
        pretrain(_ask(phantoms, tmp_path / "new"), Silent(), resume=True)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    with pytest.raises(RunError, match=r"holds other things, such as thesis\.tex"):
        pretrain(_ask(phantoms, tmp_path / "full"), Silent())


def test_a_pretraining_that_fails_before_its_start_leaves_nothing(phantoms, tmp_path):
    files = sorted(phantoms.rglob("*.jpeg"))
    few = [*files[:10], *files[-9:]]
    table = {"path": [str(f) for f in few], "label": [f.parent.name for f in few]}
    pl.DataFrame(table).write_csv(tmp_path / "few.csv")
    with pytest.raises(DataError, match="needs 20 images, found 19"):
        pretrain(_ask(tmp_path / "few.csv", tmp_path / "out"), Silent())
    assert not (tmp_path / "out").exists()


def test_resuming_otherwise_than_it_was_started_is_refused(phantoms, tmp_path):
    request = _ask(phantoms, tmp_path / "torn")
    with pytest.raises(KeyboardInterrupt):
        pretrain(request, _Interrupting(after=1))
    with pytest.raises(RunError, match=r"was started with temperature 0\.2, asked for is 0\.5"):
        pretrain(dataclasses.replace(request, temperature=0.5), Silent(), resume=True)


def test_a_backbone_whose_memory_is_damaged_is_refused(pretrained, tmp_path):
    data = pretrained.backbone.read_bytes()
    place = data.index(b"sha256")
    damaged = tmp_path / "backbone.safetensors"
    damaged.write_bytes(data[:place] + b"sha257" + data[place + 6 :])
    with pytest.raises(WeightsError, match="does not say properly which images"):
        choose_weights(PneumoniaResNet50(), str(damaged))


def _assert_equal_weights(one, other):
    mine, theirs = load_file(one), load_file(other)
    assert mine.keys() == theirs.keys()
    for name in mine:
        assert torch.equal(mine[name], theirs[name]), name
