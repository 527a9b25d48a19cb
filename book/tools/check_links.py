"""Check a built book: ``python book/tools/check_links.py _build/html``.

Every link, anchor, image, script and style sheet inside the book must exist, and no page may load anything
from another host. Ordinary links to other hosts are allowed and not followed. Standard library only.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADS = {  # tag -> attribute whose target the browser fetches by itself
    "audio": "src", "embed": "src", "iframe": "src", "img": "src", "input": "src", "object": "data",
    "script": "src", "source": "src", "track": "src", "video": "src",
}  # fmt: skip
PASSIVE_LINKS = {"canonical", "author", "license", "next", "prev", "search", "index", "alternate", "up"}
EXTERNAL_IN_CSS = re.compile(r"""(?:url\(\s*|@import\s+)['"]?((?:https?:)?//[^'")\s;]+)""")


@dataclass
class Page(HTMLParser):
    """The ids, links and loaded files of one page."""

    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    _in_style: bool = False

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect what one tag defines and points to."""
        attributes = {name: value or "" for name, value in attrs}
        self._in_style = tag == "style"
        for name in ("id", "name") if tag == "a" else ("id",):
            if attributes.get(name):
                self.ids.add(attributes[name])
        if tag == "a" and "href" in attributes:
            self.links.append(attributes["href"])
        if tag == "link" and "href" in attributes and not PASSIVE_LINKS & set(attributes.get("rel", "").split()):
            self.loads.append(attributes["href"])
        if tag in LOADS and attributes.get(LOADS[tag]):
            self.loads.append(attributes[LOADS[tag]])
        self.loads += [part.split()[0] for part in attributes.get("srcset", "").split(",") if part.strip()]
        self.loads += EXTERNAL_IN_CSS.findall(attributes.get("style", ""))

    def handle_data(self, data: str) -> None:
        """Collect addresses in a style element."""
        if self._in_style:
            self.loads += EXTERNAL_IN_CSS.findall(data)


def is_external(address: str) -> bool:
    """Tell whether an address names another host."""
    return bool(urlsplit(address).netloc)


def check(root: Path) -> tuple[list[str], int]:
    """Return the faults of a built book and the number of addresses checked."""
    pages: dict[Path, Page] = {}
    for path in sorted(root.rglob("*.html")):
        if "_static" in path.relative_to(root).parts:
            continue
        pages[path] = Page()
        pages[path].feed(path.read_text(encoding="utf-8"))
    faults: list[str] = []
    count = 0
    for path, page in pages.items():
        where = path.relative_to(root)
        for address in [*page.links, *page.loads]:
            parts = urlsplit(address)
            if is_external(address) or parts.scheme:
                if address in page.loads and parts.scheme != "data":
                    faults.append(f"{where}: loads {address} from another host")
                continue
            count += 1
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            if not target.exists():
                faults.append(f"{where}: {address} does not exist")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids:
                faults.append(f"{where}: {address} has no such anchor")
    for style in sorted(root.rglob("*.css")):
        for address in EXTERNAL_IN_CSS.findall(style.read_text(encoding="utf-8")):
            faults.append(f"{style.relative_to(root)}: loads {address} from another host")
    if not pages:
        faults.append(f"{root}: no page found")
    return faults, count


def main() -> int:
    """Check the book named on the command line; return 1 if it has faults."""
    root = Path(sys.argv[1] if len(sys.argv) > 1 else "_build/html").resolve()
    faults, count = check(root)
    print("\n".join(faults) if faults else f"{count} internal links, anchors and files: all there, nothing external")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
