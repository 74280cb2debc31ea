"""What may be asked of an evaluation: prevalences, subgroups, and an earlier model."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import polars as pl
import pytest

from pneumoscope.errors import DataError
from pneumoscope.evaluation import compute_metrics, fit_temperature
from pneumoscope.evidence import (
    Questions,
    describe_bundle,
    describe_foreign,
    evaluate_subject,
    open_model,
    parse_description,
)


def _list_images(folder):
    return [
        (f, label) for label in ("NORMAL", "PNEUMONIA") for f in sorted((folder / label).iterdir())
    ]


@pytest.fixture(scope="module")
def table(strangers, tmp_path_factory):
    """The strangers as a manifest with columns of a person's own."""
    file = tmp_path_factory.mktemp("table") / "ward.csv"
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "label", "age", "ward", "number"])
        for number, (image, label) in enumerate(_list_images(strangers)):
            age = "" if number % 20 == 7 else number % 11
            writer.writerow([image, label, age, "AB"[number % 2], f"n{number}x"])
    return file


@pytest.fixture(scope="module")
def result(erring_bundle, table, tmp_path_factory):
    questions = Questions(prevalences=(0.1,), subgroups=("age", "ward"))
    out = tmp_path_factory.mktemp("asked") / "out"
    return evaluate_subject(describe_bundle(erring_bundle), table, out, questions=questions)


@pytest.fixture(scope="module")
def earlier(bundle, strangers, tmp_path_factory):
    """The same images, judged by a bundle with other thresholds."""
    return evaluate_subject(
        describe_bundle(bundle), strangers, tmp_path_factory.mktemp("before") / "out"
    ).out


def _numbers(result):
    return result.metrics[result.stage][result.split]


# -- numbers --------------------------------------------------------------------------------------


def test_each_threshold_is_carried_over_to_the_prevalence_asked_for(result):
    numbers = _numbers(result)
    for point in (*numbers["operating_points"].values(), numbers["at_0.5"]):
        (answer,) = point["at_prevalences"]
        assert answer["prevalence"] == 0.1
        assert answer["missed"] == pytest.approx(100 * (1 - point["recall"]))
        assert answer["flagged_in_vain"] == pytest.approx(900 * (1 - point["specificity"]))
        low, high = answer["intervals"]["missed"]
        assert low <= answer["missed"] <= high
    (decided,) = numbers["as_decided"]["at_prevalences"]
    assert decided["missed"] == pytest.approx(100 * (1 - numbers["as_decided"]["sensitivity"]))


def test_intervals_say_how_they_were_made(result):
    numbers = _numbers(result)
    methods = numbers["intervals_by_method"]
    assert {"recall", "specificity"} <= set(methods["wilson"])
    assert set(methods["delong"]) == {"auc"}
    assert {"recall", "auc", "brier", "mcc"} <= set(methods["bootstrap"])
    assert numbers["bootstrap"]["unit"] == "patient"
    assert numbers["bootstrap"]["resamples"] == 1000


def test_calibration_is_judged_and_temperature_comes_from_the_calibration_part(
    result, erring_bundle
):
    from pneumoscope.bundle import read_bundle

    found = _numbers(result)["calibration"]
    assert sum(b["n"] for b in found["bins"]["equal_mass"]) == 40
    assert found["as_answered"]["brier"] == pytest.approx(_numbers(result)["brier"])
    scaling = found["temperature_scaling"]
    arrays = read_bundle(erring_bundle).reference()
    assert scaling["temperature"] == pytest.approx(
        fit_temperature(arrays["labels"].astype(int), arrays["logits"].astype(float))
    )
    assert scaling["fitted_on"].startswith("the bundle's calibration part")
    assert set(scaling["before"]) == set(scaling["after"]) == set(found["as_answered"])


