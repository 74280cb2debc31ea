"""The pages in a real browser, against a real server with the model in the box."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Callable

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Page, expect
from sqlalchemy import select

from pneumoscope.datasets.phantom import write_phantoms
from pneumoscope.evaluation import project_to_prevalences
from pneumoscope.records import (
    Prediction,
    StudyQuery,
    Verdict,
    add_reading,
    count_studies,
    list_readings,
)
from pneumoscope.records.forgetting import forget_study
from pneumoscope.runtime import CAPTION, Decision

pytestmark = pytest.mark.slow

NAMES = "tr[data-id] td.name a"
CHOSEN = "tr.chosen td.name a"
PASSWORD = "a long enough sentence"
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Three phantoms: radiographs of nobody."""
    folder = tmp_path_factory.mktemp("films") / "set"
    write_phantoms(folder, 12, seed=5, size=224)
    return sorted(folder.rglob("*.jpeg"))[:3] or sorted(folder.rglob("*.png"))[:3]


def _open(page: Page, address: str, study: str) -> None:
    page.goto(f"{address}/studies/{study}")
    expect(page.locator("#stage [data-part=look]")).to_contain_text("×")


def _sign_in(page: Page, address: str | None, name: str) -> None:
    """Go where somebody wants to, by way of the sign-in page; None where that is open."""
    if address is not None:
        page.goto(address)
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


def _read_centre(page: Page) -> list[int]:
    """Return the colour in the middle of the stage."""
    page.evaluate(
        "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
    )
    return page.evaluate(
        """() => {
          const canvas = document.querySelector("#stage canvas");
          const place = [canvas.width >> 1, canvas.height >> 1, 1, 1];
          return [...canvas.getContext("2d").getImageData(...place).data];
        }"""
    )


def _expect_centre(page: Page, is_right: Callable[[list[int]], bool]) -> None:
    """Wait until the middle of the stage has the colour that it should have."""
    deadline = time.monotonic() + 30
    while not is_right(colour := _read_centre(page)):
        assert time.monotonic() < deadline, colour


def test_the_worklist_is_driven_by_keys(page, address, ward):
    page.goto(address)
    for key in "jjk":
        page.keyboard.press(key)
    expect(page.locator(CHOSEN)).to_have_text("urgent.png")
    expect(page.locator(CHOSEN)).to_be_focused()
    page.keyboard.press("3")
    expect(page.locator(NAMES)).to_have_text(["unsure.png"])
    assert "decision=REFER" in page.url
    page.keyboard.press("1")
    expect(page.locator(NAMES)).to_have_count(50)
    page.keyboard.press("n")
    expect(page.locator(NAMES)).to_have_count(7)
    page.keyboard.press("2")
    page.wait_for_url("**decision=PNEUMONIA")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/studies/{ward['older']}?decision=PNEUMONIA")
    page.keyboard.press("g")
    page.wait_for_url("**/?decision=PNEUMONIA")


def test_answers_arrive_by_themselves_and_the_chosen_study_stays(
    page, address, ward, file, service
):
    page.goto(f"{address}/?text=.png&decision=REFER")
    expect(page.locator("#live")).to_have_text("Live")
    page.keyboard.press("j")
    arrived = file("arrived.png", Decision.REFER, 0.55)
    service.events.publish([arrived])
    expect(page.locator(NAMES)).to_have_text(["arrived.png", "unsure.png"])
    expect(page.locator(CHOSEN)).to_have_text("unsure.png")
    expect(page.locator(CHOSEN)).to_be_focused()


def test_search_follows_what_is_typed(page, address, ward):
    page.goto(address)
    page.keyboard.press("/")
    page.keyboard.type("mrn-2")
    expect(page.locator(NAMES)).to_have_text(["clear.png"])


def test_keys_are_listed_and_can_be_switched_off(page, address, ward):
    page.goto(address)
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    page.get_by_label("Use single keys").uncheck()
    page.get_by_role("button", name="Close").click()
    page.keyboard.press("j")
    expect(page.locator(CHOSEN)).to_have_count(0)
    page.reload()
    page.keyboard.press("3")
    expect(page.locator(NAMES)).to_have_count(50)


