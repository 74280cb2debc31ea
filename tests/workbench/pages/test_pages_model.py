"""The model page, the report, and the threshold explorer."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace

import numpy as np
import pytest

from pneumoscope.workbench.pages.model import allow_styles, render_markdown
from pneumoscope.workbench.pages.sign_in import keep_local


def test_the_card_is_shown_without_its_front_matter(client):
    html = client.get("/model").text
    assert "<h3>Intended use</h3>" in html
    assert "library_name" not in html


@pytest.mark.parametrize(
    ("text", "absent"),
    [
        ("<script>alert(1)</script>", "<script"),
        ("[a](javascript:alert(1))", "href="),
        ("![a](https://elsewhere.org/a.png)", "<img"),
        ("|a|\n|--:|\n|1|", "style="),
    ],
)
def test_a_card_brings_nothing_in(text, absent):
    assert absent not in render_markdown(text)


def test_headings_are_a_step_lower_and_tables_can_be_scrolled_by_keys():
    html = render_markdown("# One\n\n||b|\n|--|--|\n|1|2|")
    assert "<h2>One</h2>" in html
    assert 'tabindex="0"' in html
    assert "<th></th>" not in html


def test_without_a_report_there_is_none(client):
    assert client.get("/model/report").status_code == 404
    assert "/model/report" not in client.get("/model").text


def test_a_report_has_its_own_styles_and_nothing_else(client, service, tmp_path, monkeypatch):
    report = tmp_path / "report.html"
    report.write_text("<style>\nb {color: red}\n</style><b>Report</b>", encoding="utf-8")
    monkeypatch.setattr(service, "settings", replace(service.settings, report=report))
    assert 'href="/model/report"' in client.get("/model").text
    answer = client.get("/model/report")
    digest = base64.b64encode(hashlib.sha256(b"\nb {color: red}\n").digest()).decode()
    assert f"style-src 'sha256-{digest}';" in answer.headers["content-security-policy"]
    assert "script-src" not in answer.headers["content-security-policy"]
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_a_page_without_styles_is_allowed_none():
    assert "style-src 'none'" in allow_styles("<b>plain</b>")


def test_the_explorer_has_every_threshold_of_the_calibration_part(client, service):
    data = client.get("/explore/data").json()
    rows = [dict(zip(data["columns"], row, strict=True)) for row in data["rows"]]
    arrays = service.predictor.bundle.reference()
    scores, labels = service.predictor.calibrate(arrays["logits"]), arrays["labels"]
    assert len(rows) == min(500, len(np.unique(scores)))
    for row in rows[:: len(rows) // 7]:
        called = scores >= row["threshold"]
        assert row["tp"] == int((called & (labels == 1)).sum())
        assert row["fp"] == int((called & (labels == 0)).sum())
        assert row["tp"] + row["fn"] == int(labels.sum())


@pytest.mark.parametrize(
    "query", ["threshold=0.5", "threshold=nan&prevalence=0.1", "threshold=0.5&prevalence=1"]
)
def test_a_share_of_ill_people_lies_between_none_and_all(client, query):
    assert client.get(f"/explore/people?{query}").status_code == 422


def test_todays_list_is_that_of_the_last_day(client, ward):
    today = client.get("/explore/data").json()["today"]
    assert sorted(today) == [0.04, 0.6, 0.97]


@pytest.mark.parametrize(
    ("target", "kept"),
    [
        ("/studies/1?unread=1", "/studies/1?unread=1"),
        ("//elsewhere.org", "/"),
        ("/\\elsewhere.org", "/"),
        ("/\t/elsewhere.org", "/"),
        ("https://elsewhere.org", "/"),
        ("", "/"),
    ],
)
def test_signing_in_leads_nowhere_else(target, kept):
    assert keep_local(target) == kept


def test_the_sign_in_page_keeps_where_one_was_going(client):
    html = client.get("/sign-in", params={"next": '/studies/1?text="x'}).text
    assert 'name="next" value="/studies/1?text=&#34;x"' in html
