"""At the foot of every chapter a closed box: how to cite it, as BibTeX and as one line.

Authors, version and date come from ``CITATION.cff``, the name of the result from ``book/_data/map.yml``; the address
is given if ``html.baseurl`` in ``_config.yml`` says where the book is published.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config

ROOT = Path(__file__).parents[2]
SPECIAL = str.maketrans({letter: f"\\{letter}" for letter in "&%$#_"})


def load() -> dict[str, Any]:
    """Return what is cited: CITATION.cff, and the names of the chapters."""
    about: dict[str, Any] = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    chapters = yaml.safe_load((ROOT / "book/_data/map.yml").read_text(encoding="utf-8"))
    return {**about, "names": {chapter["chapter"]: chapter["name"] for chapter in chapters}}


def authors(about: dict[str, Any]) -> list[tuple[str, str]]:
    """Return family and given names; an entity has one name and no given one."""
    return [(a.get("name") or a["family-names"], a.get("given-names", "")) for a in about["authors"]]


def entry(chapter: str, title: str, about: dict[str, Any], url: str) -> tuple[str, str]:
    """Return a chapter's BibTeX entry and its line of plain text; without `url` neither names an address."""
    name = about["names"].get(chapter, "")
    what = title if not name or name.casefold() in title.casefold() else f"{title} ({name})"
    year = str(about.get("date-released", ""))[:4]
    people = authors(about)
    fields = {
        "author": " and ".join(f"{family}, {given}" if given else f"{{{family}}}" for family, given in people),
        "title": f"{{{what}}}",
        "howpublished": f"In: {about['title']}, version {about['version']}",
        "year": year,
        "url": url,
    }
    rows = [f"  {key:<12} = {{{value if key == 'url' else value.translate(SPECIAL)}}},\n"
            for key, value in fields.items() if value]  # fmt: skip
    who = ", ".join(f"{given} {family}".strip() for family, given in people)
    dot = "" if what[-1] in "?!." else "."
    line = f"{who[0].upper()}{who[1:]}: {what}{dot} In: {about['title']}, version {about['version']}"
    line += "".join(f", {part}" for part in (year,) if part) + "." + (f" {url}" if url else "")
    return f"@misc{{coevo-{chapter},\n{''.join(rows)}}}", line


def read(app: Sphinx, config: Config) -> None:
    """Make what is cited a setting, so that pages are written anew when it changes."""
    config.coevo_citation = load()


def add_box(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Put the box before the rule above a chapter's foot, or at its end."""
    folder, _, chapter = docname.rpartition("/")
    if folder != "notebooks" or app.builder.format != "html":
        return
    base = app.config.html_baseurl
    url = f"{base.rstrip('/')}/{app.builder.get_target_uri(docname)}" if base else ""
    bibtex, line = entry(chapter, app.env.titles[docname].astext(), app.config.coevo_citation, url)
    box = nodes.admonition(classes=["dropdown", "coevo-cite"], ids=["cite-this-chapter"])
    box += nodes.title("", "Cite this chapter")
    box += nodes.literal_block(bibtex, bibtex, language="bibtex")
    box += nodes.paragraph("", line)
    rules = list(doctree.findall(nodes.transition))
    place = rules[-1] if rules else None
    if place is not None:
        place.parent.insert(place.parent.index(place), box)
    else:
        (list(doctree.findall(nodes.section)) or [doctree])[-1].append(box)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the box."""
    app.add_config_value("coevo_citation", {}, "html", types=frozenset({dict}))
    app.connect("config-inited", read)
    app.connect("doctree-resolved", add_box)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