def test_the_theme_is_remembered(page, address, ward):
    page.goto(address)
    page.get_by_role("button", name="Light").click()
    page.goto(f"{address}/upload")
    assert page.locator("html").get_attribute("data-theme") == "light"


def test_what_is_uploaded_is_answered_and_what_cannot_be_says_why(
    page, address, films, tmp_path, service
):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as files:
        files.write(films[1], "a/one.jpeg")
        files.write(films[2], "b/two.jpeg")
    broken = {"name": "broken.jpg", "mimeType": "image/jpeg", "buffer": b"\xff\xd8\xff nothing"}
    packed = {"name": "both.zip", "mimeType": "application/zip", "buffer": archive.getvalue()}
    film = {"name": "film.jpeg", "mimeType": "image/jpeg", "buffer": films[0].read_bytes()}
    page.goto(f"{address}/upload")
    page.get_by_label("Patient key").fill("MRN-77")
    page.set_input_files("#files", [film, broken, packed])
    expect(page.locator("#sum")).to_contain_text("of 3 done", timeout=90_000)
    rows = page.locator("#rows > li")
    expect(rows.nth(0).locator("a.outcome")).to_be_visible(timeout=90_000)
    expect(rows.nth(1)).to_contain_text("UNREADABLE")
    expect(rows.nth(1)).to_contain_text("broken.jpg")
    expect(rows.nth(2).locator("a.outcome")).to_have_count(2, timeout=90_000)
    with service.record.read() as session:
        assert count_studies(session, StudyQuery(text="MRN-77")) == 4
    rows.nth(0).locator("a.outcome").click()
    expect(page.locator(".panel")).to_contain_text("film.jpeg")


def test_a_busy_service_is_asked_again_when_it_says(page, address, films):
    asked = []

    def answer(route):
        asked.append(1)
        if len(asked) == 1:
            route.fulfill(status=503, headers={"Retry-After": "0"}, body="{}")
        elif len(asked) == 2:
            route.fulfill(status=422, body='{"detail": "This is not wanted."}')
        else:
            route.continue_()

    page.route("**/api/v1/jobs", answer)
    page.goto(f"{address}/upload")
    page.set_input_files("#files", films[0])
    row = page.locator("#rows > li")
    expect(row).to_contain_text("This is not wanted.")
    row.get_by_role("button", name="Try again").click()
    expect(row.locator("a.outcome")).to_be_visible(timeout=90_000)
    assert len(asked) == 3


def test_sixteen_bits_are_shown_through_the_window(page, address, file):
    stream = io.BytesIO()
    Image.fromarray(np.full((80, 60), 40_000, np.uint16)).save(stream, "PNG")
    study = file("grey.png", Decision.NORMAL, 0.1, data=stream.getvalue())
    _open(page, address, study)
    look = page.locator("#stage [data-part=look]")
    expect(look).to_contain_text("60 × 80, 16 bit")
    _expect_centre(page, lambda c: c == [round(255 * 40_000 / 65_535)] * 3 + [255])
    page.keyboard.press("i")
    expect(look).to_contain_text("inverted")
    _expect_centre(page, lambda c: c == [255 - round(255 * 40_000 / 65_535)] * 3 + [255])
    page.keyboard.press("Backspace")
    page.locator("#level").fill("60")
    page.locator("#width").fill("10")
    shown = 255 * (40_000 - 0.55 * 65_535) / (0.1 * 65_535)
    _expect_centre(page, lambda c: abs(c[0] - shown) <= 1)


