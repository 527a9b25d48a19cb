"""Films: every frame is in the chart, and the chart draws what the arrays say."""

from __future__ import annotations

import copy
import json
import re
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest
import vl_convert
from matplotlib.colors import to_rgb

from coevo._vegalite import column
from coevo.explore import SCREEN
from coevo.film import Film, _screen_tone, film_of_pictures, film_of_run

RNG = np.random.default_rng(5)
T = np.array([0, 10, 20])
P = np.array([[0.5, 0.3, 0.2], [0.75, 0.25, 0.0], [1.0, 0.0, 0.0]])
OWNER = np.array([RNG.choice(3, 8, p=p) for p in P])
POINTS = RNG.standard_normal((3, 8, 2))
INK = np.zeros((3, 2, 4, 3, 5))  # frames, rows, columns, lines, pixels
INK[1, 1, 2, 0, 4] = 1.0
INK[2] = 0.4
VEGALITE = "application/vnd.vegalite.v5+json"


def run(**more: Any) -> Film:
    return film_of_run(**{"t": T, "p": P, "points": POINTS, "text_index": OWNER, "title": "A", "alt": "B", **more})


def pictures(**more: Any) -> Film:
    return film_of_pictures(**{"t": T, "pictures": INK, "title": "A", "alt": "B", **more})


def svg(film: Film, frame: int) -> ET.Element:
    spec = copy.deepcopy(film.spec)
    spec["params"][0]["value"] = frame
    return ET.fromstring(vl_convert.vegalite_to_svg(json.dumps(spec), vl_version="5.8"))


def marks(drawn: ET.Element, group: str) -> list[dict[str, str]]:
    """The shapes of the mark group `group` (rect, symbol) as their attributes."""
    found = []
    for element in drawn.iter():
        if f"mark-{group}" in element.get("class", "").split():
            found += [dict(child.attrib) for child in element.iter() if child.tag.endswith("path")]
    return found


def test_bars_are_as_high_as_the_masses_and_points_as_many_as_the_images() -> None:
    film = run(readouts=["first", "second", "third"])
    for frame in range(3):
        drawn = svg(film, frame)
        bars = [re.findall(r"-?[\d.]+", m["d"]) for m in marks(drawn, "rect")]
        heights = np.array([abs(float(bar[3])) for bar in bars])  # M x,y h width v height h -width Z
        np.testing.assert_allclose(heights / (0.24 * 400), P[frame], atol=6e-4)
        assert len(marks(drawn, "symbol")) == 3 + 8  # one beneath each bar, one an image
        words = list(drawn.itertext())
        assert f"t = {T[frame]}" in words
        assert ["first", "second", "third"][frame] in words


def test_images_outside_the_window_are_not_drawn() -> None:
    far = POINTS.copy()
    far[0, 0] = [0.0, 40.0]
    assert len(marks(svg(run(points=far, window=5.0), 0), "symbol")) == 3 + 7
    assert len(marks(svg(run(points=far), 0), "symbol")) == 3 + 8


def contrast(a: str, b: str) -> float:
    def luminance(colour: str) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
        return 0.05 + 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    bright, dim = sorted((luminance(a), luminance(b)), reverse=True)
    return bright / dim


@pytest.mark.parametrize("colour", ["#ffff00", "#ffffff", "#000000", "#0d0887"])
def test_every_colour_finds_a_tone_for_both_pages(colour: str) -> None:
    assert all(contrast(_screen_tone(colour), page) >= 3 for page in ("#FFFFFF", "#121212"))


def test_texts_have_shapes_and_colours_seen_on_light_and_dark_pages() -> None:
    many = np.full((3, 9), 1 / 9)
    for p in (P, many):
        spec = run(p=p).spec
        encoding = spec["layer"][1]["encoding"]
        colours, shapes = encoding["color"]["scale"]["range"], encoding["shape"]["scale"]["range"]
        assert len(colours) == len(set(colours)) == len(shapes) == p.shape[1]
        assert all(contrast(colour, page) >= 3 for colour in colours for page in ("#FFFFFF", "#121212"))


def test_texts_that_came_later_share_the_colour_of_what_comes_from_outside() -> None:
    many = np.full((3, 9), 1 / 9)
    encoding = run(p=many, own=2).spec["layer"][1]["encoding"]
    colours, shapes = encoding["color"]["scale"]["range"], encoding["shape"]["scale"]["range"]
    assert len(colours) == len(shapes) == 9
    assert colours[2:] == [SCREEN["injected"]] * 7
    assert shapes[2:] == ["circle"] * 7
    assert len(set(colours[:3])) == 3
    assert run(own=50).spec == run().spec


