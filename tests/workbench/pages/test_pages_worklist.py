"""The worklist as the server writes it."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

PAGES = ("/", "/upload", "/explore", "/model", "/monitoring", "/sign-in", "/nowhere")


class _Tags(HTMLParser):
    """Collects what no page may have: styles and scripts in the page itself."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._script = False

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        self.found += [
            f"{tag} {name}" for name in names if name == "style" or name.startswith("on")
        ]
        self.found += ["style"] if tag == "style" else []
        self._script = tag == "script" and "src" not in names

    def handle_data(self, data):
        if self._script and data.strip():
            self.found.append("script")

    def handle_endtag(self, tag):
        self._script = False


def _list_names(html: str) -> list[str]:
    return re.findall(r'<td role="cell" class="name"><a href="[^"]*">([^<]*)</a>', html)


@pytest.mark.parametrize("path", PAGES)
def test_every_page_says_what_it_is_for_and_brings_no_style_or_script_of_its_own(
    client, ward, path
):
    html = client.get(path).text
    assert "Research use, not a diagnosis" in html
    tags = _Tags()
    tags.feed(html)
    assert tags.found == []


def test_the_viewer_brings_none_either(client, ward):
    for study in ward.values():
        tags = _Tags()
        tags.feed(client.get(f"/studies/{study}").text)
        assert tags.found == []


def test_the_most_urgent_come_first(client, ward):
    assert _list_names(client.get("/").text)[:4] == [
        "urgent.png", "older.png", "unsure.png", "broken.png",
    ]  # fmt: skip


def test_the_list_is_paged_and_pages_meet(client, ward):
    first, second = (_list_names(client.get(f"/worklist/rows?offset={n}").text) for n in (0, 50))
    assert (len(first), len(second)) == (50, 7)
    assert not {*first} & {*second}
    assert _list_names(client.get("/worklist/rows?offset=4000").text) == second
    assert "1–50 of 57" in client.get("/").text


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("decision=REFER", ["unsure.png"]),
        ("decision=ERROR", ["broken.png"]),
        ("text=mrn-1", ["urgent.png", "older.png"]),
        ("text=CLEAR", ["clear.png"]),
        ("text=%25", []),
        ("decision=PNEUMONIA&text=older", ["older.png"]),
    ],
)
def test_filters_and_search(client, ward, query, expected):
    assert _list_names(client.get(f"/worklist/rows?{query}").text) == expected


def test_an_unknown_decision_shows_all(client, ward):
    assert len(_list_names(client.get("/?decision=MAYBE").text)) == 50


def test_names_are_text(client, ward):
    html = client.get("/?text=script").text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;.png" in html
    assert "<script>alert" not in html
    assert "<script>alert" not in client.get(f"/studies/{ward['script']}").text


def test_the_band_stands_where_the_thresholds_are(client, ward, service):
    row = client.get("/worklist/rows?text=unsure").text
    low, high = service.predictor.rule_out, service.predictor.rule_in
    assert f'<rect class="between" x="{round(128 * low, 2)}" y="5"' in row
    assert f'width="{round(128 * (high - low), 2)}"' in row
    assert f"translate({round(128 * 0.6, 2)} 0)" in row


def test_the_theme_is_dark_until_another_is_asked_for(client):
    assert 'data-theme="dark"' in client.get("/upload").text
    light = client.get("/upload", headers={"cookie": "theme=light"}).text
    assert 'data-theme="light"' in light
    odd = client.get("/upload", headers={"cookie": 'theme="><script>'}).text
    assert 'data-theme="dark"' in odd


def test_pages_stay_in_no_cache_and_files_are_asked_for_again(client):
    assert client.get("/").headers["cache-control"] == "no-store"
    assert client.get("/static/base.css").headers["cache-control"] == "no-cache"


def test_what_is_not_there_is_a_page_for_people_and_a_problem_for_programs(client):
    page = client.get("/studies/none")
    assert page.status_code == 404
    assert "There is no such study" in page.text
    assert "<title>Not Found – Pneumoscope</title>" in page.text
    problem = client.get("/studies/none", headers={"accept": "application/json"})
    assert problem.json()["status"] == 404
