"""Wherever a run is torn, what is resumed ends as the undisturbed run did, to the bit."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pneumoscope._files import hash_file
from pneumoscope.training import (
    RunFolder,
    Silent,
    TrainingRequest,
    checkpoint,
    load_recipe,
    resume,
    train,
)

GROWING = (
    "preprocessing.size=64", "trained.resolutions=[[32, 0.5], [64, 0.5]]", "trained.epochs=4",
    "trained.averaging=0.9", "precision=fp32",
)  # fmt: skip


class TornError(BaseException):
    """Ends a run as a kill does: nothing of ours catches it."""


class Tear(Silent):
    """Tears a run after an epoch of a stage, or when a sentence begins so."""

    def __init__(self, *, epoch: tuple[str, int] | None = None, message: str | None = None) -> None:
        self._epoch, self._message = epoch, message

    def on_message(self, text: str) -> None:
        if self._message and text.startswith(self._message):
            raise TornError

    def on_epoch(self, stage, row) -> None:
        if (stage.name, row.epoch) == self._epoch:
            raise TornError


def _read_results(out: Path) -> dict[str, Any]:
    with RunFolder(out).history.open(newline="") as stream:
        history = [
            {k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(stream)
        ]
    return {
        # Not their bytes: how 90 MB of them differ takes pytest hours to say.
        "weights": hash_file(out / "bundle" / "model.safetensors"),
        "predictions": (out / "predictions.csv").read_bytes(),
        "history": [{k: v for k, v in row.items() if k != "seconds"} for row in history],
    }


@pytest.fixture(scope="module")
def start(phantoms, quick, tmp_path_factory) -> Callable[..., TrainingRequest]:
    def start(recipe: str, name: str) -> TrainingRequest:
        settings = quick if recipe == "classic" else GROWING
        out = tmp_path_factory.mktemp(name) / "run"
        return TrainingRequest(phantoms, out, load_recipe(recipe, settings), "none", seed=1)

    return start


@pytest.fixture(scope="module")
def undisturbed(start) -> Callable[[str], dict[str, Any]]:
    done: dict[str, dict[str, Any]] = {}

    def run(recipe: str) -> dict[str, Any]:
        if recipe not in done:
            request = start(recipe, "undisturbed")
            train(request, Silent())
            done[recipe] = _read_results(request.out)
        return done[recipe]

    return run


@pytest.mark.parametrize(
    ("recipe", "tear"),
    [
        ("classic", Tear(epoch=("baseline", 1))),
        ("classic", Tear(message="baseline: ")),  # the stage is kept, the next not begun
        ("classic", Tear(epoch=("finetuned", 1))),
        ("classic", Tear(message="finetuned: ")),
        ("robust", Tear(epoch=("trained", 1))),
        ("robust", Tear(epoch=("trained", 2))),  # the image size and the average change next
        ("robust", Tear(epoch=("trained", 3))),
        ("robust", Tear(epoch=("trained", 4))),
    ],
)
def test_a_torn_run_ends_as_an_undisturbed_one(start, undisturbed, recipe, tear):
    request = start(recipe, "torn")
    with pytest.raises(TornError):
        train(request, tear)
    resume(request.out, Silent())
    assert _read_results(request.out) == undisturbed(recipe)


@pytest.mark.parametrize("write", [1, 2, 3])
def test_a_tear_while_a_checkpoint_is_written_costs_one_epoch(
    start, undisturbed, monkeypatch, write
):
    request, written = start("robust", "half"), []
    save = checkpoint.write_atomically

    def write_half(path: Path, data: memoryview) -> None:
        written.append(path)
        if path.name == "checkpoint.pt" and len([p for p in written if p == path]) == write:
            path.with_name(".checkpoint.pt.torn.part").write_bytes(data[: len(data) // 2])
            raise TornError
        save(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write_atomically", write_half)
        with pytest.raises(TornError):
            train(request, Silent())
    resume(request.out, Silent())
    assert _read_results(request.out) == undisturbed("robust")


class _Interrupting(Silent):
    """Presses Ctrl-C as soon as a piece of work begins; remembers what was said."""

    def __init__(self, title: str) -> None:
        self._title, self.said = title, []

    def on_progress(self, title: str, done: int, total: int) -> None:
        if title.startswith(self._title):
            raise KeyboardInterrupt

    def on_message(self, text: str) -> None:
        self.said.append(text)


def test_ctrl_c_behind_the_last_epoch_leaves_the_best_weights_and_says_so(start):
    request, observer = start("classic", "judging"), _Interrupting("Judging")
    with pytest.raises(KeyboardInterrupt):
        train(request, observer)
    assert RunFolder(request.out).best.is_file()
    assert "--resume goes on" in observer.said[-1]
    resume(request.out, Silent())
    assert not RunFolder(request.out).best.exists()
