"""The report as PDF."""

from __future__ import annotations

import os

import pytest
from PIL import ImageFile

from pneumoscope.errors import PneumoscopeError
from pneumoscope.evidence.report.printing import print_report

PAGE = '<html><body><h1 id="a">Numbers</h1><p style="display: grid">0.97</p></body></html>'


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "report.html"
    path.write_text(PAGE, encoding="utf-8")
    return path


def _print_or_skip(page, pdf):
    try:
        print_report(page, pdf)
    except PneumoscopeError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


def test_a_page_becomes_a_pdf(page, tmp_path):
    _print_or_skip(page, tmp_path / "report.pdf")
    data = (tmp_path / "report.pdf").read_bytes()
    assert data.startswith(b"%PDF-")
    assert b"%%EOF" in data[-16:]


def test_truncated_images_are_refused_after_printing_as_before(page, tmp_path):
    """WeasyPrint makes Pillow accept them, for the whole process."""
    _print_or_skip(page, tmp_path / "report.pdf")
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


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
