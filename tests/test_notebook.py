"""The notebook runs from top to bottom, and the committed one shows what it should."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from PIL import Image

NOTEBOOK = Path(__file__).parent.parent / "notebooks" / "pneumonia_resnet50.ipynb"

#: Cells that show a figure, and what must be printed: cell → pattern.
FIGURES = ("samples", "curves", "confusion", "roc", "overlays", "heatmap")
NUMBERS = {
    "leak": r"\d+ patients, 0 of them in more than one split",
    "preprocessing": r"input +\(3, \d+, \d+\) float32",
    "train": r"(?s)baseline .*finetuned .*finetuned: (trained|stopped)",
    "numbers": r"(?s)sensitivity.*\d\.\d{3} \(\d\.\d{3}–\d\.\d{3}\)",
    "points": r"(?s)rule_out.*balanced.*rule_in",
    "reading": r"The model missed \d+ of \d+ pneumonias",
    "inference": r"schema +pneumoscope\.finding/1",
    "answers": r"error +damaged\.jpeg is not an image",
}


def _read(notebook, cell: str) -> str:
    """Return all text that a cell shows."""
    outputs = next(entry for entry in notebook.cells if entry.id == cell).outputs
    return "\n".join(o.get("text") or o.get("data", {}).get("text/plain", "") for o in outputs)


def _list_pictures(notebook, cell: str) -> list[np.ndarray]:
    outputs = next(entry for entry in notebook.cells if entry.id == cell).outputs
    found = [o.data.get("image/png") or o.data.get("image/jpeg") for o in outputs if "data" in o]
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) for data in found if data]


def _check_outputs(notebook) -> None:
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            assert output.output_type != "error", output.get("evalue")
            assert output.get("name") != "stderr", output.text
    for cell, pattern in NUMBERS.items():
        assert re.search(pattern, _read(notebook, cell)), f"{cell}: {_read(notebook, cell)}"
    for cell in FIGURES:
        pictures = _list_pictures(notebook, cell)
        assert pictures, f"{cell} shows no figure"
        assert all(picture.std() > 5 for picture in pictures), f"{cell} shows an empty figure"


@pytest.fixture
def committed():
    return nbformat.read(NOTEBOOK, as_version=4)


def test_the_committed_notebook_shows_numbers_and_figures(committed):
    nbformat.validate(committed)
    _check_outputs(committed)
    code = [cell for cell in committed.cells if cell.cell_type == "code"]
    # Run once, from top to bottom.
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert NOTEBOOK.stat().st_size < 1_500_000


def test_the_committed_notebook_tells_nothing_of_a_machine(committed):
    text = "\n".join(
        str(o.get("text") or o.get("data", {}).get("text/plain"))
        for cell in committed.cells
        for o in cell.get("outputs", [])
    )
    assert not re.search(
        r"(?i)(^|[\s'\"(])/(tmp|home|root|work|users|var)/|warning:|traceback", text
    )
    assert set(committed.metadata) == {"kernelspec", "language_info"}


def test_every_step_is_explained(committed):
    text = "\n".join(cell.source for cell in committed.cells if cell.cell_type == "markdown")
    steps = re.findall(r"^## \d+\. (.+)$", text, re.MULTILINE)
    assert len(steps) == 9
    assert "not a diagnosis" in text
    assert "doi.org/10.17632/rscbjbr9sj.2" in text


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom(committed, tmp_path, monkeypatch):
    settings = {"IMAGES": 80, "START_IMAGES": 60, "START_EPOCHS": 1, "SIZE": 64}
    for name, value in settings.items():
        monkeypatch.setenv(f"PNEUMOSCOPE_NOTEBOOK_{name}", str(value))
    monkeypatch.delenv("PNEUMOSCOPE_DATA", raising=False)
    monkeypatch.delenv("PNEUMOSCOPE_NOTEBOOK_WEIGHTS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    for cell in committed.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    NotebookClient(committed, timeout=600, kernel_name="python3").execute()
    _check_outputs(committed)
    correlation = float(re.search(r"activation map: (\S+)", _read(committed, "gradcam"))[1])
    assert correlation > 0.999
    # All that it wrote lies in its temporary folder.
    assert len(list(tmp_path.glob("pneumoscope-*/runs/classic/bundle/bundle.json"))) == 1
