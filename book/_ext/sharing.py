"""What search engines and people who share a page see: title, description, preview picture, buttons to run it.

Two addresses in ``_config.yml`` decide what can be said, and both may be empty:

* ``repository.url``: with it every chapter has buttons for Binder and Colab, every page links to the repository and
  to a new issue; without it there are none;
* ``html.baseurl``, where the book is published: with it pages name their own address, each has a preview picture,
  and ``sitemap.xml`` and ``robots.txt`` are written; without it only what needs no address is.

``sphinxext-opengraph`` and ``sphinx-sitemap`` are not used. The first takes the opening words of a page, which are
a chapter's subtitle, leaves TeX in them, gives relative addresses where none is known, and cannot put a chapter's
figure on its card; the second warns where no address is known, and lists the index and the search page.
"""

from __future__ import annotations

import hashlib
import html
import re
import unicodedata
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit
from xml.sax.saxutils import escape

import yaml
from docutils import nodes
from matplotlib import font_manager
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.errors import ConfigError

from coevo.plots import ROLES

BOOK = Path(__file__).parents[1]
MAP = BOOK / "_data" / "map.yml"
LOGO = BOOK / "_static" / "favicon.svg"
CARDS = "_images/cards"  # in the built book
SIZE = (1200, 630)
LONGEST = 160  # letters of a description
OWN_TITLES = {"genindex": "Index", "search": "Search"}  # pages whose titles stand in the theme's templates


def checked_addresses(app: Sphinx, config: Config) -> None:
    """Refuse addresses that would give broken links; show buttons only where the repository has an address."""
    options = config.html_theme_options
    repository = options.get("repository_url") or ""
    if repository and not re.fullmatch(r"https://[^/\s]+/[^/\s]+/[^/\s]+(?<!\.git)", repository):
        raise ConfigError(
            "_config.yml: repository.url must be empty or https://HOST/OWNER/NAME, without .git or a slash at the "
            f"end, got {repository!r}"
        )
    base = config.html_baseurl or ""
    if base and not re.fullmatch(r"https?://[^/\s]+(/\S*)?", base):
        raise ConfigError(f"_config.yml: html.baseurl must be empty or begin with https://, got {base!r}")
    if repository:
        options.update(use_repository_button=True, use_issues_button=True)
    else:
        options.pop("launch_buttons", None)  # the theme would look for a repository


@cache
def chapter_names() -> dict[str, str]:
    """Return page -> name of its result, such as "Theorem 3.3"."""
    chapters = yaml.safe_load(MAP.read_text(encoding="utf-8"))
    return {f"notebooks/{chapter['chapter']}": chapter["name"] for chapter in chapters}


def full_title(page: str, title: str) -> str:
    """Return the title of a page with the name of its result, unless the title says it."""
    name = chapter_names().get(page, "")
    return title if name.casefold() in title.casefold() else f"{title} · {name}"


def plain_formula(tex: str) -> str:
    """Return a short formula as a reader would type it; what is not short keeps its backslashes."""

    def symbol(match: re.Match[str]) -> str:
        try:
            return unicodedata.lookup(f"GREEK SMALL LETTER {match[1]}") + match[2]
        except KeyError:
            return match[0]

    return re.sub(r"\\([a-z]+)( ?)", symbol, tex.replace("\\,", " "))


def plain_text(node: nodes.Node) -> str:
    """Return a paragraph as plain text, without the sentences whose formulas need TeX."""
    parts = [plain_formula(leaf.astext()) if isinstance(leaf.parent, nodes.math) else leaf.astext()
             for leaf in node.findall(nodes.Text)]  # fmt: skip
    sentences = re.split(r"(?<=[.?!]) ", " ".join("".join(parts).split()))
    return " ".join(sentence for sentence in sentences if not re.search(r"[\\{}]", sentence))


def shortened(text: str) -> str:
    """Cut a text after a sentence if that leaves enough of it, otherwise after a word."""
    if len(text) <= LONGEST:
        return text
    sentences = re.match(rf".{{{LONGEST // 2},{LONGEST - 1}}}[.?!](?= )", text)
    return sentences[0] if sentences else text[:LONGEST].rpartition(" ")[0].rstrip(",;:–- ") + "…"


def description(doctree: nodes.document | None, title: str, book: str) -> str:
    """Return the first real paragraph of a page: no subtitle, which is all in italics, and no entry of a list."""
    found = [] if doctree is None else list(doctree.findall(nodes.paragraph))
    found = [p for p in found if p.children and not isinstance(p.parent, nodes.citation | nodes.list_item)]
    found.sort(key=lambda paragraph: not isinstance(paragraph.parent, nodes.section))  # boxes and tables come last
    for paragraph in found:
        text = plain_text(paragraph)
        if len(text) >= 40 and (len(paragraph) > 1 or not isinstance(paragraph[0], nodes.emphasis)):
            return shortened(text)
    return shortened(f"{title}: a page of the book “{book}”.")


@cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return the figures' own typeface, which comes with matplotlib."""
    weight = "bold" if bold else "normal"
    return ImageFont.truetype(font_manager.findfont(f"DejaVu Sans:weight={weight}"), size)


@cache
def logo(width: int) -> Image.Image:
    """Draw the logo's curves, whose paths are made of straight pieces."""
    figure = Figure(figsize=(1, 1))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, 64), ylim=(64, 0))
    axes.axis("off")
    for tag in re.findall(r"<path[^>]*>", LOGO.read_text(encoding="utf-8")):
        given = dict(re.findall(r'([\w-]+)="([^"]*)"', tag))
        path = re.sub(r"([\d.]+)H([\d.]+)", r"\1 \2 \1", given["d"])
        x, y = zip(*re.findall(r"([\d.]+) ([\d.]+)", path), strict=True)
        thick = float(given["stroke-width"])
        dashes = [float(part) / thick for part in given.get("stroke-dasharray", "").split()]
        (line,) = axes.plot([float(v) for v in x], [float(v) for v in y], color=given["stroke"], lw=thick * 72 / 64)
        line.set(solid_capstyle="round", dash_capstyle="round", linestyle=(0, dashes) if dashes else "-")
    picture = BytesIO()
    figure.savefig(picture, format="png", dpi=width)
    return Image.open(picture).convert("RGB")


def lines(text: str, width: int) -> tuple[list[str], ImageFont.FreeTypeFont]:
    """Break a title into lines in the largest letters with which it stands in four of them."""
    for size in range(66, 30, -2):
        face = font(size, bold=True)
        rows: list[str] = []
        for word in text.split():
            longer = f"{rows[-1]} {word}" if rows else word
            if rows and face.getlength(longer) <= width:
                rows[-1] = longer
            else:
                rows.append(word)
        if len(rows) <= 4 and max(face.getlength(row) for row in rows) <= width:
            break
    return rows, face