def test_what_a_dicom_window_hides_can_be_looked_at(page, address, file, make_dicom):
    pixels = np.full((80, 60), 1000, np.uint16)
    pixels[0, 0], pixels[0, 1] = 0, 4095
    scan = make_dicom(
        pixels, BitsStored=12, RescaleSlope=2, RescaleIntercept=-100,
        WindowCenter=3000, WindowWidth=400,
    )  # fmt: skip
    _open(page, address, file("scan.dcm", Decision.NORMAL, 0.1, data=scan))
    look = page.locator("#stage [data-part=look]")
    expect(look).to_contain_text("60 × 80, 12 bit")
    expect(look).to_contain_text("W 400 L 3000")  # as the file says it
    _expect_centre(page, lambda c: c == [0, 0, 0, 255])  # 1,900, where 2,800 is black
    page.locator("#level").fill("25")  # per cent of 0 to 4,095
    expect(look).to_contain_text("W 400 L 1948")
    page.locator("#width").fill("10")
    expect(look).to_contain_text("W 820 L 1948")
    shown = round(255 * (1900 - 1538) / 819)
    _expect_centre(page, lambda c: abs(c[0] - shown) <= 1)
    page.keyboard.press("w")
    page.keyboard.press("Shift+ArrowUp")  # from where it is, and no leap
    expect(look).not_to_contain_text("L 1948")
    _expect_centre(page, lambda c: 100 < c[0] < 160)
    page.keyboard.press("Backspace")
    expect(look).to_contain_text("W 400 L 3000")


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"WindowCenter": 2000, "WindowWidth": 3000}, "W 3000 L 2000"),
        ({"WindowCenter": 2000, "WindowWidth": 3000, "VOILUTFunction": "LINEAR_EXACT"},
         "W 3000 L 2000"),
        ({"WindowCenter": 1.5, "WindowWidth": 3, "VOILUTFunction": "LINEAR_EXACT",
          "RescaleSlope": 0.001, "RescaleIntercept": 0}, "W 3 L 1.5"),
        ({"WindowCenter": 2000, "WindowWidth": 1}, "W 1 L 2000"),
        ({"WindowCenter": 20000, "WindowWidth": 100}, "W 100 L 20000"),
    ],
)  # fmt: skip
def test_a_window_is_told_as_its_file_says_it(page, address, file, make_dicom, rng, facts, said):
    pixels = rng.integers(0, 4096, (64, 64)).astype(np.uint16)
    scan = make_dicom(pixels, BitsStored=12, **facts)
    _open(page, address, file("scan.dcm", Decision.NORMAL, 0.1, data=scan))
    expect(page.locator("#stage [data-part=look]")).to_contain_text(f"·  {said}")


def test_a_prior_has_a_window_of_its_own(page, address, file, make_dicom, rng):
    pixels = rng.integers(1000, 3000, (64, 64)).astype(np.uint16)
    for day, name in enumerate(("old.dcm", "new.dcm")):
        scan = make_dicom(
            pixels + day, BitsStored=12, WindowCenter=2000, WindowWidth=(4096, 20)[day]
        )
        study = file(name, Decision.NORMAL, 0.1, data=scan, patient="W-1", days=1 - day)
    _open(page, address, study)
    page.keyboard.press("w")
    page.keyboard.press("s")
    prior = page.locator("#prior [data-part=look]")
    expect(prior).to_contain_text("W 4096 L 2000")
    page.keyboard.press("Shift+ArrowRight")  # both are changed alike
    expect(prior).not_to_contain_text("W 4096")
    width = int(prior.inner_text().partition("W ")[2].split()[0])
    main = page.locator("#stage [data-part=look]").inner_text()
    assert 1 < width / 4096 < 1.1
    assert 1950 < int(main.partition("W ")[2].split()[0]) < 2200


def test_the_image_is_zoomed_moved_and_turned(page, address, ward):
    _open(page, address, ward["urgent"])
    look = page.locator("#stage [data-part=look]")
    expect(look).to_contain_text("%")
    fitted = look.inner_text()
    page.keyboard.press("+")
    expect(look).not_to_have_text(fitted)
    page.keyboard.press("0")
    expect(look).to_have_text(fitted)
    page.locator("#stage canvas").hover()
    page.mouse.wheel(0, -400)
    expect(look).not_to_have_text(fitted)
    before = _read_centre(page)
    page.mouse.down()
    page.mouse.move(300, 400, steps=3)
    page.mouse.up()
    assert _read_centre(page) != before
    page.keyboard.press("r")
    page.keyboard.press("Backspace")
    expect(look).to_have_text(fitted)
    page.keyboard.down("Shift")
    page.mouse.down()
    page.mouse.move(200, 300, steps=3)
    page.mouse.up()
    page.keyboard.up("Shift")
    expect(look).not_to_have_text(fitted)


