"""``{results-table}``: the list of every result with its functions, chapter and tests, read from ``coevo.registry``."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective

import coevo.registry

PAGE = "book/results"


def linked(names: tuple[str, ...]) -> str:
    """Return functions as links to their entries on the API page."""
    return ", ".join(f"[`{name.rpartition('.')[2]}`](#{name})" for name in names)


def results_markdown(results: tuple[coevo.registry.Result, ...], pages: set[str]) -> list[str]:
    """Return a definition list in MyST; a box, a function or a source that does not exist is a build warning."""
    lines = ["{.coevo-results}"]
    for result in results:
        box = f"{{prf:ref}}`{result.label} <{result.anchor}>`" if result.chapter in pages else result.label
        tests = ", ".join(f"`{test.removeprefix('tests/')}`" for test in result.tests)
        lines += [
            f"{box} {{cite:p}}`{result.source}`",
            f": {result.title}",
            f": Computed by {linked(result.functions)}",
            *([f": Beyond it: {linked(result.beyond)}"] if result.beyond else []),
            f": Tested by {tests}",
            "",
        ]
    return lines


class ResultsTable(SphinxDirective):
    """The directive; it takes no arguments."""

    def run(self) -> list[nodes.Node]:
        """Parse the generated source where the directive stands."""
        box = nodes.container()
        lines = results_markdown(coevo.registry.RESULTS, self.env.found_docs)
        self.state.nested_parse(StringList(lines, source=coevo.registry.__file__), 0, box)
        return box.children


def always_outdated(
    app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]
) -> list[str]:
    """Read the page anew in every build: its text depends on Python code, not on its source file."""
    return [PAGE] if PAGE in env.found_docs else []


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("results-table", ResultsTable)
    app.connect("env-get-outdated", always_outdated)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
