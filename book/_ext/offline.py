"""Drop what the theme would load from other hosts.

Jupyter Book always adds sphinx-thebe, whose scripts point to unpkg and need a kernel server. Neither the page
nor an offline reader has any use for them. (MathJax and the widget manager are dealt with by settings.)
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx


def _is_thebe(script: Any) -> bool:
    attributes = getattr(script, "attributes", {})
    return "thebe" in str(getattr(script, "filename", "") or "") or "THEBE_JS_URL" in str(attributes.get("body"))


def drop_thebe(
    app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Remove thebe's scripts and style sheets from a page about to be written."""
    for kind in ("script_files", "css_files"):
        if kind in context:
            context[kind] = [file for file in context[kind] if not _is_thebe(file)]


def drop_thebe_configuration(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Remove the invisible block of settings that sphinx-thebe appends to each page."""
    for node in list(doctree.findall(nodes.raw)):
        if "text/x-thebe-config" in node.astext():
            node.parent.remove(node)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register late (priority above the default 500), when every other extension has added its files."""
    app.connect("html-page-context", drop_thebe, priority=900)
    app.connect("doctree-resolved", drop_thebe_configuration, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