def card(title: str, name: str, book: str, figure: Path | None) -> Image.Image:
    """Draw the preview picture of a page: its title, the name of its result, and its first figure or the logo."""
    image = Image.new("RGB", SIZE, "white")
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, 16, SIZE[1]), fill=ROLES["text"])
    draw.rectangle((16, 0, 24, SIZE[1]), fill=ROLES["image"])
    if figure is None:
        shown = logo(440)
    else:
        with Image.open(figure) as stored:
            shown = Image.alpha_composite(Image.new("RGBA", stored.size, "white"), stored.convert("RGBA"))
        shown = shown.convert("RGB")
        scale = min(610 / shown.width, 550 / shown.height)
        shown = shown.resize((round(shown.width * scale), round(shown.height * scale)), Image.Resampling.LANCZOS)
    image.paste(shown, (SIZE[0] - 24 - (610 + shown.width) // 2, (SIZE[1] - shown.height) // 2))
    if name:
        draw.text((64, 64), name, fill=ROLES["image"], font=font(36, bold=True), anchor="ls")
    rows, face = lines(title, 470)
    top = SIZE[1] / 2 - face.size * 1.2 * len(rows) / 2
    for number, row in enumerate(rows):
        draw.text((64, top + face.size * 1.2 * (number + 0.8)), row, fill=ROLES["bound"], font=face, anchor="ls")
    if figure is not None:
        image.paste(logo(64), (60, 536))
    if title != book:
        draw.text((64 if figure is None else 138, 590), book, fill="#444444", font=font(24), anchor="ls")
    return image


def stored_card(folder: Path, page: str, title: str, name: str, book: str, figure: Path | None) -> str:
    """Return the path of a page's preview picture in the built book; draw it if what it shows has changed."""
    parts = [Path(__file__).read_bytes(), LOGO.read_bytes(), *(word.encode() for word in (title, name, book))]
    digest = hashlib.sha256(b"\0".join([*parts, figure.read_bytes() if figure else b""])).hexdigest()
    target = folder / CARDS / f"{page.replace('/', '-')}.png"
    if target.exists():
        with Image.open(target) as old:
            if old.info.get("digest") == digest:
                return f"{CARDS}/{target.name}"
    about = PngImagePlugin.PngInfo()
    about.add_text("digest", digest)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(".part")
    card(title, name, book, figure).quantize(128).save(part, format="PNG", pnginfo=about)
    part.replace(target)
    return f"{CARDS}/{target.name}"


def first_figure(app: Sphinx, doctree: nodes.document | None) -> Path | None:
    """Return the file of a page's first figure, if it has one."""
    # The writer has put the names of the copies in the nodes, and the copies are made after the last page.
    files = {name: Path(app.srcdir, source) for source, name in app.builder.images.items()}
    for image in [] if doctree is None else doctree.findall(nodes.image):
        path = files.get(Path(image["uri"]).name)
        if path is not None and path.suffix == ".png":
            return path
    return None


def address(app: Sphinx, path: str) -> str:
    """Return the absolute address of a file of the built book."""
    return f"{app.config.html_baseurl.rstrip('/')}/{quote(path)}"


def tag(kind: str, key: str, value: str) -> str:
    """Return one meta element."""
    return f'<meta {kind}="{key}" content="{html.escape(value)}" />'


def add_tags(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """Give a page its title and the tags that search engines and previews read."""
    if app.builder.format != "html":
        return
    book = app.config.html_title
    title = html.unescape(re.sub(r"<[^>]+>", "", context.get("title", ""))) or OWN_TITLES.get(page, book)
    full = full_title(page, title)
    text = description(doctree, title, book)
    tags = [
        tag("name", "description", text),
        tag("property", "og:title", full),
        tag("property", "og:description", text),
        tag("property", "og:type", "website" if page == app.config.root_doc else "article"),
        tag("property", "og:site_name", book),
    ]
    if app.config.html_baseurl and doctree is not None:
        name = full.removeprefix(title).removeprefix(" · ")
        picture = stored_card(Path(app.outdir), page, title, name, book, first_figure(app, doctree))
        tags += [
            tag("property", "og:url", address(app, app.builder.get_target_uri(page))),
            tag("property", "og:image", address(app, picture)),
            *(tag("property", f"og:image:{k}", str(v)) for k, v in zip(("width", "height"), SIZE, strict=True)),
            tag("property", "og:image:alt", f"{full}, a page of the book “{book}”"),
            tag("name", "twitter:card", "summary_large_image"),
        ]
    else:
        tags.append(tag("name", "twitter:card", "summary"))
    context["metatags"] = context.get("metatags", "") + "\n    ".join(["", *tags, ""])
    if "title" in context:
        context["title"] = html.escape(full, quote=False)
    if full == book:
        context["docstitle"] = ""  # the home page is called like the book: once is enough


def write_addresses(app: Sphinx, exception: Exception | None) -> None:
    """Write the files that list the pages, and the page at the book's own address, which leads to the first one."""
    if exception is not None or app.builder.format != "html":
        return
    root, out = app.config.root_doc, Path(app.outdir)
    if app.config.html_baseurl:
        pages = sorted(app.env.found_docs, key=lambda page: (page != root, page))
        found = [address(app, app.builder.get_target_uri(page)) for page in pages]
        rows = "".join(f"  <url><loc>{escape(where)}</loc></url>\n" for where in found)
        out.joinpath("sitemap.xml").write_text(
            '<?xml version="1.0" encoding="utf-8"?>\n'
            f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n{rows}</urlset>\n',
            encoding="utf-8",
        )
        path = urlsplit(address(app, "")).path
        robots = f"User-agent: *\nAllow: {path}\n\nSitemap: {address(app, 'sitemap.xml')}\n"
        out.joinpath("robots.txt").write_text(robots, encoding="utf-8")
    if root != "index":
        # The table of contents' extension would write a page without a title, and no preview follows its redirect.
        first = app.builder.get_target_uri(root)
        head = re.search(r"<head>.*?</head>", (out / first).read_text(encoding="utf-8"), re.DOTALL)
        kept = re.findall(r'<title>.*?</title>|<meta (?:name|property)="(?:description|og:|twitter:)[^>]*>'
                          r'|<link rel="canonical"[^>]*>', head[0] if head else "")  # fmt: skip
        out.joinpath("index.html").write_text(
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8" />\n'
            f'<meta http-equiv="Refresh" content="0; url={first}" />\n' + "\n".join(kept) + "\n</head>\n"
            f'<body><a href="{first}">{html.escape(app.config.html_title)}</a></body>\n</html>\n',
            encoding="utf-8",
        )


def setup(app: Sphinx) -> dict[str, Any]:
    """Read the addresses before the theme does; write the redirect before the table of contents' extension."""
    app.connect("config-inited", checked_addresses)
    app.connect("html-page-context", add_tags)
    app.connect("build-finished", write_addresses, priority=400)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
