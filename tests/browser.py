"""A real Chromium for tests of pages, and what it and axe find wrong with a page."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_chromium = pytest.mark.skipif(not CHROMIUM, reason="needs Debian's chromium: apt-get install chromium")
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


# A fifth less of the processor: no process that imitates a GPU.
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-software-rasterizer"]


@contextmanager
def chromium() -> Iterator[Any]:
    """Start the browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


def faults(page: Any) -> list[str]:
    """Return what axe finds against WCAG and good practice, and by how many pixels the page is wider than its
    window."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    found = axe.Axe().run(page).response["violations"]
    wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    violations = [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found]
    return violations + ([f"{wide} px too wide"] if wide > 0 else [])
