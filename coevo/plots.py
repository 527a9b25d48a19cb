"""Drawing: the figure grammar of this book.

Every function takes arrays and draws on matplotlib Axes; none knows a simulation. One colour means one thing
in every chapter (`ROLES`). Single runs are grey hairlines, simulated means are thick with a band of two
standard errors, bounds are dashed and named at the line, exact laws are thin and solid. A figure cell ends in
`plate(fig)`, whose text lists the numbers that were drawn, so that a stored figure can be checked.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection, QuadMesh
from matplotlib.colors import LogNorm, to_hex
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, Locator, MaxNLocator, NullLocator
from numpy.typing import ArrayLike

from coevo import _validation as check
from coevo._validation import Array

__all__ = [
    "ROLES",
    "Plate",
    "Role",
    "Side",
    "bound",
    "decay_axes",
    "exact",
    "figure",
    "heat",
    "histogram_with_law",
    "image_ellipses",
    "key",
    "label_axes",
    "plate",
    "points",
    "runs",
    "scatter_images",
    "sequence",
    "simulated",
    "text_bars",
    "use_style",
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
_STYLE = {
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
    sns.set_theme(style="ticks", palette=[ROLES["text"], ROLES["image"], ROLES["injected"]], rc=_STYLE)


def sequence(n: int) -> list[str]:
    """Colours for `n` ordered values of a swept parameter, from dark (first) to light (last).

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
        If `panels` is none of these numbers, `height` is not positive, or `titles` do not fit.
    """
    if check.integer("panels", panels, minimum=1) not in (1, 2, 3, 4, 6):
        raise ValueError(f"panels must be 1, 2, 3, 4 or 6, got {panels}")
    if titles and len(titles) != panels:
        raise ValueError(f"titles must name each of the {panels} panels, got {len(titles)} titles")
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
    """Draw single runs as grey hairlines: `t` (T,), `values` (runs, T)."""
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
    """Draw a simulated mean (T,), thick, with a band of two standard errors (T,).

    `colour` replaces the colour of the role (a member of `sequence`, for a swept parameter). With `at`, the
    label stands at that fraction of the curve; without, it waits for `key`.
    """
    x, y = _pair(t, "mean", mean)
    error = drawable("standard_error", standard_error, x.shape)
    ink = colour or ROLES[_role(role)]
    ax.fill_between(x, y - 2 * error, y + 2 * error, color=ink, alpha=0.25, linewidth=0, label="_2 se band")
    _curve(ax, x, y, label, ink, at, side, linewidth=3.0, zorder=3)


def points(
    ax: Axes, x: ArrayLike, mean: ArrayLike, standard_error: ArrayLike, *, label: str, role: Role = "text"
) -> None:
    """Draw simulated means (T,) at separate places `x` (T,), with bars of two standard errors (T,)."""
    where, y = _pair(x, "mean", mean)
    error = drawable("standard_error", standard_error, where.shape)
    ax.errorbar(where, y, 2 * error, color=ROLES[_role(role)], fmt="o", ms=6, elinewidth=2, zorder=6, label=label)


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
    """Draw a bound `values` (T,) dashed and write its label at fraction `at` of the line (None: in `key`)."""
    x, y = _pair(t, "values", values)
    on_heat = any(isinstance(item, QuadMesh) for item in ax.collections)
    style: dict[str, Any] = {"path_effects": [_halo(3.2)]} if on_heat else {}
    style |= {"linewidth": 1.7, "linestyle": (0, (4, 2.2)), "zorder": 4}
    _curve(ax, x, y, label, colour or ROLES["bound"], at, side, **style)


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
    """Draw an exact law `values` (T,) thin and solid; its label waits for `key` unless `at` is given."""
    x, y = _pair(t, "values", values)
    _curve(ax, x, y, label, colour or ROLES["exact"], at, side, linewidth=1.3, zorder=5)


def write(ax: Axes, x: float, y: float, text: str, *, colour: str = "#1A1A1A", **place: Any) -> None:
    """Write `text` at a data point, with a white halo that keeps it readable over lines."""
    place = {"textcoords": "offset points", "xytext": (0, 0), **place}
    ax.annotate(text, (x, y), color=colour, path_effects=[_halo(3.5)], zorder=6, **place)


def label_axes(ax: Axes, x_label: str, y_label: str) -> None:
    """Name both axes in words with the symbol; inner panels of a shared grid keep their outer names only."""
    ax.set_xlabel(x_label)
    ax.set_ylabel(y_label)
    if len(ax.get_shared_y_axes().get_siblings(ax)) > 1:
        ax.label_outer()


def decay_axes(ax: Axes, x_label: str, y_label: str, *, lowest: float | None = None) -> None:
    """Name the axes and make y logarithmic, with ticks such as 0.5, 0.2, 0.1; `lowest` ends the axis."""
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(ReadableTicks())
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: tick_label(value)))
    if lowest is not None:
        ax.set_ylim(bottom=check.number("lowest", lowest, minimum=0.0, open_minimum=True))
    label_axes(ax, x_label, y_label)


def key(fig: Figure, *, columns: int = 3) -> None:
    """Name every labelled curve once, under the panels; for what has no room for a label at the line."""
    named: dict[str, Any] = {}
    for ax in fig.axes:
        for artist, name in zip(*ax.get_legend_handles_labels(), strict=True):
            named.setdefault(name, artist)
    fig.legend(list(named.values()), list(named), loc="outside lower left", ncols=columns, borderpad=0.2)


def readable_ticks(low: float, high: float) -> list[float]:
    """Ticks of a logarithmic axis from `low` to `high`: 1-2-5 over few decades, whole decades over many."""
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


class ReadableTicks(Locator):
    """Matplotlib locator of `readable_ticks`."""

    def __call__(self) -> list[float]:
        return self.tick_values(*sorted(self.axis.get_view_interval()))  # type: ignore[union-attr]  # has an axis

    def tick_values(self, vmin: float, vmax: float) -> list[float]:
        return readable_ticks(max(vmin, np.nextafter(0, 1)), vmax)


def tick_label(value: float) -> str:
    """Write a tick as a plain number between 0.001 and 9999, else as a power of ten."""
    if 1e-3 <= value < 1e4:
        return f"{value:g}"
    factor, power = f"{value:e}".split("e")
    times = "" if float(factor) == 1 else rf"{float(factor):g}\cdot"
    return rf"${times}10^{{{int(power)}}}$"


# ---- laws, images and texts ----------------------------------------------------------------------------


def heat(ax: Axes, x: ArrayLike, y: ArrayLike, values: ArrayLike, *, label: str, logarithmic: bool = False) -> None:
    """Draw `values` (len(y), len(x)) as a heat map, white for little, with a colour bar named `label`."""
    across, up = check.real_array("x", x, (None,)), check.real_array("y", y, (None,))
    z = drawable("values", values, (up.size, across.size))
    shade = sns.blend_palette(["#FFFFFF", "#8FB3F0", ROLES["text"], "#0B1F4D"], as_cmap=True)
    mesh = ax.pcolormesh(across, up, z, cmap=shade, norm=LogNorm() if logarithmic else None)
    mesh.set_label(label)
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
    samples : (n,) simulated values
    support, law : (S,) points, and at each the density, or with `discrete` the probability; samples of a
        discrete law are counted at the nearest point of its support

    Raises
    ------
    TypeError, ValueError
        If arrays do not fit or are not finite, or `support` does not increase.
    """
    values = check.real_array("samples", samples, (None,))
    points = check.real_array("support", support, (None,))
    height = check.real_array("law", law, points.shape)
    ink = ROLES[_role(role)]
    if (np.diff(points) <= 0).any():
        raise ValueError(f"support must increase, got a step of {np.diff(points).min():g}")
    if discrete:
        nearest = np.searchsorted((points[1:] + points[:-1]) / 2, values)
        share = np.bincount(nearest, minlength=points.size) / values.size
        width = 0.85 * float(np.diff(points).min(initial=1.0))
        ax.bar(points, share, width=width, color=ink, alpha=0.45, label=label)
    else:
        check.integer("bins", bins, minimum=1)
        sns.histplot(x=values, stat="density", bins=bins, color=ink, alpha=0.45, ax=ax, label=label)
    dots = "o" if discrete else ""
    ax.plot(points, height, color=ROLES["exact"], linewidth=1.3, marker=dots, ms=3.5, label=law_label)


