"""``{chapter-map}``: the chapters and what each needs, drawn from ``book/_data/map.yml``."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import yaml
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective

DATA = Path(__file__).parents[1] / "_data" / "map.yml"
PAGE = "book/intro"

# In units of the drawing, which is as wide as a phone: two lanes of boxes with room for arrows beside them.
WIDTH, BOX, HIGH, STEP, TOP = 440, 170, 46, 64, 6
LANES = {"text": 32, "image": WIDTH - 32 - BOX, "both": 90}
TRACK = 8  # between parallel arrows
ROOM = 34  # above a frame, with its title in it
#: Groups of chapters that stand in a frame, from the top; their boxes name what they need, so arrows stay inside.
FRAMES = {
    "experiments": "Experiments (section 8, Appendix C, real pictures)",
    "networks": "A network of models (the second paper)",
    "laws": "Beyond the papers: exact laws",
    "speed": "Speed and scale",
    "tools": "Tools (the paper’s Appendix A)",
}


def load() -> list[dict[str, Any]]:
    """Return the chapters of the map."""
    chapters: list[dict[str, Any]] = yaml.safe_load(DATA.read_text(encoding="utf-8"))
    return chapters


def place(chapter: dict[str, Any]) -> tuple[float, float, float]:
    """Return left edge, top and width of a box; every frame keeps a distance."""
    width = WIDTH - 180 if chapter["lane"] == "both" else BOX
    above = list(FRAMES).index(chapter["frame"]) + 1 if "frame" in chapter else 0
    return LANES[chapter["lane"]], TOP + STEP * chapter["row"] + ROOM * above, width


def arrows(chapters: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Return (source, target, path) of every arrow: straight down, or around other boxes on a track of its own."""
    by_name = {chapter["chapter"]: chapter for chapter in chapters}
    tracks: dict[tuple[str, str], int] = {}
    found = []
    for target in chapters:
        for name in target["needs"]:
            source = by_name[name]
            if source.get("frame") != target.get("frame"):
                continue  # one arrow leads to the frame
            x, y, width = place(source)
            u, v, w = place(target)
            near = target["row"] == source["row"] + 1
            if source["lane"] == "both" and near:
                middle = u + w / 2
                path = f"M{middle:g} {y + HIGH} V{v}"
            elif source["lane"] == "both":
                gutter, end = (u - 12, u) if target["lane"] == "text" else (u + w + 12, u + w)
                path = f"M{x if gutter < x else x + width:g} {y + HIGH / 2:g} H{gutter:g} V{v + HIGH / 2:g} H{end:g}"
            elif source["lane"] == target["lane"] and near:
                path = f"M{x + width / 2:g} {y + HIGH} V{v}"
            else:
                same = source["lane"] == target["lane"]
                side = source["lane"] if same else "middle"
                track = tracks.setdefault((side, name), sum(key[0] == side for key in tracks))
                left = {"text": x - 12 - TRACK * track, "image": x + width + 12 + TRACK * track}
                gutter = left[side] if same else WIDTH / 2 - TRACK / 2 + TRACK * track
                start = x if gutter < x else x + width
                end = u if gutter < u else u + w
                down = f"V{v}" if target["lane"] == "both" else f"V{v + HIGH / 2:g} H{end:g}"
                path = f"M{start:g} {y + HIGH / 2:g} H{gutter:g} {down}"
            found.append((name, target["chapter"], path))
    return found


def svg(chapters: list[dict[str, Any]]) -> str:
    """Return the map as SVG; every box is a link."""
    by_name = {chapter["chapter"]: chapter for chapter in chapters}
    framed = {name: [place(c)[1] for c in chapters if c.get("frame") == name] for name in FRAMES}
    frames = {name: (min(tops) - 30, max(tops) + HIGH + 8) for name, tops in framed.items() if tops}
    height = max(place(chapter)[1] for chapter in chapters) + HIGH + 12
    sentences = [
        f"{chapter['name']} needs {' and '.join(by_name[name]['name'] for name in chapter['needs'])}."
        for chapter in chapters
        if chapter["needs"]
    ]
    parts = [
        f'<nav class="coevo-map" aria-label="Map of the chapters"><svg viewBox="0 0 {WIDTH} {height}" '
        'role="group" aria-labelledby="map-title">',
        f'<title id="map-title">{html.escape(" ".join(sentences))}</title>',
        '<defs><marker id="map-arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0 0 L8 4 L0 8 Z"/></marker></defs>',
    ]
    start = place(chapters[0])
    for name, (top, bottom) in frames.items():
        parts += [
            f'<rect class="frame" x="18" y="{top}" width="{WIDTH - 36}" height="{bottom - top}" rx="8"/>',
            f'<text class="frame" x="{WIDTH / 2:g}" y="{top + 20}">{html.escape(FRAMES[name])}</text>',
            f'<path class="arrow" d="M{start[0]} {start[1] + HIGH / 2:g} H6 V{top + 15:g} H18" '
            'marker-end="url(#map-arrow)"/>',
        ]
    for source, _, path in arrows(chapters):
        lane = by_name[source]["lane"]
        parts.append(f'<path class="arrow {lane}" d="{path}" marker-end="url(#map-arrow)"/>')
    for chapter in chapters:
        x, y, width = place(chapter)
        parts.append(
            f'<g class="coevo-map-node {"tool" if chapter.get("frame") == "tools" else chapter["lane"]}">'
            f'<a href="../notebooks/{chapter["chapter"]}.html">'
            f'<rect x="{x}" y="{y}" width="{width}" height="{HIGH}" rx="7"/>'
            f'<text x="{x + width / 2:g}" y="{y + 20}">{html.escape(chapter["name"])}</text>'
            f'<text x="{x + width / 2:g}" y="{y + 37}" class="small">{html.escape(chapter["words"])}</text></a></g>'
        )
    return "".join([*parts, "</svg></nav>"])


class ChapterMap(SphinxDirective):
    """The directive; it takes no arguments."""

    def run(self) -> list[nodes.Node]:
        """Draw the map where the directive stands."""
        self.env.note_dependency(str(DATA))
        return [nodes.raw("", svg(load()), format="html")]


def always_outdated(
    app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]
) -> list[str]:
    """Read the page anew in every build: its picture depends on this file."""
    return [PAGE] if PAGE in env.found_docs else []


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("chapter-map", ChapterMap)
    app.connect("env-get-outdated", always_outdated)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
