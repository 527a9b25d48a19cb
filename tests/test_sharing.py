"""Search engines, sharing, citation, anchors, the cell for Colab, and the weight of pages.

Tests of the built book read the pages that ``make test`` builds, or those of the folder in ``COEVO_PAGES``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from html import unescape
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import nbformat
import pytest
import yaml
from book_files import load
from docutils import nodes
from PIL import Image
from pybtex.database import parse_string

from coevo.registry import RESULTS

ROOT = Path(__file__).parents[1]
PAGES = Path(os.environ.get("COEVO_PAGES", ROOT / "_build/check/_build/html"))
PICTURE = ROOT / "book/_static/screens/figure.png"
HEAVIEST = 1_500_000  # bytes of a page with what it alone loads


@pytest.fixture(scope="module")
def pages() -> Path:
    """Return the folder of the built book."""
    if not (PAGES / "index.html").exists():
        pytest.skip(f"no built book in {PAGES}: `make test` builds it, or name a folder in COEVO_PAGES")
    return PAGES


def sources() -> list[str]:
    """Return the pages of the table of contents."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    return [toc["root"]] + [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]


def meta(html: str) -> dict[str, str]:
    """Return title, canonical address and meta tags of a page."""
    found = dict(re.findall(r'<meta (?:name|property)="([^"]+)"\s+content="([^"]*)"', html))
    found["title"] = re.findall(r"<title>(.*?)</title>", html, re.DOTALL)[0]
    if canonical := re.findall(r'<link rel="canonical" href="([^"]+)"', html):
        found["canonical"] = canonical[0]
    return {key: unescape(value).strip() for key, value in found.items()}


# A small book with the real extensions.

CONFIG = """\
title: A small book
only_build_toc_files: true
execute: {{execute_notebooks: "off"}}
repository: {{url: "{url}", branch: main}}
html: {{baseurl: "{base}"}}
launch_buttons: {{binderhub_url: "https://mybinder.org", colab_url: "https://colab.research.google.com",
                 notebook_interface: jupyterlab}}
sphinx:
  recursive_update: true
  extra_extensions: [sphinx_proof, sphinx_design]
  local_extensions: {{sharing: "{ext}", anchors: "{ext}", citation: "{ext}"}}
  config: {{html_theme_options: {{home_page_in_toc: true}}}}
"""
CHAPTER = """\
# Does it fall?

*A subtitle in italics, which is long enough to be taken for a paragraph.*

The first real paragraph says that $\\theta = 1/M$ is small & that is all. It is followed by $\\frac12$ of another.

## Beyond: the part

:::{prf:theorem} A name
:label: thm-3-3
:nonumber:

Words.
:::

:::{admonition} Correction: the remainder
:class: correction

Words.
:::

:::{admonition} Beyond the paper
:class: beyond

Words.
:::

---
**Next** nothing
"""


