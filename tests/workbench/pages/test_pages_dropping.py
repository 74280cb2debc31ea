"""Folders dropped onto the upload page, as Chromium hands them over."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path):
    """A folder in a folder, with more files than a browser lists at a time, and what is hidden."""
    deep = tmp_path / "ward" / "monday"
    deep.mkdir(parents=True)
    for number in range(120):
        (deep / f"{number:03}.jpg").write_bytes(b"\xff\xd8\xff nothing %d" % number)
    for name in (".DS_Store", "__MACOSX/film.jpg", ".git/film.jpg"):
        hidden = deep.parent / name
        hidden.parent.mkdir(exist_ok=True)
        hidden.write_bytes(b"hidden")
    return deep.parent


def _drop(page: Page, *paths: str) -> None:
    """Drop files and folders of this machine onto the field, as a hand would."""
    box = page.locator("#drop").bounding_box()
    data = {"items": [], "files": [*paths], "dragOperationsMask": 1}
    place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + 8}
    session = page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "data": data, **place})


def test_a_dropped_folder_is_sent_whole_and_what_is_hidden_stays(page, address, folder, tmp_path):
    page.route("**/api/v1/jobs", lambda route: route.fulfill(status=422, body="{}"))
    single = tmp_path / "single.jpg"
    single.write_bytes(b"\xff\xd8\xff nothing")
    page.goto(f"{address}/upload")
    _drop(page, str(folder), str(single))
    expect(page.locator("#sum")).to_have_text("0 of 121 done, 121 failed")
    names = page.locator("#rows .name").all_text_contents()
    assert sorted(names) == ["single.jpg", *(f"ward/monday/{n:03}.jpg" for n in range(120))]
