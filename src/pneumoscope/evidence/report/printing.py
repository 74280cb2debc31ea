"""The report on paper: its page as PDF."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import ImageFile

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
    with _keep_strictness():
        try:
            from weasyprint import HTML
        except OSError as error:  # it loads Pango, a library of the system
            raise PneumoscopeError(
                "Writing a PDF needs the library Pango of your system (Debian: libpango-1.0-0 and "
                f"libpangoft2-1.0-0), which was not found; or print {page} from a browser."
            ) from error
        # The page is made for browsers too: what paper does not know is no news.
        logging.getLogger("weasyprint").setLevel(logging.ERROR)
        printed = HTML(filename=str(page)).write_pdf()
    write_atomically(pdf, printed)


@contextmanager
def _keep_strictness() -> Iterator[None]:
    """Undo what WeasyPrint does to Pillow when it is imported: it lets truncated images pass.

    Half a radiograph would then be answered like a whole one.
    """
    before = ImageFile.LOAD_TRUNCATED_IMAGES
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before
