"""Keep the list of published anchors: ``python book/tools/anchors.py _build/html`` adds those of a built book.

Others link to a box or a figure by ``page.html#anchor``, so none may disappear: ``tests/test_sharing.py`` holds the
built pages against ``book/_data/anchors.json``. To take an anchor back on purpose, take it out of that file.
"""

from __future__ import annotations

import json
import sys
from html.parser import HTMLParser
from pathlib import Path

LIST = Path(__file__).resolve().parents[1] / "_data" / "anchors.json"
BOXES = {"proof", "correction", "beyond"}


class Anchors(HTMLParser):
    """The ids of the boxes and figures of a page; one that has none is empty."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a box or a figure."""
        given = dict(attrs)
        classes = set((given.get("class") or "").split())
        box = tag == "div" and "admonition" in classes and bool(classes & BOXES)
        if box or (tag == "figure" and "align-default" in classes):
            self.found.append(given.get("id") or "")


def read(html: str) -> list[str]:
    """Return the anchors of one page."""
    page = Anchors()
    page.feed(html)
    return page.found


def built(root: Path) -> dict[str, list[str]]:
    """Return page -> anchors of a built book, both sorted."""
    paths = sorted([*root.glob("book/*.html"), *root.glob("notebooks/*.html")])
    if not paths:
        raise FileNotFoundError(f"{root} holds no pages: build the book first (make book), or name its folder")
    pages = {str(path.relative_to(root).with_suffix("")): read(path.read_text(encoding="utf-8")) for path in paths}
    return {name: sorted(found) for name, found in pages.items() if found}


def merged(old: dict[str, list[str]], new: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return all anchors of two lists."""
    return {page: sorted({*old.get(page, []), *new.get(page, [])}) for page in sorted({*old, *new})}


def missing(old: dict[str, list[str]], new: dict[str, list[str]]) -> list[str]:
    """Return what is in the first list only, as page#anchor."""
    return [f"{page}#{name}" for page, names in old.items() for name in names if name not in new.get(page, [])]


def main() -> int:
    """Add the anchors of the built book named on the command line."""
    old = json.loads(LIST.read_text(encoding="utf-8")) if LIST.exists() else {}
    try:
        new = built(Path(sys.argv[1] if len(sys.argv) > 1 else "_build/html"))
    except FileNotFoundError as error:
        print(error, file=sys.stderr)
        return 1
    part = LIST.with_suffix(".part")
    part.write_text(json.dumps(merged(old, new), indent=1) + "\n", encoding="utf-8")
    part.replace(LIST)
    print("\n".join(f"added {name}" for name in missing(new, old)) or "nothing new")
    return 0


if __name__ == "__main__":
    sys.exit(main())
