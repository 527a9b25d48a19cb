"""Photograph six pages of the built book for the README: ``python book/tools/screenshots.py``.

The pictures go to ``book/_static/screens``, each in 256 colours. `make screenshots` builds the pages first.
"""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass
from pathlib import Path

import browser
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "_build" / "html"
SCREENS = ROOT / "book" / "_static" / "screens"
DESK, PHONE = (1280, 860), (390, 860)


@dataclass(frozen=True)
class Shot:
    """One picture: the page, what stands at its top (a CSS selector), the size of the window and the theme."""

    name: str
    page: str
    top: str | None
    size: tuple[int, int]
    theme: str
    play: int = 0  # milliseconds a film runs first


SHOTS = (
    Shot("first-page", "book/intro", None, DESK, "light", play=2600),
    Shot("correction", "notebooks/theorem-3-3", "#the-step-that-fails", DESK, "light"),
    Shot("figure", "notebooks/network-consensus", "#the-picture", DESK, "dark"),
    Shot("ledger", "book/ledger", None, DESK, "light"),
    Shot("explore", "notebooks/corollary-3-2", "#explore", PHONE, "dark"),
    Shot("verdict", "notebooks/corollary-3-2", "#the-verdict", PHONE, "light"),
)


def take(shot: Shot, chromium: browser.Browser) -> bytes:
    """Return the picture as PNG."""
    width, height = shot.size
    context = chromium.new_context(
        viewport={"width": width, "height": height}, color_scheme=shot.theme, device_scale_factor=1.25
    )
    page = context.new_page()
    page.goto((PAGES / f"{shot.page}.html").as_uri(), wait_until="networkidle")
    page.evaluate("MathJax.startup.promise")
    if shot.play:
        page.click(".coevo-play")
        page.wait_for_timeout(shot.play)
    if shot.top:
        page.evaluate("top => document.querySelector(top).scrollIntoView()", shot.top)
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    context.close()
    out = io.BytesIO()
    picture.save(out, "PNG", optimize=True)
    return out.getvalue()


def main() -> int:
    """Take all pictures, then write them."""
    try:
        with browser.launched() as chromium:
            pictures = {shot.name: take(shot, chromium) for shot in SHOTS}
    except browser.NoBrowserError as problem:
        print(problem, file=sys.stderr)
        return 1
    SCREENS.mkdir(exist_ok=True)
    for name, picture in pictures.items():
        (SCREENS / f"{name}.png").write_bytes(picture)
        print(f"{name}: {len(picture) // 1000} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
