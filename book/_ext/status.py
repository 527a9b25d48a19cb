"""``{status-table}``: how long each chapter ran, on what, and with which versions.

Read from ``book/_data/runs.json``, which ``make notebooks`` writes; the versions of the build stand beside.
"""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective

PAGE = "book/status"


def status_markdown(runs: dict[str, Any], pages: set[str]) -> list[str]:
    """Return the MyST source of two tables: chapters with seconds, packages with versions."""
    machine = runs["machine"]
    lines = [
        f"The stored outputs were made with Python {machine['python']} on {machine['platform']}, "
        f"{machine['cpus']} CPUs, each chapter on one of them.",
        "",
        "| Chapter | Seconds |",
        "|:--|--:|",
    ]
    for chapter, seconds in runs["chapters"].items():
        lines.append(
            f"| {{doc}}`/{chapter}` | {seconds:.1f} |" if chapter in pages else f"| {chapter} | {seconds:.1f} |"
        )
    lines += ["", "| Package | Stored outputs | This build |", "|:--|:--|:--|"]
    for package, version in runs["versions"].items():
        lines.append(f"| {package} | {version} | {metadata.version(package)} |")
    return lines


class StatusTable(SphinxDirective):
    """The directive; it takes no arguments."""

    def run(self) -> list[nodes.Node]:
        """Parse the generated source where the directive stands."""
        path = Path(self.env.srcdir, "book/_data/runs.json")
        self.env.note_dependency(str(path))
        box = nodes.container(classes=["coevo-status"])
        lines = status_markdown(json.loads(path.read_text(encoding="utf-8")), self.env.found_docs)
        self.state.nested_parse(StringList(lines, source=str(path)), 0, box)
        return [box]


def always_outdated(
    app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]
) -> list[str]:
    """Read the page anew in every build: installed versions may have changed."""
    return [PAGE] if PAGE in env.found_docs else []


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("status-table", StatusTable)
    app.connect("env-get-outdated", always_outdated)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