def test_a_run_fits_the_temperature_on_validation_and_judges_it_on_test(finished_run):
    tree = json.loads((finished_run / "metrics.json").read_text())
    rows = pl.read_csv(finished_run / "predictions.csv").filter(
        (pl.col("stage") == "finetuned") & (pl.col("split") == "val")
    )
    labels = (rows["label"] == "PNEUMONIA").to_numpy().astype(int)
    expected = fit_temperature(labels, rows["logit"].to_numpy())
    scaling = tree["finetuned"]["test"]["calibration"]["temperature_scaling"]
    assert scaling["temperature"] == pytest.approx(expected)
    assert scaling["fitted_on"] == f"val, {rows.height} images"
    assert tree["finetuned"]["val"]["calibration"]["temperature_scaling"] is None


def test_the_whole_curve_is_written(result):
    rows = pl.read_csv(result.out / "curve.csv")
    predictions = pl.read_csv(result.out / "predictions.csv")
    labels = (predictions["label"] == "PNEUMONIA").to_numpy().astype(int)
    for row in rows.filter(pl.col("threshold") > 0)[::9].iter_rows(named=True):
        found = compute_metrics(labels, predictions["probability"].to_numpy(), row["threshold"])
        assert (found.recall, found.specificity) == (row["sensitivity"], row["specificity"])
        assert (found.precision, found.precision_normal) == (row["ppv"], row["npv"])
    benefit = pl.read_csv(result.out / "decision_curve.csv")
    assert benefit.columns[:4] == ["stage", "split", "threshold", "net_benefit"]
    assert benefit.height == 99


# -- subgroups ------------------------------------------------------------------------------------


def test_columns_of_a_persons_own_become_subgroups(result):
    found = _numbers(result)["subgroups"]
    assert [group["name"] for group in found["ward"]] == ["A", "B"]
    ages = found["age"]
    assert ages[-1]["name"] == "unknown"
    assert len(ages) == 4
    for groups in (found["ward"], ages):
        assert sum(group["n"] for group in groups) == 40
        assert sum(group["fn"] for group in groups) == _numbers(result)["fn"]
    predictions = pl.read_csv(result.out / "predictions.csv")
    assert {"age", "ward", "sha256"} <= set(predictions.columns)
    assert (result.out / "figures" / "subgroups.svg").is_file()


@pytest.mark.parametrize(
    ("column", "sentence"),
    [
        ("sex", "no column 'sex' to make subgroups of: ward.csv has age, ward, and every image"),
        ("number", "'number' tells 40 groups apart|at most 40"),
    ],
)
def test_a_column_that_makes_no_subgroups_is_refused(
    bundle, table, tmp_path, monkeypatch, column, sentence
):
    monkeypatch.setattr("pneumoscope.evidence.summary._MOST_GROUPS", 39)
    with pytest.raises(DataError, match=sentence):
        evaluate_subject(
            describe_bundle(bundle),
            table,
            tmp_path / "out",
            questions=Questions(subgroups=(column,)),
        )
    assert not (tmp_path / "out").exists()


USUAL = "every image has image_contrast, image_sharpness, series, subtype, patient, block"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        # A group an image, one group for all, and names that an evaluation gives are of no use.
        (lambda t: t.with_columns(probability=1), f"ward.csv has age, ward, and {USUAL}; choose"),
        (lambda t: t["path", "label"], f"none of its own that tells groups apart, and {USUAL}"),
    ],
)
def test_who_asks_for_a_column_that_is_nowhere_hears_which_there_are(
    bundle, table, tmp_path, monkeypatch, change, sentence
):
    monkeypatch.setattr("pneumoscope.evidence.summary._MOST_GROUPS", 39)
    monkeypatch.setattr("pneumoscope.evidence.evaluation.load_pixels", None)  # before the long work
    change(pl.read_csv(table)).with_columns(constant=1).write_csv(tmp_path / "ward.csv")
    with pytest.raises(DataError, match=sentence):
        evaluate_subject(
            describe_bundle(bundle),
            tmp_path / "ward.csv",
            tmp_path / "out",
            questions=Questions(subgroups=("nosuch",)),
        )


