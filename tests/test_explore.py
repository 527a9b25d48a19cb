"""Interactive figures: one grid of curves behind the chart of the page and the live sliders."""

from __future__ import annotations

import copy
import json
import math
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import numpy as np
import pytest
import vl_convert
from matplotlib.colors import to_rgb
from nbclient import NotebookClient

from coevo import explore as explore_module
from coevo.explore import SCREEN, Control, Curves, Explorer, explore

T = np.arange(0, 31, 3.0)
CONTROLS = (
    Control("M", "images per update M", (10, 100, 1000), 100, ","),
    Control("sigma", "blur of the images σ", (0.1, 1.0), 0.1),
)
VEGALITE = "application/vnd.vegalite.v5+json"
WIDGET = "application/vnd.jupyter.widget-view+json"


def curves(M: int, sigma: float, *, rng: int = 7) -> Curves:
    noise = 1 + 0.001 * np.random.default_rng(rng).standard_normal(T.size)
    mean = 0.75 * (1 - 1 / (M * (1 + sigma))) ** T * noise
    return Curves(
        T,
        mean,
        np.full(T.size, 0.01),
        {"floor": 0.75 * (1 - 1 / M) ** T, "ceiling": np.full(T.size, 0.75)},
        {"exact law": mean / noise},
        readout=f"half is gone after {math.log(0.5) / math.log(1 - 1 / M):.0f} updates",
    )


def make(compute: Callable[..., Curves] = curves, controls: tuple[Control, ...] = CONTROLS, **more: Any) -> Explorer:
    words = {"x_label": "time step t", "y_label": "text diversity D", "title": "Decay", "alt": "It never falls below."}
    return explore(compute, controls, **{**words, **more})


def svg(spec: dict[str, Any], **indices: int) -> str:
    moved = copy.deepcopy(spec)
    for param in moved["params"]:
        param["value"] = indices.get(param["name"].removesuffix("_index"), param["value"])
    drawn: str = vl_convert.vegalite_to_svg(json.dumps(moved), vl_version="5.8")
    return drawn


def words(drawn: str) -> str:
    return " | ".join(ET.fromstring(drawn).itertext())


# ---- the grid ------------------------------------------------------------------------------------------


def test_settings_walk_the_grid_and_every_bound_holds_on_it() -> None:
    figure = make()
    settings = list(figure.settings())
    assert len(settings) == 6
    assert settings[:2] == [{"M": 10, "sigma": 0.1}, {"M": 10, "sigma": 1.0}]
    for setting in settings:
        shown = figure.curves(setting)
        assert (shown.mean >= shown.bounds["floor"] - 2 * shown.standard_error).all()
    assert figure.curves() is figure.curves({"sigma": 0.1, "M": 100})


