"""How long a live slider takes from a move to the picture, in every chapter that has one.

Each chapter runs in a kernel, up to its sliders, as `book/tools/execute.py` runs it. Then one more cell moves the first
slider away and back, and times the move back to the setting where it started: simulate afresh, draw, write the PNG.
What is held against the limit is processor time: other programs make a move wait, and that is no fault of the chapter.
They also slow it down through shared caches, and for that the limit leaves half as much again. What the browser adds is
in `tests/test_lab.py`. Run with `make bench`.
"""

import inspect
import json
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
LIMIT = 150.0  # ms: what follows a dragged hand
BUSY = 1.5


def shows_sliders(cell):
    """Whether a cell ends in the chapter's sliders."""
    return cell["cell_type"] == "code" and "".join(cell["source"]).endswith("\nexplorer")


def chapters():
    """Return the notebooks that have sliders."""
    found = sorted(NOTEBOOKS.glob("*.ipynb"))
    return [path for path in found if any(map(shows_sliders, json.loads(path.read_text("utf-8"))["cells"]))]


def measure(explorer, moves=9):
    """Milliseconds of the fastest move back to the first setting, whole and in parts; this runs in the kernel."""
    import time

    from coevo.explore import Explorer
    from coevo.plots import Plate

    spent = {"simulate": 0.0}  # a chart of formulas draws nothing at random: its stored curves will do

    def timed(name, call):
        def run(*given, **named):
            start = time.process_time()
            result = call(*given, **named)
            spent[name] = 1e3 * (time.process_time() - start)
            return result

        return run

    slider = explorer.widget().children[0]
    Explorer._simulate = timed("simulate", Explorer._simulate)
    Explorer._paint = timed("draw", Explorer._paint)
    Plate.png = timed("PNG", Plate.png)
    first = slider.index
    rows = []
    for _ in range(moves):
        slider.index = first - 1 if first else 1
        start = time.perf_counter()
        timed("move", setattr)(slider, "index", first)
        rows.append({**spent, "waited": 1e3 * (time.perf_counter() - start)})
    fastest = min(rows, key=lambda row: row["move"])  # what the machine can do when it is left alone
    return {name: round(value, 1) for name, value in fastest.items()}


def run(path):
    """Run a chapter up to its sliders, and measure them."""
    notebook = nbformat.read(path, as_version=4)
    last = next(i for i, cell in enumerate(notebook.cells) if shows_sliders(cell))
    call = f"import json\n{inspect.getsource(measure)}\nprint(json.dumps(measure(explorer)))"
    notebook.cells = [*notebook.cells[: last + 1], nbformat.v4.new_code_cell(call)]
    resources = {"metadata": {"path": str(path.parent)}}
    client = NotebookClient(notebook, timeout=600, resources=resources, extra_arguments=["--log-level=ERROR"])
    client.execute()
    return json.loads(notebook.cells[-1].outputs[-1].text)


def check(name, ms):
    """Return a line of the table, or fail with it."""
    parts = " + ".join(f"{part} {ms[part]:5.1f}" for part in ("simulate", "draw", "PNG"))
    line = f"{name:24s} {ms['move']:6.1f} ms, of it {parts}; {ms['waited']:6.1f} ms by the clock"
    assert ms["move"] < BUSY * LIMIT, line
    return line


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """One thread in the kernel, as in `make notebooks`."""
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(variable, "1")


@pytest.mark.parametrize("path", chapters(), ids=lambda path: path.stem)
def test_a_move_is_quick(path, benchmark, capsys):
    """What the table of the benchmark calls its time is that of the whole chapter."""
    ms = benchmark.pedantic(run, (path,), rounds=1)
    line = check(path.stem, ms)
    with capsys.disabled():
        print(f"\n{line}{'' if ms['move'] < LIMIT else '  (over the limit, but the machine is busy)'}", end="")


SLOW = """
import time
import numpy as np
from coevo.explore import Control, Curves, explore

def compute(M, *, rng=None):
    end = time.process_time() + (0 if rng is None else 0.3)
    while time.process_time() < end: pass
    return Curves(np.arange(3.0), np.ones(3) / M, np.zeros(3))

explorer = explore(compute, [Control("M", "images M", (1, 2), 1)], x_label="t", y_label="D", title="Slow", alt="Slow.")
explorer"""


def test_a_slow_slider_is_found(tmp_path, benchmark):
    """A chapter that simulates for 0.3 s fails."""
    path = tmp_path / "slow.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(SLOW)]), path)
    ms = benchmark.pedantic(run, (path,), rounds=1)
    assert ms["simulate"] == pytest.approx(300, rel=0.1)
    with pytest.raises(AssertionError, match=r"slow +3\d\d\.\d ms, of it simulate 3"):
        check("slow", ms)


def test_every_chapter_with_sliders_is_measured(benchmark):
    """All but those whose chart is a film."""
    films = {"typical-runs", "language-network"}
    found = benchmark.pedantic(chapters, rounds=1)
    assert {path.stem for path in NOTEBOOKS.glob("*.ipynb")} - {path.stem for path in found} == films
