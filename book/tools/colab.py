"""Make the chapters run on Colab: ``python book/tools/colab.py [notebooks/name.ipynb ...]``.

Colab opens a notebook alone: it has no ``coevo`` and none of the stored data. If ``repository.url`` in ``_config.yml``
is set, every chapter gets one more code cell, before its first, that fetches both when it runs on Colab and does
nothing elsewhere; if it is not, the cell is taken out. Run this after a change of ``repository`` in ``_config.yml``.
Nothing else in a file changes but the numbers of the code cells after it, so the stored outputs stay valid.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
CELL = "colab"  # the id of the cell
SOURCE = """\
import sys

if "google.colab" in sys.modules:  # Colab opens a notebook alone: fetch the package and its data
    import os
    import subprocess

    root = "/content/coevo"
    if not os.path.exists(root):
        subprocess.run(["git", "clone", "--quiet", "--depth", "1", "--branch", "{branch}", "{url}", root], check=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "--editable", root, "scikit-learn>=1.8"], check=True)
    sys.path.insert(0, root)
    os.chdir(f"{{root}}/notebooks")"""


def stored(notebook: dict[str, Any]) -> str:
    """Return the text of a notebook as Jupyter writes it."""
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def colab_cell(url: str, branch: str) -> dict[str, Any]:
    """Return the cell, run and without output."""
    return {
        "cell_type": "code",
        "execution_count": 1,
        "id": CELL,
        "metadata": {"tags": ["remove-cell"]},
        "outputs": [],
        "source": SOURCE.format(url=url, branch=branch).splitlines(keepends=True),
    }


def with_cell(text: str, url: str, branch: str) -> str:
    """Return a notebook's text with the cell for an address, or without it if `url` is empty."""
    notebook = json.loads(text)
    if stored(notebook) != text:
        raise ValueError("is not laid out as Jupyter stores it: run book/tools/execute.py on it first")
    had = len(notebook["cells"])
    cells = [cell for cell in notebook["cells"] if cell.get("id") != CELL]
    shift = len(cells) - had
    if url:
        first = next((place for place, cell in enumerate(cells) if cell["cell_type"] == "code"), len(cells))
        shift += 1
    for cell in cells:
        if cell["cell_type"] == "code":
            for counted in (cell, *cell["outputs"]):
                if counted.get("execution_count") is not None:
                    counted["execution_count"] += shift
    if url:
        cells.insert(first, colab_cell(url, branch))
    notebook["cells"] = cells
    return stored(notebook)


def repository() -> tuple[str, str]:
    """Return the address of the repository, empty if there is none, and its branch."""
    settings = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8")).get("repository") or {}
    url, branch = settings.get("url") or "", settings.get("branch") or "main"
    if not re.fullmatch(r"(https://[\w.-]+/[\w.-]+/[\w.-]+)?", url):
        raise ValueError(f"repository.url must be empty or https://HOST/OWNER/NAME, got {url!r}")
    if not re.fullmatch(r"[\w./-]+", branch):
        raise ValueError(f"repository.branch must be the name of a branch, got {branch!r}")
    return url, branch


def main() -> int:
    """Bring the notebooks named on the command line, or all, into line with _config.yml."""
    parser = argparse.ArgumentParser(description="Put the cell for Colab in the chapters, or take it out.")
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: every chapter")
    paths = parser.parse_args().notebooks or sorted((ROOT / "notebooks").glob("*.ipynb"))
    try:
        url, branch = repository()
    except ValueError as error:
        print(f"_config.yml: {error}", file=sys.stderr)
        return 1
    changed = 0
    for path in paths:
        old = path.read_text(encoding="utf-8")
        try:
            new = with_cell(old, url, branch)
        except ValueError as error:
            print(f"{path}: {error}", file=sys.stderr)
            return 1
        if new != old:
            part = path.with_suffix(".part")
            part.write_text(new, encoding="utf-8", newline="\n")
            part.replace(path)
            changed += 1
    what = f"the cell for {url} ({branch})" if url else "no cell for Colab, as repository.url is empty"
    print(f"{changed} of {len(paths)} chapters changed: each has {what}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
