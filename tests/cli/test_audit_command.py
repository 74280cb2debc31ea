"""`pneumoscope data audit`, through the app: exit codes, `audit.json`, the page."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from pneumoscope.datasets.phantom import write_phantoms

EXACT = {
    "images": int,
    "unreadable": list,
    "duplicates": list,
    "patients_across_splits": list,
    "suspect_labels": list,
    "shortcuts": dict,
}


@pytest.fixture
def collection(tmp_path, rng):
    """Write class folders below train and test: shapes by label, and nothing else in common."""

    def paint(path, label):
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = rng.integers(60, 190, (12, 12)).astype(np.uint8)
        image = np.asarray(Image.fromarray(coarse).resize((96, 96), Image.Resampling.BICUBIC))
        across, down = np.meshgrid(np.arange(96), np.arange(96))
        wave = np.sin((across if label == "NORMAL" else down) / 3 + rng.uniform(0, 6)) * 40
        Image.fromarray(np.clip(image + wave, 0, 255).astype(np.uint8)).save(path, quality=90)

    def make(n=30, splits=("train", "test")):
        for split in splits:
            for label in ("NORMAL", "PNEUMONIA"):
                for row in range(n):
                    paint(tmp_path / "set" / split / label / f"{split}{label}{row:03d}.jpeg", label)
        return tmp_path / "set"

    return make


def _read(out):
    return json.loads((out / "audit.json").read_text("utf-8"))


def test_a_clean_set_may_be_used(run, collection, tmp_path):
    answer = run("data", "audit", collection(), "--out", tmp_path / "out")
    assert answer.code == 0, answer.err
    assert "May be used" in answer.out
    found = _read(tmp_path / "out")
    for name, kind in EXACT.items():
        assert isinstance(found[name], kind), name
    assert found["images"] == 120
    assert found["usable"]
    assert found["reasons"] == found["duplicates"] == found["patients_across_splits"] == []
    assert found["flow"]["found"] == found["flow"]["used"] == 120
    assert found["splits"]["test"] == {"NORMAL": 30, "PNEUMONIA": 30}
    assert found["shortcuts"]["size"] == 0.5
    assert abs(found["shortcuts"]["mean_intensity"] - 0.5) < 0.2
    assert found["judge"]["auc"] > 0.95
    assert [(part["split"], part["label"]) for part in found["drift"]] == [
        ("test", "NORMAL"), ("test", "PNEUMONIA"),
    ]  # fmt: skip
    page = (tmp_path / "out" / "audit.html").read_text("utf-8")
    assert "May be used" in page
    assert "http" not in page.replace("http://www.w3.org", "")


def test_planted_faults_are_all_found(run, collection, tmp_path):
    root = collection(80)  # of fewer, the judge is not sure enough of all
    train, test = root / "train", root / "test"
    # A copy in the other split, a recompressed copy under the other label, a patient in both.
    shutil.copy(train / "NORMAL" / "trainNORMAL000.jpeg", test / "NORMAL" / "copy.jpeg")
    with Image.open(train / "NORMAL" / "trainNORMAL001.jpeg") as image:
        image.save(train / "PNEUMONIA" / "near.jpeg", quality=70)
    for split in (train, test):
        name = f"{split.name}PNEUMONIA004.jpeg"
        (split / "PNEUMONIA" / name).rename(split / "PNEUMONIA" / f"person5_virus_{name[1]}.jpeg")
    renamed = {p.name for p in root.rglob("person5*")}
    assert renamed == {"person5_virus_r.jpeg", "person5_virus_e.jpeg"}
    for number, (split, letter) in enumerate(((train, "r"), (test, "e"))):
        (split / "PNEUMONIA" / f"person5_virus_{letter}.jpeg").rename(
            split / "PNEUMONIA" / f"person5_virus_{number}.jpeg"
        )
    # Wrong labels, a damaged file, and what is no image.
    for row in (10, 11):
        (train / "NORMAL" / f"trainNORMAL0{row}.jpeg").rename(train / "PNEUMONIA" / f"w{row}.jpeg")
    (train / "NORMAL" / "cut.jpeg").write_bytes(b"\xff\xd8 cut")
    (train / "NORMAL" / "notes.txt").write_text("hello")

    answer = run("data", "audit", root, "--out", tmp_path / "out", "--quiet")
    assert answer.code == 1
    assert "Must not be used as it is: 1 patient is in" in answer.out
    assert "1 set of identical or near-identical images" in answer.out
    found = _read(tmp_path / "out")
    assert not found["usable"]
    assert len(found["reasons"]) == 1
    assert found["patients_across_splits"] == ["virus-5"]
    assert found["patients"]["across_splits"] == {"virus-5": {"train": 1, "test": 1}}
    assert found["unreadable"] == [str(train / "NORMAL" / "cut.jpeg")]
    assert found["flow"]["no_images_by_name"] == 1
    across, near = found["duplicates"]
    assert across == {
        "a": str(test / "NORMAL" / "copy.jpeg"),
        "b": str(train / "NORMAL" / "trainNORMAL000.jpeg"),
        "kind": "exact",
        "across_splits": True,
        "across_labels": False,
    }
    assert near["kind"] == "near"
    assert near["across_labels"]
    assert not near["across_splits"]
    suspects = {s["path"].rpartition("/")[2]: s for s in found["suspect_labels"]}
    assert {"w10.jpeg", "w11.jpeg"} <= set(suspects)
    assert len(suspects) <= 6
    assert suspects["w10.jpeg"].keys() == {"path", "label", "score"}
    assert suspects["w10.jpeg"]["label"] == "PNEUMONIA"
    page = (tmp_path / "out" / "audit.html").read_text("utf-8")
    assert "Must not be used as it is" in page
    assert "cut.jpeg" in page
    assert page.count("data:image/jpeg") >= 4 + 2


def test_images_that_show_nothing_are_named(run, collection, tmp_path, rng):
    root = collection(splits=("train",))
    blank = root / "train" / "NORMAL" / "blank.png"
    Image.fromarray(rng.integers(120, 125, (64, 64), "u1")).save(blank)
    answer = run("data", "audit", root, "--out", tmp_path / "out")
    assert answer.code == 0, answer.err
    assert _read(tmp_path / "out")["blank"] == [str(blank)]
    assert f"1 image shows nothing ({blank}): take them out." in " ".join(answer.out.split())


def test_a_size_that_tells_the_label_is_pointed_out(run, collection, tmp_path):
    root = collection(splits=("train",))
    for path in (root / "train" / "PNEUMONIA").iterdir():
        with Image.open(path) as image:
            image.resize((120, 90)).save(path, quality=90)
    answer = run("data", "audit", root, "--out", tmp_path / "out")
    assert answer.code == 0
    assert _read(tmp_path / "out")["shortcuts"]["size"] == 1
    assert "size 1.00" in answer.out


def test_phantoms_have_no_shortcut(run, tmp_path):
    write_phantoms(tmp_path / "set", 160, seed=3, size=64)
    answer = run("data", "audit", tmp_path / "set", "--out", tmp_path / "out")
    assert answer.code == 0
    found = _read(tmp_path / "out")
    contrast = found["shortcut_contrasts"][0]
    for name, probe in contrast["probes"].items():
        assert probe["auc"] < 0.7, name
        assert probe["interval"] is None or probe["interval"][0] < 0.55, name
    assert "tells its label" not in answer.out
    assert "phantoms" in " ".join(found["cautions"])


def test_arrays_have_no_files_to_speak_of(run, tmp_path, rng):
    labels = np.repeat([0, 1], 12)
    arrays = {
        f"{split}_{what}": labels if what == "labels" else rng.integers(0, 255, (24, 28, 28), "u1")
        for split in ("train", "val")
        for what in ("labels", "images")
    }
    np.savez(tmp_path / "medmnist.npz", **arrays)
    answer = run("data", "audit", tmp_path / "medmnist.npz", "--out", tmp_path / "out")
    assert answer.code == 0, answer.err
    found = _read(tmp_path / "out")
    assert found["shortcuts"]["jpeg_quality"] is None
    assert found["shortcuts"]["bytes_per_pixel"] is None
    assert found["patients"] == {"known": 0, "images_without": 48, "across_splits": {}}
    assert "cannot be told" in answer.out
    assert "not available: no image has it" in (tmp_path / "out" / "audit.html").read_text("utf-8")


def test_odd_names_and_a_tiny_set_are_audited(run, tmp_path, rng):
    root = tmp_path / "a <b> & ü" / "set"
    for label in ("NORMAL", "PNEUMONIA"):
        for row in range(3):
            path = root / label / f"<b>x</b> & 'q' {row}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(0, 255, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).resize((40, 40)).save(path)
    answer = run("data", "audit", root, "--out", tmp_path / "out")
    assert answer.code == 0, answer.err
    found = _read(tmp_path / "out")
    assert found["images"] == 6
    assert set(found["shortcuts"].values()) == {None}
    assert found["judge"]["reason"].startswith("too few")
    page = (tmp_path / "out" / "audit.html").read_text("utf-8")
    assert "<b>x</b>" not in page
    assert "brings no splits" in page


def test_what_is_left_may_be_one_image(run, tmp_path, rng):
    root = tmp_path / "set"
    for label in ("NORMAL", "PNEUMONIA"):
        (root / label).mkdir(parents=True)
        for row in range(2):
            (root / label / f"{row}.png").write_bytes(b"damaged")
    Image.fromarray(rng.integers(0, 255, (30, 30), dtype=np.uint8)).save(root / "NORMAL" / "0.png")
    answer = run("data", "audit", root, "--out", tmp_path / "out")
    assert answer.code == 0, answer.err
    assert len(_read(tmp_path / "out")["unreadable"]) == 3


def test_brought_predictions_judge_in_place_of_ours(run, collection, tmp_path):
    root = collection(splits=("train",))
    names = sorted(path for path in root.rglob("*.jpeg"))
    rows = [f"{p.name},{0.97 if p.parent.name == 'PNEUMONIA' else 0.03},0" for p in names]
    rows[0] = f"{names[0].name},0.99,0"
    (tmp_path / "p.csv").write_text("path,probability,fold\n" + "\n".join(rows))
    answer = run(
        "data", "audit", root, "--out", tmp_path / "out", "--predictions", tmp_path / "p.csv"
    )
    assert answer.code == 0, answer.err
    found = _read(tmp_path / "out")
    assert [s["path"] for s in found["suspect_labels"]] == [str(names[0])]
    assert "p.csv" in found["judge"]["name"]


def test_the_same_seed_gives_the_same_audit(run, collection, tmp_path):
    root = collection(n=20, splits=("train",))
    texts = []
    for name in ("one", "two"):
        assert run("data", "audit", root, "--out", tmp_path / name, "--seed", 3).code == 0
        texts.append((tmp_path / name / "audit.json").read_bytes())
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    ("arrange", "sentence"),
    [
        (lambda root: shutil.rmtree(root / "train" / "PNEUMONIA"), "two classes with at least 2"),
        (lambda root: shutil.rmtree(root / "train"), "has no layout that is known"),
    ],
    ids=["one class", "nothing"],
)
def test_what_cannot_be_audited_is_said_in_one_sentence(
    run, collection, tmp_path, arrange, sentence
):
    root = collection(n=3, splits=("train",))
    arrange(root)
    answer = run("data", "audit", root, "--out", tmp_path / "out")
    assert answer.code == 2
    assert sentence in answer.err
    assert not (tmp_path / "out").exists()


def test_a_folder_with_other_things_is_not_written_into(run, phantoms, tmp_path):
    (tmp_path / "thesis.tex").write_text("hello")
    answer = run("data", "audit", phantoms, "--out", tmp_path)
    assert answer.code == 2
    assert "holds other things, such as thesis.tex" in answer.err