def test_each_setting_is_computed_once() -> None:
    calls: list[tuple[int, float]] = []

    def counted(M: int, sigma: float) -> Curves:
        calls.append((M, sigma))
        return curves(M, sigma)

    figure = make(counted)
    assert not calls
    figure.summary()
    figure.spec  # noqa: B018
    assert len(calls) == len(set(calls)) == 6


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Control("1M", "M", (1,), 1), r"name must be an argument of compute other than rng, got '1M'"),
        (lambda: Control("rng", "seed", (1,), 1), r"name must be an argument .* got 'rng'"),
        (lambda: Control("class", "M", (1,), 1), r"name must be an argument .* got 'class'"),
        (lambda: Control("M", "M", (1, None), 1), r"values of M must be finite numbers or texts, got None"),  # type: ignore[arg-type]
        (lambda: Control("M", "M", (1, math.nan), 1), r"values of M must be finite numbers or texts, got nan"),
        (lambda: Control("M", "M", (False, 1), 1), r"values of M must be finite numbers or texts, got False"),
        (lambda: Control("M", "M", (1, 2), True), r"default of M must be one of \(1, 2\), got True"),
        (lambda: Control("M", "M", (1,), np.ones(2)), r"default of M must be one of \(1,\), got array"),  # type: ignore[arg-type]
        (lambda: Control("M", "M", (1,), 1, ".2q"), r"format of M must fit \(1,\), got '.2q': "),
        (lambda: Control("M", "M", ("a",), "a", ".2f"), r"format of M must fit \('a',\), got '.2f': "),
        (lambda: Control("M", "M", (1,), 1, None), r"format of M must be a str, got None"),  # type: ignore[arg-type]
        (lambda: Curves(T, T, -T), r"standard_error must hold numbers >= 0, got -3"),
        (lambda: Curves(T, T, T, None), r"bounds must be a Mapping, got None"),  # type: ignore[arg-type]
        (lambda: Curves(T, T, T, [1]), r"bounds must be a Mapping, got \[1\]"),  # type: ignore[arg-type]
        (lambda: Curves(T, T, T, {}, {1: T}), r"labels of exact must be a str, got 1"),  # type: ignore[dict-item]
        (lambda: Curves(T, T, T, {"a": "bc"}), r"bounds\['a'\] must be an array of real numbers, got dtype <U2"),  # type: ignore[dict-item]
        (lambda: Curves(T, T, T, readout=3), r"readout must be a str, got 3"),  # type: ignore[arg-type]
        (lambda: Curves(T, T, T).role_of("floor"), r"label must be one of .*, got 'floor'"),
        (lambda: make(controls=None), r"controls must be a Sequence, got None"),
        (lambda: make(controls=3), r"controls must be a Sequence, got 3"),
        (
            lambda: make(lambda M, blur: curves(M, blur)),
            r"compute must take \['M', 'sigma'\] by name, all else by default, got missing a required argument: 'blur'",
        ),
        (lambda: make(lambda M, sigma, rng: curves(M, sigma)), r"compute must take .* required argument: 'rng'"),
        (
            lambda: make(live_runs=50),
            r"compute must take \['M', 'sigma', 'rng', 'runs'\] by name, all else by default, got .*'runs'",
        ),
        (lambda: make(live_runs=1), r"live_runs must be an integer >= 2, got 1"),
        (lambda: make(live_runs=2.5), r"live_runs must be an integer >= 2, got 2.5"),
        (lambda: make(log_y="no"), r"log_y must be a bool, got 'no'"),
        (lambda: make(y_range=3), r"y_range must have shape \(2,\), got \(\)"),
        (lambda: make(y_range=(0, 1, 2)), r"y_range must have shape \(2,\), got \(3,\)"),
        (lambda: make(y_range="ab"), r"y_range must be an array of real numbers, got dtype <U2"),
        (lambda: make().curves("abc"), r"setting must be a Mapping, got 'abc'"),  # type: ignore[arg-type]
        (lambda: make().curves({"M": T, "sigma": 1.0}), r"M must be one of \(10, 100, 1000\), got array"),  # type: ignore[dict-item]
        (lambda: make().draw(None), r"curves must be a Curves, got None"),  # type: ignore[arg-type]
        (lambda: Control("M", " ", (1,), 1), r"label of M must say something, got ' '"),
        (lambda: Control("M", "M", [1], 1), r"values of M must be a tuple, got \[1\]"),  # type: ignore[arg-type]
        (lambda: Control("M", "M", (), 1), r"values of M must look different, at least one, got \[\]"),
        (lambda: Control("s", "s", (0.11, 0.12), 0.11, ".1f"), r"values of s must look different.*'0.1', '0.1'"),
        (lambda: Control("M", "M", (1, 2), 3), r"default of M must be one of \(1, 2\), got 3"),
        (lambda: Curves([0, 0], [1, 1], [0, 0]), r"x must increase, got a step of 0"),  # type: ignore[arg-type]
        (lambda: Curves(T, T[1:], T), r"mean must have shape \(11,\), got \(10,\)"),
        (lambda: Curves(T, T, T, {"floor": T[1:]}), r"bounds\['floor'\] must have shape \(11,\), got \(10,\)"),
        (lambda: Curves(T, T, T, {"a": T}, {"a": T}), r"exact must have other labels than bounds, got 'a' in both"),
        (lambda: make(compute=3), r"compute must be a function, got 3"),
        (lambda: make(controls=()), r"controls must have different names, at least one, got \[\]"),
        (lambda: make(controls=(CONTROLS[0],) * 2), r"controls must have different names.*\['M', 'M'\]"),
        (lambda: make(controls=("M",)), r"controls must be a Control, got 'M'"),
        (lambda: make(alt=" "), r"alt must say something, got ' '"),
        (lambda: make(title=3), r"title must be a str, got 3"),
        (lambda: make(role="pink"), r"role must be one of text, image, .* got 'pink'"),
        (lambda: make(y_range=(1, 1)), r"y_range\[1\] must lie in \(1, inf[\])], got 1"),
        (lambda: make(y_range=(0, 1), log_y=True), r"y_range\[0\] must lie in \(0, inf[\])], got 0"),
        (lambda: make().curves({"M": 11, "sigma": 1.0}), r"M must be one of \(10, 100, 1000\), got 11"),
        (lambda: make().curves({"M": 10}), r"sigma must be one of \(0.1, 1.0\), got None"),
        (
            lambda: make().curves({"M": 10, "sigma": 1.0, "N": 1}),
            r"setting must give \['M', 'sigma'\] only, got \['N', 'M', 'sigma'\]",
        ),
        (lambda: make(lambda M, sigma: 3).curves(), r"compute's result must be a Curves, got 3"),
        (
            lambda: make(lambda M, sigma: Curves(T, T, T, {f"floor {M}": T})).curves(),
            r"compute must give one x and the same labels everywhere, got others at \(100, 0.1\)",
        ),
        (
            lambda: make(lambda M, sigma: Curves(T, T, T, *([{}, {"a": T}] if M > 10 else [{"a": T}]))).curves(),
            r"compute must give one x and the same labels everywhere",
        ),
        (
            lambda: make(lambda M, sigma: Curves(T, -T, T), log_y=True).spec,
            r"compute must give finite values \(positive ones on a log axis\), got none",
        ),
    ],
)
def test_errors_name_parameter_range_and_value(call: Callable[[], object], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        call()


# ---- the chart of the page -----------------------------------------------------------------------------


@pytest.mark.parametrize("log_y", [False, True])
def test_chart_compiles_and_says_what_it_shows(log_y: bool) -> None:
    spec = make(log_y=log_y).spec
    drawn = svg(spec)
    said = words(drawn)
    for word in [
        "Decay",
        "time step t",
        "text diversity D",
        "floor",
        "ceiling",
        "exact law",
        "simulated mean ± 2 s.e.",
    ]:
        assert word in said
    assert "M = 100 · σ = 0.1" in said
    assert "half is gone after 69 updates" in said
    assert spec["description"] == spec["usermeta"]["alt"] == "It never falls below."


def test_sliders_choose_among_all_settings() -> None:
    figure = make()
    spec = figure.spec
    seen = set()
    for i, M in enumerate(["10", "100", "1,000"]):
        for j, sigma in enumerate(["0.1", "1.0"]):
            drawn = svg(spec, M=i, sigma=j)
            assert f"M = {M} · σ = {sigma}" in words(drawn)
            seen.add(drawn)
    assert len(seen) == 6
    assert [p["bind"] for p in spec["params"]] == [
        {"input": "range", "min": 0, "max": 2, "step": 1, "name": "images per update M"},
        {"input": "range", "min": 0, "max": 1, "step": 1, "name": "blur of the images σ"},
    ]
    assert spec["usermeta"]["controls"][0] == {
        "param": "M_index",
        "label": "images per update M",
        "values": ["10", "100", "1,000"],
    }


def test_the_drawn_line_is_the_computed_one() -> None:
    """Read the floor back out of the SVG, through both axes."""
    figure = make(y_range=(0, 1))
    paths = re.findall(r'd="(M[^"Z]+)"[^>]*stroke-dasharray="6,4"', svg(figure.spec, M=0, sigma=1))
    points = np.array([[float(v) for v in re.split("[ ,]", p)] for p in re.split("[ML]", paths[0])[1:]])
    np.testing.assert_allclose(points[:, 0] / 560 * T[-1], T, atol=0.01)
    np.testing.assert_allclose(
        1 - points[:, 1] / 300, figure.curves({"M": 10, "sigma": 1.0}).bounds["floor"], atol=1e-3
    )


def test_chart_is_compact_reproducible_and_plain_json() -> None:
    spec = make().spec
    text = json.dumps(spec)
    assert text == json.dumps(make().spec)
    assert json.loads(text) == spec
    row = spec["data"]["values"][0]
    assert len(spec["data"]["values"]) == 6
    assert row["e"] == [0.01] * T.size
    assert len(json.dumps(row)) < 80 * T.size
    for value in row["m"] + row["b0"]:
        assert float(f"{value:.4g}") == value
    assert text.count('"values"') == 1 + len(CONTROLS)  # the data once, and the names of the stops


def test_colours_stand_out_on_light_and_dark_pages() -> None:
    def luminance(colour: str) -> float:
        c = np.array(to_rgb(colour))
        rgb = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
        return float(rgb @ [0.2126, 0.7152, 0.0722]) + 0.05

    for colour in SCREEN.values():
        if colour != "currentColor":
            assert 1.05 / luminance(colour) >= 3
            assert luminance(colour) / luminance("#121212") >= 3


def test_what_is_not_finite_or_not_positive_on_a_log_axis_is_left_out() -> None:
    holes = np.where(T < 10, np.nan, 0.5)
    zeros = np.where(T > 20, 0.0, 0.5)

    def partly(M: int, sigma: float) -> Curves:
        return Curves(T, zeros, 0 * T, {"floor": holes, "nowhere": np.full(T.size, np.inf)})

    figure = make(partly, log_y=True)
    row = figure.spec["data"]["values"][0]
    assert row["m"] == [0.5] * 7 + [None] * 4
    assert row["b0"] == [None] * 4 + [0.5] * 7
    assert row["u1"] is None  # no label for a line that is nowhere
    drawn = svg(figure.spec)
    assert "NaN" not in drawn
    assert "nowhere" not in words(drawn)
    assert figure.draw(figure.curves()).png()


def test_labels_of_bounds_keep_apart() -> None:
    figure = make(
        lambda M, sigma: Curves(T, 0.5 + 0 * T, 0 * T, {"one": T / 30, "two": T / 30 + 0.01, "three": 1 - T / 30})
    )
    row = figure.spec["data"]["values"][0]
    low, high = figure._window
    places = [(row[f"u{i}"] / 30, (row[f"v{i}"] - low) / (high - low)) for i in range(3)]
    for i, (u, v) in enumerate(places):
        assert 0 <= u <= 1
        assert 0 <= v <= 1
        for u2, v2 in places[:i]:
            assert abs(v - v2) > 0.05 or abs(u - u2) > 0.1


def test_several_exact_laws_are_named_at_their_lines() -> None:
    figure = make(lambda M, sigma: Curves(T, T, T, {}, {"law one": T + 5, "law two": T - 5}))
    said = words(svg(figure.spec))
    assert all(word in said for word in ("law one", "law two", "exact laws"))
    digest = figure.draw(figure.curves()).digest()
    assert 'text "law one"' in digest


def test_one_point_and_no_laws_make_a_chart_too() -> None:
    figure = make(lambda M, sigma: Curves(T[:1], T[:1], T[:1]), y_range=(0, 1))
    assert "simulated mean" in words(svg(figure.spec))


def test_summary_tells_the_controls_and_the_numbers_at_the_start() -> None:
    summary = make().summary()
    assert summary.splitlines()[:3] == [
        "Explore: Decay",
        "  images per update M: 10 [100] 1,000",
        "  blur of the images σ: [0.1] 1.0",
    ]
    assert "  floor: 0.75 0.7277 0.7061" in summary
    assert summary == make().summary()
    changed = make(lambda M, sigma: curves(M, sigma, rng=8))
    assert changed.summary() != summary
    silent = make(lambda M, sigma: Curves(T, T, T))
    assert "half" not in silent.summary()


# ---- live ----------------------------------------------------------------------------------------------


def test_moving_a_slider_runs_a_fresh_simulation() -> None:
    seeds: list[int] = []

    def watched(M: int, sigma: float, *, rng: int = 7) -> Curves:
        seeds.append(rng)
        return curves(M, sigma, rng=rng)

    box = make(watched).widget()
    first, second, words_, picture = box.children
    assert seeds == [7] * 6
    assert first.description == "images per update M"
    assert first.label == "100"
    before = bytes(picture.value)
    assert before.startswith(b"\x89PNG")
    first.value = 1000
    assert picture.value != before
    assert words_.value == "<b>half is gone after 693 updates</b>"
    second.value = 1.0
    first.value = 100
    assert seeds[6:] == [1, 2, 3]


def test_without_a_seed_the_sliders_show_the_grid() -> None:
    calls = []

    def fixed(M: int, sigma: float) -> Curves:
        calls.append(M)
        return curves(M, sigma)

    slider = (box := make(fixed).widget()).children[0]
    before = box.children[-1].value
    slider.value = 10
    assert box.children[-1].value != before
    assert len(calls) == 6


def test_a_live_notebook_may_ask_for_fewer_runs_than_the_grid() -> None:
    asked: list[int] = []

    def counted(M: int, sigma: float, *, rng: int = 7, runs: int = 400) -> Curves:
        asked.append(runs)
        return curves(M, sigma, rng=rng)

    box = make(counted, live_runs=50).widget()
    box.children[0].value = 1000
    box.children[1].value = 1.0
    assert asked == [400] * 6 + [50] * 2


@pytest.mark.parametrize("log_y", [False, True])
def test_a_moved_picture_is_the_one_that_a_new_figure_gives(log_y: bool) -> None:
    """The live figure keeps its axes, margins and key; nothing of the last setting may stay on it."""

    def fixed(M: int, sigma: float) -> Curves:
        return curves(M, sigma)

    figure = make(fixed, log_y=log_y)
    first, second, _, picture = (box := figure.widget()).children
    assert len(box.children) == 4
    shown = set()
    for setting in figure.settings():
        first.value, second.value = setting["M"], setting["sigma"]
        assert picture.value == figure.draw(figure.curves(setting)).png(quick=True)
        shown.add(bytes(picture.value))
    assert len(shown) == 6


@pytest.mark.parametrize(
    ("shell", "widgets", "live"),
    [
        (None, True, False),
        (SimpleNamespace(kernel=object()), True, True),
        (SimpleNamespace(kernel=object()), False, False),
    ],
)
def test_widgets_are_offered_by_a_live_kernel_only(
    monkeypatch: pytest.MonkeyPatch, shell: object, widgets: bool, live: bool
) -> None:
    monkeypatch.setattr(explore_module, "get_ipython", lambda: shell)
    monkeypatch.setattr(explore_module, "find_spec", lambda _: widgets or None)
    bundle = make()._repr_mimebundle_()
    assert set(bundle) == {VEGALITE, "text/plain"} | ({WIDGET} if live else set())
    if live:
        assert bundle[WIDGET]["model_id"]


CELLS = [
    """
import numpy as np
from coevo import plots
from coevo.explore import Control, Curves, explore
t = np.arange(20)
fig, (ax,) = plots.figure()
plots.bound(ax, t, 0.9**t, "floor")
plots.plate(fig)
""",
    """
def compute(M, *, rng=1):
    mean = (1 - 1 / M) ** t + 0.01 * np.random.default_rng(rng).random(20)
    return Curves(t, mean, 0.01 + 0 * t, {"floor": (1 - 1 / M) ** t})

explore(compute, [Control("M", "images M", (10, 100), 10)], x_label="t", y_label="D", title="Decay", alt="It falls.")
""",
]


@pytest.mark.slow
def test_notebook_runs_is_stored_without_widgets_and_is_compared(tmp_path: Path) -> None:
    cells = [nbformat.v4.new_code_cell(cell.strip(), id=f"c{i}") for i, cell in enumerate(CELLS * 2)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, kernel_name="python3", timeout=60).execute()
    stored = [cell.outputs[0]["data"] for cell in notebook.cells]
    assert set(stored[0]) == {"image/png", "text/plain"}
    assert set(stored[1]) == {VEGALITE, WIDGET, "text/plain"}
    for data in stored:
        data.pop(WIDGET, None)
    notebook.metadata.pop("widgets", None)
    # The second pair of cells is made stale: one drawn number, one number of the chart.
    stored[2]["text/plain"] = stored[2]["text/plain"].replace("y 1 0.81", "y 1 0.82")
    stored[3][VEGALITE]["data"]["values"][1]["m"][0] += 0.001
    nbformat.write(notebook, tmp_path / "chapter.ipynb")
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "-p", "no:cacheprovider", "--color=no"]
    run = subprocess.run([*command, "-W", "ignore"], cwd=tmp_path, capture_output=True, text=True, check=False)
    failed = re.findall(r"^FAILED chapter.ipynb::Cell (\d)", run.stdout, re.M)
    assert (failed, "2 failed, 2 passed" in run.stdout) == (["2", "3"], True), run.stdout