def test_who_asks_for_a_column_of_folders_hears_of_manifests(bundle, strangers, tmp_path):
    with pytest.raises(DataError, match=f"subgroups of: {USUAL}; bring others in a CSV or Parquet"):
        evaluate_subject(
            describe_bundle(bundle),
            strangers,
            tmp_path / "out",
            questions=Questions(subgroups=("nosuch",)),
        )


@pytest.mark.parametrize("share", [0, 1, -0.1, 5, float("nan")])
def test_a_prevalence_is_a_share(share):
    with pytest.raises(DataError, match="between 0 and 1"):
        Questions(prevalences=(share,))


# -- an earlier model -----------------------------------------------------------------------------


def test_two_models_are_compared_image_by_image(erring_bundle, strangers, earlier, tmp_path):
    result = evaluate_subject(
        describe_bundle(erring_bundle),
        strangers,
        tmp_path / "out",
        questions=Questions(earlier=earlier),
    )
    tree = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert tree == result.comparison
    before = json.loads((earlier / "metrics.json").read_text())["finetuned"]["all"]
    assert tree["second"]["threshold"] == before["threshold"]
    found = tree["differences"]
    assert found["sensitivity"]["second"] == before["recall"]
    assert found["sensitivity"]["first"] == _numbers(result)["recall"]
    assert found["auc"]["difference"] == 0  # the weights are the same
    assert found["auc"]["delong"]["p"] == 1
    assert "on the same 40 images: AUC" in tree["sentence"]
    # Without the question no old answer stays.
    evaluate_subject(describe_bundle(erring_bundle), strangers, tmp_path / "out")
    assert not (tmp_path / "out" / "comparison.json").exists()


def test_a_table_from_elsewhere_is_matched_by_file_name(
    erring_bundle, strangers, earlier, tmp_path, rng
):
    rows = [(f"D:/xray/{f.name}", label) for f, label in _list_images(strangers)]
    rng.shuffle(rows)
    with (tmp_path / "theirs.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "label", "probability"])
        writer.writerows((*row, 0.9 if row[1] == "PNEUMONIA" else 0.1) for row in rows)
    result = evaluate_subject(
        describe_bundle(erring_bundle),
        strangers,
        tmp_path / "out",
        questions=Questions(earlier=tmp_path / "theirs.csv"),
    )
    assert result.comparison["second"]["threshold"] == 0.5
    assert result.comparison["differences"]["auc"]["second"] == 1
    assert result.comparison["differences"]["accuracy"]["second"] == 1


def test_images_moved_to_another_place_are_known_by_content(
    erring_bundle, strangers, earlier, tmp_path
):
    for label in ("NORMAL", "PNEUMONIA"):
        (tmp_path / "moved" / label).mkdir(parents=True)
        for number, file in enumerate(sorted((strangers / label).iterdir(), reverse=True)):
            shutil.copy(file, tmp_path / "moved" / label / f"{label}{number}.jpeg")
    result = evaluate_subject(
        describe_bundle(erring_bundle),
        tmp_path / "moved",
        tmp_path / "out",
        questions=Questions(earlier=earlier),
    )
    assert result.comparison["differences"]["auc"]["difference"] == pytest.approx(0)


def _change(frame, what):
    changes = {
        "other images": lambda f: f[:-3].with_columns(pl.col("sha256")),
        "other labels": lambda f: f.with_columns(pl.lit("NORMAL").alias("label")),
        "no probability": lambda f: f.drop("probability"),
        "no number": lambda f: f.with_columns(pl.lit("high").alias("probability")),
        "two answers": lambda f: pl.concat([f, f[:1].with_columns(probability=pl.lit(0.123))]),
        "other names": lambda f: f.with_columns(pl.col("label").replace("NORMAL", "well")),
        "two stages": lambda f: pl.concat([f, f.with_columns(pl.lit("b").alias("stage"))]),
    }
    return changes[what](frame)


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("other images", "answers 37 of these 40 images"),
        ("other labels", "another label for 20 of these 40 images"),
        ("no probability", "lacks probability"),
        ("no number", "no numbers between 0 and 1"),
        ("two answers", "twice, and not alike: one row an image is needed"),
        ("other names", "calls the classes PNEUMONIA, well: NORMAL and PNEUMONIA are needed"),
        ("two stages", "has the stages finetuned, b"),
    ],
)
def test_what_cannot_be_compared_is_said_before_the_work(
    bundle, strangers, earlier, tmp_path, monkeypatch, what, sentence
):
    frame = pl.read_csv(earlier / "predictions.csv")
    _change(frame, what).write_csv(tmp_path / "theirs.csv")
    monkeypatch.setattr("pneumoscope.evidence.evaluation.predict_images", None)
    with pytest.raises(DataError, match=sentence):
        evaluate_subject(
            describe_bundle(bundle),
            strangers,
            tmp_path / "out",
            questions=Questions(earlier=tmp_path / "theirs.csv"),
        )


