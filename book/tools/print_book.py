"""Print the built book: ``python book/tools/print_book.py _build/html _build/coevo.pdf``.

The built pages become one document (``assemble``), which Chromium prints twice: the first copy tells on which page
each chapter begins, the second has these numbers in its contents. What a screen folds away is open on paper; code
that only makes a figure, which the web edition folds away too, is left out; charts are drawn at their first setting.

Needs Chromium 131 or newer (the first that prints running heads), which ``browser.py`` finds.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import browser
import yaml
from bs4 import BeautifulSoup, Tag

ROOT = Path(__file__).resolve().parents[2]
STYLES = ("coevo.css", "print.css")
SCRIPTS = (
    "vendor/mathjax/tex-mml-chtml.js",
    "vendor/vega/vega.min.js",
    "vendor/vega/vega-lite.min.js",
    "vendor/vega/vega-embed.min.js",
    "coevo-charts.js",
)
OLDEST = 131
WIDTH, HEIGHT = 643, 934  # A4 without the margins of print.css, in CSS pixels: charts take the width of the paper
REFERRING = ("aria-labelledby", "aria-describedby", "for", "headers")  # attributes that hold ids
TAGS = re.compile("<[^>]*>")
TOKEN = re.compile(
    r'<span(?: class="(\w+)")?>(.*?)</span>'
)  # as Pygments writes them: never over two lines, never nested
MARKED = re.compile("k|c|ow|sd")
PRE = re.compile(r"<pre>(.*?)</pre>", re.DOTALL)
PART_OF = re.compile(r"url\(#([^)]+)\)")
MATHJAX = {
    "options": {"processHtmlClass": "math", "enableMenu": False, "enableAssistiveMml": False},
}
EDITION = (
    "The paper edition. It is made from the pages of the web edition and has the same text, figures and numbers. "
    "Proofs and solutions are open. Code that the web edition folds away is left out. "
    "Charts that move in the web edition stand still, at the setting named below them."
)

# Runs in the page. Waits for formulas and charts, says of each chart how it is set, and makes wide things fit.
PREPARE = """async () => {
  await MathJax.startup.promise;
  await document.fonts.ready;
  const charts = [...document.querySelectorAll(".coevo-chart")];
  const named = (chart) => [...chart.querySelectorAll(".vega-bind:has(input[type=range])")].every(
    (bind) => bind.querySelector(".coevo-readout"));  // added after the drawing
  const drawn = () => charts.every((chart) =>
    (chart.querySelector("svg.marks") && named(chart)) || /could not/.test(chart.textContent));
  for (let i = 0; i < 600 && !drawn(); i++) await new Promise((done) => setTimeout(done, 100));
  for (const chart of charts) {
    const settings = [...chart.querySelectorAll(".vega-bind")].map((bind) => {
      const name = bind.querySelector(".vega-bind-name").textContent.trim();
      const chosen = bind.querySelector("select")?.selectedOptions[0] || bind.querySelector(".coevo-readout");
      return `${name}: ${(chosen || {}).textContent || bind.querySelector("input").value}`;
    });
    chart.querySelector(".vega-bindings")?.remove();
    const note = document.createElement("p");
    note.className = "print-note";
    note.textContent = [...settings, "This chart moves in the web edition"].join(". ") + ".";
    chart.append(note);
  }
  // Formulas and tables wider than their column are set smaller; all sizes are read before the first is changed.
  const columns = (element) => element.parentElement.closest("p, li, dd, td, div, section, figure").clientWidth;
  for (let round = 0; round < 3; round++) {
    const wide = [];
    for (const box of document.querySelectorAll("mjx-container, main table")) {
      const part = box.matches("mjx-container[display]") ? box.querySelector("mjx-math") : box;
      const ratio = columns(box) / part.getBoundingClientRect().width;
      if (ratio < 0.999) wide.push([box, 0.99 * ratio * parseFloat(getComputedStyle(box).fontSize)]);
    }
    for (const [box, size] of wide) box.style.fontSize = `${size}px`;
    if (!wide.length) break;
  }
  const faults = [];
  const edge = document.querySelector("main").getBoundingClientRect().right + 1;
  for (const box of document.querySelectorAll("mjx-math, main table, main img, main svg, main .line")) {
    const { right, width } = box.getBoundingClientRect();
    if (right > edge) faults.push(`wider than the page: ${(box.closest("[id]") || box).id} ${box.tagName} ${width}`);
  }
  for (const box of document.querySelectorAll(".math")) {
    const typeset = box.querySelector("mjx-container") && !box.querySelector("mjx-merror");
    if (!typeset) faults.push(`formula: ${box.ariaLabel}`);
  }
  for (const box of charts) if (!box.querySelector("svg.marks")) faults.push(`chart: ${box.ariaLabel}`);
  for (const box of document.images) if (!box.naturalWidth) faults.push(`picture: ${box.src}`);
  return faults;
}"""
NUMBER = """(pages) => {
  for (const place of document.querySelectorAll("[data-page-of]")) place.textContent = pages[place.dataset.pageOf];
}"""


class PrintError(Exception):
    """What keeps the book from being printed, in one sentence."""


def chapters(toc: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """Return (caption, pages) of every part in reading order; the first has no caption and the first page only."""
    return [("", [toc["root"]]), *((part["caption"], [c["file"] for c in part["chapters"]]) for part in toc["parts"])]


def slug(page: str) -> str:
    """Return the id of a page in the printed document."""
    return page.replace("/", "-")


def article(html: Path, page: str) -> Tag:
    """Return the text of a built page without navigation, folded code and links to itself."""
    path = html / f"{page}.html"
    if not path.is_file():
        raise PrintError(f"{path} does not exist: build the pages first")
    found = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser").select_one("article.bd-article")
    if found is None:
        raise PrintError(f"{path} has no <article class='bd-article'>: it was not built by this book")
    for tag in found.select("details"):
        if tag.select_one(".cell_input"):
            tag.decompose()
        else:
            for summary in tag.select("summary"):
                summary.decompose()
            tag.unwrap()
    for tag in found.select("a.headerlink, noscript, script:not(.coevo-chart-spec), .toctree-wrapper"):
        tag.decompose()
    for tag in found.select(".dropdown"):
        tag["class"] = " ".join(name for name in tag["class"] if name not in {"dropdown", "toggle"})
    for tag in found.select("a.image-reference"):
        tag.unwrap()
    for tag in found.select("div.cell"):
        if not tag.get_text(strip=True) and not tag.select_one("img, svg, .coevo-chart"):
            tag.decompose()
    for tag in found.select(".math"):
        # A tagged PDF reads a formula as its source; without this it has one nameless tag for every sign.
        tag["role"], tag["aria-label"] = "img", tag.get_text().strip().removeprefix("\\(").removesuffix("\\)")
    return found


def break_lines(pre: re.Match[str]) -> str:
    """Make every line of code a box, so that a line that is too long goes on further right than it began.

    Only keywords, comments and docstrings keep their marks: they differ in black and white, and a token less is a tag
    less in the PDF.
    """
    code = TOKEN.sub(lambda token: token[0] if MARKED.match(token[1] or "") else token[2], pre[1]).rstrip("\n")
    boxes = []
    for line in code.split("\n"):
        text = TAGS.sub("", line)
        indent = len(text) - len(text.lstrip(" "))
        boxes.append(f'<span class="line" style="--indent:{indent + 4}ch">{line or " "}</span>')
    return f"<pre>{''.join(boxes)}</pre>"


def rewrite(text: Tag, html: Path, page: str, pages: set[str]) -> None:
    """Make ids unique in the whole book, links jump inside it, and pictures be found from any place."""
    here, seen = slug(page), set()
    for tag in text.find_all(id=True):
        if tag["id"] in seen:
            del tag["id"]  # a page may repeat an id; links mean the first
        else:
            seen.add(tag["id"])
            tag["id"] = f"{here}--{tag['id']}"
    for tag in text.find_all(True):
        for name in REFERRING:
            if name in tag.attrs:
                tag[name] = " ".join(f"{here}--{word}" for word in str(tag[name]).split())
        for name, value in tag.attrs.items():
            if isinstance(value, str) and "url(#" in value:
                tag[name] = PART_OF.sub(rf"url(#{here}--\1)", value)
        if "src" in tag.attrs and not urlsplit(str(tag["src"])).scheme:
            tag["src"] = (html / page).parent.joinpath(unquote(str(tag["src"]))).resolve().as_uri()
        if tag.name == "a" and "href" in tag.attrs:
            tag["href"] = link(str(tag["href"]), html, page, pages)


def link(address: str, html: Path, page: str, pages: set[str]) -> str:
    """Return the address of a link in the printed document: outside as it was, inside an id."""
    parts = urlsplit(address)
    if parts.scheme or parts.netloc:
        return address
    target = page
    if parts.path:
        path = (html / page).parent.joinpath(unquote(parts.path)).resolve()
        target = (
            path.relative_to(html.resolve()).with_suffix("").as_posix() if path.is_relative_to(html.resolve()) else ""
        )
    if target not in pages:
        raise PrintError(f"{page}: {address} leads to no page of the book")
    return f"#{slug(target)}--{unquote(parts.fragment)}" if parts.fragment else f"#{slug(target)}"


def lower_headings(text: Tag) -> None:
    """Move headings one level down: the first is the part's, the second the chapter's."""
    for level in (5, 4, 3, 2, 1):
        for tag in text.find_all(f"h{level}"):
            tag.name = f"h{level + 1}"


def assemble(html: Path, toc: dict[str, Any], title: str, author: str, language: str = "en") -> str:
    """Return the whole book as one HTML document; raise if a link has no target."""
    parts = chapters(toc)
    pages = {page for _, names in parts for page in names}
    body, contents, rules, links = [], [], [], []
    ids = [f"part-{number}" for number in range(1, len(parts))] + [slug(page) for _, names in parts for page in names]
    for number, (caption, names) in enumerate(parts):
        entries: list[str] = []
        for page in names:
            text = article(html, page)
            lower_headings(text)
            rewrite(text, html, page, pages)
            ids += [str(tag["id"]) for tag in text.find_all(id=True)]
            links += [str(tag["href"]) for tag in text.select("a[href]")]
            heading = text.h2
            if heading is None:
                raise PrintError(f"{page} has no heading of the first level")
            if page == toc["root"]:
                heading.string = "Introduction"  # on screen it bears the title of the book
            words = heading.get_text()
            opening = f'<h1 class="part" id="part-{number}">{escape(caption)}</h1>' if caption and not entries else ""
            body.append(
                f'<section class="chapter" id="{slug(page)}" style="page: {slug(page)}">{opening}'
                f"{PRE.sub(break_lines, text.decode_contents())}</section>"
            )
            head = json.dumps(f"{caption}  ·  {words}" if caption else words, ensure_ascii=False)
            rules.append(f"@page {slug(page)} {{ @top-center {{ content: {head} }} }}")
            entries.append(
                f'<li><a href="#{slug(page)}">{heading.decode_contents()}</a><span class="leader"></span>'
                f'<span class="number" data-page-of="{slug(page)}">000</span></li>'
            )
        contents.append(
            (f'<p class="caption">{escape(caption)}</p>' if caption else "") + f"<ol>{''.join(entries)}</ol>"
        )
    static = (html / "_static").resolve()
    styles = "".join(f'<link rel="stylesheet" href="{(static / name).as_uri()}">' for name in STYLES)
    scripts = "".join(f'<script defer src="{(static / name).as_uri()}"></script>' for name in SCRIPTS)
    check_links(ids, links)
    return (
        f'<!DOCTYPE html><html lang="{escape(language)}" data-theme="light"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title>{styles}<style>{' '.join(rules)}</style>"
        f"<script>window.MathJax = {json.dumps(MATHJAX)}</script>{scripts}</head><body>"
        f'<header class="title-page"><img src="{(static / "favicon.svg").as_uri()}" alt=""><h1>{escape(title)}</h1>'
        f"<p>{escape(author)}</p><p class='edition'>{EDITION}</p></header>"
        f'<nav class="contents"><h2>Contents</h2>{"".join(contents)}</nav>'
        f"<main>{''.join(body)}</main></body></html>"
    )


def check_links(ids: list[str], links: list[str]) -> None:
    """Raise if an id occurs twice or a link inside the document has no target."""
    twice = sorted(name for name, times in Counter(ids).items() if times > 1)
    if twice:
        raise PrintError(f"ids that occur twice: {', '.join(twice)}")
    lost = sorted({link for link in links if link.startswith("#")} - {f"#{name}" for name in ids})
    if lost:
        raise PrintError(f"links without a target: {', '.join(lost)}")


def print_document(document: Path, wanted: list[str]) -> bytes:
    """Return the document as PDF with the page numbers of the wanted ids in its contents."""
    with browser.launched() as chromium:
        if int(chromium.version.partition(".")[0]) < OLDEST:
            raise PrintError(f"Chromium is version {chromium.version}; printing the book takes {OLDEST} or newer")
        page = chromium.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light", offline=True)
        page.set_default_timeout(180_000)
        page.emulate_media(media="print")
        page.goto(document.as_uri(), wait_until="load")
        faults = page.evaluate(PREPARE)
        if faults:
            raise PrintError("the document is faulty:\n" + "\n".join(faults))
        draft = page.pdf(prefer_css_page_size=True, print_background=True)
        numbers = page_numbers(draft, wanted)
        page.evaluate(NUMBER, numbers)
        final = page.pdf(prefer_css_page_size=True, print_background=True, outline=True, tagged=True)
    if page_numbers(final, wanted) != numbers:
        raise PrintError("the page numbers moved while they were filled in")
    return final


def page_numbers(pdf: bytes, wanted: list[str]) -> dict[str, int]:
    """Return the page, counted from 1, on which each id stands."""
    from pypdf import PdfReader

    reader = PdfReader(BytesIO(pdf))
    places = {name.removeprefix("/"): place for name, place in reader.named_destinations.items()}
    missing = [name for name in wanted if name not in places]
    if missing:
        raise PrintError(f"the print does not say where these are: {', '.join(missing)}")
    return {name: (reader.get_destination_page_number(places[name]) or 0) + 1 for name in wanted}


def finish(pdf: bytes, title: str, author: str, language: str = "en") -> bytes:
    """Name title, author and language, and take out the time, so that equal books are equal files."""
    from pypdf import PdfWriter
    from pypdf.generic import BooleanObject, DictionaryObject, NameObject, TextStringObject

    writer = PdfWriter(clone_from=BytesIO(pdf))
    writer.metadata = {"/Title": title, "/Author": author, "/Creator": "print_book.py", "/Producer": "Chromium, pypdf"}
    writer.root_object[NameObject("/Lang")] = TextStringObject(language)
    writer.page_mode = "/UseOutlines"
    writer.root_object[NameObject("/ViewerPreferences")] = DictionaryObject(
        {NameObject("/DisplayDocTitle"): BooleanObject(True)}
    )
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


def main() -> int:
    """Print what the command line names; return 1 with one message if that fails."""
    parser = argparse.ArgumentParser(description="Print the built book as PDF.")
    parser.add_argument("html", nargs="?", type=Path, default=Path("_build/html"), help="default: _build/html")
    parser.add_argument("pdf", nargs="?", type=Path, default=Path("_build/coevo.pdf"), help="default: _build/coevo.pdf")
    arguments = parser.parse_args()
    toc, settings = (yaml.safe_load((ROOT / name).read_text(encoding="utf-8")) for name in ("_toc.yml", "_config.yml"))
    title, author = settings["title"], settings["author"]
    document = arguments.pdf.resolve().with_suffix(".print.html")
    part = document.with_suffix(".part")
    try:
        document.parent.mkdir(parents=True, exist_ok=True)
        document.write_text(assemble(arguments.html, toc, title, author), encoding="utf-8")
        wanted = [slug(page) for _, names in chapters(toc) for page in names]
        part.write_bytes(finish(print_document(document, wanted), title, author))
        part.replace(arguments.pdf)
    except (PrintError, browser.NoBrowserError) as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        document.unlink(missing_ok=True)
        part.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
