"""The report on paper: its page as PDF."""

from __future__ import annotations

import logging
from pathlib import Path

from pneumoscope._extras import require_extra
from pneumoscope._files import write_atomically
from pneumoscope.errors import PneumoscopeError


def print_report(page: Path, pdf: Path) -> None:
    """Write a report's page as PDF, with WeasyPrint (the extra `pdf`).

    Raises
    ------
    PneumoscopeError
        The extra or its system library is missing.
    """
    require_extra("pdf", "weasyprint", purpose="Writing a PDF")
    try:
        from weasyprint import HTML
    except OSError as error:  # it loads Pango, a library of the system
        raise PneumoscopeError(
            "Writing a PDF needs the library Pango of your system (Debian: libpango-1.0-0 and "
            f"libpangoft2-1.0-0), which was not found; or print {page} from a browser."
        ) from error
    # The page is made for browsers too: what paper does not know is no news.
    logging.getLogger("weasyprint").setLevel(logging.ERROR)
    write_atomically(pdf, HTML(filename=str(page)).write_pdf())
