"""Every result with its functions, its proof and its tests, read from ``coevo.registry``.

``{results-table}`` lists what the papers state, ``{laws-table}`` the book's own laws.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective

import coevo.registry

PAGES = ("book/results", "book/laws")


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


def worded(tests: tuple[str, ...]) -> str:
    """Return tests as words, which break into lines, and their files."""
    by_file: dict[str, list[str]] = {}
    for file, _, name in (test.removeprefix("tests/").partition("::") for test in tests):
        by_file.setdefault(file, []).append(name.removeprefix("test_").replace("_", " "))
    return "; ".join(f"{', '.join(names)} (`{file}`)" for file, names in by_file.items())


def laws_markdown(results: tuple[coevo.registry.Result, ...], pages: set[str]) -> list[str]:
    """Return a table in MyST: claim, where proved, where tested."""
    lines = [":::{list-table}", ":header-rows: 1", ":widths: 44 14 42", ":class: coevo-laws", ""]
    rows = [("Claim", "Proved", "Tested by its verdicts, and by")]
    for result in results:
        box = f"{{prf:ref}}`{result.label} <{result.anchor}>`" if result.chapter in pages else result.label
        rows.append((f"{result.title}.", box, worded(result.tests)))
    for row in rows:
        lines += [f"{mark} - {cell}" for mark, cell in zip("*  ", row, strict=True)]
    return [*lines, ":::"]


class ResultsTable(SphinxDirective):
    """The list of the papers' results; it takes no arguments."""

    own = False

    def run(self) -> list[nodes.Node]:
        """Parse the generated source where the directive stands."""
        box = nodes.container()
        chosen = tuple(result for result in coevo.registry.RESULTS if self.own == (not result.source))
        lines = (laws_markdown if self.own else results_markdown)(chosen, self.env.found_docs)
        self.state.nested_parse(StringList(lines, source=coevo.registry.__file__), 0, box)
        return box.children


class LawsTable(ResultsTable):
    """The table of the book's own laws."""

    own = True


def always_outdated(
    app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]
) -> list[str]:
    """Read the pages anew in every build: their text depends on Python code, not on their source files."""
    return [page for page in PAGES if page in env.found_docs]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    app.add_directive("results-table", ResultsTable)
    app.add_directive("laws-table", LawsTable)
    app.connect("env-get-outdated", always_outdated)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