def test_labels_in_another_case_are_the_same(erring_bundle, strangers, earlier, tmp_path):
    frame = pl.read_csv(earlier / "predictions.csv")
    frame.with_columns(pl.col("label").str.to_lowercase()).write_csv(tmp_path / "theirs.csv")
    result = evaluate_subject(
        describe_bundle(erring_bundle),
        strangers,
        tmp_path / "out",
        questions=Questions(earlier=tmp_path / "theirs.csv"),
    )
    assert result.comparison["differences"]["auc"]["difference"] == pytest.approx(0)


def test_a_folder_without_predictions_is_none_to_compare_with(bundle, strangers, tmp_path):
    with pytest.raises(DataError, match="holds no finished evaluation"):
        evaluate_subject(
            describe_bundle(bundle),
            strangers,
            tmp_path / "out",
            questions=Questions(earlier=tmp_path),
        )


def test_random_answers_of_unequal_worth_are_told_apart(erring_bundle, strangers, tmp_path):
    """Against answers that are always right, those of a poor model are worse, and it says so."""
    images = _list_images(strangers)
    pl.DataFrame(
        {
            "path": [str(f) for f, _ in images],
            "label": [label for _, label in images],
            "probability": [float(label == "PNEUMONIA") for _, label in images],
        }
    ).write_csv(tmp_path / "oracle.csv")
    result = evaluate_subject(
        describe_bundle(erring_bundle),
        strangers,
        tmp_path / "out",
        questions=Questions(earlier=tmp_path / "oracle.csv"),
    )
    sensitivity = result.comparison["differences"]["sensitivity"]
    assert sensitivity["mcnemar"]["only_first"] == 0
    assert sensitivity["mcnemar"]["only_second"] == _numbers(result)["fn"]
    assert np.isfinite(sensitivity["interval"]).all()


def test_a_column_with_a_name_that_is_taken_is_refused(erring_bundle, strangers, tmp_path):
    files = sorted(strangers.rglob("*.jpeg"))
    table = {"path": [str(f) for f in files], "label": [f.parent.name for f in files]}
    table |= {"stage": ["x"] * len(files), "pixels": [i % 2 for i in range(len(files))]}
    pl.DataFrame(table).write_csv(tmp_path / "list.csv")

    def ask(column):
        return evaluate_subject(
            describe_bundle(erring_bundle),
            tmp_path / "list.csv",
            tmp_path / "out",
            questions=Questions(subgroups=(column,)),
        )

    with pytest.raises(DataError, match=r"'stage' of list\.csv has a name that the evaluation"):
        ask("stage")
    result = ask("pixels")  # a person's own goes before what would be made of others
    groups = result.metrics[result.stage]["all"]["subgroups"]["pixels"]
    assert [group["name"] for group in groups] == ["0", "1"]