def test_every_pixel_with_ink_stands_where_the_array_has_it() -> None:
    film = pictures(column_labels=list("abcd"))
    assert marks(svg(film, 0), "rect") == []
    (only,) = marks(svg(film, 1), "rect")
    x, y = (float(v) for v in re.findall(r"-?[\d.]+", only["d"])[:2])
    height = film.spec["height"]
    assert x == pytest.approx(560 * (2 * 6 + 4) / 24, abs=0.02)
    assert y == pytest.approx(height * (1 * 4 + 0) / 8, abs=0.02)
    assert height == round(560 * 8 / 24)
    grey = marks(svg(film, 2), "rect")
    assert len(grey) == INK[2].size
    assert {m["fill-opacity"] for m in grey} == {"0.4"}
    assert [word for word in svg(film, 0).itertext() if word in list("abcd")] == list("abcd")


def test_ink_has_sixteen_levels_and_none_is_left_out() -> None:
    levels = np.arange(16).reshape(1, 1, 2, 2, 4) / 15
    film = film_of_pictures([0], levels, title="A", alt="B")
    opacities = sorted(float(m.get("fill-opacity", 1)) for m in marks(svg(film, 0), "rect"))
    np.testing.assert_allclose(opacities, np.arange(1, 16) / 15, atol=1e-3)


def test_images_stand_where_the_arrays_have_them_in_the_colour_of_their_text() -> None:
    film = run(window=5.0)
    tones = film.spec["layer"][1]["encoding"]["color"]["scale"]["range"]
    for frame in range(3):
        dots = marks(svg(film, frame), "symbol")[3:]
        place = np.array([[float(v) for v in re.findall(r"-?[\d.]+", dot["transform"])] for dot in dots])
        np.testing.assert_allclose(place[:, 0], 280 + POINTS[frame, :, 0] / 5 * 128, atol=0.05)
        np.testing.assert_allclose(place[:, 1], 272 - POINTS[frame, :, 1] / 5 * 128, atol=0.05)
        assert [dot["fill"] for dot in dots] == [tones[text] for text in OWNER[frame]]


def test_bars_stand_over_their_numbers_in_the_colour_of_their_text() -> None:
    film = run()
    tones = film.spec["layer"][1]["encoding"]["color"]["scale"]["range"]
    bars = marks(svg(film, 0), "rect")
    assert [bar["fill"] for bar in bars] == tones
    left = [float(re.findall(r"-?[\d.]+", bar["d"])[0]) for bar in bars]
    np.testing.assert_allclose(left, 560 * (np.arange(1, 4) - 0.36 - 0.4) / 3.2, atol=0.05)


def test_by_default_every_image_is_in_the_window() -> None:
    wide = POINTS.copy()
    wide[1, 0] = [40.0, 0.0]
    low, high = run(points=wide).spec["layer"][1]["encoding"]["y"]["scale"]["domain"]
    assert -low == high >= 40
    edge = POINTS.copy()
    edge[0, 0] = [0.0, 5.0]
    assert len(marks(svg(run(points=edge, window=5.0), 0), "symbol")) == 3 + 8


@pytest.mark.parametrize("scale", [0.0, 1e-9, 1e9])
def test_images_of_any_size_fill_the_window(scale: float) -> None:
    small = marks(svg(run(points=scale * POINTS), 0), "symbol")[3:]
    usual = marks(svg(run(), 0), "symbol")[3:]
    assert len(small) == 8
    if scale:
        place = [
            np.array([[float(v) for v in re.findall(r"-?[\d.]+", m["transform"])] for m in s]) for s in (small, usual)
        ]
        np.testing.assert_allclose(*place, atol=0.1)


@pytest.mark.parametrize(("count", "numbers"), [(12, 12), (13, 6), (25, 8)])
def test_numbers_under_the_bars_have_room(count: int, numbers: int) -> None:
    drawn = svg(run(p=np.full((3, count), 1 / count), window=0.3), 0)
    below = {str(i + 1) for i in range(count)}
    assert sum(word in below for word in drawn.itertext()) == numbers


def test_seven_shapes_and_three_digits_of_mass() -> None:
    spec = run(p=np.tile([0.123, 0.877, 0, 0, 0, 0, 0], (3, 1))).spec
    assert len(set(spec["layer"][1]["encoding"]["shape"]["scale"]["range"])) == 7
    assert spec["data"]["values"][0]["p"][:2] == [0.123, 0.877]


def test_pictures_keep_their_shape_their_labels_and_their_mean_ink() -> None:
    film = pictures(column_labels=list("abcd"))
    assert film.spec["usermeta"]["aspect"] == pytest.approx(8 / 24, abs=1e-4)
    assert (film.spec["padding"]["bottom"], pictures().spec["padding"]["bottom"]) == (24, 5)
    assert "  t = 10: mean ink 0 0 0 0 0 0 0.06667 0" in film.text
    labels = [element for element in svg(film, 0).iter() if element.text in list("abcd")]
    x = [float(re.findall(r"-?[\d.]+", element.get("transform", ""))[0]) for element in labels]
    np.testing.assert_allclose(x, 560 * (6 * np.arange(4) + 2.5) / 24, atol=0.02)


