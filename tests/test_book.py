"""The book's own machinery: settings, vendored files, extensions and tools."""

from __future__ import annotations

import copy
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml
from book_files import load

import coevo
from coevo.registry import RESULTS

ROOT = Path(__file__).parents[1]
VENDOR = ROOT / "book/_static/vendor"


def pins(name: str) -> dict[str, str]:
    """Return package -> version of a requirements file; fail on a line that is not an exact pin."""
    found = {}
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        line = line.partition("#")[0].strip()
        if not line or line.startswith("-r "):
            continue
        match = re.fullmatch(r"([A-Za-z0-9_.-]+)==([A-Za-z0-9_.+!]+)( ; .+)?", line)
        assert match, f"{name}: {line!r} is not an exact pin"
        found[re.sub(r"[-_.]+", "-", match[1]).lower()] = match[2]
    return found


def test_requirements_pin_every_dependency_once() -> None:
    reader, dev, lab = (pins(f"requirements{kind}.txt") for kind in ("", "-dev", "-lab"))
    assert not set(reader) & (set(dev) | set(lab))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = project["dependencies"] + project["optional-dependencies"]["book"]
    assert {re.split(r"[><=~]", name)[0] for name in names} <= set(reader)
    assert {re.split(r"[><=~]", name)[0] for name in project["optional-dependencies"]["test"]} <= set(dev) | set(reader)


def test_every_page_of_the_contents_exists_and_every_result_is_in_it() -> None:
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    pages = [toc["root"]] + [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]
    assert len(set(pages)) == len(pages)
    for page in pages:
        assert any((ROOT / f"{page}{suffix}").exists() for suffix in (".md", ".ipynb")), page
    assert {result.chapter for result in RESULTS} <= set(pages)


def test_settings_keep_builds_offline_and_free_of_execution() -> None:
    settings = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    assert settings["execute"]["execute_notebooks"] == "off"
    assert settings["only_build_toc_files"] is True
    config = settings["sphinx"]["config"]
    assert config["nb_ipywidgets_js"] == {}
    assert (VENDOR.parent / config["mathjax_path"]).is_file()
    for name, folder in settings["sphinx"]["local_extensions"].items():
        assert (ROOT / folder / f"{name}.py").is_file()


