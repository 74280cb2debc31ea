"""A bundle and labelled images become numbers, figures and a report that hides nothing."""

from __future__ import annotations

import csv
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

import pneumoscope
from pneumoscope import images
from pneumoscope._files import hash_file
from pneumoscope.bundle import read_bundle
from pneumoscope.datasets import CollectionOptions
from pneumoscope.errors import BundleError, DataError
from pneumoscope.evidence import describe_bundle, evaluate_subject
from pneumoscope.evidence.report.html import make_shortener

KINDS = ("missed pneumonia", "false alarm", "found pneumonia", "cleared normal")
NUMBERS = {
    "n", "accuracy", "precision", "recall", "specificity", "f1", "auc", "average_precision",
    "tn", "fp", "fn", "tp", "threshold",
}  # fmt: skip


@pytest.fixture(scope="module")
def result(erring_bundle, strangers, tmp_path_factory):
    return evaluate_subject(
        describe_bundle(erring_bundle), strangers, tmp_path_factory.mktemp("judged") / "out"
    )


@pytest.fixture(scope="module")
def page(result):
    return (result.out / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def rows(result):
    with (result.out / "predictions.csv").open() as stream:
        return list(csv.DictReader(stream))


def _threshold(result):
    return result.metrics["finetuned"]["all"]["threshold"]


def _list_missed(rows, threshold):
    return [r for r in rows if r["label"] == "PNEUMONIA" and float(r["probability"]) < threshold]


# -- numbers --------------------------------------------------------------------------------------


def test_metrics_have_the_promised_shape(result):
    tree = json.loads((result.out / "metrics.json").read_text())
    assert set(tree) == {"finetuned", "final"}
    assert tree["final"] == result.stage == "finetuned"
    assert set(tree["finetuned"]) == {result.split} == {"all"}
    numbers = tree["finetuned"]["all"]
    assert set(numbers) >= NUMBERS
    assert numbers["n"] == 40 == sum(numbers[k] for k in ("tn", "fp", "fn", "tp"))
    assert tree == result.metrics


def test_a_training_run_has_both_stages_and_both_parts(finished_run):
    tree = json.loads((finished_run / "metrics.json").read_text())
    assert set(tree) == {"baseline", "finetuned", "final"}
    for stage in ("baseline", "finetuned"):
        assert set(tree[stage]) == {"val", "test"}
        assert all(set(part) >= NUMBERS for part in tree[stage].values())


def test_every_missed_pneumonia_is_listed_worst_first(result, rows):
    missed = sorted(
        _list_missed(rows, _threshold(result)), key=lambda row: float(row["probability"])
    )
    assert missed
    numbers = result.metrics["finetuned"]["all"]
    assert numbers["false_negatives"] == [row["path"] for row in missed]
    assert numbers["fn"] == len(missed)


def test_predictions_are_those_of_the_bundle(erring_bundle, rows):
    predictor = pneumoscope.load(erring_bundle)
    for row in rows[::7]:
        finding = predictor.predict(row["path"])
        assert float(row["probability"]) == pytest.approx(finding.probability, abs=1e-5)
        assert row["decision"] == finding.decision


def test_nothing_is_chosen_on_the_judged_images(erring_bundle, result, strangers, tmp_path):
    """The threshold is the bundle's, also where another would do better, and labels move no
    answer."""
    threshold = read_bundle(erring_bundle).info.operating_points["balanced"].threshold
    assert result.metrics["finetuned"]["all"]["threshold"] == threshold
    swapped = tmp_path / "swapped"
    shutil.copytree(strangers / "NORMAL", swapped / "PNEUMONIA")
    shutil.copytree(strangers / "PNEUMONIA", swapped / "NORMAL")
    other = evaluate_subject(describe_bundle(erring_bundle), swapped, tmp_path / "out")
    one, two = result.metrics["finetuned"]["all"], other.metrics["finetuned"]["all"]
    assert two["threshold"] == threshold
    assert (two["tp"], two["fn"]) == (one["fp"], one["tn"])
    assert two["auc"] == pytest.approx(1 - one["auc"])
    for name, point in one["operating_points"].items():
        assert two["operating_points"][name]["threshold"] == point["threshold"]


def test_the_bundle_and_the_data_are_left_as_they_were(bundle, strangers, tmp_path):
    def snapshot():
        files = [p for folder in (bundle, strangers) for p in sorted(folder.rglob("*"))]
        return {str(p): hash_file(p) for p in files if p.is_file()}

    before = snapshot()
    evaluate_subject(describe_bundle(bundle), strangers, tmp_path / "out")
    assert snapshot() == before


def test_judging_twice_gives_the_same_files(erring_bundle, strangers, result, tmp_path):
    shutil.copytree(result.out, tmp_path / "out")  # its own folder is written anew
    (tmp_path / "out" / "metrics.json").write_text("{}")
    again = evaluate_subject(describe_bundle(erring_bundle), strangers, tmp_path / "out")
    for name in ("metrics.json", "predictions.csv", "figures/roc.png", "figures/gallery.png"):
        assert (again.out / name).read_bytes() == (result.out / name).read_bytes(), name


# -- figures --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["confusion", "roc", "precision_recall", "gallery"])
def test_figures_exist_in_both_forms_and_show_something(result, name):
    with Image.open(result.out / "figures" / f"{name}.png") as image:
        assert np.asarray(image.convert("L")).std() > 5
    svg = (result.out / "figures" / f"{name}.svg").read_text()
    assert "<svg" in svg
    assert len(svg) > 3000


def test_the_gallery_says_what_heat_maps_are_not(result, page):
    assert "influence map, not the location of pneumonia" in page
    assert (result.out / "figures" / "gallery.svg").is_file()


def test_the_gallery_shows_every_missed_case_first_then_alarms_then_right_answers(
    result, page, rows
):
    tiles = re.findall(
        r"<figcaption><b>([a-z ]+)</b>, probability [<>\d.]+, ([^<]+)</figcaption></figure>", page
    )
    kinds = [kind for kind, _ in tiles]
    assert list(dict.fromkeys(kinds)) == list(KINDS)
    assert kinds == sorted(kinds, key=KINDS.index)
    missed = {row["path"].rsplit("/", 1)[1] for row in _list_missed(rows, _threshold(result))}
    assert {name for kind, name in tiles if kind == "missed pneumonia"} == missed
    alarms = sum(
        r["label"] == "NORMAL" and float(r["probability"]) >= _threshold(result) for r in rows
    )
    assert kinds.count("false alarm") == alarms


# -- the report -----------------------------------------------------------------------------------


class _Resources(HTMLParser):
    """Collects what a browser would fetch, and scripts."""

    def __init__(self):
        super().__init__()
        self.fetched = []

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        found = [named[key] for key in ("src", "href", "data", "srcset") if key in named]
        self.fetched += [source for source in found if not source.startswith("#")]
        if tag in {"script", "iframe", "link", "object", "embed"}:
            self.fetched.append(f"<{tag}>")


def test_the_report_is_one_file_that_fetches_nothing(page):
    parser = _Resources()
    parser.feed(page)
    assert len(parser.fetched) > 10
    assert all(source.startswith("data:image/") for source in parser.fetched)
    assert not re.search(r"url\(|@import|https?://", page)


def test_the_report_opens_with_what_it_is_for_and_what_was_missed(page, result):
    body = page[page.index("<body>") :]
    assert "research use" in body[:120].lower()
    fn = result.metrics["finetuned"]["all"]["fn"]
    assert f"missed {fn} of 20 pneumonias" in " ".join(body.split())
    assert body.index("missed") < body.index("accuracy")
    for path in result.metrics["finetuned"]["all"]["false_negatives"]:
        assert f"<li>{path.rsplit('/', 1)[1]}</li>" in page


def test_the_report_says_that_phantoms_are_synthetic(page, result):
    assert "synthetic phantoms" in page[: page.index("What was found")]
    assert any("synthetic phantoms" in warning for warning in result.warnings)


def test_images_of_unknown_names_cannot_write_into_the_page(erring_bundle, strangers, tmp_path):
    hostile = "<img src=x onerror=alert(1)>.jpeg"
    for label in ("NORMAL", "PNEUMONIA"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number, file in enumerate(sorted((strangers / label).iterdir())[:4]):
            shutil.copy(file, tmp_path / "data" / label / f"{number}{hostile}")
    result = evaluate_subject(describe_bundle(erring_bundle), tmp_path / "data", tmp_path / "out")
    text = (result.out / "report.html").read_text()
    assert "onerror=alert(1)&gt;" in text
    assert "<img src=x" not in text


# -- images the bundle has seen -------------------------------------------------------------------


def test_images_of_the_training_are_noticed(bundle, phantoms, tmp_path):
    result = evaluate_subject(describe_bundle(bundle), phantoms, tmp_path / "out")
    seen = len(read_bundle(bundle).training_images().sha256)
    sentence = f"{seen} of 60 images"
    (warning,) = [w for w in result.warnings if "was trained or chosen on" in w]
    assert warning.startswith(sentence)
    assert "the numbers are too good" in warning
    assert sentence in (result.out / "report.html").read_text()


def test_the_unseen_among_seen_images_are_judged_apart(bundle, phantoms, tmp_path):
    result = evaluate_subject(describe_bundle(bundle), phantoms, tmp_path / "out")
    seen = len(read_bundle(bundle).training_images().sha256)
    written = json.loads((result.out / "metrics.json").read_text())
    assert written[result.stage]["unseen"]["n"] == 60 - seen
    rows = pl.read_csv(result.out / "predictions.csv")
    assert rows["seen"].sum() == seen
    assert f"{result.stage}, unseen" in (result.out / "report.html").read_text()
    said = _read_item(result, 5)["text"]
    assert said.startswith(f"Of 60 images the model was trained or chosen on {seen}, ")
    assert said.endswith("; the others are judged apart.")


def test_strangers_raise_no_such_warning(result):
    assert not [w for w in result.warnings if "trained or chosen on" in w]
    assert "unseen" not in result.metrics[result.stage]
    assert _read_item(result, 5)["text"].startswith("The model was trained on none of these images")


def _read_item(result, number):
    tree = json.loads((result.out / "report.json").read_text())
    return next(item for item in tree["items"] if item["number"] == number)


# -- splits and refusals --------------------------------------------------------------------------


@pytest.fixture
def kaggle_like(strangers, tmp_path):
    """Strangers in train and test folders; test has 6 images of each class."""
    for label in ("NORMAL", "PNEUMONIA"):
        for number, file in enumerate(sorted((strangers / label).iterdir())):
            folder = tmp_path / "data" / ("test" if number < 6 else "train") / label
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, folder)
    return tmp_path / "data"


@pytest.mark.parametrize(("wanted", "split", "n"), [(None, "test", 12), ("train", "train", 28)])
def test_the_test_split_is_judged_where_there_is_one(
    bundle, kaggle_like, tmp_path, wanted, split, n
):
    result = evaluate_subject(describe_bundle(bundle), kaggle_like, tmp_path / "out", split=wanted)
    assert result.split == split
    assert result.metrics["finetuned"][split]["n"] == n
    assert any(f"{n} of 40 images" in note for note in result.notes)


@pytest.mark.parametrize(
    ("split", "sentence"),
    [
        ("val", "'val' has 0 NORMAL and 0 PNEUMONIA .* the data has train, test: choose"),
        ("tset", "takes train, val, test or all, found 'tset'"),
    ],
)
def test_a_split_that_cannot_be_judged_is_refused(bundle, kaggle_like, tmp_path, split, sentence):
    with pytest.raises(DataError, match=sentence):
        evaluate_subject(describe_bundle(bundle), kaggle_like, tmp_path / "out", split=split)
    assert not (tmp_path / "out").exists()


def test_foreign_folders_are_not_written_into(bundle, strangers, tmp_path):
    (tmp_path / "thesis.docx").touch()
    with pytest.raises(DataError, match=r"holds other things, such as thesis\.docx"):
        evaluate_subject(describe_bundle(bundle), strangers, tmp_path)
    with pytest.raises(DataError, match="is a file"):
        evaluate_subject(describe_bundle(bundle), strangers, tmp_path / "thesis.docx")


def test_a_bundle_that_is_none_is_refused(strangers, tmp_path):
    with pytest.raises(BundleError, match="is not a bundle"):
        evaluate_subject(describe_bundle(strangers), strangers, tmp_path / "out")


def test_unreadable_images_are_left_out_and_named(erring_bundle, strangers, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(strangers, data)
    (data / "NORMAL" / "broken.jpeg").write_bytes(b"\xff\xd8\xff\xe0")
    result = evaluate_subject(describe_bundle(erring_bundle), data, tmp_path / "out")
    assert [entry.path.rsplit("/", 1)[1] for entry in result.excluded] == ["broken.jpeg"]
    assert result.metrics["finetuned"]["all"]["n"] == 40
    page = (result.out / "report.html").read_text()
    assert "<b>1</b> left out" in page
    assert re.search(r"<li>\S*broken\.jpeg", page)


def test_what_the_gate_would_reject_is_judged_and_reported(erring_bundle, strangers, tmp_path):
    """Leaving out what a gate dislikes would make another test of it."""
    data = tmp_path / "data"
    shutil.copytree(strangers, data)
    grey = Image.open(sorted((data / "NORMAL").iterdir())[0])
    tinted = Image.merge("RGB", [grey, grey.point(lambda v: v // 2), grey])
    tinted.save(data / "NORMAL" / "tinted.png")
    result = evaluate_subject(describe_bundle(erring_bundle), data, tmp_path / "out")
    numbers = result.metrics["finetuned"]["all"]
    assert numbers["n"] == 41
    assert numbers["as_decided"]["rejected"] == pytest.approx(1 / 41)
    assert any("The input gate would reject 1 of these 41 images" in note for note in result.notes)
    with (result.out / "predictions.csv").open() as stream:
        rejected = [row for row in csv.DictReader(stream) if row["rejection"]]
    assert [Path(row["path"]).name for row in rejected] == ["tinted.png"]
    assert rejected[0]["decision"] == "REJECTED"
    assert 0 < float(rejected[0]["probability"]) < 1
    assert pneumoscope.load(erring_bundle).predict(rejected[0]["path"]).decision == "REJECTED"


def test_an_error_that_the_gate_would_stop_is_shown_among_the_errors(
    erring_bundle, strangers, tmp_path
):
    data = tmp_path / "data"
    shutil.copytree(strangers, data)
    threshold = _threshold(evaluate_subject(describe_bundle(erring_bundle), data, tmp_path / "a"))
    predictor = pneumoscope.load(erring_bundle)
    for number in range(8):  # noise in colour, in the class that makes an error of it
        noise = np.random.default_rng(number).integers(0, 256, (80, 80, 3)).astype(np.uint8)
        Image.fromarray(noise).save(data / "noise.png")
        pixels = images.resample(images.read(data / "noise.png"), predictor.preprocessing)
        called = predictor.calibrate(predictor.predict_pixels(pixels[None]).logits)[0] >= threshold
        (data / "noise.png").rename(data / ("NORMAL" if called else "PNEUMONIA") / f"{number}.png")
    result = evaluate_subject(describe_bundle(erring_bundle), data, tmp_path / "out")
    page = (result.out / "report.html").read_text()
    assert page.count("the input gate would reject it, and there is no heat-map") == 8
    assert "Of these 48 images `predict` would reject 8, and refer 0" in " ".join(result.warnings)


def test_patients_in_several_splits_are_told(bundle, kaggle_like, tmp_path):
    rows = [
        (file, file.parent.name, file.parent.parent.name, f"p{number // 2}")
        for number, file in enumerate(sorted(kaggle_like.rglob("*.*")))
        if file.is_file()
    ]
    table = pl.DataFrame(
        {
            "path": [str(file) for file, *_ in rows],
            "label": [label for _, label, *_ in rows],
            "split": ["test" if number % 2 else "train" for number in range(len(rows))],
            "patient": [patient for *_, patient in rows],
        }
    )
    table.write_csv(tmp_path / "list.csv")
    result = evaluate_subject(describe_bundle(bundle), tmp_path / "list.csv", tmp_path / "out")
    assert any("20 patients have images in several splits" in said for said in result.warnings)
    whole = evaluate_subject(
        describe_bundle(bundle), tmp_path / "list.csv", tmp_path / "b", split="all"
    )
    assert not any("several splits" in said for said in whole.warnings)


def test_what_was_decided_counts_referrals_as_flagged_and_as_wrong(result, rows):
    decided = result.metrics["finetuned"]["all"]["as_decided"]
    ill = [row["decision"] for row in rows if row["label"] == "PNEUMONIA"]
    well = [row["decision"] for row in rows if row["label"] == "NORMAL"]
    assert decided["sensitivity"] == 1 - ill.count("NORMAL") / len(ill)
    assert decided["specificity"] == well.count("NORMAL") / len(well)
    right = ill.count("PNEUMONIA") + well.count("NORMAL")
    assert decided["accuracy"] == right / len(rows)
    low, high = decided["intervals"]["sensitivity"]
    assert low <= decided["sensitivity"] <= high


def test_a_table_of_images_is_judged_too(erring_bundle, strangers, tmp_path):
    with (tmp_path / "list.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "finding"])
        for label in ("NORMAL", "PNEUMONIA"):
            for file in sorted((strangers / label).iterdir())[:5]:
                writer.writerow([file, label])
    options = CollectionOptions(label_column="finding")
    result = evaluate_subject(
        describe_bundle(erring_bundle), tmp_path / "list.csv", tmp_path / "out", options=options
    )
    assert result.metrics["finetuned"]["all"]["n"] == 10


def test_images_of_equal_names_are_told_apart_in_the_report():
    shorten = make_shortener(["/data/one/a.png", "/data/two/a.png", "/data/two/b.png"])
    assert shorten("/data/one/a.png") == "one/a.png"
    assert shorten("/data/two/b.png") == "two/b.png"
    assert make_shortener(["/data/one/a.png", "/data/two/b.png"])("/data/two/b.png") == "b.png"
    rows = make_shortener(["/data/set.npz#test/3", "/data/set.npz#test/17"])
    assert rows("/data/set.npz#test/17") == "set.npz#test/17"
