"""An address for every box: ``page.html#thm-3-3``, ``page.html#correction-the-remainder``.

Theorems and figures are named by their authors (``:label:``, ``:name:``). Boxes of class ``correction`` or ``beyond``
are named here after their titles, or, where the title says no more than the kind, after their section. Neither
depends on the order of boxes. Two boxes of a page that would share a name are a warning: give one a ``:name:``.
The title of each box ends in a link to it, as headings do. ``book/tools/anchors.py`` keeps the list of all names.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

KINDS = ("correction", "beyond")
LOGGER = logging.getLogger(__name__)


def name_of(box: nodes.Element, kind: str) -> str:
    """Return the id of a box from the words of its title after the colon, or from the heading above it."""
    words = box[0].astext().partition(": ")[2]
    section = box.parent
    while not words and section is not None:
        if isinstance(section, nodes.section):
            words = "in " + section[0].astext().rpartition(": ")[2]
        section = section.parent
    name: str = nodes.make_id(f"{kind}-{words}")
    return name


def link(box: nodes.Element) -> None:
    """End the title of a box with a link to the box."""
    box[0] += nodes.reference(
        "", "#", refid=box["ids"][0], internal=True, classes=["headerlink"], reftitle="Link to this box"
    )


def add_anchors(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Name the boxes of a page and link to them."""
    if app.builder.format != "html":
        return
    taken = {name for node in doctree.findall(nodes.Element) for name in node.get("ids", [])}
    for box in list(doctree.findall(nodes.Element)):
        if not box.children or not isinstance(box[0], nodes.title):
            continue
        classes = set(box.get("classes", []))
        for kind in classes & set(KINDS):
            if box["ids"]:
                continue
            name = name_of(box, kind)
            if name in taken:
                LOGGER.warning("two boxes would be #%s: give one of them a :name:", name, location=box)
            box["ids"].append(name)
            taken.add(name)
        if classes & {*KINDS, "proof"} and box["ids"]:
            link(box)
        if "proof" in classes:
            # sphinx-proof gives the content of every box on a page the same id.
            for part in box.findall(nodes.section):
                part["ids"] = [name for name in part["ids"] if name != "proof-content"]


def single_ids(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """Drop the second copy of its id that sphinx-proof writes at the title of a box."""
    if "body" in context:
        context["body"] = re.sub(r'(<p class="admonition-title") id="[^"]*"', r"\1", context["body"])


def setup(app: Sphinx) -> dict[str, Any]:
    """Name the boxes when all references are resolved."""
    app.connect("doctree-resolved", add_anchors)
    app.connect("html-page-context", single_ids)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