def small_book(folder: Path, url: str, base: str) -> subprocess.CompletedProcess[str]:
    """Build a page and a chapter strictly."""
    (folder / "book").mkdir(exist_ok=True)
    (folder / "notebooks").mkdir(exist_ok=True)
    (folder / "_toc.yml").write_text("format: jb-book\nroot: book/intro\nparts:\n- chapters:\n"
                                     "  - file: notebooks/theorem-3-3\n", encoding="utf-8")  # fmt: skip
    (folder / "_config.yml").write_text(
        CONFIG.format(url=url, base=base, ext=(ROOT / "book/_ext").as_posix()), encoding="utf-8"
    )
    (folder / "book/intro.md").write_text("# A small book\n\nWhat it is about, in one sentence of some length.\n")
    code = nbformat.v4.new_code_cell("1", execution_count=1, id="code")
    picture = base64.b64encode(PICTURE.read_bytes()).decode()
    data = {"image/png": picture, "text/plain": "Figure data: none"}
    code.outputs = [nbformat.v4.new_output("execute_result", data=data, execution_count=1)]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(CHAPTER, id="words"), code])
    notebook.metadata = nbformat.from_dict(
        {"kernelspec": {"name": "python3", "display_name": "x", "language": "python"}}
    )
    nbformat.write(notebook, folder / "notebooks/theorem-3-3.ipynb")
    command = [str(Path(sys.executable).with_name("jupyter-book")), "build", ".", "-q", "-W", "-n", "--keep-going"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def test_a_book_with_both_addresses(tmp_path: Path) -> None:
    result = small_book(tmp_path, "https://github.com/someone/book", "https://example.org/book/")
    assert result.returncode == 0, result.stdout + result.stderr
    html = tmp_path / "_build/html"
    home = (html / "book/intro.html").read_text(encoding="utf-8")
    chapter = (html / "notebooks/theorem-3-3.html").read_text(encoding="utf-8")
    lab = "https://mybinder.org/v2/gh/someone/book/main?urlpath=lab/tree/notebooks/theorem-3-3.ipynb"
    colab = "https://colab.research.google.com/github/someone/book/blob/main/notebooks/theorem-3-3.ipynb"
    for address in (lab, colab):
        assert address in chapter
        assert address not in home
    for page in (home, chapter):
        assert 'href="https://github.com/someone/book"' in page
        assert "https://github.com/someone/book/issues/new?" in page
    tags = meta(chapter)
    assert tags["title"] == "Does it fall? · Theorem 3.3 — A small book"
    assert tags["canonical"] == tags["og:url"] == "https://example.org/book/notebooks/theorem-3-3.html"
    assert tags["description"] == "The first real paragraph says that θ = 1/M is small & that is all."
    assert tags["og:description"] == tags["description"]
    assert tags["og:type"] == "article"
    assert tags["twitter:card"] == "summary_large_image"
    picture = html / tags["og:image"].removeprefix("https://example.org/book/")
    with Image.open(picture) as image:
        assert image.size == (1200, 630) == (int(tags["og:image:width"]), int(tags["og:image:height"]))
    sitemap = ElementTree.parse(html / "sitemap.xml").getroot()
    assert [row.text for row in sitemap.iter("{http://www.sitemaps.org/schemas/sitemap/0.9}loc")] == [
        "https://example.org/book/book/intro.html",
        "https://example.org/book/notebooks/theorem-3-3.html",
    ]
    assert "Sitemap: https://example.org/book/sitemap.xml" in (html / "robots.txt").read_text(encoding="utf-8")
    front = (html / "index.html").read_text(encoding="utf-8")
    assert 'content="0; url=book/intro.html"' in front
    assert meta(front)["canonical"] == "https://example.org/book/book/intro.html"
    assert meta(front)["title"] == meta(home)["title"] == "A small book"
    assert "url" in chapter[chapter.index("cite-this-chapter") :]


def test_a_book_without_addresses(tmp_path: Path) -> None:
    result = small_book(tmp_path, "", "")
    assert result.returncode == 0, result.stdout + result.stderr
    html = tmp_path / "_build/html"
    for page in ("book/intro.html", "notebooks/theorem-3-3.html"):
        text = (html / page).read_text(encoding="utf-8")
        assert not re.search(r"mybinder|colab\.research|github\.com/(?!executablebooks/sphinx-book-theme)", text)
        tags = meta(text)
        assert not {"canonical", "og:url", "og:image"} & set(tags)
        assert {"description", "og:title", "og:description", "og:type", "og:site_name", "twitter:card"} <= set(tags)
    assert not {"sitemap.xml", "robots.txt"} & {path.name for path in html.iterdir()}
    assert not (html / "_images/cards").exists()
    chapter = (html / "notebooks/theorem-3-3.html").read_text(encoding="utf-8")
    anchors = load("book/tools/anchors.py").read(chapter)
    assert anchors == ["thm-3-3", "correction-the-remainder", "beyond-in-the-part"]
    for name in anchors:
        assert re.search(rf'class="headerlink[^"]*" href="#{name}"', chapter)
    ids = re.findall(r' id="([^"]+)"', chapter)
    assert not {name for name in ids if ids.count(name) > 1} & {*anchors, "proof-content"}
    foot = chapter[chapter.index('id="cite-this-chapter"') : chapter.index("<strong>Next</strong>")]
    assert "coevo-theorem-3-3" in foot
    assert "highlight-bibtex" in foot
    assert "http" not in re.sub(r"<[^>]+>", "", foot)


@pytest.mark.parametrize(
    ("url", "base", "fault"),
    [
        ("github.com/someone/book", "", "repository.url must be empty or https"),
        ("https://github.com/someone/book.git", "", "repository.url must be empty or https"),
        ("https://github.com/someone", "", "repository.url must be empty or https"),
        ("", "example.org", "html.baseurl must be empty or begin with https"),
    ],
)
def test_wrong_addresses_are_refused(url: str, base: str, fault: str) -> None:
    config = SimpleNamespace(html_theme_options={"repository_url": url}, html_baseurl=base)
    with pytest.raises(Exception, match=re.escape(fault)):
        load("book/_ext/sharing.py").checked_addresses(None, config)


# Descriptions and pictures.


def paragraph(*parts: str | tuple[str, str]) -> nodes.paragraph:
    """Return a paragraph of words and formulas."""
    return nodes.paragraph("", "", *(nodes.Text(p) if isinstance(p, str) else nodes.math("", p[1]) for p in parts))


def test_descriptions_have_no_tex() -> None:
    plain = load("book/_ext/sharing.py").plain_text
    assert (
        plain(paragraph("One number, ", ("math", r"\theta = S_I M/(S_T N)"), ".")) == "One number, θ = S_I M/(S_T N)."
    )
    assert plain(paragraph("It stays. But ", ("math", r"\frac12"), " goes. It ends.")) == "It stays. It ends."


def test_descriptions_end_at_a_sentence_or_a_word() -> None:
    shortened = load("book/_ext/sharing.py").shortened
    assert shortened("short") == "short"
    assert shortened("word " * 20 + "end. " + "more " * 40) == "word " * 20 + "end."
    cut = shortened("letters " * 40)
    assert cut.endswith("letters…")
    assert len(cut) <= 160
    assert len(shortened("x. " + "a" * 100 + " " + "b" * 100)) <= 160


def test_pictures_are_the_same_every_time_and_new_only_when_they_change(tmp_path: Path) -> None:
    sharing = load("book/_ext/sharing.py")
    figure = PICTURE

    def made(folder: Path, title: str = "How fast?") -> tuple[str, int]:
        path = folder / sharing.stored_card(folder, "notebooks/x", title, "Theorem 1", "A book", figure)
        return hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns

    first = made(tmp_path / "a")
    assert made(tmp_path / "a") == first
    assert made(tmp_path / "b")[0] == first[0]
    assert made(tmp_path / "a", "How slow?")[0] != first[0]
    assert [path.suffix for path in (tmp_path / "a").rglob("*.*")] == [".png"]  # nothing half-written is left


def test_pictures_show_the_figure_and_hold_long_titles() -> None:
    sharing = load("book/_ext/sharing.py")
    plain = sharing.card("T", "", "A book", None)
    with_figure = sharing.card("T", "", "A book", PICTURE)
    assert plain.size == with_figure.size == (1200, 630)
    assert plain.tobytes() != with_figure.tobytes()
    rows, face = sharing.lines("What if a very long title stands over a chapter about replacing and accumulating?", 470)
    assert " ".join(rows) == "What if a very long title stands over a chapter about replacing and accumulating?"
    assert max(face.getlength(row) for row in rows) <= 470
    assert len(rows) <= 6


def test_every_page_has_a_title_and_a_description_of_its_own(pages: Path) -> None:
    names = load("book/_ext/sharing.py").chapter_names()
    titles, texts = set(), set()
    for page in sources():
        tags = meta((pages / f"{page}.html").read_text(encoding="utf-8"))
        assert 20 <= len(tags["description"]) <= 160, page
        assert not re.search(r"[\\{}$]", tags["description"]), page
        assert tags["description"][-1] in ".?!…”)", page
        assert names.get(page, "").casefold() in tags["title"].casefold(), page
        assert {"og:title", "og:description", "og:type", "og:site_name", "twitter:card"} <= set(tags), page
        assert tags["title"].startswith(tags["og:title"]), page
        titles.add(tags["title"])
        texts.add(tags["description"])
    assert len(titles) == len(texts) == len(sources())
    for page in ("genindex", "search"):
        assert meta((pages / f"{page}.html").read_text(encoding="utf-8"))["description"]


def test_addresses_stand_on_the_pages_if_and_only_if_they_are_set(pages: Path) -> None:
    settings = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    if "COEVO_PAGES" in os.environ:
        pytest.skip("the pages of COEVO_PAGES may have been built with other settings")
    base, (url, _) = settings["html"].get("baseurl"), load("book/tools/colab.py").repository()
    for page in sources():
        text = (pages / f"{page}.html").read_text(encoding="utf-8")
        assert ({"canonical", "og:url", "og:image"} <= set(meta(text))) == bool(base), page
        assert ("https://mybinder.org" in text) == (bool(url) and page.startswith("notebooks/")), page


# Citation.


def test_citations_are_bibtex() -> None:
    citation = load("book/_ext/citation.py")
    about = {
        "title": "A & B",
        "version": "0.1.0",
        "date-released": "2026-11-22",
        "authors": [{"name": "the team of A"}, {"family-names": "Doe", "given-names": "Jo"}],
        "names": {"theorem-3-3": "Theorem 3.3"},
    }
    bibtex, line = citation.entry("theorem-3-3", "How fast?", about, "https://example.org/a_b.html")
    entries = parse_string(bibtex, "bibtex").entries
    assert list(entries) == ["coevo-theorem-3-3"]
    entry = entries["coevo-theorem-3-3"]
    assert [str(person) for person in entry.persons["author"]] == ["{the team of A}", "Doe, Jo"]
    assert dict(entry.fields) == {
        "title": "{How fast? (Theorem 3.3)}",
        "howpublished": r"In: A \& B, version 0.1.0",
        "year": "2026",
        "url": "https://example.org/a_b.html",
    }
    assert line == (
        "The team of A, Jo Doe: How fast? (Theorem 3.3). In: A & B, version 0.1.0, 2026. https://example.org/a_b.html"
    )
    del about["date-released"]
    bibtex, line = citation.entry("theorem-3-3", "Theorem 3.3 again", about, "")
    assert not {"url", "year"} & set(parse_string(bibtex, "bibtex").entries["coevo-theorem-3-3"].fields)
    assert line == "The team of A, Jo Doe: Theorem 3.3 again. In: A & B, version 0.1.0."


def test_every_chapter_says_how_to_cite_it(pages: Path) -> None:
    keys = []
    for page in sources():
        text = (pages / f"{page}.html").read_text(encoding="utf-8")
        boxes = re.findall(r'<div class="dropdown coevo-cite admonition" id="cite-this-chapter">(.*?)</div>\n</div>',
                           text, re.DOTALL)  # fmt: skip
        assert len(boxes) == page.startswith("notebooks/"), page
        for box in boxes:
            bibtex = unescape(re.sub(r"<[^>]+>", "", box[box.index("<pre>") : box.index("</pre>")]))
            keys += parse_string(bibtex, "bibtex").entries
    chapters = [page.removeprefix("notebooks/") for page in sources() if page.startswith("notebooks/")]
    assert keys == [f"coevo-{name}" for name in chapters]


def faults_of_citation(about: dict[str, Any]) -> list[str]:
    """Return what the Citation File Format 1.2.0 requires and a file lacks."""
    faults = [key for key in ("cff-version", "message", "title", "authors") if not about.get(key)]
    people = [(about, who) for who in about.get("authors", [])]
    people += [(ref, who) for ref in about.get("references", []) for who in ref.get("authors", [])]
    faults += [f"an author of {of['title']}" for of, who in people if not who.get("name", who.get("family-names"))]
    faults += [f"reference: {key}" for ref in about.get("references", []) for key in ("type", "title", "authors")
               if not ref.get(key)]  # fmt: skip
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", str(about.get("date-released", "2000-01-01"))):
        faults.append("date-released")
    return faults + ["cff-version"] * (about.get("cff-version") != "1.2.0")


def test_the_citation_file_is_valid() -> None:
    about = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert faults_of_citation(about) == []
    assert {"type", "version", "license"} <= set(about)
    assert "title" in faults_of_citation({**about, "title": ""})
    assert "date-released" in faults_of_citation({**about, "date-released": "yesterday"})
    assert f"an author of {about['title']}" in faults_of_citation({**about, "authors": [{"alias": "x"}]})


# Anchors.


@pytest.fixture(scope="module")
def found(pages: Path) -> dict[str, list[str]]:
    """Return the anchors of the built book."""
    anchors: dict[str, list[str]] = load("book/tools/anchors.py").built(pages)
    return anchors


def test_boxes_are_named_after_their_words_and_not_after_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    extension = load("book/_ext/anchors.py")
    warnings: list[str] = []
    monkeypatch.setattr(extension.LOGGER, "warning", lambda text, *words, location: warnings.append(text % words))
    titles = ["Beyond the paper", "Correction: the rate $1/M$", "Beyond the paper"]
    boxes = [nodes.admonition("", nodes.title("", title), classes=[title.split()[0].lower().strip(":")])
             for title in titles]  # fmt: skip
    page = nodes.section("", nodes.title("", "Beyond: the plane"), *boxes, ids=["beyond-the-plane"])
    extension.add_anchors(SimpleNamespace(builder=SimpleNamespace(format="html")), page, "x")
    assert [box["ids"] for box in boxes] == [
        ["beyond-in-the-plane"],
        ["correction-the-rate-1-m"],
        ["beyond-in-the-plane"],
    ]
    assert warnings == ["two boxes would be #beyond-in-the-plane: give one of them a :name:"]
    assert [box[0][-1]["refid"] for box in boxes] == [box["ids"][0] for box in boxes]


def test_every_result_has_its_anchor_on_its_page(found: dict[str, list[str]]) -> None:
    assert [result.label for result in RESULTS if result.anchor not in found.get(result.chapter, [])] == []


def test_every_box_and_figure_has_an_anchor_that_does_not_count(found: dict[str, list[str]]) -> None:
    for page, names in found.items():
        assert "" not in names, f"{page}: a figure or a box without a :name:"
        counted = [name for name in names if re.fullmatch(r"id\d+|(theorem|proposition|figure)-\d+", name)]
        assert counted == [], f"{page}: an anchor that depends on the order: give it a :name: or a :label:"
        assert len(set(names)) == len(names), page


def test_no_published_anchor_disappears(pages: Path, found: dict[str, list[str]]) -> None:
    anchors = load("book/tools/anchors.py")
    listed = json.loads(anchors.LIST.read_text(encoding="utf-8"))
    gone, new = anchors.missing(listed, found), anchors.missing(found, listed)
    assert not gone, (
        f"links from elsewhere would break: {gone}. Give the box or figure its old name (:name: or :label:), or, if "
        "nobody can have linked to it, take it out of book/_data/anchors.json"
    )
    assert not new, f"not in the list yet: {new}. Run  .venv/bin/python book/tools/anchors.py {pages}"


def test_a_lost_anchor_is_noticed() -> None:
    anchors = load("book/tools/anchors.py")
    html = ('<div class="proof theorem admonition" id="a"></div><div class="beyond admonition"></div>'
            '<figure class="align-default" id="b"></figure><figure class="coevo-chart"></figure>')  # fmt: skip
    assert anchors.read(html) == ["a", "", "b"]
    old, new = {"p": ["a", "b"], "q": ["c"]}, {"p": ["b", "d"]}
    assert anchors.missing(old, new) == ["p#a", "q#c"]
    assert anchors.merged(old, new) == {"p": ["a", "b", "d"], "q": ["c"]}


def test_anchors_of_no_book_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no pages"):
        load("book/tools/anchors.py").built(tmp_path)


# The cell for Colab.

URL, BRANCH = "https://github.com/someone/book", "main"
SOME = ["theorem-3-1", "typical-runs"]


@pytest.mark.parametrize("name", SOME)
def test_the_cell_goes_in_once_and_out_without_a_trace(name: str) -> None:
    colab = load("book/tools/colab.py")
    original = colab.with_cell((ROOT / f"notebooks/{name}.ipynb").read_text(encoding="utf-8"), "", BRANCH)
    inside = colab.with_cell(original, URL, BRANCH)
    assert inside != original
    assert colab.with_cell(inside, URL, BRANCH) == inside
    assert colab.with_cell(inside, "", BRANCH) == original
    assert colab.with_cell(original, "", BRANCH) == original
    other = colab.with_cell(inside, "https://github.com/other/name", BRANCH)
    assert other == inside.replace(URL, "https://github.com/other/name")
    notebook = nbformat.reads(inside, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert (code[0].id, code[0].metadata.tags, code[0].outputs) == ("colab", ["remove-cell"], [])
    for cell in code:
        for output in cell.outputs:
            assert output.get("execution_count", cell.execution_count) == cell.execution_count
    assert nbformat.writes(notebook) + "\n" == inside  # as execute.py stores it


def test_a_notebook_in_another_layout_is_refused() -> None:
    text = (ROOT / "notebooks/theorem-3-1.ipynb").read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="is not laid out as Jupyter stores it"):
        load("book/tools/colab.py").with_cell(json.dumps(json.loads(text)), URL, BRANCH)


def cell_source() -> str:
    source: str = load("book/tools/colab.py").SOURCE.format(url=URL, branch=BRANCH)
    return source


def test_the_cell_does_nothing_elsewhere(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: calls.append(args))
    where, path = os.getcwd(), list(sys.path)
    exec(cell_source(), {})
    assert (calls, os.getcwd(), sys.path) == ([], where, path)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("there", [False, True])
def test_the_cell_fetches_the_repository_on_colab(monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    calls: list[Any] = []
    monkeypatch.setitem(sys.modules, "google.colab", ModuleType("google.colab"))
    monkeypatch.setattr(subprocess, "run", lambda command, check: calls.append((command, check)))
    monkeypatch.setattr(os, "chdir", lambda path: calls.append(path))
    monkeypatch.setattr(os.path, "exists", lambda path: there)
    monkeypatch.setattr(sys, "path", list(sys.path))
    exec(cell_source(), {})
    clone = ["git", "clone", "--quiet", "--depth", "1", "--branch", BRANCH, URL, "/content/coevo"]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--editable", "/content/coevo", "scikit-learn>=1.8"]
    assert calls == [*([] if there else [(clone, True)]), (pip, True), "/content/coevo/notebooks"]
    assert sys.path[0] == "/content/coevo"


def test_the_command_writes_what_config_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    colab = load("book/tools/colab.py")
    (tmp_path / "notebooks").mkdir()
    for name in SOME:
        shutil.copy(ROOT / f"notebooks/{name}.ipynb", tmp_path / "notebooks")
    monkeypatch.setattr(colab, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["colab.py"])

    def run(url: str) -> tuple[int, str, list[bytes]]:
        (tmp_path / "_config.yml").write_text(f"repository: {{url: '{url}'}}\n", encoding="utf-8")
        code = colab.main()
        folder = tmp_path / "notebooks"
        assert sorted(path.name for path in folder.iterdir()) == sorted(f"{name}.ipynb" for name in SOME)
        return code, "".join(capsys.readouterr()), [path.read_bytes() for path in sorted(folder.iterdir())]

    _, _, without = run("")
    code, said, inside = run(URL)
    assert (code, said) == (0, f"2 of 2 chapters changed: each has the cell for {URL} (main)\n")
    assert run(URL)[1].startswith("0 of 2 chapters changed")
    assert all(URL.encode() in text for text in inside)
    assert run("")[2] == without
    code, said, unchanged = run("nonsense'' x")
    assert (code, unchanged) == (1, without)
    assert "repository.url must be empty or https://HOST/OWNER/NAME, got" in said


def test_the_chapters_agree_with_config() -> None:
    colab = load("book/tools/colab.py")
    url, branch = colab.repository()
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        text = path.read_text(encoding="utf-8")
        assert colab.with_cell(text, url, branch) == text, f"{path.name}: run  .venv/bin/python book/tools/colab.py"


# The weight of pages.


def weight(page: Path, root: Path) -> dict[str, int]:
    """Return the bytes of a page and of each file that it loads, without what pages share."""
    text = page.read_text(encoding="utf-8")
    parser = load("book/tools/check_links.py").Page()
    parser.feed(text)
    found = {page.name: page.stat().st_size}
    for load_ in set(parser.loads):
        target = (page.parent / load_.partition("?")[0]).resolve()
        inside = target.is_file() and target.is_relative_to(root.resolve())
        if inside and not {"_static", "searchindex.js"} & set(target.relative_to(root.resolve()).parts):
            found[target.name] = target.stat().st_size
    return found


def test_no_page_is_heavy(pages: Path) -> None:
    weights = {page: weight(pages / f"{page}.html", pages) for page in sources()}
    heavy = {page: parts for page, parts in weights.items() if sum(parts.values()) >= HEAVIEST}
    assert not heavy, f"pages of {HEAVIEST} bytes or more: {heavy}"


def test_weights_count_a_page_and_its_pictures(tmp_path: Path) -> None:
    (tmp_path / "_static").mkdir()
    for name, size in (("_static/shared.js", 9), ("searchindex.js", 9), ("own.png", 300), ("other.png", 70)):
        (tmp_path / name).write_bytes(b"x" * size)
    page = tmp_path / "page.html"
    page.write_text('<script src="_static/shared.js"></script><script src="searchindex.js"></script>'
        '<img src="own.png"><img src="own.png">'
                    '<img src="data:image/png;base64,AA==">', encoding="utf-8")  # fmt: skip
    assert weight(page, tmp_path) == {"page.html": page.stat().st_size, "own.png": 300}
