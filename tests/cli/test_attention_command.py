"""`pneumoscope evaluate --attention` as its users run it."""

from __future__ import annotations

import json


def test_attention_is_asked_and_answered_in_one_line(run, bundle, phantoms, tmp_path):
    out = tmp_path / "out"
    answer = run(
        "evaluate", bundle, phantoms, "--out", out, "--attention", "--attention-images", 24
    )
    assert answer.code == 0
    (line,) = [line for line in answer.out.splitlines() if line.startswith("Lungs: ")]
    assert "AUC" in line
    assert "without the lungs" in line
    assert json.loads((out / "attention.json").read_text())["images"] == 24


def test_too_few_images_for_attention_are_refused(run, bundle, phantoms, tmp_path):
    answer = run(
        "evaluate", bundle, phantoms, "--out", tmp_path / "new", "--attention",
        "--attention-images", 3,
    )  # fmt: skip
    assert answer.code == 2
    assert "at least 10 images" in answer.err
    assert not (tmp_path / "new").exists()
