"""Predictions that people bring to judge labels."""

from __future__ import annotations

import numpy as np
import pytest

from pneumoscope.errors import DataError
from pneumoscope.evidence.audit.predictions_file import read_predictions

PATHS = ["/data/set/NORMAL/a.png", "/data/set/PNEUMONIA/a.png", "/data/set/PNEUMONIA/b.png"]


@pytest.fixture
def write(tmp_path):
    def write(text):
        file = tmp_path / "p.csv"
        file.write_text(text)
        return file

    return write


def test_paths_match_as_they_stand_or_by_an_end_that_is_unique(write):
    file = write(
        "path,probability,fold\n/data/set/NORMAL/a.png,0.1,0\nPNEUMONIA/a.png,0.8,1\nb.png,0.9,2\n"
    )
    brought = read_predictions(file, PATHS)
    assert brought.probabilities.tolist() == [0.1, 0.8, 0.9]
    assert brought.notes == ()


def test_an_end_that_names_two_images_matches_neither(write):
    file = write("path,probability,fold\na.png,0.1,0\nb.png,0.9,0\n")
    brought = read_predictions(file, PATHS)
    assert np.isnan(brought.probabilities[:2]).all()
    assert "1 of 3 images" in brought.notes[0]


def test_of_a_run_only_what_was_not_trained_on_counts(write):
    file = write(
        "path,probability,split,stage\nb.png,0.2,test,baseline\nb.png,0.9,test,finetuned\n"
        "NORMAL/a.png,0.3,train,finetuned\n"
    )
    brought = read_predictions(file, PATHS)
    assert brought.probabilities[2] == 0.9
    assert np.isnan(brought.probabilities[0])
    assert any("'finetuned'" in note for note in brought.notes)
    assert any("1 rows of training images" in note for note in brought.notes)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("path,fold\nb.png,0\n", "lacks the column probability"),
        ("path,probability\nb.png,0.5\n", "out of fold"),
        ("path,probability,fold\nb.png,1.5,0\n", "probability from 0 to 1"),
        ("path,probability,fold\nb.png,NaN,0\n", "probability from 0 to 1"),
        ("path,probability,fold\nb.png,high,0\n", "probability from 0 to 1"),
        ("path,probability,fold\nb.png,0.5,0\nPNEUMONIA/b.png,0.6,1\n", "twice"),
        ("path,probability,fold\nz.png,0.5,0\n", "none of the 3 images"),
        ("", "cannot be read"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_in_a_sentence(write, text, sentence):
    with pytest.raises(DataError, match=sentence):
        read_predictions(write(text), PATHS)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_predictions(tmp_path / "no.csv", PATHS)
