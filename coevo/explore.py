"""Interactive figures: sliders that move a simulation, its bounds and its exact laws.

An `Explorer` computes its curves on a grid of settings. A page without a kernel draws them in the browser from
a Vega-Lite chart that holds the whole grid; in a live notebook the same sliders run fresh simulations.

This needs IPython, ipywidgets and what `coevo.plots` needs: the extra ``coevo[book]`` installs them.
"""

from __future__ import annotations

import html
import inspect
import itertools
import json
import keyword
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from numbers import Real
from typing import Any, TypeAlias

import numpy as np
from IPython.core.getipython import get_ipython
from matplotlib.axes import Axes

from coevo import _validation as check
from coevo import plots
from coevo._validation import Array
from coevo._vegalite import MIME_TYPE, SCREEN, chart, column, mark, slider, words_above

__all__ = ["SCREEN", "Control", "Curves", "Explorer", "explore"]

Value: TypeAlias = int | float | str
Setting: TypeAlias = Mapping[str, Value]


@dataclass(frozen=True)
class Control:
    """A slider over a few values of one parameter.

    Attributes
    ----------
    name : the parameter, as `compute` calls it
    label : the parameter in words, then its symbol as the last word: "images per update M"
    values : the values the slider stops at, in order
    default : the value it starts at, one of `values`
    format : how a value is written, such as "," or ".2f" (a format specification of Python)

    Raises
    ------
    TypeError, ValueError
        If `name` cannot be an argument of `compute`, `label` is blank, `values` are not numbers or texts that
        look different, `default` is none of them, or `format` does not fit them.
    """

    name: str
    label: str
    values: tuple[Value, ...]
    default: Value
    format: str = ""

    def __post_init__(self) -> None:
        argument = check.instance("name", self.name, str).isidentifier() and not keyword.iskeyword(self.name)
        if not argument or self.name == "rng":
            raise ValueError(f"name must be an argument of compute other than rng, got {self.name!r}")
        check.words(f"label of {self.name}", self.label)
        for value in check.instance(f"values of {self.name}", self.values, tuple):
            if not _is_value(value):
                raise TypeError(f"values of {self.name} must be finite numbers or texts, got {value!r}")
        check.instance(f"format of {self.name}", self.format, str)
        try:
            shown = self.shown
        except (ValueError, OverflowError) as error:
            raise ValueError(f"format of {self.name} must fit {self.values}, got {self.format!r}: {error}") from error
        if not shown or len(set(shown)) < len(shown):
            raise ValueError(f"values of {self.name} must look different, at least one, got {shown}")
        _one_of(f"default of {self.name}", self.default, self.values)

    @property
    def shown(self) -> list[str]:
        """The values as they are written beside the slider."""
        return [format(value, self.format) for value in self.values]


@dataclass(frozen=True, eq=False)
class Curves:
    """What one setting shows.

    Attributes
    ----------
    x : (T,) increasing, the same at every setting of an Explorer
    mean, standard_error : (T,) of the simulation, standard errors not negative
    bounds, exact : label -> (T,), drawn dashed and thin; NaN or infinite where there is none
    readout : one short line (45 letters fit a phone), such as "half the diversity is gone after 69 updates"

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, arrays do not fit, `x` does not increase, a standard error is
        negative, or a label names both a bound and an exact law.
    """

    x: Array
    mean: Array
    standard_error: Array
    bounds: Mapping[str, Array] = field(default_factory=dict)
    exact: Mapping[str, Array] = field(default_factory=dict)
    readout: str = ""

    def __post_init__(self) -> None:
        x = plots.increasing("x", self.x)
        new: dict[str, Any] = {"x": x, "mean": plots.drawable("mean", self.mean, x.shape)}
        new["standard_error"] = plots.drawable("standard_error", self.standard_error, x.shape, minimum=0.0)
        for kind in ("bounds", "exact"):
            laws = check.instance(kind, getattr(self, kind), Mapping)
            words = [check.instance(f"labels of {kind}", label, str) for label in laws]
            new[kind] = {label: plots.drawable(f"{kind}[{label!r}]", laws[label], x.shape) for label in words}
        check.instance("readout", self.readout, str)
        if twice := set(new["bounds"]) & set(new["exact"]):
            raise ValueError(f"exact must have other labels than bounds, got {min(twice)!r} in both")
        for name, value in new.items():
            object.__setattr__(self, name, value)

    @property
    def at_line(self) -> list[str]:
        """The laws named at their line: every bound, and exact laws that share their colour."""
        return [*self.bounds, *(self.exact if len(self.exact) > 1 else ())]

    def role_of(self, label: str) -> plots.Role:
        """Whether the law called `label` is a bound or exact.

        Raises
        ------
        TypeError, ValueError
            If no law has this label.
        """
        check.choice("label", label, tuple(self.laws))
        return "bound" if label in self.bounds else "exact"

    @property
    def laws(self) -> dict[str, Array]:
        """Bounds, then exact laws: label -> (T,)."""
        return {**self.bounds, **self.exact}


