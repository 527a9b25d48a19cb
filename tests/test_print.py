"""The paper edition: one document from the built pages, and a small book printed by Chromium."""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import browser
import print_book as book
import pytest
import yaml
from bs4 import BeautifulSoup

ROOT = Path(__file__).parents[1]
TOC = {
    "root": "book/intro",
    "parts": [{"caption": "One", "chapters": [{"file": "notebooks/b"}, {"file": "notebooks/a"}]}],
}
WANTED = ["book-intro", "notebooks-b", "notebooks-a"]
CHART = (
    '<figure class="coevo-chart" aria-label="a line"><div class="coevo-chart-view"></div>'
    '<script type="application/json" class="coevo-chart-spec">'
    '{"data": {"values": [{"x": 0, "y": 0}, {"x": 1, "y": 2}]}, "mark": "line", "width": 300, '
    '"usermeta": {"controls": [{"param": "k", "label": "spread", "values": ["0.1", "0.5", "2"]}]}, "params": '
    '[{"name": "k", "value": 1, "bind": {"input": "range", "min": 0, "max": 2, "step": 1}}], "encoding": '
    '{"x": {"field": "x", "type": "quantitative"}, "y": {"field": "y", "type": "quantitative"}}}'
    "</script></figure>"
)
PAGES = {
    "book/intro": '<h1>Title<a class="headerlink" href="#s">#</a></h1>'
    '<p>See <a href="../notebooks/a.html#s">the end</a> and <a href="https://arxiv.org/abs/2503.08117">a paper</a>.</p>'
    '<svg aria-labelledby="s"><title id="s">Map</title><path marker-end="url(#s)"/>'
    '<a href="../notebooks/b.html"><text y="9">B</text></a></svg>',
    "notebooks/b": '<h1 id="s">Bees</h1><div class="dropdown admonition"><p class="admonition-title">Proof</p>'
    '<p>Because <span class="math">\\(a^2 &gt; 0\\)</span>.</p></div>'
    '<div class="cell"><details class="hide"><summary>Show code</summary><div class="cell_input"><pre>folded = 1</pre>'
    f'</div></details><div class="cell_output">{CHART}</div></div>'
    '<div class="cell"><details class="hide"><summary>Show</summary><div class="cell_input">gone</div></details></div>'
    '<details class="hide"><summary>Show output</summary><div class="cell_output">a long answer</div></details>'
    '<pre><span></span><span class="k">def</span> <span class="nf">f</span>():\n'
    '    <span class="k">return</span> 1\n</pre>',
    "notebooks/a": '<h1>Ants</h1><p id="s">Back to <a href="b.html">bees</a>, <a href="#s">here</a>.</p>'
    '<p id="s">The second of its name.</p>',
}


def build(folder: Path, **changes: str) -> Path:
    """Write a small built book; the keywords replace a page's text."""
    for page, text in PAGES.items():
        path = folder / f"{page}.html"
        path.parent.mkdir(parents=True, exist_ok=True)
        text = changes.get(path.stem, text)
        path.write_text(f'<nav>chrome</nav><article class="bd-article"><section>{text}</section></article>', "utf-8")
    (folder / "_static").symlink_to(ROOT / "book/_static")
    return folder


@pytest.fixture
def document(tmp_path: Path) -> BeautifulSoup:
    return BeautifulSoup(book.assemble(build(tmp_path), TOC, "A <book>", "us"), "html.parser")


def test_chapters_follow_the_table_of_contents(document: BeautifulSoup) -> None:
    assert [tag["id"] for tag in document.select("section.chapter")] == WANTED
    assert [tag["data-page-of"] for tag in document.select("nav [data-page-of]")] == WANTED
    headings = [(tag.name, tag.get_text()) for tag in document.find_all(["h1", "h2"])]
    assert headings == [
        ("h1", "A <book>"), ("h2", "Contents"), ("h2", "Introduction"), ("h1", "One"), ("h2", "Bees"), ("h2", "Ants"),
    ]  # fmt: skip
    assert "chrome" not in document.get_text()
    real = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    pages = [page for _, names in book.chapters(real) for page in names]
    assert pages[0] == real["root"]
    assert len(pages) == 1 + sum(len(part["chapters"]) for part in real["parts"])


def test_ids_are_unique_and_every_link_inside_has_its_target(document: BeautifulSoup) -> None:
    ids = [tag["id"] for tag in document.find_all(id=True)]
    assert len(set(ids)) == len(ids)
    links = [str(tag["href"]) for tag in document.select("main a")]
    assert links == [
        "#notebooks-a--s", "https://arxiv.org/abs/2503.08117", "#notebooks-b", "#notebooks-b", "#notebooks-a--s",
    ]  # fmt: skip
    assert {link[1:] for link in links if link[0] == "#"} <= set(ids)
    svg = document.select_one("main svg")
    assert svg is not None
    assert svg["aria-labelledby"] == "book-intro--s"
    assert 'marker-end="url(#book-intro--s)"' in str(svg)


def test_what_the_screen_folds_is_open_and_its_code_is_gone(document: BeautifulSoup) -> None:
    text = document.get_text()
    assert not document.select("details, summary, .dropdown, .headerlink")
    assert "Because" in text
    assert "a long answer" in text
    assert "folded" not in text
    assert "gone" not in text
    assert len(document.select(".cell")) == 1
    assert len(document.select(".cell .coevo-chart-spec")) == 1
    assert document.select_one(".math")["aria-label"] == "a^2 > 0"  # type: ignore[index]


