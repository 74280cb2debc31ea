"""A viewer that stays open while its study is answered."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from pneumoscope.runtime import CAPTION, Decision

pytestmark = pytest.mark.slow


def _open(page: Page, address: str, study: str) -> None:
    with page.expect_response("**/api/v1/events"):
        page.goto(f"{address}/studies/{study}")
    page.evaluate("window.first = true")  # a reload would forget it


def test_an_answer_arrives_and_what_the_reader_does_stays(page, address, waiting, answer):
    _open(page, address, waiting)
    look = page.locator("#stage [data-part=look]")
    expect(look).to_contain_text("%")
    page.keyboard.press("+")
    page.keyboard.press("i")
    expect(look).to_contain_text("inverted")
    seen = look.inner_text()
    page.keyboard.press("a")
    expect(page.locator("#reading-said")).to_contain_text("no answer to agree with")
    page.keyboard.press("n")
    page.locator("#comment").fill("half a sent")
    answer(waiting, Decision.NORMAL, 0.04)
    expect(page.locator(".finding .decision .outcome")).to_have_text("○NORMAL")
    expect(page.locator(".similar")).to_contain_text("had pneumonia")
    expect(page.locator("#comment")).to_be_focused()
    expect(page.locator("#comment")).to_have_value("half a sent")
    expect(page.get_by_role("radio", name="NORMAL")).to_be_checked()
    expect(page.get_by_role("radio", name="Agree")).to_be_enabled()
    expect(look).to_have_text(seen)
    assert page.evaluate("window.first")
    page.locator("#stage canvas").click()
    page.keyboard.press("h")
    expect(page.get_by_text(CAPTION).first).to_be_visible()
    page.get_by_text("Details").click()
    expect(page.locator("dl.facts")).to_contain_text("Answered")
    page.get_by_role("button", name="Save reading").click()
    expect(page.locator("#readings")).to_contain_text("agrees: NORMAL")


def test_that_an_image_cannot_be_read_is_said_in_its_place(page, address, waiting, answer):
    _open(page, address, waiting)
    answer(waiting, None)
    expect(page.locator("#stage [data-part=said]")).to_have_text("unreadable for a reason.")
    expect(page.locator(".finding .decision .outcome")).to_contain_text("UNREADABLE")
    expect(page.get_by_role("toolbar")).to_be_hidden()
    expect(page.get_by_role("radio", name="NORMAL")).to_be_disabled()
    page.keyboard.press("p")
    expect(page.locator("#reading-said")).to_contain_text("comment on it only")
    assert page.evaluate("window.first")


def test_who_agreed_with_one_answer_did_not_agree_with_the_next(page, address, waiting, answer):
    answer(waiting, Decision.NORMAL, 0.04)
    _open(page, address, waiting)
    page.keyboard.press("a")
    expect(page.get_by_role("button", name="Save reading")).to_be_enabled()
    answer(waiting, Decision.PNEUMONIA, 0.97, bundle="0" * 64)
    expect(page.locator(".finding .decision .outcome")).to_have_text("▲PNEUMONIA")
    expect(page.get_by_role("radio", name="Agree")).not_to_be_checked()
    expect(page.get_by_role("button", name="Save reading")).to_be_disabled()
    page.keyboard.press("a")
    page.reload()
    expect(page.get_by_role("radio", name="Agree")).to_be_checked()
    page.goto("about:blank")
    answer(waiting, Decision.NORMAL, 0.1, bundle="1" * 64)
    _open(page, address, waiting)
    expect(page.get_by_role("radio", name="Agree")).not_to_be_checked()