def test_ink_goes_to_the_nearest_level() -> None:
    film = film_of_pictures([0], np.full((1, 1, 1, 1, 1), 0.11), title="A", alt="B")
    assert film.spec["data"]["values"][0]["s"] == "2"


def test_the_text_shows_five_frames() -> None:
    many = run(
        t=np.arange(0, 90, 10), p=np.full((9, 3), 1 / 3), points=np.ones((9, 4, 2)), text_index=np.zeros((9, 4), int)
    )
    assert re.findall(r"t = (\d+)", many.text) == ["0", "20", "40", "60", "80"]


def test_a_column_of_numbers_for_a_chart() -> None:
    found = column([100.0, 12345678.0, np.inf, np.nan, 0.123456])
    assert found == [100, 12350000.0, None, None, 0.1235]
    assert [type(value) for value in found[:2]] == [int, float]


def all_marks(layers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [mark for layer in layers for mark in ([layer["mark"]] if "mark" in layer else all_marks(layer["layer"]))]


@pytest.mark.parametrize("film", [run(), pictures()])
def test_a_film_can_be_read_played_and_stored(film: Film) -> None:
    (control,) = film.spec["usermeta"]["controls"]
    assert control["param"] == film.spec["params"][0]["name"]
    assert control["values"] == ["0", "10", "20"]
    assert 100 <= control["pace"] <= 300
    assert all(mark["aria"] is False for mark in all_marks(film.spec["layer"]))  # the description speaks for all
    assert film.spec["usermeta"]["alt"] == "B"
    bundle = film._repr_mimebundle_()
    assert bundle[VEGALITE] is film.spec
    assert json.loads(json.dumps(film.spec)) == film.spec
    assert bundle["text/plain"].startswith("Film: A, 3 frames")
    assert "  t = 20: " in bundle["text/plain"]


def test_the_numbers_in_the_text_are_those_of_the_frames() -> None:
    assert "t = 10: p 0.750 0.250 0.000; two" in run(readouts=["one", "two", "three"]).text
    assert "t = 20: mean ink 0.4 0.4" in pictures().text


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: run(title=" "), ValueError, r"title must say something, got ' '"),
        (lambda: run(alt=3), TypeError, r"alt must be a str, got 3"),
        (lambda: run(t=[0, 2, 1]), ValueError, r"t must"),
        (lambda: run(t=[0, 1, 2.5]), TypeError, r"t must"),
        (lambda: run(p=P[:2]), ValueError, r"p must have shape \(3, any\), got \(2, 3\)"),
        (lambda: run(p=P[0]), ValueError, r"p must have shape \(3, any\), got \(3,\)"),
        (lambda: run(p=2 * P), ValueError, r"p must"),
        (lambda: run(points=POINTS[:, :, :1]), ValueError, r"points must have shape"),
        (lambda: run(text_index=OWNER[:, :4]), ValueError, r"text_index must have shape \(3, 8\), got \(3, 4\)"),
        (lambda: run(text_index=OWNER + 2), ValueError, r"text_index must be less than 3, the number of texts, got 4"),
        (lambda: run(window=0.0), ValueError, r"window must lie in \(0, inf\), got 0"),
        (lambda: run(own=0), ValueError, r"own must be an integer >= 1, got 0"),
        (lambda: run(readouts=["a"]), ValueError, r"readouts must be a sequence of 3 texts, got 1"),
        (lambda: run(text_index=[]), ValueError, r"text_index must have shape \(3, 8\), got \(0,\)"),
        (lambda: run(readouts="abc"), TypeError, r"readouts must be a sequence of 3 texts, got 'abc'"),
        (lambda: run(readouts=[1, 2, 3]), TypeError, r"readouts\[0\] must be a str, got 1"),
        (lambda: pictures(pictures=INK[:2]), ValueError, r"pictures must have shape"),
        (lambda: pictures(pictures=INK - 0.5), ValueError, r"pictures must hold ink in \[0, 1\], got -0.5 to 0.5"),
        (lambda: pictures(pictures=3 * INK), ValueError, r"pictures must hold ink in \[0, 1\], got 0 to 3"),
        (lambda: pictures(column_labels=["a"]), ValueError, r"column_labels must be a sequence of 4 texts, got 1"),
        (lambda: pictures(column_labels=[1] * 4), TypeError, r"column_labels\[0\] must be a str, got 1"),
    ],
)
def test_bad_input_is_named(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()
