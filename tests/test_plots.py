"""The figure grammar: what is drawn, what the digest says of it, and that both are the same everywhere."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse

from coevo import plots

T = np.arange(5.0)


def digest(fig: Figure) -> str:
    return plots.plate(fig).digest()


@pytest.fixture
def ax() -> Axes:
    return plots.figure()[1][0]


def text_of(ax: Axes) -> str:
    assert isinstance(ax.figure, Figure)
    return digest(ax.figure)


# ---- colours -------------------------------------------------------------------------------------------


def linear(colour: str) -> np.ndarray:
    c = np.array(to_rgb(colour))
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def contrast(a: str, b: str) -> float:
    dark, light = sorted(float(linear(c) @ [0.2126, 0.7152, 0.0722]) for c in (a, b))
    return (light + 0.05) / (dark + 0.05)


# Machado, Oliveira & Fernandes (2009), severity 1: how a dichromat sees linear RGB.
DICHROMATS = {
    "normal": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def lab(colour: str, sight: str) -> np.ndarray:
    xyz = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175], [0.0193339, 0.119192, 0.9503041]]
    seen = np.clip(np.array(DICHROMATS[sight]) @ linear(colour), 0, 1)
    t = np.array(xyz) @ seen / [0.95047, 1, 1.08883]
    f = np.where(t > 0.008856, np.cbrt(t), 7.787 * t + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_role_colours_read_as_text_on_white() -> None:
    assert all(contrast(c, "white") >= 4.5 for role, c in plots.ROLES.items() if role != "run")


@pytest.mark.parametrize("sight", DICHROMATS)
def test_role_colours_stay_apart_for_every_sight(sight: str) -> None:
    seen = [lab(c, sight) for c in plots.ROLES.values()]
    distances = [np.linalg.norm(a - b) for i, a in enumerate(seen) for b in seen[:i]]
    assert min(distances) > 15  # CIE76; about 2 is just noticeable


@pytest.mark.parametrize("n", [1, 2, 7])
def test_swept_colours_are_ordered_from_dark_to_light_and_readable(n: int) -> None:
    colours = plots.sequence(n)
    against_white = [contrast(c, "white") for c in colours]
    assert len(set(colours)) == n
    assert against_white == sorted(against_white, reverse=True)
    assert min(against_white) >= 2.99


def test_sequence_refuses_a_number_of_colours_below_one() -> None:
    with pytest.raises(ValueError, match="n must be an integer >= 1, got 0"):
        plots.sequence(0)


# ---- the figure ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("panels", "stack", "shape"), [(1, False, (1, 1)), (3, False, (1, 3)), (3, True, (3, 1))])
def test_figure_is_one_column_wide(panels: int, stack: bool, shape: tuple[int, int]) -> None:
    fig, axes = plots.figure(panels, stack=stack)
    assert fig.get_figwidth() == 6.0
    assert len(axes) == panels
    spec = axes[0].get_subplotspec()
    assert spec is not None
    assert spec.get_gridspec().get_geometry() == shape
    assert not plt.get_fignums()  # pyplot never shows it a second time


def test_letters_stay_readable_on_a_phone() -> None:
    fig, (ax,) = plots.figure()
    ax.set_title("title")
    plots.label_axes(ax, "time step t", "text diversity D")
    letters = [ax.title, ax.xaxis.label, ax.yaxis.label, *ax.get_xticklabels(), *ax.get_yticklabels()]
    on_phone = [text.get_fontsize() / 72 * 350 / fig.get_figwidth() for text in letters]  # px, in a 350 px column
    assert min(on_phone) >= 8


def test_panels_share_axes_and_keep_outer_names_only() -> None:
    fig, (left, right) = plots.figure(2, titles=["sharp", "blurred"])
    for ax in (left, right):
        plots.decay_axes(ax, "time step t", "text diversity D")
    left.set_ylim(0.1, 1)
    assert right.get_ylim() == (0.1, 1)
    assert digest(fig).splitlines()[1:] == [
        'panel 1: x "time step t", y "text diversity D" (log), title "sharp"',
        'panel 2: x "time step t", y "" (log), title "blurred"',
    ]


def test_panels_of_different_quantities_keep_their_own_axes() -> None:
    _, (left, right) = plots.figure(2, share=False, height=2.0)
    left.set_ylim(0, 7)
    plots.label_axes(right, "text i", "probability")
    assert right.get_ylim() != (0, 7)
    assert right.get_ylabel() == "probability"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plots.figure(5), r"panels must be 1, 2, 3, 4 or 6, got 5"),
        (lambda: plots.figure(0), r"panels must be an integer >= 1, got 0"),
        (lambda: plots.figure(2, titles=["one"]), r"titles must name each of the 2 panels, got 1 titles"),
        (lambda: plots.figure(2, titles="ab"), r"titles must be a sequence of 2 texts, got 'ab'"),
        (lambda: plots.figure(titles=None), r"titles must be a sequence of 1 texts, got None"),
        (lambda: plots.figure(titles=[3]), r"titles\[0\] must be a str, got 3"),
        (lambda: plots.figure(share="col"), r"share must be a bool, got 'col'"),
        (lambda: plots.figure(height=0), r"height must lie in \(0, inf[\])], got 0"),
        (lambda: plots.plate("figure"), r"fig must be a Figure, got 'figure'"),
    ],
)
def test_figure_errors_name_parameter_range_and_value(call: Callable[[], object], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        call()


# ---- building blocks -----------------------------------------------------------------------------------


def test_curves_of_a_decay(ax: Axes) -> None:
    plots.runs(ax, T, [[1, 0.5, 0.25, 0, 0], [1, 1, 1, 1, 1]])
    plots.simulated(ax, T, 0.9**T, np.full(5, 0.01), label="mean of 2 runs", at=0.5)
    plots.bound(ax, T, 0.8**T, "floor")
    plots.exact(ax, T, 0.85**T, "exact law")
    plots.decay_axes(ax, "time step t", "text diversity D", lowest=0.1)
    assert text_of(ax).splitlines() == [
        "Figure data",
        'panel 1: x "time step t", y "text diversity D" (log)',
        '  line "mean of 2 runs": n 5; x 0 1 2 3 4; y 1 0.9 0.81 0.729 0.6561',
        '  line "floor": n 5; x 0 1 2 3 4; y 1 0.8 0.64 0.512 0.4096',
        '  line "exact law": n 5; x 0 1 2 3 4; y 1 0.85 0.7225 0.6141 0.522',
        '  lines "single runs": n 10; x 0 1 2 3 4 0 1 2 4; y 1 0.5 0.25 0 0 1 1 1 1',
        '  band "2 se band": n 13; x 0 0 2 3 4 4 2 1 0; y 1.02 0.98 0.79 0.709 0.6761 0.6761 0.83 0.92 1.02',
        '  text "mean of 2 runs"',
        '  text "floor"',
    ]
    assert ax.get_ylim()[0] == 0.1
    labels = ax.get_legend_handles_labels()[1]
    assert labels == ["single runs", "exact law"]  # what has a label at the line needs none in the key


def test_points_have_bars_of_two_standard_errors(ax: Axes) -> None:
    plots.points(ax, [1.0, 2.0], [0.5, 0.4], [0.01, 0.02], label="simulated")
    (bars,) = (c for c in ax.collections if isinstance(c, LineCollection))
    np.testing.assert_allclose([segment[:, 1] for segment in bars.get_segments()], [[0.48, 0.52], [0.36, 0.44]])


@pytest.mark.parametrize("rising", [True, False])
@pytest.mark.parametrize("side", ["above", "below"])
@pytest.mark.parametrize("at", [0.1, 0.5, 0.9])
def test_labels_stand_clear_of_their_line(ax: Axes, rising: bool, side: plots.Side, at: float) -> None:
    t = np.arange(11.0)
    plots.bound(ax, t, t if rising else -t, "bound", at=at, side=side)
    fig = ax.figure
    assert isinstance(fig, Figure)
    fig.draw_without_rendering()
    box = ax.texts[0].get_window_extent()
    line = ax.transData.transform(ax.lines[0].get_xydata())
    under = np.interp(np.linspace(box.x0, box.x1, 9), line[:, 0], line[:, 1])
    anchor = line[round(10 * at), 1]
    if side == "above":
        assert box.y0 > anchor
    else:
        assert box.y1 < anchor
    if at == 0.5:
        assert (under < box.y0).all() or (under > box.y1).all()


def test_label_of_a_line_that_is_nowhere_defined_is_left_out(ax: Axes) -> None:
    plots.bound(ax, T, np.full(5, np.nan), "floor")
    assert not ax.texts
    assert "nan nan" in text_of(ax)


@pytest.mark.parametrize("draw", [plots.bound, plots.exact, plots.comparison])
def test_laws_have_a_halo_on_a_heat_map_only(ax: Axes, draw: Callable[..., None]) -> None:
    draw(ax, T, T, "plain", at=None)
    plots.heat(ax, T, T, np.ones((5, 5)), label="probability")
    draw(ax, T, T, "over heat", at=None)
    assert [bool(line.get_path_effects()) for line in ax.lines] == [False, True]


@pytest.mark.parametrize("logarithmic", [False, True])
def test_heat_map(ax: Axes, logarithmic: bool) -> None:
    plots.heat(ax, [0, 1], [0, 1, 2], [[1, 2], [3, np.nan], [5, 6]], label="probability", logarithmic=logarithmic)
    lines = text_of(ax).splitlines()
    assert lines[2] == '  heat "probability": n 6; value 1 2 3 nan 5 6'
    assert len(lines) == 3  # the colour bar is no panel
    plots.bound(ax, T, T, "edge", at=None)
    plots.key(ax.figure)
    assert [word.get_text() for word in ax.figure.legends[0].get_texts()] == ["edge"]


def test_histogram_of_a_discrete_law_counts_at_the_nearest_point(ax: Axes) -> None:
    plots.histogram_with_law(
        ax, [0, 0.1, 0.26, 1], [0, 0.5, 1], [0.5, 0.25, 0.25], label="runs", law_label="law", discrete=True
    )
    lines = text_of(ax).splitlines()
    assert lines[2] == '  line "law": n 3; x 0 0.5 1; y 0.5 0.25 0.25'
    assert lines[3] == '  bars "runs": n 3; x 0 0.5 1; y 0.5 0.25 0.25'


def test_histogram_of_a_density_has_area_one(ax: Axes) -> None:
    samples = np.linspace(0, 2, 101)
    plots.histogram_with_law(ax, samples, [0, 2], [0.5, 0.5], label="runs", law_label="law", bins=4)
    area = sum(bar.get_width() * bar.get_height() for bar in ax.patches)  # type: ignore[attr-defined]
    assert area == pytest.approx(1)
    assert '  bars "runs": n 4; x 0.25 0.75 1.25 1.75' in text_of(ax)


def test_images_and_image_models(ax: Axes) -> None:
    plots.scatter_images(ax, [[0, 0], [1, 1], [0, 1]], [0, 2, 0], label="images")
    cov = np.array([np.eye(2), [[4.0, 0], [0, 0]], np.zeros((2, 2))])
    plots.image_ellipses(ax, np.zeros((3, 2)), cov)
    plots.image_ellipses(ax, np.zeros((3, 2)), cov, role="image", label="image models", dashed=True)
    lines = text_of(ax).splitlines()
    circle, segment, point = lines[2:5]
    assert "x 2 1.414 0 -1.414 -2 -1.414 0 1.414 2; y 0 1.414 2 1.414 0 -1.414 -2 -1.414 0" in circle
    assert "x 4 2.828 0 -2.828 -4 -2.828 0 2.828 4; y 0 0 0 0 0 0 0 0 0" in segment
    assert "x 0 0 0 0 0 0 0 0 0; y 0 0 0 0 0 0 0 0 0" in point
    assert lines.count('  line "mean": n 1; x 0; y 0') == 3
    assert '  points "images": n 2; x 0 0; y 0 1' in lines
    assert [text.get_text() for text in ax.texts] == ["1", "2", "3"]
    fig = ax.figure
    assert isinstance(fig, Figure)
    plots.key(fig)
    assert [t.get_text() for t in fig.legends[0].get_texts()] == ["images", "image models"]


def test_scatter_without_a_label_stays_out_of_the_key(ax: Axes) -> None:
    plots.scatter_images(ax, [[0, 0]], [0], n_texts=4)
    assert not ax.get_legend_handles_labels()[1]


@pytest.mark.parametrize("n_texts", [3, 40])
def test_text_bars(ax: Axes, n_texts: int) -> None:
    p = np.full(n_texts, 1 / n_texts)
    plots.text_bars(ax, p, initial=p)
    text = text_of(ax)
    assert f'  bars "text model p": n {n_texts}; x 1' in text
    assert f'  line "at the start": n {n_texts}' in text
    assert len(ax.get_xticks()) <= 12


def test_text_bars_without_a_start(ax: Axes) -> None:
    plots.text_bars(ax, [0.5, 0.5])
    assert "at the start" not in text_of(ax)


INK = np.arange(24.0).reshape(2, 3, 2, 2)
GALLERY = {"row_labels": ["t = 0", "t = 9"], "column_labels": ["0", "1", ""]}


def test_gallery_of_pictures(ax: Axes) -> None:
    plots.pictures(ax, INK, row_labels=["t = 0", "t = 9"], column_labels=["0", "1", ""])
    assert [t.get_text() for t in ax.get_xticklabels()] == ["0", "1", ""]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["t = 0", "t = 9"]
    assert text_of(ax).splitlines()[2:] == [
        '  pictures "t = 0": n 3; mean 1.5 5.5 9.5; spread 1.118 1.118 1.118',
        '  pictures "t = 9": n 3; mean 13.5 17.5 21.5; spread 1.118 1.118 1.118',
    ]
    assert not ax.get_legend_handles_labels()[1]


def test_pictures_are_ink_on_white_paper_and_every_pixel_is_square(ax: Axes) -> None:
    plots.pictures(ax, np.eye(3, 4)[None, None], row_labels=["a"], column_labels=["b"])
    (image,) = ax.images
    left, right, bottom, top = image.get_extent()
    assert (right - left) / 4 == pytest.approx((bottom - top) / 3)
    assert ax.get_aspect() == 1.0
    shade = image.cmap(image.norm(np.array([-1.0, 0.0, 0.5, 1.0])))[:, :3]
    np.testing.assert_allclose(shade[:2], 1)
    assert 0.4 < shade[2, 0] < 0.6
    np.testing.assert_allclose(shade[3], 0)
    low, high = sorted(ax.get_ylim())
    assert low < top < bottom < high


@pytest.mark.parametrize(("ink", "black", "darkest"), [(0.0, None, 1.0), (3.0, None, 3.0), (3.0, 16.0, 16.0)])
def test_one_scale_of_grey_for_the_whole_gallery(ax: Axes, ink: float, black: float | None, darkest: float) -> None:
    plots.pictures(
        ax,
        np.stack([np.zeros((1, 1, 2, 2)), np.full((1, 1, 2, 2), ink)])[:, 0],
        row_labels=["", ""],
        column_labels=[""],
        black=black,
    )
    assert [image.norm.vmax for image in ax.images] == [darkest] * 2
    assert [image.norm.vmin for image in ax.images] == [0] * 2


def test_a_changed_pixel_changes_the_digest_of_a_gallery(ax: Axes) -> None:
    changed = INK.copy()
    changed[1, 2, 0, 0] += 0.1
    before = plots.figure()[1][0]
    plots.pictures(before, INK, row_labels=["", ""], column_labels=["", "", ""])
    plots.pictures(ax, changed, row_labels=["", ""], column_labels=["", "", ""])
    assert text_of(before) != text_of(ax)


SNAPSHOTS: dict[str, object] = {
    "t": [0, 10],
    "p": [[0.5, 0.3, 0.2], [0.9, 0.1, 0.0]],
    "points": [[[0, 0], [2, 0], [1, 3], [0, -3]], [[1, 1], [1.01, 1], [1, 9], [0, 0]]],
    "text_index": [[0, 0, 1, 2], [0, 0, 1, 0]],
}


def snapshots(**changed: object) -> Figure:
    return plots.snapshots(**{**SNAPSHOTS, **changed})  # type: ignore[arg-type]  # bad ones are refused


def test_snapshots_show_masses_and_images_at_every_time() -> None:
    dense = [[[1, 1], [1.01, 1], [1, 4], [1, 1]]] * 2
    assert digest(snapshots(points=dense, window=4)).splitlines()[1:] == [
        'panel 1: x "", y "mass $p_i$", title "t = 0"',
        *(f'  line "text {i}": n 1; x {i}; y {p}' for i, p in ((1, 0.5), (2, 0.3), (3, 0.2))),
        '  bars "text model p": n 3; x 1 2 3; y 0.5 0.3 0.2',
        'panel 2: x "image $x_1$", y "image $x_2$"',
        '  points "text 1": n 2; x 1 1.01; y 1 1',
        '  points "text 2": n 1; x 1; y 4',
        '  points "text 3": n 1; x 1; y 1',
        '  text "1"',
        '  text "2"',
        '  text "3"',
        'panel 3: x "", y "", title "t = 10"',
        *(f'  line "text {i}": n 1; x {i}; y {p}' for i, p in ((1, 0.9), (2, 0.1), (3, 0))),
        '  bars "text model p": n 3; x 1 2 3; y 0.9 0.1 0',
        'panel 4: x "image $x_1$", y ""',
        '  points "text 1": n 3; x 1 1.01 1; y 1 1 1',
        '  points "text 2": n 1; x 1; y 4',
        '  text "1"',
        '  text "2"',
        '  text "points: 1"',
    ]


def test_snapshots_count_what_is_out_of_the_window() -> None:
    first, second = (
        axes for axes in snapshots(window=2.5).axes if axes.get_ylabel() != "mass $p_i$" and axes.collections
    )
    assert [text.get_text() for text in first.texts] == ["1", "2 out"]
    assert len(first.collections) == 1  # no image of texts 2 and 3 is inside
    assert [text.get_text() for text in second.texts] == ["1", "1 out"]
    everything = snapshots().axes[1]
    assert everything.get_xlim() == (-9, 9)
    assert not any("out" in text.get_text() for text in everything.texts)


def test_snapshots_of_point_masses_at_the_origin() -> None:
    fig = snapshots(points=np.zeros((2, 4, 2)), columns=1)
    assert fig.axes[1].get_xlim() == (-1, 1)
    assert "points: 1" in [text.get_text() for text in fig.axes[3].texts]


@pytest.mark.parametrize("n_texts", [2, 4, 5, 8])
def test_snapshots_list_points_or_count_them(n_texts: int) -> None:
    index = np.repeat(np.arange(n_texts), 3)[None]
    fig = plots.snapshots([3], np.full((1, n_texts), 1 / n_texts), np.ones((1, 3 * n_texts, 2)), index)
    note = "points: 1, 2" if n_texts == 2 else f"points: {n_texts} of {n_texts}"
    assert fig.axes[1].texts[-1].get_text() == note


@pytest.mark.parametrize("columns", [1, 2, 3])
@pytest.mark.parametrize("times", [1, 3, 5])
def test_snapshots_fill_one_column_with_square_windows(times: int, columns: int) -> None:
    p, points = np.full((times, 2), 0.5), np.random.default_rng(3).normal(size=(times, 9, 2))
    fig = plots.snapshots(np.arange(times), p, points, np.tile(np.arange(9) % 2, (times, 1)), columns=columns)
    width, height = fig.get_size_inches()
    assert width == 6
    assert len(fig.axes) == 2 * times
    for plane in fig.axes[1::2]:
        box, (left, right), (bottom, top) = plane.get_position(), plane.get_xlim(), plane.get_ylim()
        assert (right - left) / (box.width * width) == pytest.approx((top - bottom) / (box.height * height))
        assert all(left < tick < right for tick in plane.get_xticks())
        assert 0 <= box.x0 < box.x1 <= 1 + 1e-9
    boxes = [ax.get_position() for ax in fig.axes]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert min(box.y0 for box in boxes) > 0


def test_later_texts_of_a_growing_corpus_share_a_colour_and_the_heaviest_are_numbered() -> None:
    p = np.array([[0.4, 0.1, 0.0, 0.06, 0.2, 0.24]])
    fig = plots.snapshots([7], p, [[[0, 0], [1, 1], [2, 2]]], [[0, 4, 5]], own=2)
    bars, plane = fig.axes
    shades = [to_rgb(patch.get_facecolor()[:3]) for patch in bars.patches]  # type: ignore[attr-defined]
    assert shades[2:] == [to_rgb(plots.ROLES["injected"])] * 4
    assert len({*shades}) == 3
    assert [(text.get_text(), text.xy) for text in bars.texts] == [  # type: ignore[attr-defined]
        ("1", (1, 0.4)),
        ("6", (6, 0.24)),
        ("5", (5, 0.2)),
        ("2", (2, 0.1)),
    ]
    assert sorted(text.get_text() for text in plane.texts) == ["1", "5", "6"]
    crowd = np.array([[0.1, 0.2, 0.15, 0.15] + 56 * [0.4 / 56]])
    fig = plots.snapshots([7], crowd, [[[0, 0]]], [[0]])
    assert [text.get_text() for text in fig.axes[0].texts] == ["2"]
    assert not fig.axes[0].get_xticks().size


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda ax: plots.runs(ax, T, T), r"values must have shape \(any, 5\), got \(5,\)"),
        (lambda ax: plots.runs(ax, [0, np.nan], [[1, 2]]), r"t must hold finite numbers, got nan"),
        (lambda ax: plots.simulated(ax, T, T, [1], label="m"), r"standard_error must have shape \(5,\), got \(1,\)"),
        (lambda ax: plots.simulated(ax, T, T, T, label="m", role="pink"), r"role must be one of text, .*'pink'"),
        (lambda ax: plots.bound(ax, T, T, "b", at=1.5), r"at must lie in \[0, 1\], got 1.5"),
        (lambda ax: plots.exact(ax, T, T, "e", side="left"), r"side must be one of above, below, got 'left'"),
        (lambda ax: plots.decay_axes(ax, "t", "D", lowest=0), r"lowest must lie in \(0, inf[\])], got 0"),
        (lambda ax: plots.heat(ax, T, T, np.ones((2, 5)), label="h"), r"values must have shape \(5, 5\), got"),
        (
            lambda ax: plots.histogram_with_law(ax, [1], [1, 0], [1, 1], label="", law_label=""),
            r"support must increase, got a step of -1",
        ),
        (
            lambda ax: plots.histogram_with_law(ax, [1], [0, 1], [1, 1], label="", law_label="", bins=0),
            r"bins must be an integer >= 1, got 0",
        ),
        (lambda ax: plots.scatter_images(ax, [[0, 0]], [0, 1]), r"text_index must have shape \(1,\), got \(2,\)"),
        (
            lambda ax: plots.image_ellipses(ax, [[0, 0]], np.ones((2, 2, 2))),
            r"cov must have shape \(1, 2, 2\), got \(2, 2, 2\)",
        ),
        (
            lambda ax: plots.pictures(ax, INK[0], row_labels=[], column_labels=[]),
            r"images must have shape \(any, any, any, any\), got \(3, 2, 2\)",
        ),
        (
            lambda ax: plots.pictures(ax, INK, row_labels=["a"], column_labels=[""] * 3),
            r"row_labels must be a sequence of 2 texts, got 1",
        ),
        (lambda ax: plots.text_bars(ax, [0.5, 0.6]), r"p must sum to 1 over its last axis, got 1.1"),
        (lambda ax: plots.text_bars(ax, [1], initial=[0.5, 0.5]), r"initial must have shape \(1,\), got \(2,\)"),
    ],
)
def test_errors_name_parameter_range_and_value(ax: Axes, draw: Callable[[Axes], None], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        draw(ax)


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda ax: plots.exact(ax, T, "abc", "e"), r"values must be an array of real numbers, got dtype <U3"),
        (lambda ax: plots.exact(ax, [0, 1], [[1], [1, 2]], "e"), r"values must be a rectangular array, got"),
        (lambda ax: plots.exact(ax, [0, 1], [True, False], "e"), r"values must be .* real numbers, got dtype bool"),
        (lambda ax: plots.exact(ax, [0, 1], [1j, 1], "e"), r"values must be .* real numbers, got dtype complex128"),
        (lambda ax: plots.exact(ax, [0, 1], [1, None], "e"), r"values must be .* real numbers, got dtype object"),
        (lambda ax: plots.simulated(ax, T, T, -T, label="m"), r"standard_error must hold numbers >= 0, got -1"),
        (lambda ax: plots.points(ax, T, T, -T, label="m"), r"standard_error must hold numbers >= 0, got -1"),
        (lambda ax: plots.points(ax, "ab", T, T, label="m"), r"x must be an array of real numbers, got dtype <U2"),
        (lambda ax: plots.bound(ax, T, T, "b", at="a"), r"at must be a number in \[0, 1\], got 'a'"),
        (lambda ax: plots.bound(ax, T, T, "b", colour="bleen"), r"colour must be a colour .*, got 'bleen'"),
        (lambda ax: plots.write(ax, 0, "y", "text"), r"y must be a number in .*, got 'y'"),
        (lambda ax: plots.write(ax, 0, 0, "text", colour=3), r"colour must be a colour .*, got 3"),
        (lambda ax: plots.label_axes(ax, "x", None), r"y_label must be a str, got None"),
        (lambda ax: plots.heat(ax, [0, 2, 1], T, np.ones((5, 3)), label="h"), r"x must increase, got a step of -1"),
        (
            lambda ax: plots.heat(ax, [0, 1], [0], [[0, 0]], label="h", logarithmic=True),
            r"values must hold a finite number > 0, got 0 0",
        ),
        (
            lambda ax: plots.heat(ax, [0, 1], [0], [[np.nan, np.inf]], label="h"),
            r"values must hold a finite number > -inf, got nan inf",
        ),
        (lambda ax: plots.heat(ax, T, T, np.ones((5, 5)), label="h", logarithmic=1), r"logarithmic must be a bool"),
        (
            lambda ax: plots.histogram_with_law(ax, [1], [0, 1], [1, -1], label="", law_label=""),
            r"law must hold numbers >= 0, got -1",
        ),
        (
            lambda ax: plots.histogram_with_law(ax, [1], [0], [1], label="", law_label="", discrete=True, bins=-1),
            r"bins must be an integer >= 1, got -1",
        ),
        (
            lambda ax: plots.histogram_with_law(ax, [1], [0], [1], label="", law_label="", discrete="no"),
            r"discrete must be a bool, got 'no'",
        ),
        (lambda ax: plots.scatter_images(ax, [[0, 0]], [0], n_texts=-1), r"n_texts must be an integer >= 1, got -1"),
        (lambda ax: plots.scatter_images(ax, [[0, 0]], [2], n_texts=2), r"n_texts must be an integer >= 3, got 2"),
        (lambda ax: plots.scatter_images(ax, [[0, 0]], [0], n_texts="a"), r"n_texts must be an integer >= 1, got 'a'"),
        *(
            (
                lambda ax, bad=bad: plots.image_ellipses(ax, [[0, 0]], [np.eye(2)], deviations=bad),
                rf"deviations must .* \(0, inf.*, got '?{bad}",
            )
            for bad in (-1, np.nan, "a")
        ),
        (lambda ax: plots.image_ellipses(ax, [[0, 0]], [np.eye(2)], dashed="no"), r"dashed must be a bool, got 'no'"),
        (
            lambda ax: plots.pictures(ax, INK, row_labels="ab", column_labels=[""] * 3),
            r"row_labels must be a sequence of 2 texts, got 'ab'",
        ),
        (
            lambda ax: plots.pictures(ax, INK, row_labels=["", ""], column_labels=["", 3, ""]),
            r"column_labels\[1\] must be a str, got 3",
        ),
        (lambda ax: plots.pictures(ax, INK * np.nan, **GALLERY), r"images must hold finite numbers, got nan"),
        (lambda ax: plots.pictures(ax, INK, black=0, **GALLERY), r"black must lie in \(0, inf.*, got 0"),
        (lambda ax: plots.pictures(ax.figure, INK, **GALLERY), r"ax must be a Axes, got <Figure"),
        (lambda _: snapshots(t=[1, 1]), r"t must increase, got a step of 0"),
        (lambda _: snapshots(p=[[1, 0, 0]]), r"p must have shape \(2, any\), got \(1, 3\)"),
        (lambda _: snapshots(p=[[1, 0, 0], [1, 1, 0]]), r"p must sum to 1 over its last axis, got 2"),
        (lambda _: snapshots(points=np.zeros((2, 4, 3))), r"points must have shape \(2, any, 2\), got \(2, 4, 3\)"),
        (lambda _: snapshots(points=np.full((2, 4, 2), np.nan)), r"points must hold finite numbers, got nan"),
        (lambda _: snapshots(text_index=[[0], [0]]), r"text_index must have shape \(2, 4\), got \(2, 1\)"),
        (lambda _: snapshots(text_index=np.full((2, 4), 3)), r"text_index must be less than 3, .*, got 3"),
        (lambda _: snapshots(text_index=np.full((2, 4), -1)), r"text_index must .* 0, got -1"),
        (lambda _: snapshots(window=0), r"window must lie in \(0, inf.*, got 0"),
        (lambda _: snapshots(columns=4), r"columns must be at most 3, got 4"),
        (lambda _: snapshots(own=9), r"own must be at most 8, got 9"),
        (lambda ax: plots.key(ax.figure, columns=0), r"columns must be an integer >= 1, got 0"),
        (lambda ax: plots.key(ax), r"fig must be a Figure, got <Axes"),
        (lambda _: plots.readable_ticks(0, 1), r"low must lie in \(0, inf.*, got 0"),
        (lambda _: plots.readable_ticks(2, 1), r"high must lie in \[2, inf.*, got 1"),
        (lambda _: plots.significant("1"), r"value must be an array of real numbers, got dtype <U1"),
        (lambda _: plots.sample([], keep_small=True), r"values must have shape \(any,\), got \(0,\)"),
        (lambda _: plots.sample([1], keep_small=1), r"keep_small must be a bool, got 1"),
    ],
)
def test_bad_input_is_refused_before_anything_is_drawn(ax: Axes, draw: Callable[[Axes], object], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        draw(ax)
    assert not [*ax.lines, *ax.collections, *ax.texts, *ax.containers]


@pytest.mark.parametrize(
    "draw",
    [
        lambda ax, word: plots.runs(ax, T, [T], label=word),
        lambda ax, word: plots.simulated(ax, T, T, T, label=word),
        lambda ax, word: plots.points(ax, T, T, T, label=word),
        lambda ax, word: plots.bound(ax, T, T, word),
        lambda ax, word: plots.exact(ax, T, T, word),
        lambda ax, word: plots.write(ax, 0, 0, word),
        lambda ax, word: plots.label_axes(ax, word, "y"),
        lambda ax, word: plots.decay_axes(ax, word, "y"),
        lambda ax, word: plots.heat(ax, T, T, np.ones((5, 5)), label=word),
        lambda ax, word: plots.histogram_with_law(ax, T, T, T, label="runs", law_label=word),
        lambda ax, word: plots.scatter_images(ax, [[0, 0]], [0], label=word),
        lambda ax, word: plots.image_ellipses(ax, [[0, 0]], [np.eye(2)], label=word),
        lambda ax, word: plots.text_bars(ax, [1], label=word),
    ],
)
def test_axes_and_names_are_checked_everywhere(ax: Axes, draw: Callable[[object, object], None]) -> None:
    with pytest.raises(TypeError, match=r"ax must be a Axes, got None"):
        draw(None, "name")
    with pytest.raises(TypeError, match=r"(label|text|x_label|law_label) must be a str, got 3"):
        draw(ax, 3)
    draw(ax, "name")


def test_drawable_lets_gaps_pass_and_returns_floats_of_its_own() -> None:
    given = np.array([1.0, np.nan, np.inf])
    drawn = plots.drawable("values", given, (3,), minimum=0.0)
    np.testing.assert_array_equal(drawn, given)
    assert drawn is not given
    assert plots.drawable("values", [[1, 2]], (None, 2)).dtype == np.float64


def test_public_names_are_those_of_all() -> None:
    own = {name for name, value in vars(plots).items() if getattr(value, "__module__", "") == plots.__name__}
    assert {name for name in own if not name.startswith("_")} <= set(plots.__all__)


# ---- ticks ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.04, 1.1, [0.05, 0.1, 0.2, 0.5, 1.0]),
        (0.44, 0.53, [0.44, 0.46, 0.48, 0.5, 0.52]),
        (2e-30, 1.0, [1e-30 * 10**k for k in (5, 10, 15, 20, 25, 30)]),
    ],
)
def test_log_ticks_are_round(low: float, high: float, ticks: list[float]) -> None:
    assert plots.readable_ticks(low, high) == pytest.approx(ticks)


@given(st.floats(-200, 2), st.floats(0.01, 150))
def test_log_ticks_are_few_and_inside(power: float, decades: float) -> None:
    low = 10.0**power
    high = low * 10.0**decades
    ticks = plots.readable_ticks(low, high)
    assert 2 <= len(ticks) <= 9
    assert all(low <= tick <= high for tick in ticks)


@pytest.mark.parametrize(
    ("value", "label"), [(0.5, "0.5"), (1000, "1000"), (1e-7, "$10^{-7}$"), (2e-5, r"$2\cdot10^{-5}$")]
)
def test_tick_labels_are_plain_numbers_where_they_can_be(value: float, label: str) -> None:
    assert plots._tick_label(value) == label


def test_decay_axis_shows_these_ticks(ax: Axes) -> None:
    plots.bound(ax, T, 0.5**T, "floor", at=None)
    plots.decay_axes(ax, "time step t", "text diversity D")
    assert [t.get_text() for t in ax.get_yticklabels()] == ["0.1", "0.2", "0.5", "1"]


# ---- plate and digest ----------------------------------------------------------------------------------


def test_digest_reads_zeros_noise_and_infinities_the_same_everywhere(ax: Axes) -> None:
    ax.plot([0, 1, 2, 3, 4, 5], [-0.0, 1e-17, np.nan, np.inf, -np.inf, 0.015625 * (1 + 2e-16)])
    assert text_of(ax).splitlines()[2] == "  line: n 6; x 0 1 2 3 4 5; y 0 0 nan inf -inf 0.01562"


def test_digest_keeps_small_numbers_of_a_log_axis(ax: Axes) -> None:
    ax.plot([1, 2], [1e-20, 1e-30])
    ax.set_yscale("log")
    assert "y 1e-20 1e-30" in text_of(ax)


def test_digest_tells_an_empty_line(ax: Axes) -> None:
    ax.plot([], [])
    assert text_of(ax).splitlines()[2] == "  line: n 0; x ; y "


def test_digest_of_what_a_chapter_draws_by_itself(ax: Axes) -> None:
    ax.imshow([[1.0, 2.0]])
    ax.add_patch(Ellipse((0, 0), 2, 2))
    ax.set_title("by hand", loc="center")
    text = text_of(ax)
    assert "  image: n 2; value 1 2" in text
    assert re.search(r"  shape: n \d+; x 0 ", text)
    assert 'title "by hand"' in text


def test_digest_takes_nine_values_from_first_to_last(ax: Axes) -> None:
    plots.exact(ax, np.arange(1001), np.arange(1001) / 1000, "law")
    assert "n 1001; x 0 125 250 375 500 625 750 875 1000;" in text_of(ax)


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300))
def test_four_significant_digits(value: float) -> None:
    rounded = plots.significant(value)
    assert rounded == pytest.approx(value, rel=5.001e-4, abs=1e-320)
    assert float(f"{rounded:.4g}") == rounded
    assert str(rounded) != "-0.0"


def test_a_changed_number_changes_the_digest() -> None:
    def drawn(last: float) -> str:
        fig, (ax,) = plots.figure()
        plots.exact(ax, [0, 1], [1, last], "law")
        return digest(fig)

    assert drawn(0.5) == drawn(0.5) != drawn(0.5002)


SAMPLE = """
import base64
import numpy as np
from coevo import plots
fig, (left, right) = plots.figure(2)
t = np.arange(30)
plots.runs(left, t, np.random.default_rng(1).random((4, 30)))
plots.simulated(left, t, 0.9**t, 0.01 + 0 * t, label="mean")
plots.bound(left, t, 0.8**t, "floor $(1 - 1/M)^t$")
plots.scatter_images(right, np.random.default_rng(2).random((9, 2)), np.arange(9) % 3)
plots.key(fig)
bundle = plots.plate(fig)._repr_mimebundle_()
"""


def test_picture_and_digest_are_the_same_in_another_process(tmp_path: Path) -> None:
    here: dict[str, dict[str, str]] = {}
    exec(SAMPLE, here)  # type: ignore[arg-type]
    script = SAMPLE + "import sys\nsys.stdout.buffer.write((bundle['image/png'] + bundle['text/plain']).encode())"
    other = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, cwd=tmp_path)
    bundle = here["bundle"]
    assert other.stdout.decode() == bundle["image/png"] + bundle["text/plain"]
    picture = base64.b64decode(bundle["image/png"])
    assert picture.startswith(b"\x89PNG")
    assert b"tEXt" not in picture  # no date, no software version


def test_plate_closes_a_figure_of_pyplot() -> None:
    fig = plt.figure()
    plots.plate(fig)
    assert not plt.get_fignums()


def test_half_of_all_mass_still_fits_the_lower_axis() -> None:
    fig = plots.snapshots([0, 1], [[0.5, 0.5, 0]] * 2, np.ones((2, 3, 2)), np.zeros((2, 3), dtype=int))
    assert fig.axes[0].get_yticks()[-1] == 0.5


def test_the_style_is_seaborns_ticks_with_the_changes_of_the_house() -> None:
    import seaborn as sns

    own = {k: v for k, v in plots._STYLE.items() if k not in plots._TICKS and k != "axes.prop_cycle"}
    colours = [plots.ROLES[role] for role in ("text", "image", "injected")]
    with mpl.rc_context():
        for style in ("default", "dark_background"):
            plt.style.use(style)
            sns.set_theme(style="ticks", palette=colours, rc=own)
            wanted = dict(mpl.rcParams)
            plt.style.use(style)
            plots.use_style()
            found = dict(mpl.rcParams)
            cycles = [[to_rgb(c["color"]) for c in rc.pop("axes.prop_cycle")] for rc in (found, wanted)]
            assert cycles[0] == cycles[1]
            # Of seaborn's own, which needs its import and which no figure uses.
            assert {k for k in wanted if found[k] != wanted[k]} <= {"image.cmap"}