def test_the_influence_map_is_laid_over_it_with_its_caption(page, address, ward):
    _open(page, address, ward["urgent"])
    page.keyboard.press("h")
    expect(page.get_by_text(CAPTION).first).to_be_visible()
    _expect_centre(page, lambda c: len({*c[:3]}) > 1)  # tinted
    page.locator("#opacity").fill("0")
    _expect_centre(page, lambda c: len({*c[:3]}) == 1)  # grey again
    page.keyboard.press("h")
    expect(page.get_by_text(CAPTION).first).to_be_hidden()


def test_a_prior_is_shown_beside_it_and_follows(page, address, ward):
    _open(page, address, ward["urgent"])
    page.keyboard.press("s")
    expect(page.locator("#prior [data-part=who]")).to_contain_text("Same patient, 4 Mar 2026")
    prior = page.locator("#prior [data-part=look]")
    expect(prior).to_contain_text("8 bit")
    before = prior.inner_text()
    page.keyboard.press("+")
    expect(prior).not_to_have_text(before)
    page.keyboard.press("s")
    expect(page.locator("#prior")).to_be_hidden()


def test_a_reading_is_saved_by_a_second_act_and_never_over_the_answer(page, address, ward, service):
    _open(page, address, ward["unsure"])
    page.keyboard.press("a")
    expect(page.locator("#reading-said")).to_contain_text("no answer to agree with")
    page.keyboard.press("p")
    with service.record.read() as session:
        assert list_readings(session, ward["unsure"]) == []
    page.keyboard.press("Enter")
    expect(page.locator("#readings")).to_contain_text("reads PNEUMONIA")
    page.keyboard.press("c")
    page.keyboard.type("Left base, n=1")
    page.get_by_role("button", name="Save reading").click()
    expect(page.locator("#readings li")).to_have_count(2)
    with service.record.read() as session:
        said = [(r.verdict, r.label, r.comment) for r in list_readings(session, ward["unsure"])]
        decision = session.scalar(
            select(Prediction.decision).where(Prediction.study_id == ward["unsure"])
        )
    assert said == [("correct", "PNEUMONIA", ""), ("comment", None, "Left base, n=1")]
    assert decision == "REFER"


def test_who_says_what_the_model_said_agrees(page, address, ward, service):
    _open(page, address, ward["urgent"])
    page.keyboard.press("p")
    page.keyboard.press("Enter")
    expect(page.locator("#readings")).to_contain_text("agrees: PNEUMONIA")


def test_who_was_signed_out_meanwhile_is_told_so_and_led_back(page, guarded):
    address, file = guarded
    study = f"/studies/{file('kept.png', Decision.NORMAL, 0.1)}"
    _sign_in(page, address + study, "ben")
    expect(page.locator("#stage [data-part=look]")).to_contain_text("×")
    page.context.clear_cookies()
    page.keyboard.press("p")
    page.keyboard.press("Enter")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("You are no longer signed in.")
    assert Axe().run(page, options=RULES).response["violations"] == []
    alert.get_by_role("link", name="Sign in").click()
    _sign_in(page, None, "ben")
    expect(page).to_have_url(address + study)


def test_what_was_typed_when_the_session_ended_is_there_after_signing_in_until_it_is_saved(
    page, guarded
):
    address, file = guarded
    study = f"{address}/studies/{file('kept.png', Decision.NORMAL, 0.1)}"
    _sign_in(page, study, "ben")
    expect(page.locator("#stage [data-part=look]")).to_contain_text("×")
    page.locator("#comment").fill("thrown away")
    page.locator("#comment").press("Escape")
    assert page.evaluate("sessionStorage.length") == 0
    page.locator("#comment").fill("Right base")
    page.context.clear_cookies()
    page.get_by_role("radio", name="PNEUMONIA").check()
    page.get_by_role("button", name="Save reading").click()
    page.get_by_role("alert").get_by_role("link", name="Sign in").click()
    _sign_in(page, None, "ben")
    expect(page.locator("#comment")).to_have_value("Right base")
    expect(page.get_by_role("radio", name="PNEUMONIA")).to_be_checked()
    expect(page.locator("#reading-said")).to_have_text("Not saved yet.")
    page.get_by_role("button", name="Save reading").click()
    expect(page.locator("#readings")).to_contain_text("Right base")
    page.reload()
    expect(page.locator("#comment")).to_have_value("")
    assert page.evaluate("sessionStorage.length") == 0


