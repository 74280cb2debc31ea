"""`pneumoscope bundle show|verify`: what a person sees, and the exit code."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import typer
from typer.testing import CliRunner

from pneumoscope.bundle import (
    Bundle,
    BundleInfo,
    DataInfo,
    FoldInfo,
    LicenceInfo,
    summarise_folds,
)
from pneumoscope.cli import bundles, main
from pneumoscope.errors import BundleError

MakeBundle = Callable[..., Bundle]
MakeInfo = Callable[..., BundleInfo]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    monkeypatch.setenv("COLUMNS", "200")
    app = typer.Typer()
    app.callback()(lambda: None)
    bundles.register(app)

    def run(*arguments: object) -> str:
        result = CliRunner().invoke(app, ["bundle", *map(str, arguments)])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0
        return result.output

    return run


def test_show_tells_what_a_bundle_is(run: Callable[..., str], make_bundle: MakeBundle) -> None:
    text = run("show", make_bundle().path)
    for expected in (
        "tiny",
        "kaggle",
        "train 50 (NORMAL 20, PNEUMONIA 30)",
        "224×224, stretch, bilinear, normalised as imagenet",
        "balanced (decides alone)",
        "0.400",
        "finetuned",
        "0.980",
        "model.safetensors",
        "bytes",
    ):
        assert expected in text


def test_show_says_that_a_bundle_comes_from_phantoms(
    run: Callable[..., str], make_bundle: MakeBundle, make_info: MakeInfo
) -> None:
    data = DataInfo(layout="folders", sources=["phantom"], counts={}, phantom=True)
    info = make_info(data=data, warnings=["Made of phantoms."], metrics={})
    text = run("show", make_bundle(info=info).path)
    assert "warning: Made of phantoms." in text
    assert "synthetic phantoms: for demonstrations and tests only" in text


def test_show_lists_folds_and_licence(
    run: Callable[..., str], make_bundle: MakeBundle, make_info: MakeInfo
) -> None:
    folds = summarise_folds([FoldInfo(name="fold0", n=1900, auc=0.961, referred=0.07)])
    info = make_info(
        metrics={"block_folds": folds.model_dump(mode="json")},
        licence=LicenceInfo(name="CC-BY-4.0", attribution="Us."),
    )
    text = run("show", make_bundle(info=info).path)
    for expected in ("CC-BY-4.0", "fold0", "1,900", "0.961", "referred", "0.070", "mean"):
        assert expected in text
    assert "stage" not in text


def test_the_words_of_a_bundle_give_no_orders(
    run: Callable[..., str], make_bundle: MakeBundle, make_info: MakeInfo
) -> None:
    info = make_info(name="[/red]\x1b[31m", warnings=["[bold]\x07"])
    text = run("show", make_bundle(info=info).path)
    assert "[/red]?[31m" in text
    assert "[bold]?" in text


def test_show_as_json_is_the_whole_description(
    run: Callable[..., str], make_bundle: MakeBundle
) -> None:
    bundle = make_bundle()
    assert BundleInfo(**json.loads(run("show", bundle.path, "--json"))) == bundle.info


def test_verify_is_content_with_a_whole_bundle(
    run: Callable[..., str], make_bundle: MakeBundle
) -> None:
    assert "is whole: 6 files, " in run("verify", make_bundle().path)


def test_verify_names_every_damaged_file_in_one_sentence(
    run: Callable[..., str], make_bundle: MakeBundle
) -> None:
    path = make_bundle().path
    (path / "README.md").write_text("x")
    (path / "model.onnx").write_text("y")
    with pytest.raises(BundleError, match=r"README\.md is damaged .*; model\.onnx is damaged") as e:
        run("verify", path)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("command", ["show", "verify"])
def test_no_bundle_is_exit_code_2_and_one_line(
    command: str,
    tmp_path: object,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["pneumoscope", "bundle", command, str(tmp_path)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "is not a bundle" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 KB"), (47_155_882, "47.2 MB")],
)
def test_sizes_are_readable(size: int, text: str) -> None:
    assert bundles._format_size(size) == text