def test_lines_of_code_keep_their_indentation(document: BeautifulSoup) -> None:
    lines = document.select("pre .line")
    assert [line.get_text() for line in lines] == ["def f():", "    return 1"]
    assert [line["style"] for line in lines] == ["--indent:4ch", "--indent:8ch"]
    assert [mark.get_text() for mark in document.select("pre .line span")] == ["def", "return"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"a": '<h1>A</h1><a href="b.html#nowhere">x</a>'}, "links without a target: .*#notebooks-b--nowhere"),
        ({"a": '<h1>A</h1><a href="c.html">x</a>'}, "notebooks/a: c.html leads to no page of the book"),
        ({"a": '<h1>A</h1><a href="../../../../x.html">x</a>'}, "leads to no page of the book"),
        ({"b": "<p>no heading</p>"}, "notebooks/b has no heading"),
    ],
)
def test_a_faulty_book_is_refused(tmp_path: Path, changes: dict[str, str], message: str) -> None:
    with pytest.raises(book.PrintError, match=message):
        book.assemble(build(tmp_path, **changes), TOC, "t", "a")


def test_faults_of_the_whole_are_found(tmp_path: Path) -> None:
    with pytest.raises(book.PrintError, match="twice: x"):
        book.check_links(["x", "y", "x"], [])
    book.check_links(["x", "y"], ["#x", "https://elsewhere"])
    with pytest.raises(book.PrintError, match="build the pages first"):
        book.assemble(tmp_path, TOC, "t", "a")
    (tmp_path / "book").mkdir()
    (tmp_path / "book/intro.html").write_text("<p>another book</p>", encoding="utf-8")
    with pytest.raises(book.PrintError, match="was not built by this book"):
        book.assemble(tmp_path, TOC, "t", "a")


def test_without_chromium_there_is_one_message_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CHROMIUM", "/nowhere/chromium")
    with pytest.raises(browser.NoBrowserError, match="CHROMIUM=/nowhere/chromium is no program"):
        browser.program()
    monkeypatch.setenv("CHROMIUM", "")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(book, "assemble", lambda *_: "<p>book</p>")
    monkeypatch.setattr(sys, "argv", ["print_book.py", str(tmp_path), str(tmp_path / "out/book.pdf")])
    assert book.main() == 1
    assert capsys.readouterr().err.startswith("Chromium was not found: none of chromium,")
    assert list((tmp_path / "out").iterdir()) == []


def printed(folder: Path, **changes: str) -> Any:
    """Print the small book, or skip where that cannot be done; return pypdf's reader."""
    pypdf = pytest.importorskip("pypdf", reason="pypdf is not installed")
    try:
        browser.program()
    except browser.NoBrowserError as error:
        pytest.skip(str(error))
    html = build(folder, **changes)
    path = folder / "book.html"
    path.write_text(book.assemble(html, TOC, "A book", "us"), encoding="utf-8")
    return pypdf.PdfReader(BytesIO(book.finish(book.print_document(path, WANTED), "A book", "us")))


@pytest.mark.slow
def test_a_small_book_is_printed_with_outline_links_and_page_numbers(tmp_path: Path) -> None:
    reader = printed(tmp_path)
    assert len(reader.pages) == 5  # title, contents, three chapters

    def titles(outline: Any) -> list[Any]:
        return [titles(item) if isinstance(item, list) else item.title for item in outline]

    assert titles(reader.outline) == ["A book", ["Contents", "Introduction"], "One", ["Bees", "Ants"]]
    texts = [" ".join(page.extract_text().split()) for page in reader.pages]
    assert "Introduction 3" in texts[1]
    assert "Bees 4" in texts[1]
    assert "Ants 5" in texts[1]
    assert "spread: 0.5. This chart moves in the web edition." in texts[3]
    assert texts[4].startswith("One · Ants 5")  # head and foot of the page
    links = [note.get_object() for page in reader.pages for note in page.get("/Annots", [])]
    inside = {str(link["/Dest"]).removeprefix("/") for link in links if "/Dest" in link}
    outside = {link["/A"]["/URI"] for link in links if "/A" in link}
    assert inside == {*WANTED, "notebooks-a--s"}
    assert inside <= {name.removeprefix("/") for name in reader.named_destinations}
    assert outside == {"https://arxiv.org/abs/2503.08117"}
    assert (reader.metadata.title, reader.metadata.author) == ("A book", "us")
    assert reader.root_object["/Lang"] == "en"
    assert reader.root_object["/MarkInfo"]["/Marked"]
    assert reader.metadata.creation_date is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('<h1>B</h1><span class="math">\\(\\left(1\\)</span>', r"formula: \\left\(1"),
        ('<h1>B</h1><span class="math">\\(\\frac{1\\)</span>', r"formula: \\frac\{1"),
        (f"<h1>B</h1>{CHART.replace('quantitative', 'quantity').replace('line', 'lime')}", "chart: a lime"),
        ('<h1>B</h1><img src="missing.png">', "picture: file://.*missing.png"),
        ('<h1>B</h1><table><tr><td><div style="width: 3000px">x</div></td></tr></table>', "wider than the page"),
    ],
)
def test_what_cannot_be_shown_is_not_printed(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(book.PrintError, match=message):
        printed(tmp_path, b=text)


@pytest.mark.slow
def test_a_chapter_that_is_nowhere_in_the_print_is_noticed(tmp_path: Path) -> None:
    out = BytesIO()
    writer = pytest.importorskip("pypdf").PdfWriter(clone_from=printed(tmp_path))
    writer.write(out)
    assert book.page_numbers(out.getvalue(), WANTED) == dict(zip(WANTED, (3, 4, 5), strict=True))
    with pytest.raises(book.PrintError, match="where these are: notebooks-c"):
        book.page_numbers(out.getvalue(), [*WANTED, "notebooks-c"])