def test_who_signs_out_or_comes_after_finds_nothing_typed(page, guarded):
    address, file = guarded
    studies = [f"{address}/studies/{file(n, Decision.NORMAL, 0.1)}" for n in ("a.png", "b.png")]
    _sign_in(page, studies[0], "ben")
    expect(page.locator("#stage [data-part=look]")).to_contain_text("×")
    page.locator("#comment").fill("of ben")
    assert page.evaluate("sessionStorage.length") == 1
    page.context.clear_cookies()
    _sign_in(page, studies[1], "grace")
    expect(page.locator("#stage [data-part=look]")).to_contain_text("×")
    assert page.evaluate("sessionStorage.length") == 0
    page.locator("#comment").fill("of grace")
    assert page.evaluate("sessionStorage.length") == 1
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    assert page.evaluate("sessionStorage.length") == 0


def test_an_admin_deletes_a_study_by_a_second_act(page, guarded):
    address, file = guarded
    study = file("wrong-patient.png", Decision.NORMAL, 0.1)
    _sign_in(page, f"{address}/studies/{study}", "grace")
    expect(page.locator("#stage [data-part=look]")).to_contain_text("×")
    page.get_by_text("Details").click()
    page.get_by_role("button", name="Delete this study").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("The image wrong-patient.png, what the model answered")
    expect(dialog).to_contain_text("cannot be undone")
    assert Axe().run(page, options=RULES).response["violations"] == []
    page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()
    page.get_by_role("button", name="Delete this study").click()
    dialog.get_by_role("button", name="Delete for ever").click()
    page.wait_for_url(f"{address}/?")
    expect(page.locator(NAMES)).to_have_count(0)


def test_an_image_that_another_study_has_is_said_to_stay(page, guarded):
    address, file = guarded
    study = file("twice.png", Decision.NORMAL, 0.1)
    _sign_in(page, f"{address}/studies/{study}", "grace")
    expect(page.locator("#stage [data-part=look]")).to_contain_text("×")
    page.get_by_text("Details").click()
    dialog = page.get_by_role("dialog")
    for told in ("Its image stays: another study has", "Its image stays: 2 other studies have"):
        file("twice.png", Decision.NORMAL, 0.1)  # after the page was opened
        page.get_by_role("button", name="Delete this study").click()
        expect(dialog).to_contain_text(told)
        expect(dialog).not_to_contain_text("The image")
        dialog.get_by_role("button", name="Keep it").click()


def test_a_reader_is_not_offered_to_delete(page, guarded):
    address, file = guarded
    _sign_in(page, f"{address}/studies/{file('kept.png', Decision.NORMAL, 0.1)}", "ben")
    page.get_by_text("Details").click()
    expect(page.get_by_role("link", name="Original file")).to_be_visible()
    expect(page.locator("#delete, #deletion")).to_have_count(0)


def test_an_open_study_that_is_deleted_leaves_the_screen(page, address, file, service):
    study = file("gone.png", Decision.NORMAL, 0.1)
    with page.expect_response("**/api/v1/events"):
        _open(page, address, study)
    forget_study(service.record, study)
    service.events.publish([study])
    expect(page.get_by_role("alert")).to_contain_text("This study was deleted.")
    expect(page.locator("canvas, form#reading")).to_have_count(0)
    page.keyboard.press("h")
    page.keyboard.press("+")
    page.keyboard.press("g")
    page.wait_for_url(f"{address}/?")


def test_a_reading_of_a_study_that_is_gone_says_so(page, address, file, service):
    study = file("gone.png", Decision.NORMAL, 0.1)
    _open(page, address, study)
    forget_study(service.record, study)
    page.keyboard.press("a")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("This study was deleted.")


def test_what_others_read_appears_and_what_is_typed_stays(page, address, file, service):
    study = file("shared.png", Decision.NORMAL, 0.1)
    with page.expect_response("**/api/v1/events"):
        _open(page, address, study)
    page.locator("#comment").fill("half a sent")
    with service.record.begin() as session:
        add_reading(session, study, "anna", Verdict.AGREE, None, "")
    service.events.publish([study])
    expect(page.locator("#readings")).to_contain_text("anna")
    expect(page.locator("#comment")).to_have_value("half a sent")