def test_an_evaluation_that_is_asked_about_is_not_replaced(erring_bundle, strangers, tmp_path):
    subject = describe_bundle(erring_bundle)
    first = evaluate_subject(subject, strangers, tmp_path / "out")
    before = (first.out / "metrics.json").read_bytes()
    for questions in (
        Questions(earlier=first.out),
        Questions(earlier=first.out / "predictions.csv"),
        Questions(internal=first.out),
    ):
        with pytest.raises(DataError, match="which --out would replace"):
            evaluate_subject(subject, strangers, first.out, questions=questions)
    assert (first.out / "metrics.json").read_bytes() == before


def test_an_evaluation_of_another_model_is_not_replaced(bundle, erring_bundle, strangers, tmp_path):
    out = evaluate_subject(describe_bundle(erring_bundle), strangers, tmp_path / "out").out
    before = {file.name: file.read_bytes() for file in out.iterdir() if file.is_file()}
    theirs = open_model(
        bundle / "model.onnx",
        parse_description(
            """
            name: theirs
            input: {size: [64, 64], channels: 3, layout: NCHW, values: imagenet}
            output: {name: logit, meaning: logit}
            """,
            "theirs.yaml",
        ),
    )
    for subject in (describe_bundle(bundle), describe_foreign(theirs)):
        with pytest.raises(
            DataError, match=r"holds the evaluation of another model, '.+' \(sha256"
        ):
            evaluate_subject(subject, strangers, out)
    assert {file.name: file.read_bytes() for file in out.iterdir() if file.is_file()} == before


def test_an_evaluation_of_the_same_model_is_replaced_also_by_one_of_other_images(
    erring_bundle, strangers, phantoms, tmp_path
):
    subject = describe_bundle(erring_bundle)
    out = evaluate_subject(subject, strangers, tmp_path / "out").out
    evaluate_subject(subject, phantoms, out)
    assert json.loads((out / "report.json").read_text())["numbers"]["n"] == 60


@pytest.mark.parametrize("step", ["compute_decision_curve", "draw_gallery", "write_report"])
def test_an_evaluation_that_is_broken_off_leaves_the_one_before(
    erring_bundle, strangers, phantoms, tmp_path, monkeypatch, step
):
    subject = describe_bundle(erring_bundle)
    out = evaluate_subject(subject, strangers, tmp_path / "out").out
    before = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}

    def stop(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"pneumoscope.evidence.assessment.{step}", stop)
    with pytest.raises(KeyboardInterrupt):
        evaluate_subject(subject, phantoms, out)
    assert {file: file.read_bytes() for file in out.rglob("*") if file.is_file()} == before
    with pytest.raises(KeyboardInterrupt):
        evaluate_subject(subject, phantoms, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_nothing_of_another_evaluation_stays(erring_bundle, strangers, tmp_path):
    """Also not of one that was killed between its files."""
    subject = describe_bundle(erring_bundle)
    out = evaluate_subject(subject, strangers, tmp_path / "out").out
    (out / "metrics.json").unlink()
    (out / "figures" / "of_another.png").write_bytes(b"x")
    (out / ".part-999999999-x").mkdir()
    for question in ("earlier", "internal"):
        with pytest.raises(DataError, match=r"metrics\.json"):
            evaluate_subject(
                subject, strangers, tmp_path / "b", questions=Questions(**{question: out})
            )
    evaluate_subject(subject, strangers, out)
    assert (out / "metrics.json").is_file()
    assert not (out / "figures" / "of_another.png").exists()
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_images_of_home_are_not_elsewhere(erring_bundle, strangers, tmp_path):
    subject = describe_bundle(erring_bundle)
    home = evaluate_subject(subject, strangers, tmp_path / "home").out
    result = evaluate_subject(
        subject, strangers, tmp_path / "here", questions=Questions(internal=home)
    )
    assert "are also those of the evaluation at home" in result.warnings[0]