def scatter_images(
    ax: Axes, points: ArrayLike, text_index: ArrayLike, *, n_texts: int | None = None, label: str = ""
) -> None:
    """Draw images (n, 2) as points; colour and shape tell the text (n,) each belongs to, `image_ellipses` its
    number. A `label` names all of them together in `key`.
    """
    images = check.real_array("points", points, (None, 2))
    owner = check.integer_array("text_index", text_index, minimum=0)
    if owner.shape != images.shape[:1]:
        raise ValueError(f"text_index must have shape {images.shape[:1]}, got {owner.shape}")
    colours = sequence(max(n_texts or 0, int(owner.max()) + 1))
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
    """Draw image models N(mean (K, 2), cov (K, 2, 2)): the mean and the ellipse of `deviations` sigmas.

    The ellipse is the image of a circle under the symmetric root of cov, so a singular covariance is drawn
    as the segment that it lives on and a zero covariance as its mean. Without a role each text has the colour
    that `scatter_images` gives it and its number at the mean.
    """
    centres = check.real_array("mean", mean, (None, 2))
    spread = check.covariance("cov", cov, dim=2)
    if spread.shape != (*centres.shape, 2):
        raise ValueError(f"cov must have shape {(*centres.shape, 2)}, got {spread.shape}")
    colours = sequence(len(centres)) if role is None else [ROLES[_role(role)]] * len(centres)
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
    """Draw a text model `p` (K,) as bars; `initial` (K,) marks where it started."""
    now = check.probability_vector("p", p)
    texts = np.arange(1, now.size + 1)
    ax.bar(texts, now, width=0.7, color=ROLES["text"], alpha=0.85, label=label)
    if initial is not None:
        start = check.probability_vector("initial", initial)
        if start.shape != now.shape:
            raise ValueError(f"initial must have shape {now.shape}, got {start.shape}")
        dash = {"linestyle": "", "marker": "_", "ms": 16, "mew": 2, "color": ROLES["bound"]}
        ax.plot(texts, start, label="at the start", **dash)  # type: ignore[arg-type]  # mixed values
    ax.set_xticks(texts if now.size <= 12 else texts[:: -(-now.size // 8)])
    label_axes(ax, "text i", "probability $p_i$")


# ---- the plate -----------------------------------------------------------------------------------------


class Plate:
    """A finished figure: its picture for the reader and, as text, the numbers that were drawn."""

    def __init__(self, fig: Figure) -> None:
        self.figure: Figure = check.instance("fig", fig, Figure)
        plt.close(fig)

    def png(self) -> bytes:
        """The picture; equal figures give equal bytes (no date and no software version inside)."""
        buffer = io.BytesIO()
        self.figure.savefig(
            buffer, format="png", dpi=160, bbox_inches="tight", pad_inches=0.05, metadata={"Software": None}
        )
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
                shown = "; ".join(
                    f"{axis} {sample(v, keep_small=ax.get_yscale() == 'log')}" for axis, v in parts.items()
                )
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

    Raises
    ------
    TypeError
        If `fig` is not a matplotlib Figure.
    """
    return Plate(fig)


def significant(value: float) -> float:
    """Round to four significant digits; the same on every platform.

    Ten digits come first, because a last-bit difference would tip a tie such as 0.015625.
    """
    return float(f"{float(f'{value:.10g}'):.4g}") + 0.0  # + 0.0 turns -0.0 into 0.0


def sample(values: Array, *, keep_small: bool) -> str:
    """Up to nine values at evenly spaced places, as text: the first, the last and those between."""
    shown = min(values.size, 9)
    picked = values[np.arange(shown) * (values.size - 1) // max(shown - 1, 1)]
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
    for image in ax.images:
        yield "image", image.get_label(), {"value": _filled(image.get_array()).ravel()}


def _halo(width: float) -> patheffects.withStroke:
    return patheffects.withStroke(linewidth=width, foreground="white", alpha=0.9)


def _filled(values: Any) -> Array:
    numbers: Array = np.ma.filled(np.ma.asarray(values, dtype=float), np.nan)
    return numbers


def _curve(ax: Axes, x: Array, y: Array, label: str, ink: str, at: float | None, side: str, **style: Any) -> None:
    """Draw a line and, with `at`, its name beside it, on the side that a sloping line leaves free."""
    check.choice("side", side, ("above", "below"))
    ax.plot(x, y, color=ink, label=label if at is None else f"_{label}", **style)
    if at is None:
        return
    fraction = check.number("at", at, minimum=0.0, maximum=1.0)
    seen = np.flatnonzero(np.isfinite(y))
    if seen.size == 0:
        return
    place = int(seen[round(fraction * (seen.size - 1))])
    slope = float(y[seen[-1]] - y[seen[0]])
    right = (slope <= 0) == (side == "above") or at < 0.2
    write(
        ax,
        float(x[place]),
        float(y[place]),
        label,
        colour=ink,
        xytext=(3 if right else -3, 5 if side == "above" else -5),
        ha="left" if right and at < 0.8 else "right",
        va="bottom" if side == "above" else "top",
    )


def _pair(t: ArrayLike, name: str, values: ArrayLike) -> tuple[Array, Array]:
    x = check.real_array("t", t, (None,))
    return x, drawable(name, values, x.shape)


def drawable(name: str, values: ArrayLike, shape: tuple[int | None, ...]) -> Array:
    """Like `check.real_array`, but NaN and infinity pass: a curve may be undefined or lost somewhere."""
    array = np.asarray(values, dtype=float)
    check.real_array(name, np.where(np.isfinite(array), array, 0.0), shape)
    return array


def _role(role: str) -> Role:
    check.choice("role", role, tuple(ROLES))
    return role  # type: ignore[return-value]  # checked
