"""Every chapter is stored as executed, and the check that compares its outputs does bite.

nbval passes a cell that has never been executed, and ignores images: these tests close both gaps.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml

ROOT = Path(__file__).parents[1]
CHAPTERS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "notebooks").rglob("*.ipynb")
    if ".ipynb_checkpoints" not in path.parts
)
each_chapter = pytest.mark.parametrize("chapter", CHAPTERS)


def load(chapter: str) -> dict[str, Any]:
    notebook: dict[str, Any] = json.loads((ROOT / chapter).read_text(encoding="utf-8"))
    return notebook


def code_cells(chapter: str) -> list[dict[str, Any]]:
    return [cell for cell in load(chapter)["cells"] if cell["cell_type"] == "code"]


def outputs(chapter: str) -> list[dict[str, Any]]:
    return [output for cell in code_cells(chapter) for output in cell["outputs"]]


def text(value: str | list[str]) -> str:
    return value if isinstance(value, str) else "".join(value)


def test_there_are_chapters() -> None:
    assert CHAPTERS


def test_every_chapter_is_in_the_table_of_contents() -> None:
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    listed = [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]
    assert sorted(f"{name}.ipynb" for name in listed if name.startswith("notebooks/")) == CHAPTERS


@each_chapter
def test_executed_from_top_to_bottom(chapter: str) -> None:
    counts = [cell["execution_count"] for cell in code_cells(chapter)]
    assert counts == list(range(1, len(counts) + 1))


@each_chapter
def test_no_errors_and_no_stderr(chapter: str) -> None:
    for output in outputs(chapter):
        assert output["output_type"] != "error", output["evalue"]
        assert output.get("name") != "stderr", text(output["text"])


@each_chapter
def test_every_figure_has_a_digest(chapter: str) -> None:
    # nbval ignores images; it compares this text instead, so a stale figure fails.
    for output in outputs(chapter):
        data = output.get("data", {})
        if "image/png" in data:
            assert text(data["text/plain"]).startswith("Figure data")


@each_chapter
def test_every_figure_has_a_caption_a_name_and_words_for_those_who_do_not_see_it(chapter: str) -> None:
    for cell in code_cells(chapter):
        if any("image/png" in output.get("data", {}) for output in cell["outputs"]):
            shown = cell["metadata"]["mystnb"]
            assert shown["figure"]["caption"].strip()
            assert shown["figure"]["name"].startswith("fig-")
            assert len(shown["image"]["alt"]) > 40


@each_chapter
def test_every_chart_says_what_it_shows(chapter: str) -> None:
    for output in outputs(chapter):
        spec = output.get("data", {}).get("application/vnd.vegalite.v5+json")
        if spec is not None:
            assert spec.get("usermeta", {}).get("alt") or spec.get("description")


@each_chapter
def test_every_setting_of_the_sliders_is_checked(chapter: str) -> None:
    # The cell after the sliders walks their whole grid and holds each bound against the simulation; nbval runs it.
    sources = [text(cell["source"]) for cell in code_cells(chapter)]
    for place, source in enumerate(sources):
        if "explore.explore(" in source:
            check = sources[place + 1]
            assert "for setting in explorer.settings():" in check
            assert "evidence." in check
            assert "require()" in check or "assert" in check


@each_chapter
def test_nothing_in_it_changes_from_run_to_run(chapter: str) -> None:
    notebook = load(chapter)
    assert notebook["nbformat"] == 4
    assert notebook["metadata"]["kernelspec"] == {
        "display_name": "Python 3",
        "language": "python",
        "name": "python3",
    }
    assert notebook["metadata"]["language_info"] == {"name": "python", "pygments_lexer": "ipython3"}
    assert "widgets" not in notebook["metadata"]
    assert not any("execution" in cell["metadata"] for cell in notebook["cells"])
    for output in outputs(chapter):
        data = output.get("data", {})
        assert "application/vnd.jupyter.widget-view+json" not in data
        for kind in ("text/plain", "text/html"):
            assert not re.search(r" at 0x[0-9a-f]{6,}", text(data.get(kind, ""))), "a memory address"


@each_chapter
def test_cells_have_ids_and_the_file_is_valid(chapter: str) -> None:
    nbformat.validate(nbformat.read(ROOT / chapter, as_version=4))


def small_notebook() -> Any:
    """Return a notebook with one printed number, one figure digest and one chart, all stored correctly."""
    source = """\
