"""The whole way in one go: the installed command, accounts, a browser, a database, an export."""

from __future__ import annotations

import csv
import io
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.slow

COMMAND = Path(sys.executable).with_name("pneumoscope")
PASSWORD = "a long enough sentence"


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """Where the record is, as options of every command."""
    options = ["--record", str(tmp_path / "record")]
    if request.param == "postgresql":
        options += ["--database", request.getfixturevalue("postgresql")]
    return options


@pytest.fixture
def started(place: list[str]) -> Iterator[str]:
    """The address of `pneumoscope serve`, with an admin who may sign in."""
    subprocess.run(
        [COMMAND, "user", "add", "grace", "--role", "admin", "--password-stdin", *place],
        input=PASSWORD, text=True, check=True, capture_output=True,
    )  # fmt: skip
    command = [COMMAND, "serve", "--port", "0", "--precision", "fp32", *place]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ) as process:
        assert process.stderr is not None
        found = re.search(r"http://[\d.:]+", process.stderr.readline())
        assert found, process.stderr.read()
        yield found[0]
        process.terminate()
        assert process.wait(60) == 0


@pytest.fixture
def radiographs(real_data: Path) -> list[Path]:
    """A pneumonia and a normal image of real children."""
    return [sorted(real_data.glob(f"*/{label}/*.jpeg"))[0] for label in ("PNEUMONIA", "NORMAL")]


@pytest.mark.real_data
def test_from_sign_in_to_labels_for_training(page: Page, started, place, radiographs, tmp_path):
    # A stranger is sent to the sign-in page, and on to where they wanted.
    page.goto(f"{started}/upload")
    page.get_by_label("Name").fill("grace")
    page.get_by_label("Password").fill("not the password")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(f"{started}/upload")
    page.wait_for_load_state("load")  # its script listens from then on

    # Two radiographs and something that is none.
    broken = tmp_path / "notes.jpg"
    broken.write_bytes(b"no image")
    page.get_by_label("Patient key").fill("MRN-1")
    page.set_input_files("#files", [*radiographs, broken])
    expect(page.locator("#sum")).to_contain_text("of 3 done", timeout=90_000)
    expect(page.locator("#rows > li").nth(2)).to_contain_text("UNREADABLE")

    # The worklist has the pneumonia first; it is opened by keys, and the map laid over it.
    page.goto(started)
    first = page.locator("tr[data-id]").first
    expect(first).to_contain_text("PNEUMONIA")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.locator("#stage [data-part=look]")).to_contain_text("×")
    expect(page.locator(".similar")).to_contain_text("had pneumonia")
    page.keyboard.press("h")
    expect(page.locator("#stage [data-part=caption]")).to_be_visible()

    # The reader corrects it, which the answer survives.
    page.keyboard.press("n")
    page.keyboard.press("Enter")
    expect(page.locator("#readings")).to_contain_text("reads NORMAL")
    expect(page.locator("#readings")).to_contain_text("grace")
    expect(page.locator(".decision")).to_contain_text("PNEUMONIA")

    # What people said leaves as labels.
    with page.expect_download() as download:
        page.get_by_role("link", name="Export all readings").click()
    archive = zipfile.ZipFile(download.value.path())
    rows = list(csv.DictReader(io.TextIOWrapper(archive.open("manifest.csv"), "utf-8")))
    assert [(row["label"], row["reader"]) for row in rows] == [("NORMAL", "grace")]
    assert archive.read(rows[0]["path"]) == radiographs[0].read_bytes()

    # The other pages stand, and who signs out is a stranger again.
    for path, title in (
        ("explore", "Thresholds"),
        ("model", "Model"),
        ("monitoring", "Monitoring"),
    ):
        page.goto(f"{started}/{path}")
        expect(page.get_by_role("link", name=title, exact=True)).to_have_attribute(
            "aria-current", "page"
        )
    page.goto(f"{started}/api/v1/docs")
    expect(page.locator(".opblock").first).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    page.goto(f"{started}/model")
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()

    # The log is whole.
    verified = subprocess.run(
        [COMMAND, "record", "verify", *place], capture_output=True, text=True, check=False
    )
    assert verified.returncode == 0, verified.stdout + verified.stderr
