"""The registry of results: every name in it exists, and nothing public in the theory is missing from it."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import pkgutil
from pathlib import Path

import pytest

import coevo.theory
from coevo.registry import RESULTS, Result

ROOT = Path(__file__).parents[1]
by_label = pytest.mark.parametrize("result", RESULTS, ids=lambda result: result.label.replace(" ", "-"))


def resolve(dotted: str) -> object:
    module, _, name = dotted.rpartition(".")
    return getattr(importlib.import_module(module), name)


@by_label
def test_functions_exist_and_name_the_result(result: Result) -> None:
    assert result.functions
    for dotted in result.functions:
        documentation = inspect.getdoc(resolve(dotted)) or ""
        assert result.label in documentation, f"the docstring of {dotted} does not name {result.label}"
    for dotted in result.beyond:
        assert inspect.getdoc(resolve(dotted)), f"{dotted} has no docstring"


@by_label
def test_chapter_has_the_box(result: Result) -> None:
    cells = json.loads((ROOT / f"{result.chapter}.ipynb").read_text(encoding="utf-8"))["cells"]
    text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    assert f":label: {result.anchor}\n" in text, f"{result.chapter} has no box labelled {result.anchor}"


@by_label
def test_tests_exist(result: Result) -> None:
    assert result.tests
    for test in result.tests:
        file, _, name = test.partition("::")
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert name in names, f"{file} has no test {name}"


@by_label
def test_source_is_in_the_bibliography(result: Result) -> None:
    if not result.source:  # a law of this book
        assert result.label.startswith("Law ")
        assert result.anchor == result.label.lower().replace(" ", "-").replace(".", "-")
        return
    assert f"{{{result.source}," in (ROOT / "book/references.bib").read_text(encoding="utf-8")


def test_labels_and_anchors_are_unique() -> None:
    for values in ([(r.source, r.label) for r in RESULTS], [r.anchor for r in RESULTS]):
        assert len(set(values)) == len(values)


def test_every_public_theory_function_belongs_to_a_result() -> None:
    known = {name for result in RESULTS for name in (*result.functions, *result.beyond)}
    public = set()
    for info in pkgutil.walk_packages(coevo.theory.__path__, "coevo.theory."):
        if info.name.rpartition(".")[2].startswith("_"):
            continue
        module = importlib.import_module(info.name)
        public |= {
            f"{info.name}.{name}"
            for name, value in vars(module).items()
            if inspect.isfunction(value) and not name.startswith("_") and value.__module__ == info.name
        }
    assert public, "no public function found in coevo.theory"
    assert public <= known, f"in no result of coevo.registry: {sorted(public - known)}"
