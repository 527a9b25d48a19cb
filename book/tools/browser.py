"""Chromium for the tools and tests that open the built pages. It is the system's: nothing is downloaded.

``CHROMIUM=/path/to/it`` names one that is not on the path; Playwright, which drives it, is in requirements-dev.txt.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
#: No sandbox, because containers have none; no calls home, because pages must do without a network.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class NoBrowserError(RuntimeError):
    """There is no Chromium, or nothing to drive it with; the message says what to do."""


def program() -> str:
    """Return the path of Chromium; raise NoBrowserError if there is none."""
    named = os.environ.get("CHROMIUM", "")
    found = shutil.which(named) if named else next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        tried = f"CHROMIUM={named} is no program" if named else f"none of {', '.join(NAMES)} is on the path"
        raise NoBrowserError(f"Chromium was not found: {tried}. Install it, or name it with CHROMIUM=/path/to/it")
    try:
        import playwright.sync_api  # noqa: F401  # only whether it is there
    except ImportError:
        raise NoBrowserError("playwright is not installed: pip install -r requirements-dev.txt") from None
    return found


@contextmanager
def launched() -> Iterator[Browser]:
    """Start Chromium without a window; close it at the end. Raise NoBrowserError if there is none."""
    path = program()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()