def test_vendored_files_are_the_versions_their_readme_names() -> None:
    table = (VENDOR / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)/` \| \[([\w-]+)\]\S+ \| ([\d.]+) \| .*?`([^`]+)` \| `([^`]+)`", table, re.MULTILINE)
    assert len(rows) == 4
    for folder, name, version, licence, file in rows:
        script = (VENDOR / folder / file).read_text(encoding="utf-8")
        # Vega-Embed's own version appears as an ordinary string among others; all four are written out.
        assert re.search(rf"""["']{re.escape(version)}["']""", script), f"{name} {version}"
        assert (VENDOR / licence).stat().st_size > 1000


def test_charts_need_a_text_alternative() -> None:
    vegalite = load("book/_ext/vegalite.py")
    html = vegalite.chart_html({"mark": "line", "usermeta": {"alt": 'Falls to "zero" </script>'}})
    assert 'aria-label="Falls to &quot;zero&quot; &lt;/script&gt;"' in html
    assert html.count("</script>") == 1
    assert 'aria-label="seen"' in vegalite.chart_html({"mark": "line", "description": "seen"})
    with pytest.raises(ValueError, match=r"usermeta\.alt"):
        vegalite.chart_html({"mark": "line"})


def test_a_stored_chart_is_found_by_the_start_of_its_title(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "book/_ext")
    chart = load("book/_ext/chart.py")
    cells = []
    for title in ({"text": "C.1: one"}, "C.2: two"):
        output = nbformat.v4.new_output("display_data", data={chart.MIME_TYPE: {"title": title, "mark": "line"}})
        cells.append(nbformat.v4.new_code_cell("x", outputs=[output]))
    path = tmp_path / "charts.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("text"), *cells]), path)
    assert chart.find(path, "C.1")["title"] == {"text": "C.1: one"}
    assert chart.title_of(chart.find(path, "C.2")) == "C.2: two"
    for title in ("", "C", "D"):
        with pytest.raises(ValueError, match=r"title must fit one chart of charts\.ipynb, got"):
            chart.find(path, title)


def test_normalising_leaves_what_a_reader_sees_and_nothing_else() -> None:
    execute = load("book/tools/execute.py")
    cell = nbformat.v4.new_code_cell("x", execution_count=1)
    cell.metadata["execution"] = {"iopub.execute_input": "now"}
    cell.metadata["tags"] = ["hide-input"]
    view = {execute.WIDGET_VIEW: {"model_id": "random"}}
    cell.outputs = [
        nbformat.v4.new_output("stream", name="stdout", text="a"),
        nbformat.v4.new_output("stream", name="stdout", text="b"),
        nbformat.v4.new_output("display_data", data=dict(view)),
        nbformat.v4.new_output("display_data", data={**view, "text/plain": "chart"}),
    ]
    notebook = nbformat.v4.new_notebook(cells=[cell, nbformat.v4.new_markdown_cell("text")])
    notebook.metadata = nbformat.from_dict({"widgets": {}, "language_info": {"name": "python", "version": "3.11.2"}})
    once: Any = copy.deepcopy(execute.normalise(notebook))
    assert [output.output_type for output in once.cells[0].outputs] == ["stream", "display_data"]
    assert once.cells[0].outputs[0].text == "ab"
    assert once.cells[0].outputs[1].data == {"text/plain": "chart"}
    assert once.cells[0].metadata == {"tags": ["hide-input"]}
    assert set(once.metadata) == {"kernelspec", "language_info"}
    assert "version" not in once.metadata.language_info
    assert execute.normalise(copy.deepcopy(once)) == once
    nbformat.validate(once)


def test_run_times_are_of_the_chapters_in_the_contents() -> None:
    runs = json.loads((ROOT / "book/_data/runs.json").read_text(encoding="utf-8"))
    assert list(runs["chapters"]) == load("book/tools/execute.py").chapters()
    assert all(seconds > 0 for seconds in runs["chapters"].values())  # how long depends on the machine


# Inline links and images, reference definitions, and HTML attributes, of Markdown.
TARGET = re.compile(
    r"""!?\[[^\]]*\]\(\s*<?([^)\s>]+)|^\[[^\]]+\]:\s*(\S+)|<(?:img|a)\b[^>]*?\b(?:src|href)=["']([^"']+)""", re.M
)


def missing_targets(page: Path) -> list[str]:
    """Return the relative links and images of a Markdown file that lead nowhere."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    targets = ["".join(found) for found in TARGET.findall(text)]
    local = [t for t in targets if not re.match(r"[a-z][a-z0-9+.-]*:|//|#", t, re.IGNORECASE)]
    return [target for target in local if not (page.parent / target.partition("#")[0]).exists()]


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "book/_static/vendor/README.md"])
def test_images_and_relative_links_exist(name: str) -> None:
    assert missing_targets(ROOT / name) == []


def test_missing_images_and_links_are_found(tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("", encoding="utf-8")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](there.md#part) [b](https://example.org) [c](#here) [d](gone.md) ![e](gone.png)\n"
        '<img alt="f" src="gone.jpg"> <a href="mailto:x@example.org">g</a>\n\n[h]: gone.html\n'
        "```\n[i](only-code.md)\n```\n",
        encoding="utf-8",
    )
    assert missing_targets(page) == ["gone.md", "gone.png", "gone.jpg", "gone.html"]


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest is not None
    assert {coevo.__version__, str(citation["version"]), newest[1]} == {project["version"]}


GOOD = '<a href="b.html#there">x</a><a href="https://example.org">x</a><img src="data:image/png;base64,AA==">'


@pytest.mark.parametrize(
    ("page", "fault"),
    [
        (GOOD, None),
        ('<a href="missing.html">x</a>', "does not exist"),
        ('<a href="b.html#nowhere">x</a>', "no such anchor"),
        ('<a href="#nowhere">x</a>', "no such anchor"),
        ('<img src="missing.png">', "does not exist"),
        ('<script src="https://cdn.example.org/x.js"></script>', "another host"),
        ('<script src="//cdn.example.org/x.js"></script>', "another host"),
        ('<link rel="stylesheet" href="https://cdn.example.org/x.css">', "another host"),
        ('<link rel="preconnect" href="https://cdn.example.org">', "another host"),
        ('<iframe src="https://example.org"></iframe>', "another host"),
        ("<style>@import 'https://cdn.example.org/x.css';</style>", "another host"),
        ('<p style="background: url(https://example.org/x.png)">x</p>', "another host"),
    ],
)
def test_link_checker(tmp_path: Path, page: str, fault: str | None) -> None:
    check = load("book/tools/check_links.py").check
    (tmp_path / "a.html").write_text(page, encoding="utf-8")
    (tmp_path / "b.html").write_text('<p id="there">', encoding="utf-8")
    faults, _ = check(tmp_path)
    assert (faults == []) if fault is None else (len(faults) == 1 and fault in faults[0])


def test_link_checker_reads_style_sheets_and_wants_pages(tmp_path: Path) -> None:
    check = load("book/tools/check_links.py").check
    (tmp_path / "x.css").write_text("@font-face { src: url('https://example.org/x.woff') }", encoding="utf-8")
    assert len(check(tmp_path)[0]) == 2


def doc_links(words: str) -> list[str]:
    """Return the chapters that a piece of MyST links to, in order."""
    return re.findall(r"\{doc\}`[^`<]*<([^`>]+)>`", words)


def test_the_foot_of_every_chapter_agrees_with_the_map_and_the_contents() -> None:
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    order = [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]
    names = [file.removeprefix("notebooks/") for file in order if file.startswith("notebooks/")]
    chapters = load("book/_ext/map.py").load()
    drawn = {chapter["chapter"]: chapter for chapter in chapters}
    assert len(drawn) == len(chapters)
    assert set(drawn) == set(names)
    for place, name in enumerate(names):
        last = nbformat.read(ROOT / f"notebooks/{name}.ipynb", as_version=4).cells[-1].source
        foot = ("\n" + last).rpartition("\n---\n")[2]
        parts = {part.split("**")[1]: doc_links(part) for part in foot.split(" · ") if part.strip().startswith("**")}
        assert parts.get("Depends on", []) == drawn[name]["needs"], name
        assert parts.get("Previous", []) == names[max(place - 1, 0) : place], name
        assert parts.get("Next", []) == names[place + 1 : place + 2], name
        assert all(names.index(needed) < place for needed in drawn[name]["needs"]), name


def test_the_map_draws_every_need_once() -> None:
    chart = load("book/_ext/map.py")
    chapters = chart.load()
    drawn = [(source, target) for source, target, _ in chart.arrows(chapters)]
    frame = {c["chapter"]: c.get("frame") for c in chapters}
    needs = [(name, c["chapter"]) for c in chapters for name in c["needs"] if frame[name] == frame[c["chapter"]]]
    assert sorted(drawn) == sorted(needs)
    for chapter in chapters:
        assert set(chapter) - {"frame"} == {"chapter", "name", "words", "lane", "row", "needs"}, chapter
        assert len(chapter["words"]) <= 28 - 5 * (chapter["lane"] != "both"), "too wide for its box"
    places = [chart.place(chapter)[:2] for chapter in chapters]
    assert len(set(places)) == len(places)
    assert chart.svg(chapters).count("<a ") == len(chapters)


def test_the_table_of_laws_says_where_each_is_proved_and_tested() -> None:
    laws = tuple(result for result in RESULTS if not result.source)
    lines = load("book/_ext/results.py").laws_markdown(laws, {law.chapter for law in laws})
    table = "\n".join(lines)
    assert table.count("* - ") == 1 + len(laws) > 30
    for law in laws:
        assert f"* - {law.title}.\n  - {{prf:ref}}`{law.label} <{law.anchor}>`\n  - " in table
        assert all(test.partition("::")[0].removeprefix("tests/") in table for test in law.tests)
    assert len({law.chapter for law in laws}) == 7


def test_every_row_of_the_ledger_has_a_number_and_a_link() -> None:
    ledger = (ROOT / "book/ledger.md").read_text(encoding="utf-8")
    rows = [row for table in ledger.split(":::{list-table}")[1:] for row in table.split("\n* - ")[2:]]
    numbers = [row.split("\n")[0].strip() for row in rows]
    kinds = [number[0] for number in numbers]
    assert numbers == [f"{kind}{kinds[: place + 1].count(kind)}" for place, kind in enumerate(kinds)]
    for number, row in zip(numbers, rows, strict=True):
        assert re.search(r"\{(ref|doc)\}`[^`]+<[^`]+>`", row.partition("\n:::")[0]), f"{number} has no link"