@dataclass(frozen=True, eq=False)
class Explorer:
    """An interactive figure, made by `explore`; the last expression of a cell."""

    compute: Callable[..., Curves]
    controls: Sequence[Control]
    x_label: str
    y_label: str
    title: str
    alt: str
    log_y: bool
    role: plots.Role
    simulated_label: str
    y_range: tuple[float, float] | None
    live_runs: int | None = None

    def __post_init__(self) -> None:
        check.function("compute", self.compute)
        controls = tuple(check.instance("controls", self.controls, Sequence))
        object.__setattr__(self, "controls", controls)
        names = [check.instance("controls", control, Control).name for control in controls]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"controls must have different names, at least one, got {names}")
        if self.live_runs is not None:
            check.integer("live_runs", self.live_runs, minimum=2)
            names += ["rng", "runs"]
        try:
            inspect.signature(self.compute).bind(**dict.fromkeys(names))
        except (TypeError, ValueError) as error:
            raise TypeError(f"compute must take {names} by name, all else by default, got {error}") from error
        for name in ("x_label", "y_label", "title", "alt", "simulated_label"):
            check.words(name, getattr(self, name))
        check.choice("role", self.role, tuple(SCREEN))
        check.instance("log_y", self.log_y, bool)
        if self.y_range is not None:
            check.real_array("y_range", self.y_range, (2,))
            least = 0.0 if self.log_y else -math.inf
            low = check.number("y_range[0]", self.y_range[0], minimum=least, open_minimum=True)
            check.number("y_range[1]", self.y_range[1], minimum=low, open_minimum=True)

    # ---- the grid --------------------------------------------------------------------------------------

    def settings(self) -> Iterator[dict[str, Value]]:
        """Every setting of the sliders as keyword arguments of `compute`, the last control fastest."""
        for values in itertools.product(*(control.values for control in self.controls)):
            yield {control.name: value for control, value in zip(self.controls, values, strict=True)}

    def curves(self, setting: Setting | None = None) -> Curves:
        """The curves at a setting of the grid, by default where the sliders start.

        Parameters
        ----------
        setting : name of a control -> one of its values

        Raises
        ------
        TypeError, ValueError
            If `setting` is no mapping or does not give each control, and nothing else, one of its values.
        """
        start = {c.name: c.default for c in self.controls}
        chosen = dict(start if setting is None else check.instance("setting", setting, Mapping))
        for control in self.controls:
            value = chosen.pop(control.name, None)
            _one_of(control.name, value, control.values)
            chosen[control.name] = value  # back in, in the order of the controls
        if len(chosen) > len(self.controls):
            raise ValueError(f"setting must give {list(start)} only, got {list(chosen)}")
        return self._grid[tuple(chosen.values())]

    def _simulate(self, setting: Setting, **live: int) -> Curves:
        curves: Curves = check.instance("compute's result", self.compute(**setting, **live), Curves)
        return curves

    @cached_property
    def _grid(self) -> dict[tuple[Value, ...], Curves]:
        grid = {tuple(setting.values()): self._simulate(setting) for setting in self.settings()}
        first = next(iter(grid.values()))
        if len(set(column(first.x))) < first.x.size:
            raise ValueError(f"compute must give x that differ in four digits, got {first.x}")
        for values, curves in grid.items():
            same = np.array_equal(curves.x, first.x) and list(curves.laws) == list(first.laws)
            if not same or list(curves.bounds) != list(first.bounds):
                raise ValueError(f"compute must give one x and the same labels everywhere, got others at {values}")
        return grid

    @cached_property
    def _window(self) -> tuple[float, float]:
        """The y axis, one for all settings: the curves move, not the axis."""
        if self.y_range is not None:
            return self.y_range
        y = np.concatenate([v for c in self._grid.values() for v in (c.mean, *c.laws.values())])
        y = self._height(y)
        y = y[np.isfinite(y)]
        if y.size == 0:
            raise ValueError("compute must give finite values (positive ones on a log axis), got none")
        room = 0.08 * float(y.max() - y.min()) or 1.0
        low, high = float(y.min()) - room, float(y.max()) + room
        ends = (10.0**low, 10.0**high) if self.log_y else (low, high)
        if plots.significant(ends[0]) == plots.significant(ends[1]):
            raise ValueError(f"compute must give values that differ in four digits, got {ends[0]!r} to {ends[1]!r}")
        return ends

    def _height(self, y: Array) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log10(y) if self.log_y else y

    def _label_places(self, curves: Curves) -> list[tuple[float, float]]:
        """Where the label of each law of `at_line` ends (x) and has its middle (y).

        A label stands just above or below its own line, where the other lines and labels leave most room.
        NaN if its line is nowhere in sight. The search runs in units of the axes, 0 to 1.
        """
        low, high = self._height(np.array(self._window))
        start, span = float(curves.x[0]), float(np.ptp(curves.x)) or 1.0
        u = (curves.x - start) / span
        lines = [(self._height(y) - low) / (high - low) for y in (*curves.laws.values(), curves.mean)]
        lines = [np.where(np.isfinite(line), line, np.nan) for line in lines]
        taken: list[tuple[float, float, float]] = []
        for own, label in zip(lines, curves.at_line, strict=False):
            width = min(6.5 * len(label) / 380, 0.95)  # letters of 6.5 px, a margin for narrower pages
            best, place = 0.0, (math.nan, math.nan, width)
            for right in np.linspace(0.99, width, 25):
                under = np.linspace(right - width, right, 9)
                heights = np.array([np.interp(under, u, line) for line in lines])
                beside = np.interp(under, u, own)
                for side in (1, -1):
                    middle = side * float((side * beside).max()) + 0.05 * side
                    gap = min(float(np.abs(heights - middle).min(initial=0.1, where=np.isfinite(heights))), 0.1)
                    for end, height, length in taken:
                        if end - length < right and right - width < end:
                            gap = min(gap, abs(height - middle) - 0.04)
                    if ((side * (heights - beside) > 0.01) & (side * (middle - heights) > 0)).any():
                        gap = min(gap, 0.01)  # another line between the label and its own
                    if 0.03 <= middle <= 0.97 and gap > best + 0.002:
                        best, place = gap, (float(right), middle, width)
            taken.append(place)
        ends = np.array([start + span * right for right, _, _ in taken])
        middles = np.array([low + (high - low) * middle for _, middle, _ in taken])
        return list(zip(ends.tolist(), (10.0**middles if self.log_y else middles).tolist(), strict=True))

    # ---- in the browser --------------------------------------------------------------------------------

    @cached_property
    def spec(self) -> dict[str, Any]:
        """The Vega-Lite chart (grammar of 5.6) with every setting inside; the same dict on every run."""
        first = self.curves()
        low, high = (plots.significant(v) for v in self._window)
        chosen = " + ' · ' + ".join(
            f"{json.dumps(c.label.split()[-1] + ' = ')} + {json.dumps(c.shown)}[{c.name}_index]" for c in self.controls
        )
        row = "0"
        for control in self.controls:
            row = f"({row}) * {len(control.values)} + {control.name}_index"
        frame = chart(self.title, self.alt, height=300)
        frame["usermeta"]["controls"] = [
            {"param": f"{c.name}_index", "label": c.label, "values": c.shown} for c in self.controls
        ]
        return frame | {
            "params": [
                slider(f"{c.name}_index", len(c.values), c.label, c.values.index(c.default)) for c in self.controls
            ],
            "data": {"values": self._rows},
            "transform": [{"filter": f"datum.k == {row}"}],
            "layer": [
                {
                    "transform": [
                        {"calculate": json.dumps(column(first.x), separators=(",", ":")), "as": "x"},
                        {"flatten": ["x", "m", "e", *(f"b{i}" for i in range(len(first.laws)))]},
                        {"calculate": f"isValid(datum.m) ? max(datum.m - 2 * datum.e, {low}) : null", "as": "l"},
                        {"calculate": f"isValid(datum.m) ? min(datum.m + 2 * datum.e, {high}) : null", "as": "h"},
                    ],
                    "layer": self._lines,
                },
                *(
                    {
                        "mark": mark("text", align="right", text=label, color=SCREEN[first.role_of(label)]),
                        "encoding": self._at(f"u{i}", f"v{i}"),
                    }
                    for i, label in enumerate(first.at_line)
                ),
                words_above(-28, {"expr": chosen}),
                words_above(-10, fontWeight="bold"),
            ],
        }

    @property
    def _lines(self) -> list[dict[str, Any]]:
        """Band, simulated mean, laws, and an unseen mark at each x that carries the tooltip."""
        first, ink = self.curves(), SCREEN[self.role]
        key = {self.simulated_label: ink}
        if first.exact:
            key[min(first.exact) if len(first.exact) == 1 else "exact laws"] = SCREEN["exact"]
        legend = {"title": None, "orient": "bottom", "direction": "vertical", "symbolType": "stroke"}
        colour = {
            "field": "key",
            "type": "nominal",
            "scale": {"domain": list(key), "range": list(key.values())},
            "legend": legend | {"symbolStrokeWidth": 3, "symbolSize": 400},
        }

        def line(y: str, width: float, name: str | None) -> dict[str, Any]:
            """A line with its name in the key or, without a name, a dashed bound."""
            stroke = mark("line", clip=True, strokeWidth=width)
            if name is None:
                stroke |= {"strokeDash": [6, 4], "color": SCREEN["bound"]}
                return {"mark": stroke, "encoding": self._at("x", y)}
            named = [{"calculate": json.dumps(name), "as": "key"}]
            return {"transform": named, "mark": stroke, "encoding": self._at("x", y) | {"color": colour}}

        band = mark("area", color=ink, opacity=0.3, clip=True)
        layers: list[dict[str, Any]] = [
            {"mark": band, "encoding": self._at("x", "l") | {"y2": {"field": "h"}}},
            line("m", 3, self.simulated_label),
        ]
        tooltip = [("x", self.x_label), ("m", "simulated mean"), ("e", "standard error")]
        for i, label in enumerate(first.laws):
            layers.append(line(f"b{i}", 1.5, None if label in first.bounds else list(key)[-1]))
            tooltip.append((f"b{i}", label))
        # As high as the chart and wide enough to touch the next: the pointer need not hit a line.
        unseen = mark("rule", opacity=0, strokeWidth=max(9, 900 // first.x.size))
        shown = [{"field": name, "type": "quantitative", "format": ".4~g", "title": title} for name, title in tooltip]
        return [*layers, {"mark": unseen, "encoding": {"x": self._at("x", "m")["x"], "tooltip": shown}}]

    def _at(self, x: str, y: str) -> dict[str, Any]:
        """The encoding that places a mark by the data fields `x` and `y`."""
        low, high = (plots.significant(v) for v in self._window)
        x_scale = {"domain": column(self.curves().x[[0, -1]]), "nice": False, "zero": False}
        x_axis = {"title": self.x_label, "tickCount": 6}
        y_scale: dict[str, Any] = {"domain": [low, high], "nice": False}
        y_axis: dict[str, Any] = {"title": self.y_label, "format": "~g"}
        if self.log_y:
            y_scale["type"] = "log"
            y_axis["values"] = plots.readable_ticks(low, high)
            y_axis["labelOverlap"] = False
            y_axis["labelExpr"] = "format(datum.value, datum.value < 0.001 ? '.0e' : '~g')"
        else:
            y_scale["zero"], y_axis["tickCount"] = False, 6
        return {
            "x": {"field": x, "type": "quantitative", "scale": x_scale, "axis": x_axis},
            "y": {"field": y, "type": "quantitative", "scale": y_scale, "axis": y_axis},
        }

    @property
    def _rows(self) -> list[dict[str, Any]]:
        """One row a setting: k number, m(ean), e(rror), b0.. laws, u0, v0.. places of labels, r(eadout)."""
        rows = []
        for k, curves in enumerate(self._grid.values()):
            seen = {"m": curves.mean} | {f"b{i}": law for i, law in enumerate(curves.laws.values())}
            row: dict[str, Any] = {"k": k, "r": curves.readout, "e": column(curves.standard_error)}
            row |= {name: column(np.where(np.isfinite(self._height(y)), y, np.nan)) for name, y in seen.items()}
            for i, place in enumerate(self._label_places(curves)):
                row[f"u{i}"], row[f"v{i}"] = column(np.array(place))
            rows.append(row)
        return rows

    # ---- in a live notebook ----------------------------------------------------------------------------

    def draw(self, curves: Curves) -> plots.Plate:
        """The same figure as a matplotlib plate, for one setting's curves.

        Raises
        ------
        TypeError
            If `curves` is no `Curves`.
        """
        check.instance("curves", curves, Curves)
        fig, (ax,) = plots.figure()
        self._paint(ax, curves)
        name_axes = plots.decay_axes if self.log_y else plots.label_axes
        name_axes(ax, self.x_label, self.y_label)
        ax.set_ylim(self._window)
        plots.key(fig, columns=2)
        return plots.plate(fig)

    def _paint(self, ax: Axes, curves: Curves) -> None:
        plots.simulated(ax, curves.x, curves.mean, curves.standard_error, label=self.simulated_label, role=self.role)
        for label, law in curves.bounds.items():
            plots.bound(ax, curves.x, law, f"_{label}", at=None)
        for label, law in curves.exact.items():
            plots.exact(ax, curves.x, law, label)
        for (x, y), label in zip(self._label_places(curves), curves.at_line, strict=True):
            if math.isfinite(y):
                ink = plots.ROLES[curves.role_of(label)]
                plots.write(ax, x, y, label, colour=ink, ha="right", va="center")

    def widget(self) -> Any:
        """Sliders, readout and picture as an ipywidgets box; every move simulates afresh and redraws.

        If `compute` takes `rng`, it gets another seed at each move, so the reader sees new runs; otherwise the
        curves of the grid are drawn. While a slider is dragged the front end holds its next message back until the
        last one is answered, and then sends the newest value: moves are skipped, never queued.
        """
        import ipywidgets as widgets  # type: ignore[import-untyped]  # it has no type stubs

        sliders = {
            c.name: widgets.SelectionSlider(
                options=list(zip(c.shown, c.values, strict=True)),
                value=c.default,
                description=c.label,
                style={"description_width": "initial"},
                layout={"width": "100%", "max_width": "640px"},
            )
            for c in self.controls
        }
        picture = widgets.Image(format="png", layout={"max_width": "100%"})
        words = widgets.HTML()
        fresh = "rng" in inspect.signature(self.compute).parameters
        seeds = itertools.count(1)
        runs = {} if self.live_runs is None else {"runs": self.live_runs}
        plate = self.draw(self.curves())
        (ax,) = plate.figure.axes

        def show(curves: Curves) -> None:
            for old in (*ax.lines, *ax.collections, *ax.texts):
                old.remove()
            self._paint(ax, curves)
            picture.value = plate.png(quick=True)
            words.value = f"<b>{html.escape(curves.readout)}</b>"

        def move(_: object) -> None:
            setting = {name: slider.value for name, slider in sliders.items()}
            show(self._simulate(setting, rng=next(seeds), **runs) if fresh else self.curves(setting))

        show(self.curves())
        plate.figure.set_layout_engine("none")  # curves move, margins stay: half the time of a picture is saved
        for each in sliders.values():
            each.observe(move, names="value")
        unstretched = {"align_items": "flex-start"}  # a picture wider than it is would be blurred
        return widgets.VBox([*sliders.values(), words, picture], layout=unstretched)

    # ---- both ------------------------------------------------------------------------------------------

    def summary(self) -> str:
        """The controls, and the numbers where the sliders start."""
        curves = self.curves()
        lines = [f"Explore: {self.title}"]
        for control in self.controls:
            values = [
                f"[{s}]" if v == control.default else s for v, s in zip(control.values, control.shown, strict=True)
            ]
            lines.append(f"  {control.label}: {' '.join(values)}")
        named = {self.simulated_label: curves.mean, "standard error": curves.standard_error, **curves.laws}
        lines += [f"  {label}: {plots.sample(y, keep_small=self.log_y)}" for label, y in named.items()]
        return "\n".join([*lines, *([f"  {curves.readout}"] if curves.readout else [])])

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        bundle = {MIME_TYPE: self.spec, "text/plain": self.summary()}
        if getattr(get_ipython(), "kernel", None) is not None and find_spec("ipywidgets"):
            view = "application/vnd.jupyter.widget-view+json"
            bundle[view] = self.widget()._repr_mimebundle_()[view]
        return bundle


def explore(
    compute: Callable[..., Curves],
    controls: Sequence[Control],
    *,
    x_label: str,
    y_label: str,
    title: str,
    alt: str,
    log_y: bool = False,
    role: plots.Role = "text",
    simulated_label: str = "simulated mean ± 2 s.e.",
    y_range: tuple[float, float] | None = None,
    live_runs: int | None = None,
) -> Explorer:
    """Make an interactive figure.

    Parameters
    ----------
    compute : called with one value per control, by name; returns `Curves`, the same at every call. If it takes
        `rng` (a seed with a default), a live notebook calls it with a new seed at each move
    controls : the sliders; every combination of their values is computed, once, when the figure is first shown
    x_label, y_label : the axes in words with the symbol
    title : a few words above the figure
    alt : what is to be seen, for a reader who does not see it
    log_y : logarithmic y axis; values that are not positive are left out
    role : whose simulation it is, a role of `plots.ROLES`
    simulated_label : the name written at the simulated mean
    y_range : ends of the y axis; by default all curves of all settings fit
    live_runs : how many runs (at least 2) a live notebook asks for at each move, for a `compute` that takes `rng` and
        `runs`; few enough that the picture follows the slider

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or empty, `compute` does not take the controls by name (with `live_runs`
        also `rng` and `runs`), or `y_range` is not two increasing numbers (positive ones with `log_y`); when first
        shown, if `compute` returns something other than `Curves`, or curves whose x or labels differ between settings.
    """
    return Explorer(compute, controls, x_label, y_label, title, alt, log_y, role, simulated_label, y_range, live_runs)


def _is_value(value: Any) -> bool:
    """Whether a slider can stop at `value`: a text or a finite number (True is none)."""
    number = isinstance(value, Real) and not isinstance(value, bool)
    return isinstance(value, str) or (number and abs(value) < math.inf)


def _one_of(name: str, value: Any, values: tuple[Value, ...]) -> None:
    if not _is_value(value) or value not in values:
        raise ValueError(f"{name} must be one of {values}, got {value!r}")
