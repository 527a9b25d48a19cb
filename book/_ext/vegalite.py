"""Show an output of type ``application/vnd.vegalite.v5+json`` as a chart that moves without a kernel.

The specification is written into the page as JSON; ``coevo-charts.js`` draws it with the vendored Vega
libraries, which are loaded only by pages that have a chart. What the specification may say about itself:

* ``usermeta.alt`` (or ``description``): what is to be seen; it becomes the chart's accessible name;
* ``usermeta.controls``: ``[{"param": name, "label": str, "values": [str, ...]}, ...]``, or the same as an object
  with the names as keys. A slider bound to an index shows and announces ``values[index]`` in place of the index.

Other builders than HTML take the output's next best form (an image or its text).
"""

from __future__ import annotations

import json
from html import escape
from typing import Any, ClassVar

from docutils import nodes
from myst_nb.core.render import MimeData, MimeRenderPlugin, NbElementRenderer, load_mime_renders
from sphinx.application import Sphinx

MIME_TYPE = "application/vnd.vegalite.v5+json"
SCRIPTS = (
    "vendor/vega/vega.min.js",
    "vendor/vega/vega-lite.min.js",
    "vendor/vega/vega-embed.min.js",
    "coevo-charts.js",
)


def chart_html(spec: dict[str, Any]) -> str:
    """Return the HTML of one chart; raise if the chart does not say what it shows."""
    alt = spec.get("usermeta", {}).get("alt") or spec.get("description")
    if not alt:
        raise ValueError("a Vega-Lite chart needs usermeta.alt or description: the text read out in its place")
    data = json.dumps(spec, ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/")
    return (
        f'<figure class="coevo-chart" role="group" aria-label="{escape(alt, quote=True)}">'
        '<div class="coevo-chart-view"></div>'
        f'<script type="application/json" class="coevo-chart-spec">{data}</script>'
        "<noscript><p>This chart needs JavaScript. The figures above show the same quantities.</p></noscript>"
        "</figure>"
    )


class VegaLite(MimeRenderPlugin):
    """The MyST-NB renderer of the mime type above."""

    mime_priority_overrides: ClassVar[list[tuple[str, str, int | None]]] = [
        (builder, MIME_TYPE, 1) for builder in ("html", "dirhtml", "singlehtml")
    ]

    @staticmethod
    def handle_mime(renderer: NbElementRenderer, data: MimeData, inline: bool) -> list[nodes.Element] | None:
        """Return one raw HTML node for a chart, None for everything else."""
        if inline or data.mime_type != MIME_TYPE:
            return None
        spec = data.content if isinstance(data.content, dict) else json.loads(data.content)
        return [nodes.raw("", chart_html(spec), format="html", coevo_chart=True)]


def add_scripts(
    app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Load Vega on the pages that have a chart, in order and without holding up the text."""
    if doctree is None or not any("coevo_chart" in node for node in doctree.findall(nodes.raw)):
        return
    for script in SCRIPTS:
        app.add_js_file(script, loading_method="defer")


def setup(app: Sphinx) -> dict[str, Any]:
    """Append the renderer to MyST-NB's (cached) list: no entry point, so no package to install."""
    renderers = load_mime_renders()
    if VegaLite not in renderers:
        renderers.append(VegaLite)
    app.connect("html-page-context", add_scripts)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
