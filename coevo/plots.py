"""Drawing: the figure grammar of this book.

Every function takes arrays and draws on matplotlib Axes; none knows a simulation. One colour means one thing
in every chapter (`ROLES`). Single runs are grey hairlines, simulated means are thick with a band of two
standard errors, bounds are dashed and named at the line, exact laws are thin and solid. A figure cell ends in
`plate(fig)`, whose text lists the numbers that were drawn, so that a stored figure can be checked.

Drawing needs matplotlib and seaborn, which the extra ``coevo[book]`` installs.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PathCollection, QuadMesh
from matplotlib.colors import LinearSegmentedColormap, LogNorm, is_color_like, to_hex
from matplotlib.container import BarContainer, Container
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, Locator, MaxNLocator, NullLocator
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from coevo import _validation as check
from coevo._validation import Array

__all__ = [
    "ROLES",
    "Plate",
    "Role",
    "Side",
    "bound",
    "comparison",
    "decay_axes",
    "drawable",
    "exact",
    "figure",
    "heat",
    "histogram_with_law",
    "image_ellipses",
    "increasing",
    "key",
    "label_axes",
    "pictures",
    "plate",
    "points",
    "readable_ticks",
    "run_frames",
    "runs",
    "sample",
    "scatter_images",
    "sequence",
    "significant",
    "simulated",
    "snapshots",
    "text_bars",
    "use_style",
    "words",
    "write",
]

Role = Literal["text", "image", "bound", "exact", "injected", "run"]
Side = Literal["above", "below"]

#: What each colour means. All but the grey of single runs read as text on white (contrast above 4.5), and
#: they stay apart under the three common forms of colour blindness.
ROLES: dict[Role, str] = {
    "text": "#1A55C8",
    "image": "#BD4A08",
    "bound": "#1A1A1A",
    "exact": "#86107C",
    "injected": "#1F6E53",
    "run": "#A6A6A6",
}

# Inches of one text column. On a 390 px phone the column is about 350 px, so 11 pt letters are 9 px high.
_COLUMN = 6.0
# Seaborn's style "ticks" in the context "notebook", written out: its import takes longer than that of all the rest.
_TICKS: dict[str, Any] = {
    **{f"axes.spines.{side}": True for side in ("bottom", "left")},
    **{"axes.axisbelow": True, "axes.facecolor": "white", "axes.grid": False},
    **{"axes.labelcolor": ".15", "axes.linewidth": 1.25},
    **{"font.sans-serif": ["Arial", "DejaVu Sans", "Liberation Sans", "Bitstream Vera Sans", "sans-serif"]},
    **{"grid.color": ".8", "grid.linestyle": "-", "grid.linewidth": 1.0},
    **{"legend.title_fontsize": 12.0, "lines.markersize": 6.0},
    **{"patch.edgecolor": "w", "patch.force_edgecolor": True, "patch.linewidth": 1.0, "text.color": ".15"},
    **{"xtick.bottom": True, "xtick.top": False, "ytick.left": True, "ytick.right": False},
}
for _axis in ("xtick", "ytick"):
    _TICKS |= {f"{_axis}.color": ".15", f"{_axis}.direction": "out"}
    _TICKS |= {f"{_axis}.major.size": 6.0, f"{_axis}.major.width": 1.25}
    _TICKS |= {f"{_axis}.minor.size": 4.0, f"{_axis}.minor.width": 1.0}
_STYLE = _TICKS | {
    "axes.prop_cycle": cycler(color=[ROLES["text"], ROLES["image"], ROLES["injected"]]),
    "axes.labelsize": 11,
    "axes.titlesize": 11,
    "xtick.labelsize": 10.5,
    "ytick.labelsize": 10.5,
    "legend.fontsize": 10.5,
    "legend.frameon": False,
    "font.size": 10.5,
    "font.family": "DejaVu Sans",
    "mathtext.fontset": "dejavusans",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "axes.titlelocation": "left",
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
}
_MARKERS = "osD^vP*X"


def use_style() -> None:
    """Set the house style for all figures that follow; `figure` does this by itself."""
    mpl.rcParams.update(_STYLE)  # type: ignore[arg-type]  # matplotlib checks the keys


def sequence(n: int) -> list[str]:
    """Colours for `n` ordered values of a swept parameter, from dark (first) to light (last).

    Parameters
    ----------
    n : how many, at least 1

    Returns
    -------
    hexadecimal colours, such as "#1a55c8"

    Raises
    ------
    TypeError, ValueError
        If `n` is not an integer of at least 1.
    """
    check.integer("n", n, minimum=1)
    return [to_hex(c) for c in mpl.colormaps["plasma"](np.linspace(0.02, 0.64, n))]


def figure(
    panels: int = 1,
    *,
    stack: bool = False,
    share: bool = True,
    height: float | None = None,
    titles: Sequence[str] = (),
) -> tuple[Figure, tuple[Axes, ...]]:
    """Make a figure one text column wide whose panels share their axes.

    Parameters
    ----------
    panels : 1, 2, 3, 4 or 6; up to three stand side by side, four make a square, six two rows
    stack : put the panels under each other; better on a phone when curves need their full width
    share : one x axis and one y axis for all panels; False for panels of different quantities
    height : of one panel, in inches; by default 3.6 alone and 2.2 to 3 in company
    titles : what distinguishes the panels, one short title each (a line break is welcome)

    Returns
    -------
    the figure and a tuple of its axes: ``fig, (ax,) = figure()``, ``fig, (left, right) = figure(2)``

    Raises
    ------
    TypeError, ValueError
        If `panels` is none of these numbers, `stack` or `share` is no bool, `height` is not positive, or
        `titles` is not a sequence of one text for each panel.
    """
    if check.integer("panels", panels, minimum=1) not in (1, 2, 3, 4, 6):
        raise ValueError(f"panels must be 1, 2, 3, 4 or 6, got {panels}")
    for name, value in (("stack", stack), ("share", share)):
        check.instance(name, value, bool)
    if isinstance(titles, str) or not isinstance(titles, Sequence):
        raise TypeError(f"titles must be a sequence of {panels} texts, got {titles!r}")
    if titles and len(titles) != panels:
        raise ValueError(f"titles must name each of the {panels} panels, got {len(titles)} titles")
    for i, title in enumerate(titles):
        check.instance(f"titles[{i}]", title, str)
    columns = 1 if stack else {4: 2}.get(panels, min(panels, 3))
    rows = panels // columns
    usual = 3.6 if panels == 1 else 2.2 if stack else 3.0 if rows == 1 else 2.5
    tall = usual if height is None else check.number("height", height, minimum=0.0, open_minimum=True)
    use_style()
    # Not pyplot: a figure that pyplot does not know is never shown twice.
    fig = Figure(figsize=(_COLUMN, tall * rows), layout="compressed")
    axes = tuple(fig.subplots(rows, columns, sharex=share, sharey=share, squeeze=False).ravel())
    for ax, title in zip(axes, titles, strict=False):
        ax.set_title(title)
    return fig, axes


# ---- curves over time ----------------------------------------------------------------------------------


def runs(ax: Axes, t: ArrayLike, values: ArrayLike, *, label: str = "single runs") -> None:
    """Draw single runs as grey hairlines.

    Parameters
    ----------
    ax : where to draw
    t : (T,) finite places
    values : (runs, T); a line has a gap where its value is NaN or infinite
    label : the name of all of them together in `key`

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or arrays do not fit.
    """
    _require(ax, label=label)
    x = check.real_array("t", t, (None,))
    y = drawable("values", values, (None, x.size))
    lines = [np.column_stack([x, row]) for row in y]
    ax.add_collection(LineCollection(lines, colors=ROLES["run"], linewidths=0.7, alpha=0.8, label=label, zorder=1))
    ax.autoscale_view()


def simulated(
    ax: Axes,
    t: ArrayLike,
    mean: ArrayLike,
    standard_error: ArrayLike,
    *,
    label: str,
    role: Role = "text",
    colour: str | None = None,
    at: float | None = None,
    side: Side = "above",
) -> None:
    """Draw a simulated mean, thick, with a band of two standard errors.

    Parameters
    ----------
    ax : where to draw
    t : (T,) finite places
    mean, standard_error : (T,), standard errors not negative; NaN or infinite where there is none
    label : the name of the curve
    role : whose simulation it is, a member of `ROLES`
    colour : instead of the colour of the role (a member of `sequence`, for a swept parameter)
    at : in [0, 1], where along the curve its label stands; without, the label waits for `key`
    side : of the curve on which that label stands, "above" or "below"

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of its range, or arrays do not fit.
    """
    x, y = _pair("t", t, "mean", mean)
    error = drawable("standard_error", standard_error, x.shape, minimum=0.0)
    ink = _ink(role, colour)
    _curve(ax, x, y, label, ink, at, side, linewidth=3.0, zorder=3)
    ax.fill_between(x, y - 2 * error, y + 2 * error, color=ink, alpha=0.25, linewidth=0, label="_2 se band")


def points(
    ax: Axes, x: ArrayLike, mean: ArrayLike, standard_error: ArrayLike, *, label: str, role: Role = "text"
) -> None:
    """Draw simulated means at separate places, with bars of two standard errors.

    Parameters
    ----------
    ax : where to draw
    x : (T,) finite places
    mean, standard_error : (T,), standard errors not negative; NaN or infinite where there is none
    label : the name of all points together in `key`
    role : whose simulation it is, a member of `ROLES`

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of its range, or arrays do not fit.
    """
    _require(ax, label=label)
    where, y = _pair("x", x, "mean", mean)
    error = drawable("standard_error", standard_error, where.shape, minimum=0.0)
    ax.errorbar(where, y, 2 * error, color=_ink(role), fmt="o", ms=6, elinewidth=2, zorder=6, label=label)


def bound(
    ax: Axes,
    t: ArrayLike,
    values: ArrayLike,
    label: str,
    *,
    at: float | None = 0.6,
    side: Side = "below",
    colour: str | None = None,
) -> None:
    """Draw a bound dashed, with its label at the line.

    Parameters
    ----------
    ax : where to draw
    t : (T,) finite places
    values : (T,) the bound there; NaN or infinite where there is none
    label : its name
    at : in [0, 1], where along the line the label stands; None: the label waits for `key`
    side : of the line on which that label stands, "above" or "below"
    colour : instead of the colour of bounds

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of its range, or arrays do not fit.
    """
    _require(ax, label=label)
    x, y = _pair("t", t, "values", values)
    _curve(ax, x, y, label, _ink("bound", colour), at, side, linewidth=1.7, linestyle=(0, (4, 2.2)), zorder=4)


def exact(
    ax: Axes,
    t: ArrayLike,
    values: ArrayLike,
    label: str,
    *,
    at: float | None = None,
    side: Side = "above",
    colour: str | None = None,
) -> None:
    """Draw an exact law thin and solid.

    Parameters
    ----------
    ax : where to draw
    t : (T,) finite places
    values : (T,) the law there; NaN or infinite where there is none
    label : its name
    at : in [0, 1], where along the line the label stands; None: the label waits for `key`
    side : of the line on which that label stands, "above" or "below"
    colour : instead of the colour of exact laws

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of its range, or arrays do not fit.
    """
    x, y = _pair("t", t, "values", values)
    _curve(ax, x, y, label, _ink("exact", colour), at, side, linewidth=1.3, zorder=5)


def comparison(
    ax: Axes,
    t: ArrayLike,
    values: ArrayLike,
    label: str,
    *,
    at: float | None = None,
    side: Side = "above",
    colour: str | None = None,
) -> None:
    """Draw an approximation, or whatever a curve is compared with, dotted.

    Parameters
    ----------
    ax : where to draw
    t : (T,) finite places
    values : (T,) the values there; NaN or infinite where there is none
    label : its name
    at : in [0, 1], where along the line the label stands; None: the label waits for `key`
    side : of the line on which that label stands, "above" or "below"
    colour : instead of the colour of bounds

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of its range, or arrays do not fit.
    """
    x, y = _pair("t", t, "values", values)
    _curve(ax, x, y, label, _ink("bound", colour), at, side, linewidth=1.7, linestyle=":", zorder=6)


def write(ax: Axes, x: float, y: float, text: str, *, colour: str = "#1A1A1A", **place: Any) -> None:
    """Write a text at a data point, with a white halo that keeps it readable over lines.

    Parameters
    ----------
    ax : where to draw
    x, y : the data point, finite numbers
    text : what to write
    colour : of the letters
    place : other keywords of matplotlib's `Axes.annotate`, such as ``ha="right"`` or ``xytext=(3, 5)`` (points)

    Raises
    ------
    TypeError, ValueError
        If `ax`, `x`, `y`, `text` or `colour` is of the wrong kind; matplotlib checks `place`.
    """
    _require(ax, text=text)
    x, y, colour = check.number("x", x), check.number("y", y), _ink("bound", colour)
    place = {"textcoords": "offset points", "xytext": (0, 0), **place}
    ax.annotate(text, (x, y), color=colour, path_effects=[_halo(3.5)], zorder=6, **place)


def label_axes(ax: Axes, x_label: str, y_label: str) -> None:
    """Name both axes; inner panels of a shared grid keep their outer names only.

    Parameters
    ----------
    ax : the axes to name
    x_label, y_label : in words with the symbol, such as "time step t"

    Raises
    ------
    TypeError
        If `ax` is no Axes or a label no text.
    """
    _require(ax, x_label=x_label, y_label=y_label)
    ax.set_xlabel(x_label)
    ax.set_ylabel(y_label)
    if len(ax.get_shared_y_axes().get_siblings(ax)) > 1:
        ax.label_outer()


def decay_axes(ax: Axes, x_label: str, y_label: str, *, lowest: float | None = None) -> None:
    """Name the axes and make y logarithmic, with ticks such as 0.5, 0.2, 0.1.

    Parameters
    ----------
    ax : the axes to name
    x_label, y_label : in words with the symbol, such as "time step t"
    lowest : where the y axis ends, positive; by default all that was drawn fits

    Raises
    ------
    TypeError, ValueError
        If `ax` is no Axes, a label no text, or `lowest` not positive.
    """
    _require(ax, x_label=x_label, y_label=y_label)
    end = None if lowest is None else check.number("lowest", lowest, minimum=0.0, open_minimum=True)
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(_ReadableTicks())
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick_label(value)))
    if end is not None:
        ax.set_ylim(bottom=end)
    label_axes(ax, x_label, y_label)


def key(fig: Figure, *, columns: int = 3) -> None:
    """Name every labelled curve once, under the panels; for what has no room for a label at the line.

    Parameters
    ----------
    fig : the figure, all its curves drawn
    columns : how many names stand side by side, at least 1

    Raises
    ------
    TypeError, ValueError
        If `fig` is no Figure or `columns` not an integer of at least 1.
    """
    check.instance("fig", fig, Figure)
    check.integer("columns", columns, minimum=1)
    named: dict[str, Any] = {}
    for ax in fig.axes:
        for artist, name in zip(*ax.get_legend_handles_labels(), strict=True):
            named.setdefault(name, artist)
    fig.legend(list(named.values()), list(named), loc="outside lower left", ncols=columns, borderpad=0.2)


def readable_ticks(low: float, high: float) -> list[float]:
    """Ticks of a logarithmic axis: 1-2-5 over few decades, whole decades over many.

    Parameters
    ----------
    low, high : the ends of the axis, 0 < low <= high

    Raises
    ------
    TypeError, ValueError
        If an end is no finite number or out of its range.
    """
    low = check.number("low", low, minimum=0.0, open_minimum=True)
    high = check.number("high", high, minimum=low)
    decades = np.log10(high / low)
    if decades < 0.7:
        steps = MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(low, high)
        inside = [float(f"{v:.10g}") for v in steps]
    elif decades < 2.6:
        powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
        inside = [float(f"{m}e{k}") for k in powers for m in (1, 2, 5)]
    else:
        step = int(np.ceil(decades / 6))
        first = int(np.floor(np.log10(low) / step)) * step
        inside = [float(f"1e{k}") for k in range(first, int(np.ceil(np.log10(high))) + 1, step)]
    return [v for v in inside if low <= v <= high]


class _ReadableTicks(Locator):
    """Matplotlib locator of `readable_ticks`."""

    def __call__(self) -> list[float]:
        return self.tick_values(*sorted(self.axis.get_view_interval()))  # type: ignore[union-attr]  # has an axis

    def tick_values(self, vmin: float, vmax: float) -> list[float]:
        return readable_ticks(max(vmin, np.nextafter(0, 1)), vmax)


def _tick_label(value: float) -> str:
    """Write a tick as a plain number between 0.001 and 9999, else as a power of ten."""
    if 1e-3 <= value < 1e4:
        return f"{value:g}"
    factor, power = f"{value:e}".split("e")
    times = "" if float(factor) == 1 else rf"{float(factor):g}\cdot"
    return rf"${times}10^{{{int(power)}}}$"


# ---- laws, images and texts ----------------------------------------------------------------------------


def heat(ax: Axes, x: ArrayLike, y: ArrayLike, values: ArrayLike, *, label: str, logarithmic: bool = False) -> None:
    """Draw a heat map, white for little, with a colour bar.

    Parameters
    ----------
    ax : where to draw
    x, y : (X,), (Y,) the middles of the cells, increasing
    values : (Y, X); a cell stays empty where its value is NaN or infinite
    label : the name of the colour bar
    logarithmic : colours by the logarithm; cells that are not positive stay empty

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, arrays do not fit, `x` or `y` does not increase, or no cell has a
        colour.
    """
    _require(ax, label=label)
    check.instance("logarithmic", logarithmic, bool)
    across, up = increasing("x", x), increasing("y", y)
    z = drawable("values", values, (up.size, across.size))
    lowest = 0.0 if logarithmic else -np.inf
    if not (np.isfinite(z) & (z > lowest)).any():
        raise ValueError(f"values must hold a finite number > {lowest:g}, got {sample(z.ravel(), keep_small=True)}")
    shade = LinearSegmentedColormap.from_list("blend", ["#FFFFFF", "#8FB3F0", ROLES["text"], "#0B1F4D"])
    mesh = ax.pcolormesh(across, up, z, cmap=shade, norm=LogNorm() if logarithmic else None)
    mesh.set_label(f"_{label}")  # the colour bar names it, not the key
    ax.figure.colorbar(mesh, ax=ax, label=label, pad=0.02)


def histogram_with_law(
    ax: Axes,
    samples: ArrayLike,
    support: ArrayLike,
    law: ArrayLike,
    *,
    label: str,
    law_label: str,
    role: Role = "text",
    discrete: bool = False,
    bins: int = 40,
) -> None:
    """Draw simulated values as bars and their exact law over them.

    Parameters
    ----------
    ax : where to draw
    samples : (n,) simulated values
    support, law : (S,) increasing points, and at each the density, or with `discrete` the probability, not
        negative; samples of a discrete law are counted at the nearest point of its support
    label, law_label : the names of the bars and of the law
    role : whose simulation it is, a member of `ROLES`
    discrete : whether the law lives on the points of its support alone
    bins : how many bars stand for a density, at least 1

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of its range, arrays do not fit or are not finite, or
        `support` does not increase.
    """
    _require(ax, label=label, law_label=law_label)
    check.instance("discrete", discrete, bool)
    check.integer("bins", bins, minimum=1)
    values = check.real_array("samples", samples, (None,))
    points = increasing("support", support)
    height = drawable("law", check.real_array("law", law, points.shape), points.shape, minimum=0.0)
    ink = _ink(role)
    if discrete:
        nearest = np.searchsorted((points[1:] + points[:-1]) / 2, values)
        share = np.bincount(nearest, minlength=points.size) / values.size
        width = 0.85 * float(np.diff(points).min(initial=1.0))
        ax.bar(points, share, width=width, color=ink, alpha=0.45, label=label)
    else:
        import seaborn as sns  # here, because few figures need it

        sns.histplot(x=values, stat="density", bins=bins, color=ink, alpha=0.45, ax=ax, label=label)
    dots = "o" if discrete else ""
    ax.plot(points, height, color=ROLES["exact"], linewidth=1.3, marker=dots, ms=3.5, label=law_label)


def scatter_images(
    ax: Axes, points: ArrayLike, text_index: ArrayLike, *, n_texts: int | None = None, label: str = ""
) -> None:
    """Draw images as points; colour and shape tell the text each belongs to, `image_ellipses` its number.

    Parameters
    ----------
    ax : where to draw
    points : (n, 2) images
    text_index : (n,) the text of each, an integer from 0
    n_texts : how many texts share the range of colours; by default those up to the largest index
    label : the name of all of them together in `key`

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, arrays do not fit, or `n_texts` does not exceed every index.
    """
    _require(ax, label=label)
    images = check.real_array("points", points, (None, 2))
    owner = check.integer_array("text_index", text_index, minimum=0)
    if owner.shape != images.shape[:1]:
        raise ValueError(f"text_index must have shape {images.shape[:1]}, got {owner.shape}")
    count = int(owner.max()) + 1
    colours = sequence(count if n_texts is None else check.integer("n_texts", n_texts, minimum=count))
    for text in np.unique(owner):
        mine = images[owner == text]
        ax.scatter(
            mine[:, 0],
            mine[:, 1],
            s=16,
            color=colours[text],
            marker=_MARKERS[text % len(_MARKERS)],
            alpha=0.55,
            linewidth=0,
            label=label or f"_text {text + 1}",
        )
    ax.set_aspect("equal")


def image_ellipses(
    ax: Axes,
    mean: ArrayLike,
    cov: ArrayLike,
    *,
    role: Role | None = None,
    deviations: float = 2.0,
    label: str = "",
    dashed: bool = False,
) -> None:
    """Draw image models N(mean, cov): the mean and the ellipse of `deviations` sigmas.

    The ellipse is the image of a circle under the symmetric root of cov, so a singular covariance is drawn
    as the segment that it lives on and a zero covariance as its mean. Without a role each text has the colour
    that `scatter_images` gives it and its number at the mean.

    Parameters
    ----------
    ax : where to draw
    mean, cov : (K, 2), (K, 2, 2) one normal law for each text
    role : a member of `ROLES` whose colour all ellipses take
    deviations : the size of the ellipse in standard deviations, positive
    label : with a role, the name of all ellipses together in `key`
    dashed : whether ellipses are dashed

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of its range, arrays do not fit, or `cov` is no covariance.
    """
    _require(ax, label=label)
    check.instance("dashed", dashed, bool)
    deviations = check.number("deviations", deviations, minimum=0.0, open_minimum=True)
    centres = check.real_array("mean", mean, (None, 2))
    spread = check.covariance("cov", cov, dim=2)
    if spread.shape != (*centres.shape, 2):
        raise ValueError(f"cov must have shape {(*centres.shape, 2)}, got {spread.shape}")
    colours = sequence(len(centres)) if role is None else [_ink(role)] * len(centres)
    values, vectors = np.linalg.eigh(spread)
    # Rounding leaves about 1e-16 of a lost direction, and its root would be visible in the digest.
    values = np.where(values > 1e-12 * values[:, -1:], values, 0.0)
    root = np.einsum("kij,kj,klj->kil", vectors, np.sqrt(values), vectors)
    angle = np.linspace(0, 2 * np.pi, 97)
    rings = centres[:, :, None] + deviations * root @ np.array([np.cos(angle), np.sin(angle)])
    for text, (centre, ring) in enumerate(zip(centres, rings, strict=True)):
        ink = colours[text]
        # One name for all in one colour, so `key` lists it once; texts of their own colour wear their number.
        name = label if role else f"_text {text + 1}"
        ax.plot(*ring, color=ink, linestyle="--" if dashed else "-", linewidth=1.6, label=name or "_ellipse")
        if role is None:
            x, y = float(centre[0]), float(centre[1])
            write(ax, x, y, str(text + 1), colour=ink, ha="center", va="center", weight="bold")
        else:
            ax.plot(*centre, color=ink, marker="o", markersize=3.5, label="_mean")
    ax.set_aspect("equal")


def text_bars(ax: Axes, p: ArrayLike, *, initial: ArrayLike | None = None, label: str = "text model p") -> None:
    """Draw a text model as bars.

    Parameters
    ----------
    ax : where to draw
    p : (K,) probabilities of the texts
    initial : (K,) the probabilities it started from, drawn as marks
    label : the name of the bars

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, does not sum to 1, or the two do not fit.
    """
    _require(ax, label=label)
    now = check.probability_vector("p", p)
    start = None if initial is None else check.probability_vector("initial", initial)
    if start is not None and start.shape != now.shape:
        raise ValueError(f"initial must have shape {now.shape}, got {start.shape}")
    texts = np.arange(1, now.size + 1)
    ax.bar(texts, now, width=0.7, color=ROLES["text"], alpha=0.85, label=label)
    if start is not None:
        dash = {"linestyle": "", "marker": "_", "ms": 16, "mew": 2, "color": ROLES["bound"]}
        ax.plot(texts, start, label="at the start", **dash)  # type: ignore[arg-type]  # mixed values
    ax.set_xticks(texts if now.size <= 12 else texts[:: -(-now.size // 8)])
    label_axes(ax, "text i", "probability $p_i$")


def pictures(
    ax: Axes,
    images: ArrayLike,
    *,
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    black: float | None = None,
) -> None:
    """Draw a gallery of small grey pictures, ink on white paper; column labels stand above, row labels to the left.

    The figure is one column wide, so each picture of a gallery of C columns is about 5.5 / C inches wide.

    Parameters
    ----------
    ax : where to draw; it holds the gallery alone
    images : (rows, columns, h, w) finite amounts of ink; zero and less is white
    row_labels, column_labels : one text for each row and each column, which may be empty
    black : the amount of ink that is black, positive; by default the largest of all (1 if there is none)

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of its range, or there is not one label for each row and column.
    """
    _require(ax)
    ink = check.real_array("images", images, (None, None, None, None))
    rows, columns, height, width = ink.shape
    names = words("row_labels", row_labels, rows)
    heads = words("column_labels", column_labels, columns)
    usual = float(ink.max()) if ink.max() > 0 else 1.0
    darkest = usual if black is None else check.number("black", black, minimum=0.0, open_minimum=True)
    wide, gap = width / height, 0.06
    left, top = (wide + gap) * np.arange(columns), (1 + gap) * np.arange(rows)
    for name, y, row in zip(names, top, ink, strict=True):
        shown = [
            ax.imshow(picture, cmap="gray_r", vmin=0, vmax=darkest, extent=(x, x + wide, y + 1, y))
            for x, picture in zip(left, row, strict=True)
        ]
        ax.add_container(_Row(shown, label=f"_{name}"))
    # The ground shows in the gaps and frames pictures without ink.
    ax.set(xlim=(-gap, left[-1] + wide + gap), ylim=(top[-1] + 1 + gap, -gap), facecolor="#D0D0D0", aspect="equal")
    ax.set_xticks(left + wide / 2, heads)
    ax.set_yticks(top + 0.5, names)
    ax.tick_params(length=0, bottom=False, labelbottom=False, top=True, labeltop=True)
    ax.xaxis.set_label_position("top")
    ax.spines[:].set_visible(False)


class _Row(Container):
    """The pictures of one row of a gallery, as bars are held together by a BarContainer."""


def run_frames(
    t: ArrayLike, p: ArrayLike, points: ArrayLike, text_index: ArrayLike
) -> tuple[Array, Array, Array, NDArray[np.int64]]:
    """Check a run that is shown at several times, and return it as arrays.

    Parameters
    ----------
    t : (T,) times, increasing
    p : (T, K) text models
    points : (T, n, 2) images
    text_index : (T, n) the text of each image, an integer from 0 to K - 1

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of its range, arrays do not fit, or a row of `p` does not sum to 1.
    """
    times = increasing("t", t)
    shares = check.probability_vector("p", check.real_array("p", p, (times.size, None)), batch=True)
    images = check.real_array("points", points, (times.size, None, 2))
    owner = check.integer_array("text_index", text_index, minimum=0)
    if owner.shape != images.shape[:2]:
        raise ValueError(f"text_index must have shape {images.shape[:2]}, got {owner.shape}")
    if owner.max() >= shares.shape[1]:
        raise ValueError(f"text_index must be less than {shares.shape[1]}, the number of texts, got {owner.max()}")
    return times, shares, images, owner


def snapshots(
    t: ArrayLike,
    p: ArrayLike,
    points: ArrayLike,
    text_index: ArrayLike,
    *,
    window: float | None = None,
    columns: int = 3,
    own: int | None = None,
) -> Figure:
    """Draw a whole system at several times: the text model as bars and, below it, images coloured by their text.

    Text i has its colour, its marker (at the top of its bar, and for its images) and its number (under its bar, and
    at the mean of its images). Of a corpus that grows, only the first `own` texts have a colour and a marker; later
    ones share the colour of what comes from outside, and only the heaviest texts are numbered, above the bar.

    The strip under the images says which texts are "points" (three images or more, all within a marker) and how many
    images are "out" of the window.

    Parameters
    ----------
    t : (T,) times, increasing
    p : (T, K) text models
    points : (T, n, 2) images
    text_index : (T, n) the text of each image, an integer from 0 to K - 1
    window : the image axes run from minus to plus this number, at all times; by default every image is inside
    columns : how many times stand side by side, 1 to 3; a phone shows three and no more
    own : how many texts have their own colour, 1 to 8; by default all, but no more than eight

    Returns
    -------
    the figure

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of its range, arrays do not fit, or a row of `p` does not sum to 1.
    """
    times, shares, images, owner = run_frames(t, p, points, text_index)
    count = shares.shape[1]
    reach = float(np.abs(images).max()) or 1.0
    if window is not None:
        reach = check.number("window", window, minimum=0.0, open_minimum=True)
    check.integer("columns", columns, minimum=1, maximum=3)
    known = min(count, len(_MARKERS) if own is None else check.integer("own", own, minimum=1, maximum=len(_MARKERS)))
    grows = known < count
    colours = sequence(known) + [ROLES["injected"]] * (count - known)
    top = 1.0 if shares.max() > 0.5 else 0.5
    texts = np.arange(count)
    # A round number for the ticks, well inside the window: the ticks of neighbours must not meet.
    tick = max(
        v for k in (-1, 0) for v in 10.0 ** (np.floor(np.log10(reach)) + k) * np.array([1, 2, 3, 5]) if v < 0.8 * reach
    )
    # In inches, so that letters and gaps keep their size whatever the number of panels.
    left, gap, above, between, below, strip = 0.55, 0.14, 0.28, 0.12 if grows else 0.33, 0.14, 0.2
    wide = (_COLUMN - left - (columns - 1) * gap) / columns
    high, square = 0.48 * wide, wide + strip
    band = above + high + between + square + below
    tall = -(-times.size // columns) * band + 0.35
    use_style()
    fig = Figure(figsize=(_COLUMN, tall))
    for k, (now, seen, of) in enumerate(zip(shares, images, owner, strict=True)):
        row, column = divmod(k, columns)
        x, y = left + column * (wide + gap), tall - row * band - above - high
        inches = [(x, y, wide, high), (x, y - between - square, wide, square)]
        bars, plane = (fig.add_axes((a / _COLUMN, b / tall, w / _COLUMN, h / tall)) for a, b, w, h in inches)
        numbered = _heaviest(now) if grows else list(range(count))
        bars.set_title(f"t = {times[k]:g}")
        bars.bar(texts + 1, now, width=0.9 if grows else 0.7, color=colours, label="_text model p")
        bars.set(
            xlim=(0.3 - 0.05 * count * grows, count + 0.7 + 0.05 * count * grows),
            ylim=(0, 1.25 * top),
            xticks=[] if grows else texts + 1,
        )
        bars.set_yticks([0, top], ["0", f"{top:g}"])
        bars.tick_params(axis="x", length=0, pad=6)
        for text in numbered:
            place = (text + 1, float(now[text]))
            if grows:
                write(bars, *place, str(text + 1), colour=colours[text], ha="center", xytext=(0, 2))
            else:
                style: dict[str, Any] = {"marker": _MARKERS[text], "color": colours[text], "ms": 7, "mec": "white"}
                bars.plot(*place, label=f"_text {text + 1}", clip_on=False, **style)
        _cloud_panel(plane, seen, of, colours, known, numbered, reach)
        plane.set(xlim=(-reach, reach), ylim=(-reach * (1 + 2 * strip / wide), reach))
        for axis in (plane.xaxis, plane.yaxis):
            axis.set_ticks([-tick, 0, tick], [f"\N{MINUS SIGN}{tick:g}", "0", f"{tick:g}"])
        first, lowest = column == 0, k + columns >= times.size
        bars.set_ylabel("mass $p_i$" if first else "")
        bars.tick_params(labelleft=first)
        label_axes(plane, "image $x_1$" if lowest else "", "image $x_2$" if first else "")
        plane.tick_params(labelleft=first, labelbottom=lowest)
    return fig


def _heaviest(p: Array) -> list[int]:
    """The texts with a mass of at least 0.07 whose numbers have room beside those of heavier ones."""
    kept: list[int] = []
    for text in np.argsort(-p, kind="stable"):
        if p[text] >= 0.07 and all(abs(text - other) >= 0.13 * p.size for other in kept):
            kept.append(int(text))
    return kept


def _cloud_panel(
    plane: Axes, seen: Array, of: NDArray[np.int64], colours: list[str], known: int, numbered: list[int], reach: float
) -> None:
    """The lower panel of a snapshot: images, the numbers of their texts, and what the eye could miss."""
    inside = (np.abs(seen) <= reach).all(axis=1)
    drawn, dots = np.unique(of), []
    for text in drawn:
        mine, shown = seen[of == text], seen[(of == text) & inside]
        marker = _MARKERS[text] if text < known else "o"
        style: dict[str, Any] = {"s": 18, "color": colours[text], "marker": marker, "alpha": 0.65, "linewidth": 0}
        if len(shown):
            plane.scatter(shown[:, 0], shown[:, 1], label=f"_text {text + 1}", **style)
        centre = mine.mean(axis=0)
        # A marker of 18 square points is about 4 % as wide as a panel of 1.7 inches.
        size = float(np.linalg.norm(mine - centre, axis=1).max()) / reach
        if len(mine) > 2 and size <= 0.04:
            dots.append(str(text + 1))
        if text in numbered and (np.abs(centre) <= reach).all():
            aside = (7, 7) if size < 0.2 else (0, 0)  # beside a cloud that it would hide
            bold = {"xytext": aside, "ha": "center", "va": "center", "weight": "bold"}
            write(plane, float(centre[0]), float(centre[1]), str(text + 1), colour=colours[text], **bold)
    if dots:
        some = ", ".join(dots) if len(dots) <= 3 else f"{len(dots)} of {drawn.size}"
        write(plane, -reach, -reach, f"points: {some}", xytext=(6, -1), va="top")
    if not inside.all():
        write(plane, reach, -reach, f"{(~inside).sum()} out", xytext=(-1, -1), ha="right", va="top")


# ---- the plate -----------------------------------------------------------------------------------------


class Plate:
    """A finished figure: its picture for the reader and, as text, the numbers that were drawn."""

    def __init__(self, fig: Figure) -> None:
        self.figure: Figure = check.instance("fig", fig, Figure)
        plt.close(fig)

    def png(self, *, quick: bool = False) -> bytes:
        """The picture in 256 colours; equal figures give equal bytes (no date and no software version inside).

        A quick one has fewer pixels and all colours, keeps its margins, and takes a third of the time.
        """
        buffer = io.BytesIO()
        plain: dict[str, Any] = {"metadata": {"Software": None}}
        if quick:  # `savefig` would draw twice
            self.figure.set_dpi(110)
            canvas: Any = FigureCanvasAgg(self.figure)  # its method has no types
            canvas.print_png(buffer, pil_kwargs={"compress_level": 1}, **plain)
        else:
            self.figure.savefig(buffer, format="png", dpi=160, bbox_inches="tight", pad_inches=0.05, **plain)
            # Few colours make a third of the bytes; of a curve and its smoothed edges none is lost to the eye.
            picture = Image.open(buffer).convert("RGB").quantize(256, dither=Image.Dither.NONE)
            buffer = io.BytesIO()
            picture.save(buffer, format="png", optimize=True)
        return buffer.getvalue()

    def digest(self) -> str:
        """Every line, band, bar, image and point drawn: name, number, and up to nine values of each."""
        lines = ["Figure data"]
        panels = [ax for ax in self.figure.axes if ax.get_label() != "<colorbar>"]
        for number, ax in enumerate(panels, start=1):
            scales = [" (log)" if s == "log" else "" for s in (ax.get_xscale(), ax.get_yscale())]
            names = f'x "{ax.get_xlabel()}"{scales[0]}, y "{ax.get_ylabel()}"{scales[1]}'
            title = ax.get_title(loc="left") or ax.get_title()
            lines.append(f"panel {number}: {names}" + (f', title "{title}"' if title else ""))
            for kind, label, parts in _drawn(ax):
                size = next(iter(parts.values())).size
                small = ax.get_yscale() == "log"
                shown = "; ".join(f"{axis} {sample(v, keep_small=small) if size else ''}" for axis, v in parts.items())
                name = str(label).lstrip("_").replace("\n", " ")
                name = "" if not name or name.startswith("child") else f' "{name}"'
                lines.append(f"  {kind}{name}: n {size}; {shown}")
            lines += ['  text "' + text.get_text().replace("\n", " ") + '"' for text in ax.texts]
        return "\n".join(lines)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        picture = base64.b64encode(self.png()).decode("ascii")
        return {"image/png": picture, "text/plain": self.digest()}


def plate(fig: Figure) -> Plate:
    """Finish a figure: the last expression of every figure cell.

    Parameters
    ----------
    fig : the figure, all drawn

    Returns
    -------
    its picture, and the numbers drawn as text

    Raises
    ------
    TypeError
        If `fig` is not a matplotlib Figure.
    """
    return Plate(fig)


def significant(value: float) -> float:
    """Round to four significant digits; the same on every platform.

    Ten digits come first, because a last-bit difference would tip a tie such as 0.015625.

    Parameters
    ----------
    value : a real number; NaN and infinity stay what they are

    Raises
    ------
    TypeError, ValueError
        If `value` is no real number.
    """
    value = float(drawable("value", value, ()))
    return float(f"{float(f'{value:.10g}'):.4g}") + 0.0  # + 0.0 turns -0.0 into 0.0


def sample(values: ArrayLike, *, keep_small: bool) -> str:
    """Up to nine values at evenly spaced places, as text: the first, the last and those between.

    Parameters
    ----------
    values : (n,) numbers; NaN and infinity are written too
    keep_small : whether to write numbers below 1e-12 as they are, not as 0

    Raises
    ------
    TypeError, ValueError
        If `values` is no array of at least one real number or `keep_small` no bool.
    """
    check.instance("keep_small", keep_small, bool)
    numbers = drawable("values", values, (None,))
    shown = min(numbers.size, 9)
    picked = numbers[np.arange(shown) * (numbers.size - 1) // max(shown - 1, 1)]
    if not keep_small:
        # Rounding noise about zero differs between platforms; only a log axis shows real numbers that small.
        picked = np.where(np.abs(picked) < 1e-12, 0.0, picked)
    return " ".join(f"{significant(float(v)):.4g}" for v in picked)


def _drawn(ax: Axes) -> Iterator[tuple[str, object, dict[str, Array]]]:
    """Everything drawn on `ax`: kind, label and the values of each coordinate."""
    for line in ax.lines:
        xy = np.asarray(line.get_xydata(), dtype=float)
        yield "line", line.get_label(), {"x": xy[:, 0], "y": xy[:, 1]}
    for item in ax.collections:
        if isinstance(item, QuadMesh):
            yield "heat", item.get_label(), {"value": _filled(item.get_array()).ravel()}
            continue
        if isinstance(item, PathCollection):
            kind, xy = "points", _filled(item.get_offsets())
        else:
            kind = "lines" if isinstance(item, LineCollection) else "band"
            xy = np.concatenate([np.asarray(path.vertices, dtype=float) for path in item.get_paths()])
        yield kind, item.get_label(), {"x": xy[:, 0], "y": xy[:, 1]}
    bars = [group for group in ax.containers if isinstance(group, BarContainer)]
    for group in bars:
        x = np.array([bar.get_x() + bar.get_width() / 2 for bar in group.patches])
        yield "bars", group.get_label(), {"x": x, "y": np.array([bar.get_height() for bar in group.patches])}
    in_groups = {id(bar) for group in bars for bar in group.patches}
    for patch in ax.patches:
        if id(patch) not in in_groups:
            outline = patch.get_patch_transform().transform_path(patch.get_path())
            xy = np.asarray(outline.vertices, dtype=float)
            yield "shape", patch.get_label(), {"x": xy[:, 0], "y": xy[:, 1]}
    galleries = [group for group in ax.containers if isinstance(group, _Row)]
    for row in galleries:  # the mean and the spread of a picture: every pixel counts in them
        ink = np.array([_filled(image.get_array()) for image in row])
        yield "pictures", row.get_label(), {"mean": ink.mean(axis=(1, 2)), "spread": ink.std(axis=(1, 2))}
    in_galleries = {id(image) for row in galleries for image in row}
    for image in ax.images:
        if id(image) in in_galleries:
            continue
        yield "image", image.get_label(), {"value": _filled(image.get_array()).ravel()}


def _halo(width: float) -> patheffects.withStroke:
    return patheffects.withStroke(linewidth=width, foreground="white", alpha=0.9)


def _filled(values: Any) -> Array:
    numbers: Array = np.ma.filled(np.ma.asarray(values, dtype=float), np.nan)
    return numbers


def _curve(ax: Axes, x: Array, y: Array, label: str, ink: str, at: float | None, side: str, **style: Any) -> None:
    """Draw a line, on a heat map with a halo, and, with `at`, its name on the side that a sloping line leaves free."""
    _require(ax, label=label)
    check.choice("side", side, ("above", "below"))
    fraction = None if at is None else check.number("at", at, minimum=0.0, maximum=1.0)
    if any(isinstance(item, QuadMesh) for item in ax.collections):
        style["path_effects"] = [_halo(style["linewidth"] + 1.5)]
    ax.plot(x, y, color=ink, label=label if fraction is None else f"_{label}", **style)
    seen = np.flatnonzero(np.isfinite(y))
    if fraction is None or seen.size == 0:
        return
    place = int(seen[round(fraction * (seen.size - 1))])
    slope = float(y[seen[-1]] - y[seen[0]])
    right = (slope <= 0) == (side == "above") or fraction < 0.2
    write(
        ax,
        float(x[place]),
        float(y[place]),
        label,
        colour=ink,
        xytext=(3 if right else -3, 5 if side == "above" else -5),
        ha="left" if right and fraction < 0.8 else "right",
        va="bottom" if side == "above" else "top",
    )


# ---- checks --------------------------------------------------------------------------------------------


def drawable(name: str, values: ArrayLike, shape: tuple[int | None, ...], *, minimum: float = -np.inf) -> Array:
    """Return what can be drawn as floats: NaN and infinity pass, a curve may be undefined or lost somewhere.

    Parameters
    ----------
    name : the argument, as an error names it
    values : real numbers (neither bool nor complex)
    shape : what their shape must be; None stands for any length of at least one
    minimum : the least value allowed

    Raises
    ------
    TypeError
        If `values` are not real numbers.
    ValueError
        If they have another shape or fall below `minimum`.
    """
    array = check._array(name, values)
    check.real_array(name, np.where(np.isfinite(array), array, 0.0) if array.dtype.kind == "f" else array, shape)
    if (array < minimum).any():
        raise ValueError(f"{name} must hold numbers >= {minimum:g}, got {array[array < minimum].flat[0]:g}")
    return array.astype(np.float64)


def increasing(name: str, values: ArrayLike) -> Array:
    """Return the points (T,) of an axis as finite floats.

    Parameters
    ----------
    name : the argument, as an error names it
    values : (T,) increasing, at least one

    Raises
    ------
    TypeError, ValueError
        If `values` are not real numbers, have another shape, are not finite, or do not increase.
    """
    array = check.real_array(name, values, (None,))
    if (np.diff(array) <= 0).any():
        raise ValueError(f"{name} must increase, got a step of {np.diff(array).min():g}")
    return array


def _pair(x_name: str, x: ArrayLike, y_name: str, y: ArrayLike) -> tuple[Array, Array]:
    places = check.real_array(x_name, x, (None,))
    return places, drawable(y_name, y, places.shape)


def _require(ax: Axes, **words: str) -> None:
    """Refuse what is no Axes, and names that are no text."""
    check.instance("ax", ax, Axes)
    for name, word in words.items():
        check.instance(name, word, str)


def words(name: str, value: Sequence[str], count: int) -> list[str]:
    """Check a sequence of texts and return it as a list.

    Parameters
    ----------
    name : what errors call it
    value : the texts; a single text is none
    count : how many there must be

    Raises
    ------
    TypeError, ValueError
        If `value` is no sequence of `count` texts.
    """
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise TypeError(f"{name} must be a sequence of {count} texts, got {value!r}")
    if len(value) != count:
        raise ValueError(f"{name} must be a sequence of {count} texts, got {len(value)}")
    return [check.instance(f"{name}[{i}]", word, str) for i, word in enumerate(value)]


def _ink(role: str, colour: str | None = None) -> str:
    """The colour of a role, or `colour` instead."""
    usual = ROLES[check.choice("role", role, tuple(ROLES))]  # type: ignore[index]  # checked
    if colour is not None and not is_color_like(colour):
        raise ValueError(f"colour must be a colour that matplotlib knows, got {colour!r}")
    return usual if colour is None else colour
