"""Films: one run as frames that a slider moves through and a button plays, on a page without a kernel.

A `Film` is a Vega-Lite chart that holds all its frames. JupyterLab draws the same chart with the same slider.

This needs what `coevo.plots` needs: the extra ``coevo[book]`` installs it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.colors import to_hex, to_rgb
from numpy.typing import ArrayLike, NDArray

from coevo import _validation as check
from coevo import plots
from coevo._validation import Array
from coevo._vegalite import MIME_TYPE, SCREEN, chart, column, mark, slider, words_above

__all__ = ["Film", "film_of_pictures", "film_of_run"]

#: Milliseconds a frame stands when the film plays.
PACE = 160

#: The shapes of the texts, in the order of `plots.scatter_images`.
_SHAPES = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "stroke")

#: Levels of ink in a film of pictures.
_LEVELS = 15


@dataclass(frozen=True, eq=False)
class Film:
    """A film; the last expression of a cell.

    Attributes
    ----------
    spec : the Vega-Lite chart (grammar of 5.6) with every frame inside; the same dict on every run
    text : the film in words and numbers, for a reader or a test without a browser
    """

    spec: dict[str, Any]
    text: str

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {MIME_TYPE: self.spec, "text/plain": self.text}


def film_of_run(
    t: ArrayLike,
    p: ArrayLike,
    points: ArrayLike,
    text_index: ArrayLike,
    *,
    title: str,
    alt: str,
    readouts: Sequence[str] | None = None,
    window: float | None = None,
    own: int | None = None,
) -> Film:
    """Make a film of one run in the plane: the text model as bars, and images below, coloured by their text.

    Parameters
    ----------
    t : int array (T,), the macro steps of the frames, increasing
    p : (T, K) text models
    points : (T, n, 2) images drawn at each frame
    text_index : (T, n) the text of each, an integer in [0, K)
    title : a few words above the film
    alt : what is to be seen, for a reader who does not see it
    readouts : T short lines, one a frame (45 letters fit a phone); none by default
    window : the second coordinate runs from minus to plus this number, in all frames, and the first as far as the
        page is wide, in the same units; by default every image is inside
    own : how many texts have a colour and a shape of their own, at least 1; by default all. Later ones, of a corpus
        that grows, share the colour of what comes from outside

    Returns
    -------
    Film

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or empty, arrays do not fit, or a text model does not sum to 1.
    """
    times, lines = _frames(t, readouts, title, alt)
    _, masses, images, owner = plots.run_frames(times, p, points, text_index)
    reach = plots.significant(float(np.abs(images).max()) * 1.05) or 1.0
    if window is not None:
        reach = check.number("window", window, minimum=0.0, open_minimum=True)
    n_texts = masses.shape[1]
    numbers = list(range(1, n_texts + 1))
    known = n_texts if own is None else min(n_texts, check.integer("own", own, minimum=1))
    tones = [_screen_tone(colour) for colour in plots.sequence(known)] + [SCREEN["injected"]] * (n_texts - known)
    shapes = [_SHAPES[text % len(_SHAPES)] if text < known else "circle" for text in range(n_texts)]
    rows = [
        {
            "k": k,
            "r": lines[k],
            "p": np.round(masses[k], 3).tolist(),
            "x": column(reach * np.round(images[k, :, 0] / reach, 4)),
            "y": column(reach * np.round(images[k, :, 1] / reach, 4)),
            "i": (owner[k] + 1).tolist(),
        }
        for k in range(times.size)
    ]
    colour = {"field": "i", "type": "nominal", "scale": {"domain": numbers, "range": tones}, "legend": None}
    shape = {"field": "i", "type": "nominal", "scale": {"domain": numbers, "range": shapes}, "legend": None}
    foot, head = "height * 0.24", "height * 0.36"  # of the bars, of the images below them
    across = f"{reach:g} * width / (0.64 * height)"
    masses_at: dict[str, dict[str, Any]] = {
        "x": {
            "field": "low",
            "type": "quantitative",
            "scale": {"domain": [0.4, n_texts + 0.6], "nice": False, "zero": False},
            "axis": None,
        },
        "y": {
            "field": "p",
            "type": "quantitative",
            "scale": {"domain": [0, 1], "range": [{"expr": foot}, 0]},
            "axis": {"title": "p", "values": [0, 0.5, 1], "titleAngle": 0, "titleAlign": "right"},
        },
    }
    images_at = {
        "x": {
            "field": "x",
            "type": "quantitative",
            "scale": {"domain": [{"expr": f"-{across}"}, {"expr": across}], "nice": False, "zero": False},
            "axis": {"title": "image, first coordinate", "tickCount": 6},
        },
        "y": {
            "field": "y",
            "type": "quantitative",
            "scale": {"domain": [-reach, reach], "nice": False, "range": [{"expr": "height"}, {"expr": head}]},
            "axis": {"title": "second coordinate", "tickCount": 5, "orient": "left"},
        },
    }
    bars = [
        {"calculate": json.dumps(numbers, separators=(",", ":")), "as": "i"},
        {"flatten": ["p", "i"]},
        {"calculate": "datum.i - 0.36", "as": "low"},
        {"calculate": "datum.i + 0.36", "as": "high"},
    ]
    below = {"x": masses_at["x"] | {"field": "i"}, "y": {"value": {"expr": f"{foot} + 11"}}}
    beneath = below | {"y": {"value": {"expr": f"{foot} + 25"}}, "color": colour, "shape": shape}
    layers: list[dict[str, Any]] = [
        {
            "transform": bars,
            "layer": [
                {
                    "mark": mark("rect"),
                    "encoding": masses_at | {"x2": {"field": "high"}, "y2": {"datum": 0}, "color": colour},
                },
                {
                    "transform": [{"filter": f"datum.i % {-(-n_texts // 12)} == 0"}],  # numbers need room
                    "mark": mark("text", color="currentColor", fontSize=12),
                    "encoding": below | {"text": {"field": "i"}},
                },
                {"mark": mark("point", filled=True, size=34), "encoding": beneath},
            ],
        },
        {
            "transform": [{"flatten": ["x", "y", "i"]}, {"filter": f"abs(datum.y) <= {reach:g}"}],
            "mark": mark("point", filled=True, size=34, opacity=0.75, clip=True),
            "encoding": images_at | {"color": colour, "shape": shape},
        },
    ]
    spec = _film(title, alt, times, rows, layers, height=400)
    spec["resolve"] = {"scale": {"x": "independent", "y": "independent"}}
    table = [
        f"  t = {times[k]}: p {' '.join(f'{mass:.3f}' for mass in masses[k])}; {lines[k]}".removesuffix("; ")
        for k in _few(times.size)
    ]
    return Film(spec, "\n".join([f"Film: {title}, {times.size} frames", *table]))


def film_of_pictures(
    t: ArrayLike,
    pictures: ArrayLike,
    *,
    title: str,
    alt: str,
    column_labels: Sequence[str] | None = None,
    readouts: Sequence[str] | None = None,
) -> Film:
    """Make a film of small pictures that stand in rows and columns.

    Parameters
    ----------
    t : int array (T,), the macro steps of the frames, increasing
    pictures : (T, rows, columns, height, width) ink from 0 (none) to 1
    title : a few words above the film
    alt : what is to be seen, for a reader who does not see it
    column_labels : a word or number under each column; none by default
    readouts : T short lines, one a frame (45 letters fit a phone); none by default

    Returns
    -------
    Film; ink has sixteen levels, and the colour of the page's letters

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or empty, arrays do not fit, or ink is not in [0, 1].
    """
    times, lines = _frames(t, readouts, title, alt)
    ink = check.real_array("pictures", pictures, (times.size, None, None, None, None))
    if ink.min() < 0 or ink.max() > 1:
        raise ValueError(f"pictures must hold ink in [0, 1], got {ink.min():g} to {ink.max():g}")
    rows, columns, high, wide = ink.shape[1:]
    words = [] if column_labels is None else plots.words("column_labels", column_labels, columns)
    levels: NDArray[np.int64] = np.rint(_LEVELS * ink).astype(np.int64)
    frames = [
        {"k": k, "r": lines[k], "s": "".join(f"{level:x}" for level in levels[k].ravel())} for k in range(times.size)
    ]
    # The place of a pixel from its number j, which runs through rows, columns, lines and pixels of a line.
    size, line = high * wide, columns * high * wide
    transform = [
        {"calculate": "split(datum.s, '')", "as": "c"},
        {"calculate": f"sequence({rows * line})", "as": "j"},
        {"flatten": ["c", "j"]},
        {"filter": "datum.c != '0'"},
        {"calculate": f"toNumber('0x' + datum.c) / {_LEVELS}", "as": "ink"},
        {
            "calculate": f"floor(datum.j % {line} / {size}) * {wide + 1} + datum.j % {wide}",
            "as": "x",
        },
        {
            "calculate": f"floor(datum.j / {line}) * {high + 1} + floor(datum.j % {size} / {wide})",
            "as": "y",
        },
        {"calculate": "datum.x + 1.02", "as": "x2"},  # neighbours overlap by a hair: no light between pixels
        {"calculate": "datum.y + 1.02", "as": "y2"},
    ]
    across, down = columns * (wide + 1), rows * (high + 1)
    place = {"type": "quantitative", "axis": None}
    flat = {"nice": False, "zero": False}
    layers: list[dict[str, Any]] = [
        {
            "transform": transform,
            "mark": mark("rect", color="currentColor"),
            "encoding": {
                "x": place | {"field": "x", "scale": flat | {"domain": [0, across]}},
                "x2": {"field": "x2"},
                "y": place | {"field": "y", "scale": flat | {"domain": [down, 0]}},
                "y2": {"field": "y2"},
                "fillOpacity": {
                    "field": "ink",
                    "type": "quantitative",
                    "scale": {"domain": [0, 1], "range": [0, 1]},
                    "legend": None,
                },
            },
        },
        *(
            {
                "mark": mark("text", text=word, color="currentColor", fontSize=13, baseline="top"),
                "encoding": {
                    "x": {"datum": i * (wide + 1) + wide / 2, "type": "quantitative"},
                    "y": {"value": {"expr": "height + 4"}},
                },
            }
            for i, word in enumerate(words)
        ),
    ]
    spec = _film(title, alt, times, frames, layers, height=round(560 * down / across))
    spec["usermeta"]["aspect"] = plots.significant(down / across)
    spec["padding"] = {"left": 5, "right": 5, "top": 5, "bottom": 24 if words else 5}
    mean = ink.mean(axis=(3, 4))
    table = [
        f"  t = {times[k]}: mean ink {plots.sample(mean[k].ravel(), keep_small=False)}; {lines[k]}".removesuffix("; ")
        for k in _few(times.size)
    ]
    return Film(spec, "\n".join([f"Film: {title}, {times.size} frames of {rows} x {columns} pictures", *table]))


def _frames(t: ArrayLike, readouts: Sequence[str] | None, title: str, alt: str) -> tuple[NDArray[np.int64], list[str]]:
    """Check what both films have, and return the times and one line of words each."""
    check.words("title", title)
    check.words("alt", alt)
    times = check.integer_array("t", t, minimum=0)
    plots.increasing("t", times)
    return times, [""] * times.size if readouts is None else plots.words("readouts", readouts, times.size)


def _film(
    title: str,
    alt: str,
    times: NDArray[np.int64],
    rows: list[dict[str, Any]],
    layers: list[dict[str, Any]],
    *,
    height: int,
) -> dict[str, Any]:
    """The chart with its slider, the time above it and the frame that is shown below."""
    shown = [str(time) for time in times]
    frame = chart(title, alt, height=height)
    frame["usermeta"]["controls"] = [{"param": "frame", "label": "macro step t", "values": shown, "pace": PACE}]
    return frame | {
        "params": [slider("frame", len(shown), "macro step t")],
        "data": {"values": rows},
        "transform": [{"filter": "datum.k == frame"}],
        "layer": [
            *layers,
            words_above(-28, {"expr": f"'t = ' + {json.dumps(shown)}[frame]"}),
            words_above(-10, fontWeight="bold"),
        ],
    }


def _few(count: int) -> list[int]:
    """The first, the last and a few frames between."""
    return sorted({round(k) for k in np.linspace(0, count - 1, min(count, 5))})


def _screen_tone(colour: str) -> str:
    """Mix a colour with white or black until it has a contrast of 3 to a white and to a dark (#121212) page."""

    def luminance(rgb: Array) -> float:
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    rgb = np.array(to_rgb(colour))
    end = np.ones(3) if luminance(rgb) < 0.2 else np.zeros(3)
    mixed = ((1 - share) * rgb + share * end for share in np.linspace(0, 1, 101))
    return to_hex(next(shade.tolist() for shade in mixed if 0.13 <= luminance(shade) <= 0.29))
