"""The sliders of a chapter in a real JupyterLab, moved in a real browser by mouse and keyboard.

Needs JupyterLab (`make lab` installs it), Playwright and Chromium (``CHROMIUM=/path/to/it`` if it is not found).
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import browser as chromium
import nbformat
import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Route

HOW = "the sliders are not tried in JupyterLab:"
try:
    chromium.program()
except chromium.NoBrowserError as missing:
    pytest.skip(f"{HOW} {missing}", allow_module_level=True)
if find_spec("jupyterlab") is None:
    pytest.skip(f"{HOW} pip install -r requirements-lab.txt", allow_module_level=True)

pytestmark = pytest.mark.slow

CHAPTER = Path(__file__).resolve().parents[1] / "notebooks" / "appendix-wishart.ipynb"  # quick; one slider of 8 stops
TOKEN = "only-for-this-test"
QUIET = {"fetchNews": "false", "checkForUpdates": False}  # else Lab asks whether it may call home
READY = 90_000  # ms, for a busy machine
# In the page: one entry per new picture, readout and stop of the slider, in the order in which they appear.
WATCH = """box => {
  window.seen = [];
  const watch = (kind, name, what, read) => {
    const node = box.querySelector(name);
    let last = read(node);
    new MutationObserver(() => {
      const now = read(node);
      if (now !== last) window.seen.push([kind, last = now, performance.now()]);
    }).observe(node, what);
  };
  const text = {childList: true, characterData: true, subtree: true};
  watch('picture', '.widget-image', {attributes: true}, node => node.src);
  watch('readout', '.widget-html-content', text, node => node.textContent);
  watch('stop', '.widget-readout', text, node => node.textContent);
}"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A JupyterLab of its own, with no settings of the user: its address and its folder."""
    home = tmp_path_factory.mktemp("lab")
    folder, runtime, settings = home / "notebooks", home / "runtime", home / "settings"
    notice = settings / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    notice.parent.mkdir(parents=True)
    notice.write_text(json.dumps(QUIET))
    folder.mkdir()
    own = {"CONFIG_DIR": home / "config", "DATA_DIR": home / "data", "RUNTIME_DIR": runtime}
    own_env = {f"JUPYTER_{name}": str(path) for name, path in own.items()}
    lab_env = {"JUPYTERLAB_SETTINGS_DIR": str(settings), "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces")}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", "--port=0", "--allow-root"]
    command += [f"--IdentityProvider.token={TOKEN}", "--LabApp.extension_manager=readonly", str(folder)]
    env = {**os.environ, **own_env, **lab_env, "OPENBLAS_NUM_THREADS": "1"}
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(command, env=env, stdout=log, stderr=log)
        try:
            end = time.monotonic() + READY / 1000
            while not (found := [*runtime.glob("jpserver-*.json")]):
                assert server.poll() is None, (home / "log").read_text()
                assert time.monotonic() < end, (home / "log").read_text()
                time.sleep(0.1)
            yield json.loads(found[0].read_text())["url"], folder
        finally:
            server.terminate()  # it ends its kernels first
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    """A page of Chromium that can reach this machine only."""
    abroad: list[str] = []

    def guard(route: Route) -> None:
        if route.request.url.startswith(("http://127.0.0.1:", "data:", "blob:")):
            route.continue_()
        else:
            abroad.append(route.request.url)
            route.abort()

    with chromium.launched() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.route("**/*", guard)
        yield page
        assert abroad == []


def open_and_run(page: Any, address: str, notebook: Path) -> Any:
    """Open a notebook and run all its cells; return the box of its sliders, watched."""
    page.goto(f"{address}lab/tree/{notebook.name}?token={TOKEN}&reset", timeout=READY)
    page.get_by_text("| Idle").wait_for(timeout=READY)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.locator("[data-command='runmenu:run-all']").click()
    box = page.locator(".widget-vbox:has(.noUi-handle)")
    box.wait_for(state="attached", timeout=READY)
    page.get_by_text("| Idle").wait_for(timeout=READY)
    box.scroll_into_view_if_needed()
    box.evaluate(WATCH)
    return box


def settled(page: Any) -> list[list[Any]]:
    """What was seen since the last call, once nothing has moved for a while."""
    quiet = "() => performance.now() - Math.max(window.start, ...window.seen.map(each => each[2])) > 1000"
    page.evaluate("() => { window.start = performance.now(); }")
    page.wait_for_function(quiet, timeout=READY)
    seen: list[list[Any]] = page.evaluate("() => window.seen.splice(0)")
    return seen