def test_the_band_is_two_standard_errors_on_either_side() -> None:
    flat = make(lambda M, sigma: Curves(T, 0.5 + 0 * T, 0.1 + 0 * T), y_range=(0, 1))
    (path,) = re.findall(r'mark-area[^>]*>\s*<path[^>]*d="([^"]+)"', svg(flat.spec))
    assert {round(float(y)) for y in re.findall(r"[ML]-?[\d.]+,(-?[\d.]+)", path)} == {90, 210}  # 0.7 and 0.3 of 300


def test_the_window_holds_exact_laws_too() -> None:
    low, high = make(lambda M, sigma: Curves(T, 0 * T, 0 * T, {}, {"law": T}))._window
    assert low < 0
    assert high > T[-1]


def test_the_tooltip_names_every_law_and_labels_have_the_colour_of_their_line() -> None:
    spec = make().spec
    unseen = spec["layer"][0]["layer"][-1]
    assert [entry["field"] for entry in unseen["encoding"]["tooltip"]] == ["x", "m", "e", "b0", "b1", "b2"]
    assert [layer["mark"]["color"] for layer in spec["layer"][1:3]] == [SCREEN["bound"]] * 2


def test_a_readout_is_no_markup() -> None:
    box = make(lambda M, sigma: Curves(T, T, T, readout="a < b")).widget()
    assert any(getattr(child, "value", None) == "<b>a &lt; b</b>" for child in box.children)


def test_numbers_that_four_digits_cannot_tell_are_refused() -> None:
    far = make(lambda M, sigma: Curves(1e5 + T / 30, T, T))
    with pytest.raises(ValueError, match="compute must give x that differ in four digits"):
        far.curves()
    flat = make(lambda M, sigma: Curves(T, 1 + 1e-7 * T, 0 * T))
    with pytest.raises(ValueError, match="compute must give values that differ in four digits, got"):
        flat.spec  # noqa: B018