class Plate:
    def _repr_mimebundle_(self, **kwargs):
        spec = {"mark": "line", "data": {"values": [{"x": 0, "y": 0.1234}]}}
        return {
            "image/png": "iVBORw0KGgo=",
            "text/plain": "Figure data: one line, 0.4840",
            "application/vnd.vegalite.v5+json": spec,
        }

print(f"{0.95**7:.4f}")
Plate()"""
    data = {
        "image/png": "iVBORw0KGgo=",
        "text/plain": "Figure data: one line, 0.4840",
        "application/vnd.vegalite.v5+json": {
            "mark": "line",
            "data": {"values": [{"x": 0, "y": 0.1234}]},
        },
    }
    cell = nbformat.v4.new_code_cell(source, execution_count=1)
    cell.outputs = [
        nbformat.v4.new_output("stream", name="stdout", text="0.6983\n"),
        nbformat.v4.new_output("execute_result", data=data, execution_count=1),
    ]
    notebook = nbformat.v4.new_notebook(cells=[cell])
    notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return notebook


def notebook_of(*cells: tuple[str, str]) -> Any:
    """Return a notebook of cells and the texts that they are stored to print."""
    notebook = nbformat.v4.new_notebook()
    for source, printed in cells:
        cell = nbformat.v4.new_code_cell(source, execution_count=1)
        cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=printed)] if printed else []
        notebook.cells.append(cell)
    return notebook


#: A name -> what is stored right and what wrong.
CHANGED = {
    "number": ("0.6983", "0.6984"),
    "figure": ("one line, 0.4840", "one line, 0.4841"),
    "chart": ("0.1234", "0.1235"),
}


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, set[str]], str]:
    """Run nbval on small notebooks as `make test` does: of each the cells that failed, and what was said."""
    folder = tmp_path_factory.mktemp("compared")
    notebooks = {"as stored": small_notebook()}
    for name, (right, wrong) in CHANGED.items():
        notebooks[name] = small_notebook()
        stored = json.loads(json.dumps(notebooks[name].cells[0].outputs).replace(right, wrong))
        notebooks[name].cells[0].outputs = [nbformat.from_dict(output) for output in stored]
    # In this order: what a chapter does to a module stays with it, and a name that it does not import is not there.
    notebooks["x1 changes a module"] = notebook_of(("import numpy, coevo\nnumpy.pi = coevo.mark = 3", ""))
    notebooks["x2 finds it unchanged"] = notebook_of(
        ("import numpy, coevo\nprint(numpy.pi > 3, hasattr(coevo, 'mark'))", "True False\n")
    )
    notebooks["x3 forgets to import"] = notebook_of(
        ("numpy", ""), ("np", ""), ("evidence", ""), ("import book_files", "")
    )
    for name, notebook in notebooks.items():
        notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
        nbformat.write(notebook, folder / f"{name}.ipynb")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "warm_kernels", "--color=no"]
    command += ["--rootdir", str(folder), "-c", str(folder / "pytest.ini"), "--nbval"]
    command += ["--nbval-current-env", "--nbval-sanitize-with", str(ROOT / "tests/nbval.cfg"), str(folder)]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
    result = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=240, check=False)
    failed: dict[str, set[str]] = {name: set() for name in notebooks}
    for name, cell in re.findall(r"^FAILED (.+)\.ipynb::Cell (\d+)", result.stdout, re.MULTILINE):
        failed[name].add(cell)
    assert result.returncode == 1, result.stdout + result.stderr
    return failed, result.stdout


def test_what_is_as_stored_passes(compared: tuple[dict[str, set[str]], str]) -> None:
    assert compared[0]["as stored"] == set(), compared[1]


@pytest.mark.parametrize("name", CHANGED)
def test_a_changed_digit_is_noticed(compared: tuple[dict[str, set[str]], str], name: str) -> None:
    assert compared[0][name] == {"0"}
    assert CHANGED[name][1] in compared[1]


def test_chapters_share_the_work_of_imports_and_nothing_else(compared: tuple[dict[str, set[str]], str]) -> None:
    assert compared[0]["x1 changes a module"] == compared[0]["x2 finds it unchanged"] == set(), compared[1]
    assert compared[0]["x3 forgets to import"] == {"0", "1", "2", "3"}


@each_chapter
def test_references_to_boxes_bring_their_words(chapter: str) -> None:
    # The boxes carry the paper's numbers in their titles, not numbers of their own: a bare reference has none to show.
    words = "".join(text(cell["source"]) for cell in load(chapter)["cells"] if cell["cell_type"] == "markdown")
    assert re.findall(r"\{prf:ref\}`[^`<]*`", words) == []