def texts(seen: list[list[Any]], kind: str) -> list[str]:
    """The readouts or stops among what was seen, in their order."""
    return [text for what, text, _ in seen if what == kind]


def check_sliders(page: Any, box: Any) -> str:
    """Move the only slider by keyboard and by mouse; the picture and the readout must follow it."""
    handle, base = box.locator(".noUi-handle"), box.locator(".noUi-base")
    handle.focus()
    page.keyboard.press("Home")
    settled(page)
    says = {box.locator(".widget-readout").inner_text(): box.locator(".widget-html-content").inner_text()}
    stops = int(float(handle.get_attribute("aria-valuemax"))) + 1
    delays = []
    while len(says) < stops:
        page.keyboard.press("ArrowRight")
        seen = settled(page)
        (stop,), pictures = texts(seen, "stop"), texts(seen, "picture")
        assert len(pictures) == 1, f"one picture for one move to {stop}, got {len(pictures)}"
        (says[stop],) = texts(seen, "readout")
        times = {kind: at for kind, _, at in seen}
        delays.append(times["picture"] - times["stop"])
    assert len(set(says.values())) == stops

    # A slow drag from the last stop to the first: every frame shows a stop that was passed, in the order of the drag.
    line = base.bounding_box()
    height = line["y"] + line["height"] / 2

    def drag(shares: list[float], pause: float) -> None:
        for share in shares:
            page.mouse.move(line["x"] + share * line["width"], height)
            time.sleep(pause)

    place = handle.bounding_box()
    page.mouse.move(place["x"] + place["width"] / 2, height)
    page.mouse.down()
    drag([1 - i / 40 for i in range(41)], 0.05)
    slow = page.evaluate("() => window.seen.length")
    page.mouse.up()
    seen = settled(page)
    order, shown = list(says.values())[::-1], texts(seen, "readout")
    assert len(texts(seen[:slow], "picture")) >= 2, "the picture follows while the slider is dragged"
    assert shown[-1] == order[-1]
    assert [order.index(each) for each in shown] == sorted({order.index(each) for each in shown})

    # A fast drag to and fro passes more stops than there is time to draw: at its end one picture may be under way, and
    # one more follows, that of the last stop. A queue would go on.
    page.mouse.down()
    drag([abs((i % 40) / 20 - 1) for i in range(20, 240)] + [0.5], 0.002)
    page.mouse.up()
    released = page.evaluate("() => performance.now()")
    seen = settled(page)
    passed, frames = texts(seen, "stop"), texts(seen, "picture")
    late = sum(kind == "picture" and at > released for kind, _, at in seen)
    assert 2 <= len(frames) < len(passed), f"{len(frames)} frames for {len(passed)} stops"
    assert late <= 2, f"{late} frames after the mouse was released"
    assert texts(seen, "readout")[-1] == says[passed[-1]]
    return (
        f"a key's picture after {statistics.median(delays):.0f} ms; slow drag: {stops} stops, {len(shown)} frames; "
        f"fast drag: {len(passed)} stops, {len(frames)} frames, {late} of them after its end"
    )


def test_sliders_follow_the_mouse_and_the_keyboard(lab: tuple[str, Path], page: Any) -> None:
    address, folder = lab
    path = folder / CHAPTER.name
    shutil.copy(CHAPTER, path)
    box = open_and_run(page, address, path)
    print(check_sliders(page, box))
    page.get_by_title("Save and create checkpoint").click()
    page.wait_for_function("() => !document.querySelector('.jp-mod-dirty')")
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in cells)
    kinds = {output.get("name", output.output_type) for cell in cells for output in cell.outputs}
    assert kinds <= {"stdout", "display_data", "execute_result"}


def test_a_slider_that_does_nothing_fails(lab: tuple[str, Path], page: Any) -> None:
    address, folder = lab
    path = folder / "dead.ipynb"
    notebook = nbformat.read(CHAPTER, as_version=4)
    last = next(i for i, cell in enumerate(notebook.cells) if cell.source.endswith("\nexplorer"))
    notebook.cells = [each for each in notebook.cells[: last + 1] if "plate(" not in each.source]
    cell = notebook.cells[-1]
    cell.source = cell.source.removesuffix("explorer") + "box = explorer.widget()\nbox.children[0].unobserve_all()\nbox"
    nbformat.write(notebook, path)
    box = open_and_run(page, address, path)
    with pytest.raises(AssertionError, match="one picture for one move to"):
        check_sliders(page, box)
