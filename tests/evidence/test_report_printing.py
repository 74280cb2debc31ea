"""The report as PDF."""

from __future__ import annotations

import os

import pytest

from pneumoscope.errors import PneumoscopeError
from pneumoscope.evidence.printing import print_report

PAGE = '<html><body><h1 id="a">Numbers</h1><p style="display: grid">0.97</p></body></html>'


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "report.html"
    path.write_text(PAGE, encoding="utf-8")
    return path


def _import_or_skip():
    try:
        import weasyprint  # noqa: F401
    except OSError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"WeasyPrint finds no Pango: {error}")


def test_a_page_becomes_a_pdf(page, tmp_path):
    _import_or_skip()
    print_report(page, tmp_path / "report.pdf")
    data = (tmp_path / "report.pdf").read_bytes()
    assert data.startswith(b"%PDF-")
    assert b"%%EOF" in data[-16:]


def test_a_system_without_pango_is_told_what_to_install(page, tmp_path, monkeypatch):
    import builtins

    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == "weasyprint":
            raise OSError("cannot load library 'libpango-1.0-0'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(PneumoscopeError, match="needs the library Pango"):
        print_report(page, tmp_path / "report.pdf")
    assert not (tmp_path / "report.pdf").exists()
