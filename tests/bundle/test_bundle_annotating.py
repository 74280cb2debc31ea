"""What people state about a model comes into the bundle, stays there, and changes no answer."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pneumoscope.bundle import (
    Bundle,
    BundleInfo,
    Calibration,
    CardFacts,
    FoldInfo,
    LicenceInfo,
    annotate_bundle,
    read_bundle,
    read_facts,
    read_folds,
    summarise_folds,
    write_files,
)
from pneumoscope.cli import main
from pneumoscope.errors import BundleError
from pneumoscope.evidence import Equipped

MakeBundle = Callable[..., Bundle]
MakeInfo = Callable[..., BundleInfo]

SHIPPED = Path(__file__).parents[2] / "scripts" / "shipped" / "card.yaml"
FACTS = CardFacts(population="Children of one hospital.")
LICENCE = LicenceInfo(name="CC-BY-4.0", attribution="Name us.")


def _make_metrics(auc: float = 0.97) -> dict[str, Any]:
    decided = {
        "sensitivity": 0.98,
        "specificity": 0.8,
        "accuracy": 0.9,
        "referred": 0.06,
        "intervals": {"sensitivity": [0.95, 0.99], "specificity": None},
    }
    test = {"n": 900, "auc": auc, "intervals": {"auc": [0.9, 0.99]}, "as_decided": decided}
    return {"final": "trained", "trained": {"val": {}, "test": test}}


def _write_run(folder: Path, metrics: object) -> Path:
    folder.mkdir()
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


# -- facts ----------------------------------------------------------------------------------------


def test_facts_are_read_from_yaml_and_json(tmp_path: Path) -> None:
    tree = {"population": FACTS.population, "licence": LICENCE.model_dump()}
    (tmp_path / "card.json").write_text(json.dumps(tree))
    (tmp_path / "card.yaml").write_text(
        "population: Children of one hospital.\nlicence: {name: CC-BY-4.0, attribution: Name us.}\n"
    )
    assert read_facts(tmp_path / "card.json") == (FACTS, LICENCE)
    assert read_facts(tmp_path / "card.yaml") == (FACTS, LICENCE)


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("card.yaml", "age: 3", r"at age: Extra inputs .*; allowed are intended_use, users, pop"),
        ("card.yaml", "- a\n- b", "states no facts for a card, at the whole"),
        ("card.yaml", "a: [", "is no YAML"),
        ("card.yaml", "cost: {machine: x, cores: 2, hours: 0}", r"at cost\.hours: .*greater than"),
        ("card.json", "{", "is no JSON"),
        ("card.json", '{"users": "\xff"}', "cannot be read"),
        ("none.yaml", None, "cannot be read: .*No such file"),
    ],
)
def test_facts_that_are_none_are_a_sentence(
    tmp_path: Path, name: str, text: str | None, sentence: str
) -> None:
    if text is not None:
        (tmp_path / name).write_bytes(text.encode("latin-1"))
    with pytest.raises(BundleError, match=sentence) as caught:
        read_facts(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_the_facts_of_the_shipped_model_make_a_card(
    make_bundle: MakeBundle, make_info: MakeInfo
) -> None:
    facts, licence = read_facts(SHIPPED)
    folds = summarise_folds([FoldInfo(name=f"fold{i}", n=900, auc=0.9) for i in range(5)])
    made = annotate_bundle(make_bundle().path, facts=facts, licence=licence, folds=folds)
    card = made.file("README.md").read_text()
    for text in (
        'license: "cc-by-4.0"\n',
        "Children aged 1 to 5 years, frontal (AP)",
        "Guangzhou Women and Children's Medical Center",
        "doi:10.17632/rscbjbr9sj.2; CC BY 4.0.",
        "- on adults, ",
        "@article{kermany2018identifying,",
    ):
        assert text in card
    assert "**" not in facts.model_dump_json()
    assert (made.path / "bundle.json").stat().st_size < 32 * 1024  # half of what is allowed


# -- annotating -----------------------------------------------------------------------------------


def test_annotating_changes_words_and_nothing_else(
    make_bundle: MakeBundle, make_info: MakeInfo
) -> None:
    before = make_bundle()
    after = annotate_bundle(before.path, facts=FACTS, licence=LICENCE)
    assert after.verify() == []
    assert (after.info.card, after.info.licence) == (FACTS, LICENCE)
    assert "Population: Children of one hospital." in after.file("README.md").read_text()
    silent = {"card": None, "licence": None, "files": {}}
    assert after.info.model_copy(update=silent) == make_info()
    changed = {n for n, file in after.info.files.items() if file != before.info.files[n]}
    assert changed == {"README.md"}


def test_what_is_not_given_stays(make_bundle: MakeBundle, tmp_path: Path) -> None:
    first = annotate_bundle(make_bundle().path, tmp_path / "first", facts=FACTS, licence=LICENCE)
    folds = summarise_folds([FoldInfo(name="a", n=9, auc=0.5)])
    second = annotate_bundle(first.path, tmp_path / "second", folds=folds)
    assert (second.info.card, second.info.licence) == (FACTS, LICENCE)
    assert second.info.read_block_folds() == folds
    assert read_bundle(first.path).info.read_block_folds() is None


def test_a_card_that_is_written_anew_keeps_what_was_stated(
    make_bundle: MakeBundle, tmp_path: Path
) -> None:
    old = annotate_bundle(make_bundle().path, facts=FACTS)
    info = old.info.model_copy(update={"calibration": Calibration(temperature=2.0)})
    files: dict[str, bytes | Path] = {
        name: old.file(name) for name in old.info.files if name != "README.md"
    }
    card = write_files(tmp_path / "new", info, files).file("README.md").read_text()
    assert "sigmoid(logit / 2 + 0)" in card
    assert "Children of one hospital." in card


def test_facts_too_long_for_a_bundle_leave_it_alone(make_bundle: MakeBundle) -> None:
    before = make_bundle()
    with pytest.raises(BundleError, match="only 65,536 are allowed"):
        annotate_bundle(before.path, facts=CardFacts(failure_modes=["x" * 4000] * 17))
    assert read_bundle(before.path).sha256 == before.sha256


# -- folds ----------------------------------------------------------------------------------------


def test_folds_are_read_from_runs(tmp_path: Path) -> None:
    runs = [
        _write_run(tmp_path / "fold0", _make_metrics(0.96)),
        _write_run(tmp_path / "fold1", _make_metrics(0.98)),
    ]
    found = read_folds(runs)
    assert [fold.name for fold in found.folds] == ["fold0", "fold1"]
    assert found.folds[0].intervals["auc"] == (0.9, 0.99)
    assert found.folds[0].intervals["specificity"] is None
    assert found.mean["auc"] == pytest.approx(0.97)
    assert found.spread["auc"] == pytest.approx(0.0141, abs=1e-4)
    assert found.spread["referred"] == 0


def test_a_number_that_a_fold_lacks_has_no_mean() -> None:
    folds = [FoldInfo(name="a", n=1, auc=0.5, accuracy=1), FoldInfo(name="b", n=1, accuracy=0)]
    found = summarise_folds(folds)
    assert found.mean == {"accuracy": 0.5}
    assert summarise_folds(folds[:1]).spread == {}


@pytest.mark.parametrize(
    "metrics", [{}, [], {"final": "trained", "trained": {"val": {}}}, {"final": "x", "x": None}]
)
def test_a_run_without_a_test_part_is_no_fold(tmp_path: Path, metrics: object) -> None:
    run = _write_run(tmp_path / "run", metrics)
    with pytest.raises(BundleError, match="has no decisions about a test part"):
        read_folds([run])


def test_a_folder_that_is_no_run_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"is no finished run: metrics\.json cannot be read"):
        read_folds([tmp_path])


def test_a_real_run_is_a_fold(finished_run: Path) -> None:
    found = read_folds([finished_run]).folds[0]
    assert found.n > 0
    assert found.referred is not None
    assert found.intervals["accuracy"] is not None


# -- the command ----------------------------------------------------------------------------------


def test_the_command_annotates_in_place(
    make_bundle: MakeBundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = make_bundle().path
    run = _write_run(tmp_path / "fold0", _make_metrics())
    monkeypatch.setattr(
        "sys.argv",
        [
            "pneumoscope",
            "bundle",
            "annotate",
            str(path),
            "--card",
            str(SHIPPED),
            "--fold",
            str(run),
        ],
    )
    with pytest.raises(SystemExit) as caught:
        main()
    assert not caught.value.code
    assert capsys.readouterr().out == f"{path}{os.sep}README.md is written anew.\n"
    info = read_bundle(path).info
    assert info.licence is not None
    assert info.metrics["finetuned"]  # the stages stay beside the folds
    assert "| fold0 | 900 | 0.970 (0.900–0.990) |" in (path / "README.md").read_text()


def test_equipping_states_the_facts_too(
    make_bundle: MakeBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def copy(source: Path, out: Path, equipment: Any, _: object) -> Equipped:
        return Equipped(annotate_bundle(source, out, licence=equipment.licence), ())

    monkeypatch.setattr("pneumoscope.evidence.equip_bundle", copy)
    out = tmp_path / "out"
    monkeypatch.setattr(
        "sys.argv",
        ["pneumoscope", "bundle", "equip", str(make_bundle().path), "manifest.parquet",
         "--out", str(out), "--card", str(SHIPPED), "--no-int8", "--quiet"],
    )  # fmt: skip
    with pytest.raises(SystemExit) as caught:
        main()
    assert not caught.value.code
    assert (read_bundle(out).info.card, read_bundle(out).info.licence) == read_facts(SHIPPED)
