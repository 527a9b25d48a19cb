"""What the charts of a page have in common: their type, their colours and small parts of their grammar (5.6)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from coevo import plots
from coevo._validation import Array

MIME_TYPE = "application/vnd.vegalite.v5+json"

#: The roles of `plots.ROLES` in tones that keep a contrast of 3 to a white and to a dark (#121212) page.
#: Bounds and letters take the colour of the page's own text.
SCREEN: dict[plots.Role, str] = {
    "text": "#2466F2",
    "image": "#D46918",
    "bound": "currentColor",
    "exact": "#C21FA6",
    "injected": "#22783F",
    "run": "#8A8A8A",
}


def chart(title: str, alt: str, height: int) -> dict[str, Any]:
    """The frame of a chart: its title, its words for a reader who does not see it, its size and its letters."""
    return {
        "description": alt,
        "usermeta": {"alt": alt},
        "title": {"text": title, "anchor": "start", "frame": "group", "offset": 8},
        "width": 560,
        "height": height,
        "background": "transparent",
        "config": {
            "view": {"stroke": None},
            "title": {"color": "currentColor", "fontSize": 14},
            "text": {"fontSize": 13},
            "legend": {"labelColor": "currentColor", "labelFontSize": 13, "labelLimit": 400},
            "axis": {
                "labelColor": "currentColor",
                "titleColor": "currentColor",
                "domainColor": SCREEN["run"],
                "tickColor": SCREEN["run"],
                "gridColor": SCREEN["run"],
                "gridOpacity": 0.25,
                "labelFontSize": 12,
                "titleFontSize": 13,
                "titleFontWeight": "normal",
            },
        },
    }


def slider(name: str, count: int, label: str, start: int = 0) -> dict[str, Any]:
    """A parameter bound to a slider over 0..`count` - 1."""
    bind = {"input": "range", "min": 0, "max": count - 1, "step": 1, "name": label}
    return {"name": name, "value": start, "bind": bind}


def mark(kind: str, **style: Any) -> dict[str, Any]:
    """A mark without words of its own: `description` speaks for the whole chart."""
    return {"type": kind, "aria": False, **style}


def words_above(y: int, text: Any = None, **style: Any) -> dict[str, Any]:
    """A layer with a line of text above the chart: a fixed value of `text`, or the field `r` of the data."""
    layer: dict[str, Any] = {"mark": mark("text", align="left", x=0, color="currentColor", fontSize=13, y=y, **style)}
    if text is None:
        layer["encoding"] = {"text": {"field": "r"}}
    else:
        layer["mark"]["text"] = text
    return layer


def column(values: Array | Sequence[float]) -> list[float | int | None]:
    """Numbers for JSON: four significant digits, whole ones without a point, null for what is not finite."""
    rounded = [plots.significant(float(v)) if math.isfinite(v) else None for v in values]
    return [int(v) if v is not None and v.is_integer() and abs(v) < 1e6 else v for v in rounded]
