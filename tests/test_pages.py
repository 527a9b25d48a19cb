"""The built pages in a real browser, from files and without a network: what a reader meets, and axe-core's rules.

`make test` builds the pages first; COEVO_PAGES names another folder of built pages, CHROMIUM another browser.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import browser as chromium
import pytest

HOW = "the pages are not opened in a browser:"
try:
    chromium.program()
except chromium.NoBrowserError as missing:
    pytest.skip(f"{HOW} {missing}", allow_module_level=True)
pytest.importorskip("axe_playwright_python", reason=f"{HOW} pip install -r requirements-dev.txt")

from axe_playwright_python.base import AXE_SCRIPT  # type: ignore[import-untyped]  # noqa: E402
from playwright.sync_api import Browser, Page, Request  # noqa: E402

ROOT = Path(__file__).parents[1]
PAGES = Path(os.environ.get("COEVO_PAGES", ROOT / "_build/check/_build/html")).resolve()

# The first page only sends the reader on (tested below).
NAMES = sorted(
    path.relative_to(PAGES).as_posix()
    for path in PAGES.rglob("*.html")
    if "_static" not in path.parts and path != PAGES / "index.html"
)
if not NAMES:
    pytest.skip(f"{HOW} none in {PAGES}: run make test, or name a folder: COEVO_PAGES=...", allow_module_level=True)

FORMS: dict[str, dict[str, Any]] = {
    "desk": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark", "has_touch": True},
}

# What axe-core finds in the theme's own markup: (rule, part of the selector) -> why it stays.
OF_THE_THEME = {
    ("region", "logo__image"): "its sidebar is no landmark",
    ("label-content-name-mismatch", ".search-button"): "the button shows its shortcut beside its name",
}

# Waits until formulas and charts have been drawn. Closed boxes are opened first: what is in them counts too.
SETTLE = """async () => {
  for (const box of document.querySelectorAll("details")) box.open = true;
  for (const box of document.querySelectorAll(".toggle-hidden")) box.classList.remove("toggle-hidden");
  if (window.MathJax && MathJax.startup) await MathJax.startup.promise;
  await document.fonts.ready;
  const done = (chart) => chart.querySelector("svg.marks") || /could not be drawn/.test(chart.textContent);
  const end = performance.now() + 8000;
  while (performance.now() < end && ![...document.querySelectorAll(".coevo-chart")].every(done))
    await new Promise(requestAnimationFrame);
  for (const image of document.images) {
    image.loading = "eager";
    await image.decode().catch(() => {});
  }
  await new Promise(requestAnimationFrame);
}"""

LOOK = r"""() => {
  const faults = [], root = document.documentElement;
  const says = (element) => element.outerHTML.slice(0, 120);
  const seen = (element) => element.checkVisibility({ visibilityProperty: true }) && element.clientWidth > 0;
  if (root.scrollWidth > root.clientWidth) faults.push(`overflow: ${root.scrollWidth} px on ${root.clientWidth}`);
  for (const image of document.images)
    if (!image.complete || image.naturalWidth === 0) faults.push(`image: ${image.getAttribute("src")}`);
  for (const link of document.querySelectorAll("a[href^='#']")) {
    const id = decodeURIComponent(link.hash.slice(1));
    if (id && !document.getElementById(id)) faults.push(`anchor: #${id}`);
  }
  for (const chart of document.querySelectorAll(".coevo-chart"))
    if (!chart.querySelector("svg.marks .mark-group path")) faults.push(`chart: ${chart.getAttribute("aria-label")}`);
  for (const formula of document.querySelectorAll("main :is(p, li, dd, td) > span.math")) {
    const line = formula.parentElement;  // a formula that is wider than its line is cut off, or scrolls with it
    if (formula.scrollWidth > line.clientWidth + 1 && !/auto|scroll/.test(getComputedStyle(line).overflowX))
      faults.push(`formula cut off: ${line.textContent.slice(0, 80)}`);
  }
  for (const error of document.querySelectorAll("mjx-merror, .math:not(:has(mjx-container))"))
    faults.push(`formula: ${says(error)}`);
  const words = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (words.nextNode())
    if (/\\[(\[]/.test(words.currentNode.data) && !words.currentNode.parentElement.closest("script, style, pre, code"))
      faults.push(`formula: ${words.currentNode.data.trim().slice(0, 80)}`);
  const focusable = "a[href], button, input, select, textarea, summary, [tabindex='0']";
  const may = (overflow) => /auto|scroll/.test(overflow);
  const scrolls = (box, { overflowX, overflowY }) =>
    (box.scrollWidth > box.clientWidth + 1 && may(overflowX))
    || (box.scrollHeight > box.clientHeight + 1 && may(overflowY));
  for (const box of document.querySelectorAll("main :not(mjx-container *)"))
    if (seen(box) && scrolls(box, getComputedStyle(box)) && !box.matches(focusable) && !box.querySelector(focusable))
      faults.push(`out of reach: ${says(box)}`);
  for (const box of document.querySelectorAll("main [tabindex='0']:not(a, button, input, svg *)"))
    if (!box.getAttribute("aria-label") && !box.getAttribute("aria-labelledby")) faults.push(`no name: ${says(box)}`);
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  for (const id of new Set(ids.filter((id, place) => ids.indexOf(id) < place))) faults.push(`id twice: ${id}`);
  return faults;
}"""

# axe-core takes half a minute for a page of formulas and coloured code. A formula has the colour of its line, a
# chart has one name, and words of one class are alike: one of each is looked at. LOOK has seen what scrolls.
THIN = """() => {
  for (const part of document.querySelectorAll("mjx-container")) part.replaceChildren("x");
  for (const part of document.querySelectorAll(".coevo-chart svg")) part.replaceChildren();
  const known = new Set();
  for (const word of document.querySelectorAll("pre span")) {
    if (known.has(word.className)) word.replaceWith(...word.childNodes);
    known.add(word.className);
  }
  for (const part of document.querySelectorAll("pre")) part.normalize();
}"""
# What decides on the contrast of a text is its own colour and size and what its ancestors paint: of the texts that have
# all of that in common the first, the middle and the last are looked at. Fields have no text of their own: all of them.
CONTRAST = """() => {
  const plain = { backgroundColor: "rgba(0, 0, 0, 0)", backgroundImage: "none", opacity: "1", filter: "none",
    mixBlendMode: "normal", position: "static", float: "none", transform: "none", clip: "auto", clipPath: "none" };
  const numbers = new Map(), grounds = new Map(), looks = new Map();
  const number = (words) => numbers.get(words) ?? numbers.set(words, numbers.size).get(words);
  const ground = (element) => {
    if (!element) return 0;
    if (!grounds.has(element)) {
      const style = getComputedStyle(element), below = ground(element.parentElement);
      const own = Object.keys(plain).filter((part) => style[part] !== plain[part]).map((part) => style[part]);
      grounds.set(element, own.length ? number([below, ...own].join("|")) : below);
    }
    return grounds.get(element);
  };
  for (const element of document.querySelectorAll("body, body *")) {
    const field = element.matches("input, select, textarea");
    if (!field && ![...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim())) continue;
    if (!element.checkVisibility({ visibilityProperty: true }) || !element.getClientRects().length) continue;
    const { color, fontSize, fontWeight, textShadow, overflow } = getComputedStyle(element);
    const look = [ground(element), color, fontSize, fontWeight, textShadow, overflow, field && looks.size].join("|");
    if (!looks.has(look)) looks.set(look, []);
    looks.get(look).push(element);
  }
  for (const alike of looks.values())
    for (const place of [0, alike.length >> 1, alike.length - 1]) alike[place].setAttribute("data-look", "");
}"""
AXE = """async () => {
  axe.configure({ rules: [{ id: "color-contrast", selector: "[data-look]" }] });
  const options = { resultTypes: ["violations"], preload: false, elementRef: false };
  const { violations } = await axe.run({ exclude: ["mjx-container"] }, options);
  return violations.flatMap(({ id, nodes }) =>
    nodes.map(({ target, html }) => [id, String(target), html.slice(0, 200)]));
}"""

# What a chart shows, once its words are those of the setting its sliders stand at (or two seconds later).
SHOWN = """async ([number, param]) => {
  const figure = document.querySelectorAll(".coevo-chart")[number];
  const spec = JSON.parse(figure.querySelector(".coevo-chart-spec").textContent);
  const controls = spec.usermeta.controls, at = ({ param }) => Number(figure.querySelector(`[name="${param}"]`).value);
  const row = controls.reduce((sum, control) => sum * control.values.length + at(control), 0);
  const setting = controls.map((c) => `${c.label.split(" ").at(-1)} = ${c.values[at(c)]}`).join(" · ");
  const wanted = [setting, spec.data.values.find(({ k }) => k === row).r].filter(Boolean);
  const words = () => [...figure.querySelectorAll("svg.marks text")].map(({ textContent }) => textContent);
  const end = performance.now() + 2000;
  while (performance.now() < end && !wanted.every((line) => words().includes(line)))
    await new Promise(requestAnimationFrame);
  const input = figure.querySelector(`[name="${param}"]`), control = controls.find((c) => c.param === param);
  return {
    missing: wanted.filter((line) => !words().includes(line)),
    value: Number(input.value),
    meant: control.values[Number(input.value)],
    announced: input.getAttribute("aria-valuetext"),
    readout: input.closest(".vega-bind").querySelector(".coevo-readout").textContent,
    name: input.getAttribute("aria-label"), label: control.label, last: control.values.length - 1,
    drawing: [...figure.querySelectorAll("svg.marks path")].map((p) => p.outerHTML).join(""),
  };
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium.launched() as started:
        yield started


@contextmanager
def opened(browser: Browser, address: str, form: str) -> Iterator[tuple[Page, list[str]]]:
    """Open a page without a network, and collect what it complains about; formulas and charts are drawn."""
    context = browser.new_context(**FORMS[form], offline=True, reduced_motion="reduce")
    page = context.new_page()
    faults: list[str] = []

    def asked(request: Request) -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            faults.append(f"leaves the page: {request.url}")

    page.on("request", asked)
    page.on("requestfailed", lambda request: faults.append(f"request: {request.url} {request.failure}"))
    page.on("pageerror", lambda error: faults.append(f"error: {error}"))
    page.on("console", lambda m: faults.append(f"console: {m.text}") if m.type in {"error", "warning"} else None)
    page.goto(address)
    page.evaluate(SETTLE)
    yield page, faults
    context.close()


def barriers(page: Page) -> list[str]:
    """Return what axe-core finds on a page and OF_THE_THEME does not excuse; the page is spent afterwards."""
    page.evaluate(THIN)
    page.evaluate(CONTRAST)
    page.evaluate(AXE_SCRIPT)
    found: list[list[str]] = page.evaluate(AXE)
    return [
        f"axe {rule}: {target} {html}"
        for rule, target, html in found
        if not any(rule == known and part in target + html for known, part in OF_THE_THEME)
    ]


def move_sliders(page: Page) -> None:
    """Move every slider of a page by keyboard: value, words and drawing follow."""
    charts = page.locator(".coevo-chart")
    for number in range(charts.count()):
        sliders = charts.nth(number).locator("input[type=range]")
        assert sliders.count()
        for slider in sliders.all():
            param = slider.get_attribute("name")
            slider.focus()
            seen = []
            for key in ("Home", "ArrowRight", "End"):
                page.keyboard.press(key)
                seen.append(page.evaluate(SHOWN, [number, param]))
            assert [now["value"] for now in seen] == [0, 1, seen[0]["last"]]
            for now in seen:
                assert now["missing"] == []
                assert now["announced"] == now["readout"] == now["meant"]
                assert now["name"] == now["label"]
            assert seen[0]["drawing"] != seen[-1]["drawing"], f"{param} changes nothing"


def play_films(page: Page) -> None:
    """Play every film of a page and stop it; none plays by itself."""
    for button in page.locator(".coevo-play").all():
        slider = button.locator("xpath=..").locator("input")
        before = slider.input_value()
        assert button.inner_text() == "Play"
        button.click()
        assert button.inner_text() == "Pause"
        page.wait_for_function("([input, before]) => input.value !== before", arg=[slider.element_handle(), before])
        # In one step: a film that has come to its end meanwhile must not start again.
        stopped = button.evaluate("(b) => { if (b.textContent === 'Pause') b.click(); return b.textContent; }")
        assert stopped == "Play"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", NAMES)
def test_page(browser: Browser, name: str, form: str) -> None:
    with opened(browser, (PAGES / name).as_uri(), form) as (page, faults):
        assert page.locator("html").get_attribute("data-theme") == FORMS[form]["color_scheme"]
        faults += page.evaluate(LOOK)
        if form == "desk":  # with the page that is open: formulas take seconds to be set
            play_films(page)
            move_sliders(page)
        faults += barriers(page)
    assert not faults, "\n".join(faults)


def test_first_page_leads_to_the_introduction(browser: Browser) -> None:
    with browser.new_context(offline=True) as context:
        page = context.new_page()
        page.goto((PAGES / "index.html").as_uri())
        page.wait_for_url("**/book/intro.html")


#: A chart of curves, one of a film's page with curves, one of the second paper.
TOUCHED = [name for name in ("theorem-3-1", "experiment-8-2", "network-sweeps") if f"notebooks/{name}.html" in NAMES]
TOOLTIP = "#vg-tooltip-element.visible"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", TOUCHED)
def test_charts_tell_their_values(browser: Browser, name: str, form: str) -> None:
    with opened(browser, (PAGES / f"notebooks/{name}.html").as_uri(), form) as (page, faults):
        plot = page.locator(".coevo-chart svg.marks").first
        plot.scroll_into_view_if_needed()
        box = plot.bounding_box()
        assert box is not None
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 3
        if form == "phone":
            page.touchscreen.tap(x, y)
        else:
            page.mouse.move(x, y)
        values = page.locator(TOOLTIP)
        values.wait_for(timeout=5000)
        assert "simulated mean" in values.inner_text()
        assert any(letter.isdigit() for letter in values.inner_text())
        if form == "phone":
            page.touchscreen.tap(2, y)  # elsewhere
        else:
            page.mouse.move(2, y)
        page.locator(TOOLTIP).wait_for(state="hidden", timeout=5000)
    assert not faults, "\n".join(faults)


def test_readout_is_announced_once_a_slider_rests(browser: Browser) -> None:
    with opened(browser, (PAGES / "notebooks/theorem-3-1.html").as_uri(), "desk") as (page, _):
        chart = page.locator(".coevo-chart").first
        status = chart.get_by_role("status")
        assert status.inner_text() == ""
        chart.locator("input").first.focus()
        page.keyboard.press("End")
        page.keyboard.press("Home")
        assert status.inner_text() == ""
        page.wait_for_function("(status) => status.textContent", arg=status.element_handle())
        value = chart.locator("input").first.get_attribute("aria-valuetext")
        assert f"= {value}" in status.inner_text()


def test_search_needs_no_server(browser: Browser) -> None:
    with opened(browser, (PAGES / "search.html").as_uri(), "desk") as (page, faults):
        box = page.locator("input[type=search]:visible").first
        box.fill("Wishart")
        box.press("Enter")
        page.locator("#search-results li a", has_text="What does a refit do to a covariance?").wait_for(timeout=8000)
    assert not faults, "\n".join(faults)


# ---- controls: each fault on a page of its own, by name ------------------------------------------------

WHOLE = (
    '<!doctype html><html lang="en"><head><title>t</title></head><body><main><h1 id="top">h</h1>{}</main></body></html>'
)


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ('<a href="#top">up</a>', None),
        ('<script src="https://cdn.example.org/x.js"></script>', "leaves the page: https://cdn.example.org/x.js"),
        ('<img src="missing.png" alt="m">', "image: missing.png"),
        ('<img src="missing.png" alt="m">', "request: "),
        ('<script>console.error("broken")</script>', "console: broken"),
        ('<script>throw new Error("thrown")</script>', "error: thrown"),
        ('<a href="#nowhere">x</a>', "anchor: #nowhere"),
        ('<p style="width: 3000px">wide</p>', "overflow: "),
        ('<figure class="coevo-chart" aria-label="c">This chart could not be drawn.</figure>', "chart: c"),
        (r"<p>\(x^2\)</p>", r"formula: \(x^2\)"),
        ('<p>So<span class="math" style="display: inline-block; width: 3000px">x</span></p>', "formula cut off: So"),
        ('<p id="top">x</p>', "id twice: top"),
        ('<div style="overflow: auto; width: 9rem"><p style="width: 50rem">x</p></div>', "out of reach: "),
        ('<div tabindex="0">x</div>', "no name: "),
    ],
)
def test_the_walk_sees_what_is_broken(browser: Browser, tmp_path: Path, body: str, fault: str | None) -> None:
    (tmp_path / "page.html").write_text(WHOLE.format(body), encoding="utf-8")
    with opened(browser, (tmp_path / "page.html").as_uri(), "desk") as (page, faults):
        faults += page.evaluate(LOOK)
    assert faults == [] if fault is None else any(found.startswith(fault) for found in faults), faults


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        ("<p>x</p>", None),
        ('<img src="data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw==">', "image-alt"),
        ('<p style="color: #ccc; background: #fff">pale</p>', "color-contrast"),
        ("<pre><span class='n'>name</span> <span class='k' style='color: #ccc'>pale</span></pre>", "color-contrast"),
        ("<p>dark</p> <p>dark</p> <div style='background: #444'><p>dark</p></div>", "color-contrast"),
        ("<p>dark</p> <p>dark</p> <div style='opacity: 0.4'><p>dark</p></div>", "color-contrast"),
        ("<p>dark</p> <p>dark</p> <p>dark <b style='color: #ccc'>pale</b> dark</p>", "color-contrast"),
        ("<style>p { color: #888 }</style><p style='font-size: 30px'>big</p> <p>small</p>", "color-contrast"),
        ("<p hidden style='color: #ccc'>unseen</p> <p style='color: #ccc'>seen</p>", "color-contrast"),
        ("<label>x <input value='pale' style='color: #ccc; background: #fff'></label>", "color-contrast"),
        ("<h4>too deep</h4>", "heading-order"),
    ],
)
def test_axe_sees_what_is_broken(browser: Browser, tmp_path: Path, body: str, rule: str | None) -> None:
    (tmp_path / "page.html").write_text(WHOLE.format(body), encoding="utf-8")
    with opened(browser, (tmp_path / "page.html").as_uri(), "desk") as (page, _):
        found = barriers(page)
    assert found == [] if rule is None else any(line.startswith(f"axe {rule}:") for line in found), found
