"""``{stored-chart} notebooks/name``: an interactive chart of a chapter, shown on another page.

The chart is read from the notebook's stored outputs, so it is the one that the chapter computed and checked. Where a
chapter has several charts, ``:title:`` says which: the one whose title begins so. ``:heading:`` is shown in its place.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import nbformat
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from vegalite import MIME_TYPE, chart_html  # its neighbour: Sphinx puts this folder on the path


def title_of(spec: dict[str, Any]) -> str:
    """Return a chart's title, which Vega-Lite allows to be a text or an object."""
    title = spec.get("title", "")
    return str(title["text"] if isinstance(title, dict) else title)


def find(notebook: Path, title: str) -> dict[str, Any]:
    """Return the one stored chart whose title begins with `title`; raise ValueError if it is none or several."""
    outputs = [output for cell in nbformat.read(notebook, as_version=4).cells for output in cell.get("outputs", [])]
    charts = [output.data[MIME_TYPE] for output in outputs if MIME_TYPE in output.get("data", {})]
    found: list[dict[str, Any]] = [spec for spec in charts if title_of(spec).startswith(title)]
    if len(found) != 1:
        titles = [title_of(spec) for spec in charts]
        raise ValueError(f"title must fit one chart of {notebook.name}, got {title!r} for {titles}")
    return found[0]


class StoredChart(SphinxDirective):
    """The directive."""

    required_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {"title": directives.unchanged, "heading": directives.unchanged}

    def run(self) -> list[nodes.Node]:
        """Return the chart as one raw HTML node, marked so that its page loads the drawing scripts."""
        notebook = Path(self.env.srcdir) / f"{self.arguments[0]}.ipynb"
        self.env.note_dependency(str(notebook))
        try:
            spec = find(notebook, self.options.get("title", ""))
        except (OSError, ValueError) as problem:
            raise self.error(str(problem)) from problem
        if heading := self.options.get("heading"):
            spec["title"] = {**spec["title"], "text": heading} if isinstance(spec["title"], dict) else heading
        return [nodes.raw("", chart_html(spec), format="html", coevo_chart=True)]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.setup_extension("vegalite")
    app.add_directive("stored-chart", StoredChart)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
