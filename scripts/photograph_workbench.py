"""Make docs/figures/workbench_*.webp anew: python scripts/photograph_workbench.py BUNDLE

BUNDLE is a model of phantoms, such as `make demo` leaves in demo/run/bundle; only phantoms are
shown. Needs chromium on the path.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from pneumoscope.client import Client
from pneumoscope.datasets.phantom import write_phantoms

COMMAND = Path(sys.executable).with_name("pneumoscope")
FIGURES = Path(__file__).parent.parent / "docs" / "figures"
SIZE = {"width": 1280, "height": 800}


@contextmanager
def serve(bundle: str, record: str) -> Iterator[str]:
    """Yield the address of a workbench with an empty record."""
    options = ["--bundle", bundle, "--record", record, "--port", "0", "--precision", "fp32"]
    with subprocess.Popen(
        [COMMAND, "serve", *options], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        found = re.search(r"http://[\d.:]+", process.stderr.readline())
        if not found:
            sys.exit(process.stderr.read())
        yield found[0]
        process.terminate()


def file_phantoms(address: str, folder: Path) -> None:
    """File four images of each of six patients that never were."""
    write_phantoms(folder, 24, seed=77, size=512)
    sick, well = (sorted(folder.glob(f"{kind}/*.jpeg")) for kind in ("PNEUMONIA", "NORMAL"))
    images = [image for pair in zip(well, sick, strict=True) for image in pair]
    with Client(address) as client:
        for number, image in enumerate(images):
            client.predict(
                image.read_bytes(),
                name=f"phantom-{number + 1:02}.jpeg",
                patient=f"PHANTOM-{number // 4 + 1}",
                taken_on=date(2026, 3, 1 + number),
            )


def photograph(page: Page, address: str) -> None:
    """Save the worklist, and a study with its influence map and a reading."""
    page.goto(address)
    expect(page.locator("#live")).to_have_text("Live")
    expect(page.locator("tr[data-id]")).to_have_count(24)
    page.get_by_role("link", name="phantom-20.jpeg").click()
    expect(page.locator("#stage [data-part=said]")).to_be_hidden()
    page.keyboard.press("h")
    expect(page.locator("#stage [data-part=caption]")).to_be_visible()
    page.keyboard.press("p")
    page.keyboard.press("Enter")
    expect(page.locator("#readings")).to_contain_text("PNEUMONIA")
    save(page, "viewer")
    page.keyboard.press("g")
    expect(page.locator("#live")).to_have_text("Live")
    page.keyboard.press("j")
    page.wait_for_function("[...document.images].slice(0, 12).every((image) => image.complete)")
    save(page, "worklist")


def save(page: Page, name: str) -> None:
    """Save what is on the screen, small."""
    with Image.open(io.BytesIO(page.screenshot())) as shot:
        shot.convert("RGB").save(FIGURES / f"workbench_{name}.webp", quality=80, method=6)


def main(bundle: str) -> None:
    """Make both pictures."""
    with (
        tempfile.TemporaryDirectory() as folder,
        serve(bundle, f"{folder}/record") as address,
        sync_playwright() as playwright,
    ):
        file_phantoms(address, Path(folder) / "phantoms")
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        photograph(chromium.new_page(viewport=SIZE), address)
        chromium.close()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
