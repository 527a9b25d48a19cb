"""``{api-reference}``: every public name of ``coevo`` with its signature and its docstring, as written.

The docstrings are shown as the plain text a reader of the code (or of ``help``) sees: shapes, units, errors and
theorem numbers read well that way, and formulas in them need no escaping.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from types import ModuleType
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective

import coevo

PAGE = "book/api"


def modules() -> list[ModuleType]:
    """Return the public modules of ``coevo`` in alphabetical order."""
    names = [info.name for info in pkgutil.walk_packages(coevo.__path__, "coevo.")]
    return [importlib.import_module(name) for name in sorted(names) if not any(p[0] == "_" for p in name.split("."))]


def members(module: ModuleType) -> list[tuple[str, Any]]:
    """Return the public functions and classes defined in a module, in the order of its source."""
    found = [
        (name, value)
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isfunction(value) or inspect.isclass(value))
        and value.__module__ == module.__name__
    ]
    return sorted(found, key=lambda pair: inspect.getsourcelines(pair[1])[1])


def signature(value: Any) -> str:
    """Return the parameters without their types, which the docstring states with shapes and units."""
    try:
        full = inspect.signature(value)
    except (TypeError, ValueError):
        return ""
    plain = [p.replace(annotation=p.empty) for p in full.parameters.values()]
    return str(full.replace(parameters=plain, return_annotation=full.empty))


class ApiReference(SphinxDirective):
    """The directive; it takes no arguments."""

    def run(self) -> list[nodes.Node]:
        """Return one section per module."""
        return [self.section(module) for module in modules() if members(module)]

    def section(self, module: ModuleType) -> nodes.section:
        """Return a module's names as a section with one anchor each."""
        section = nodes.section(ids=[module.__name__.replace(".", "-")], names=[module.__name__])
        section += nodes.title("", "", nodes.literal("", module.__name__))
        section += nodes.paragraph("", (inspect.getdoc(module) or "").split("\n\n")[0].replace("``", ""))
        for name, value in members(module):
            dotted = f"{module.__name__}.{name}"
            entry = nodes.container(classes=["coevo-api"], ids=[dotted])
            # The dotted name is a label, so the results page can link to it and a wrong name is a warning.
            self.env.domaindata["std"]["anonlabels"][dotted] = (self.env.docname, dotted)
            self.env.domaindata["std"]["labels"][dotted] = (self.env.docname, dotted, name)
            entry += nodes.paragraph("", "", nodes.literal("", name + signature(value)))
            block = nodes.literal_block("", inspect.getdoc(value) or "", language="text")
            entry += block
            section += entry
        return section


def always_outdated(
    app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]
) -> list[str]:
    """Read the page anew in every build: its text depends on Python code, not on its source file."""
    return [PAGE] if PAGE in env.found_docs else []


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("api-reference", ApiReference)
    app.connect("env-get-outdated", always_outdated)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
