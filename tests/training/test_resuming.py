"""Going on with a run: the same command once more is fine, another one or a damaged run is not."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pneumoscope.cli.app import app
from pneumoscope.datasets import CollectionOptions
from pneumoscope.errors import RunError
from pneumoscope.training import RunFolder, Silent, TrainingRequest, load_recipe, resume, train
from pneumoscope.training.recorders import Several


class Interrupt(Silent):
    """Stops a run after its first epoch, as Ctrl-C does."""

    def on_epoch(self, stage, row) -> None:
        raise KeyboardInterrupt


@pytest.fixture(scope="module")
def request_(phantoms: Path, quick: tuple[str, ...], tmp_path_factory) -> TrainingRequest:
    out = tmp_path_factory.mktemp("resuming") / "run"
    return TrainingRequest(phantoms, out, load_recipe("classic", quick), "none", seed=1)


@pytest.fixture(scope="module")
def stopped(request_: TrainingRequest) -> Path:
    with pytest.raises(KeyboardInterrupt):
        train(request_, Several([Interrupt()]))
    return request_.out


@pytest.fixture
def broken(stopped: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(stopped, tmp_path / "run"))


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"seed": 2}, "seed"),
        ({"weights": "auto"}, "weights"),
        ({"data": Path("elsewhere")}, "data"),
        ({"options": CollectionOptions(positive="ill")}, "options"),
        ({"recipe": load_recipe("robust")}, "recipe"),
    ],
)
def test_another_request_is_refused(request_, broken, change, name):
    again = replace(request_, out=broken, **change)
    with pytest.raises(RunError, match=f"was started with another `{name}`"):
        resume(broken, Silent(), again)


def test_the_same_request_goes_on(request_, broken):
    resume(broken, Silent(), replace(request_, out=broken, device="cpu"), device="cpu")
    assert (broken / "report.html").is_file()


@pytest.mark.parametrize("name", ["checkpoint", "initial", "environment", "config"])
@pytest.mark.parametrize("damage", [b"", b"{", b"\0" * 4096, b"\xff\xfe", b"[]"])
def test_a_damaged_run_is_refused_in_one_sentence(broken, name, damage):
    getattr(RunFolder(broken), name).write_bytes(damage)
    with pytest.raises(RunError, match="start a new run"):
        resume(broken, Silent())


def test_a_config_that_lacks_something_is_damaged(broken):
    config = RunFolder(broken).config
    config.write_text(config.read_text().replace("seed:", "sead:", 1))
    with pytest.raises(RunError, match="damaged"):
        resume(broken, Silent())


def test_resume_without_data_takes_no_other_settings(broken):
    result = CliRunner().invoke(
        app, ["train", "--resume", "--out", str(broken), "--seed", "3"], catch_exceptions=False
    )
    assert result.exit_code == 2
    assert "give the whole command again" in " ".join(result.output.replace("│", " ").split())


def test_a_folder_serves_one_run_at_a_time(tmp_path):
    path = tmp_path / "run"
    with (
        RunFolder(path).hold(resume=False),
        pytest.raises(RunError, match="in use by another training run"),
        RunFolder(path).hold(resume=False),
    ):
        pass
    with RunFolder(path).hold(resume=False):
        pass