def test_of_what_cannot_be_read_nothing_is_loaded_and_its_reason_stands_there(page, address, ward):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{address}/studies/{ward['unreadable']}")
    expect(page.locator("#stage [data-part=said]")).to_have_text("unreadable for a reason.")
    page.goto(f"{address}/?decision=ERROR")
    expect(page.locator("tr[data-id] svg.no-picture").first).to_be_visible()
    page.wait_for_timeout(300)
    assert [url for url in asked if url.endswith(("/pixels", "/thumbnail.jpg"))] == []


def test_what_could_not_be_read_in_a_zip_is_not_counted_as_answered(page, address, films):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as files:
        for number in (1, 2):
            files.write(films[number], f"good-{number}.jpeg")
            files.writestr(f"bad-{number}.jpg", b"\xff\xd8\xff nothing %d" % number)
    packed = {"name": "four.zip", "mimeType": "application/zip", "buffer": archive.getvalue()}
    page.goto(f"{address}/upload")
    page.set_input_files("#files", [packed])
    said = page.locator("#rows > li > .said")
    expect(said).to_have_text("2 answered, 2 could not be read", timeout=90_000)
    expect(page.locator("#sum")).to_have_text("1 of 1 done with 2 files that could not be read")


@pytest.mark.parametrize("page", [390], indirect=True)
def test_no_number_of_monitoring_is_cut_on_a_phone(page, address, ward, service):
    with service.record.begin() as session:
        add_reading(session, ward["clear"], "anna", Verdict.AGREE, None, "")
    page.goto(f"{address}/monitoring")
    for summary in page.locator("summary").all():
        summary.click()
    cut = """() => [...document.querySelectorAll("table")]
        .filter((table) => table.getBoundingClientRect().right > innerWidth - 14)
        .map((table) => table.innerText)"""
    assert page.evaluate(cut) == []


def test_the_slider_shows_what_a_threshold_gives_and_changes_nothing(page, address, ward, service):
    arrays = service.predictor.bundle.reference()
    scores, labels = service.predictor.calibrate(arrays["logits"]), arrays["labels"]
    page.goto(f"{address}/explore")
    slider = page.locator("#threshold")
    expect(slider).to_be_enabled()
    expect(page.locator("#threshold-value")).to_have_text(f"{service.predictor.threshold:.3f}")
    slider.press("Home")
    expect(page.locator("#sensitivity")).to_have_text("100.0 %")
    expect(page.locator("#specificity")).to_have_text("0.0 %")
    page.get_by_role("button", name="rule out").click()
    called = scores >= service.predictor.rule_out
    specificity = (~called)[labels == 0].mean()
    expect(page.locator("#specificity")).to_have_text(f"{100 * specificity:.1f} %")
    sensitivity = called[labels == 1].mean()
    page.locator("#prevalence").fill("10")
    found, alarmed = 0.1 * sensitivity, 0.9 * (1 - specificity)
    expect(page.locator("#ppv")).to_have_text(f"{100 * found / (found + alarmed):.1f} %")
    at = project_to_prevalences(labels, called, [0.1])[0]
    for name in ("ppv", "npv"):
        ends = " to ".join(f"{100 * end:.1f} %" for end in at.intervals[name].to_list())
        expect(page.locator(f"#{name}-more")).to_have_text(ends)
    expect(page.locator("#people")).to_contain_text(f"{at.missed:.0f} pneumonias would be missed")
    assert service.predictor.rule_out == service.predictor.operating_points["rule_out"].threshold


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("page", [1280, 390], indirect=True)
def test_every_page_can_be_used_by_everybody(page, address, ward, theme):
    page.context.add_cookies([{"name": "theme", "value": theme, "url": address}])
    paths = ["", "upload", "explore", "model", "monitoring", "sign-in", "nowhere"]
    for path in [*paths, *(f"studies/{ward[name]}" for name in ("urgent", "rejected"))]:
        page.goto(f"{address}/{path}")
        page.wait_for_timeout(300)
        expect(page.get_by_text("Research use, not a diagnosis").first).to_be_in_viewport()
        violations = Axe().run(page, options=RULES).response["violations"]
        assert [(v["id"], v["nodes"][0]["html"]) for v in violations] == [], path
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= page.viewport_size["width"], path
