"""Run the chapters in place: ``python book/tools/execute.py [--workers 2] [notebooks/name.ipynb ...]``.

Without names every chapter of ``_toc.yml`` runs. What differs from run to run without meaning anything (time
stamps, live widgets, the kernel's version) is taken out, so a second run leaves every notebook byte for byte
as it was. The run times, versions and machine go to ``book/_data/runs.json`` for the status page.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any

import nbformat
import yaml
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).resolve().parents[2]
RUNS = ROOT / "book" / "_data" / "runs.json"
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
LANGUAGE = {"name": "python", "pygments_lexer": "ipython3"}
PACKAGES = (
    "numpy",
    "scipy",
    "mpmath",
    "matplotlib",
    "seaborn",
    "scikit-learn",
    "ipywidgets",
    "jupyter-book",
    "sphinx-proof",
)


def chapters() -> list[str]:
    """Return the notebooks of the table of contents, without suffix, in reading order."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))

    def files(node: Any) -> list[str]:
        if isinstance(node, list):
            return [name for item in node for name in files(item)]
        if isinstance(node, dict):
            here = [node["file"]] if "file" in node else []
            return here + [name for key in ("parts", "chapters", "sections") for name in files(node.get(key))]
        return []

    return [name for name in files(toc) if name.startswith("notebooks/")]


def normalise(notebook: Any) -> Any:
    """Remove what changes between equal runs; change the notebook in place and return it."""
    extra = {
        key: value for key, value in notebook.metadata.items() if key not in {"widgets", "kernelspec", "language_info"}
    }
    notebook.metadata = nbformat.from_dict({**extra, "kernelspec": KERNEL, "language_info": LANGUAGE})
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type != "code":
            continue
        outputs: list[Any] = []
        for output in cell.outputs:
            if "data" in output:
                output.data.pop(WIDGET_VIEW, None)
                if not output.data:
                    continue
            last = outputs[-1] if outputs else None
            if output.output_type == "stream" and last is not None and last.get("name") == output.name:
                last.text += output.text  # how a stream is cut into messages depends on timing
            else:
                outputs.append(output)
        cell.outputs = outputs
    return notebook


def run(path: Path) -> float:
    """Run one notebook and store it; return the seconds it took. A failing notebook is left as it was."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        extra_arguments=["--log-level=ERROR"],
    )
    start = time.perf_counter()
    client.execute()
    seconds = time.perf_counter() - start
    nbformat.write(normalise(notebook), path)
    return seconds


def record(seconds: dict[str, float]) -> None:
    """Write the run times (keeping those of chapters that did not run), versions and machine."""
    old = json.loads(RUNS.read_text(encoding="utf-8"))["chapters"] if RUNS.exists() else {}
    merged = {**old, **{name: round(value, 1) for name, value in seconds.items()}}
    data = {
        "chapters": {name: merged[name] for name in chapters() if name in merged},
        "machine": {
            "python": platform.python_version(),
            "platform": f"{platform.system()} {platform.machine()}",
            "cpus": os.cpu_count(),
        },
        "versions": {package: metadata.version(package) for package in PACKAGES},
    }
    RUNS.parent.mkdir(parents=True, exist_ok=True)
    RUNS.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def main() -> int:
    """Run what the command line asks for; return 1 if a chapter failed."""
    parser = argparse.ArgumentParser(description="Run chapters in place.")
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: every chapter of _toc.yml")
    parser.add_argument("--workers", type=int, default=2, help="chapters run at the same time (default 2)")
    arguments = parser.parse_args()
    names = [str(p.resolve().relative_to(ROOT).with_suffix("")) for p in arguments.notebooks] or chapters()
    # One thread per kernel, so neither speed nor the last digits depend on the number of cores.
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    done: dict[str, float] = {}
    failed = False
    with ThreadPoolExecutor(arguments.workers) as pool:
        futures = {name: pool.submit(run, ROOT / f"{name}.ipynb") for name in names}
        for name, future in futures.items():
            try:
                done[name] = future.result()
            except CellExecutionError as error:
                failed = True
                print(f"{name}: failed, file left as it was\n{error}", file=sys.stderr)
            else:
                print(f"{name}: {done[name]:.1f} s", flush=True)
    if done:
        record(done)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
