"""Drift, survival and cost plots, each a matplotlib figure of its own with no global state.

The drift plot shows medians, because the laws of growth are fitted to the median rollout: a few rollouts that
are garbage already must not speak for all. Where more methods were measured than an eye can tell apart, B, B+, ours and
the remedies that last longest keep their colours, and the others, parts of a remedy among them, are thin lines
without a name; tables name them all.
"""

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from scipy import stats

from experiments.comparison.labels import INK, Method
from recycle_jax.drift.cells import curve_of, exits_of
from recycle_jax.drift.horizon import censored_data, pooled
from recycle_jax.drift.laws import Fit, evaluate
from recycle_jax.drift.statistics import DISTANCE
from recycle_jax.report.wording import number, percent

Cells = Sequence[Mapping[str, Any]]

SIZE = (8.4, 4.6)
MOST_NAMED = 10
"""Methods that a plot names."""

_ALWAYS_NAMED = ("b", "b_plus", "recycle", "ours")
_LEAST = 1e-9  # a logarithmic axis has no zero
_NEAR = 1e-2  # of the band's edge: what is nearer to real video than that is as good as there
_UNNAMED: dict[str, Any] = {"color": INK, "alpha": 0.25, "linewidth": 0.8}


def drift_plot(
    entries: Mapping[str, Cells],
    growths: Mapping[str, Mapping[str, Any]],
    bands: Mapping[str, Any] | None,
    methods: Mapping[str, Method],
) -> Figure | None:
    """Draws the off-manifold distance against the frame, with fitted laws and the band of real video.

    Args:
        entries: method id -> its cells; those without a distance are left out.
        growths: method id -> `growth` of its summary.
        bands: the world's bands as in a result file.
        methods: method id -> how it is shown.

    Returns:
        The figure, or None where no method has a distance.
    """
    curves = {name: _quantiles(cells) for name, cells in entries.items()}
    curves = {name: curve for name, curve in curves.items() if len(curve[0])}
    if not curves:
        return None
    figure, axes = styled_axes()
    floor, named = _NEAR * _edge(bands or {}), most_telling(entries)
    curves = {name: (curve[0], *(np.maximum(each, floor) for each in curve[1:])) for name, curve in curves.items()}
    for name, (frames, low, middle, high) in curves.items():
        if name in named:
            law = _draw_law(axes, growths.get(name) or {}, floor)
            _draw_method(axes, methods[name], f": {law}" if law else "", frames, low, middle, high)
        else:
            axes.plot(frames, middle, **_UNNAMED)
    _say_unnamed(axes, len(curves.keys() - named))
    lowest = min(float(np.min(middle)) for _, _, middle, _ in curves.values())
    _draw_band(axes, bands or {}, lowest)
    axes.plot([], [], color=INK, linestyle=(0, (4, 2)), label="fitted law of growth")
    last = max(int(frames[-1]) for frames, *_ in curves.values())
    _finish(axes, "off-manifold distance (lower is better)", last)
    axes.set_yscale("log")
    return figure


def survival_plot(
    entries: Mapping[str, Cells], bands: Mapping[str, Any] | None, methods: Mapping[str, Method]
) -> Figure:
    """Draws the Kaplan-Meier fraction of rollouts still inside the band of real video against the frame."""
    figure, axes = styled_axes()
    last = max(int(cell["max_frames"]) for cells in entries.values() for cell in cells)
    stay = 1.0 - number((bands or {}).get("real_exit_fraction"))
    if np.isfinite(stay):
        label = f"real video: {percent(stay)} stay"
        axes.axhline(stay, color=INK, linestyle=(0, (1, 1.5)), linewidth=1.6, label=label, zorder=1)
    named = most_telling(entries)
    for name, cells in entries.items():
        frames, alive = _survival(cells)
        if name not in named:
            axes.step(frames, alive, where="post", **_UNNAMED)
            continue
        method = methods[name]
        axes.step(frames, alive, where="post", color=method.colour, linewidth=2.0)
        places, values = _at_powers(frames, alive, last)
        _marks(axes, method, places, values)
    _say_unnamed(axes, len(entries.keys() - named))
    axes.axhline(0.5, color=INK, linewidth=0.6, alpha=0.5)
    axes.text(1.06, 0.515, "half: the horizon", color=INK, fontsize=8.5, alpha=0.8)
    _finish(axes, "rollouts still inside the band", last)
    axes.set_ylim(-0.03, 1.05)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f} %"))
    return figure


def cost_plot(
    points: Mapping[str, Sequence[tuple[float, float, float, float]]],
    methods: Mapping[str, Method],
    max_frames: int | None = None,
) -> Figure | None:
    """Draws horizons against cost, each method's points joined; the foremost have names, see `most_telling`.

    Args:
        points: method id -> (cost over B, median horizon, low end, high end of its interval).
        methods: method id -> how it is shown.
        max_frames: frames watched; horizons there are lower bounds.

    Returns:
        The figure, or None where no point has both values.
    """
    known = {name: sorted(p for p in row if np.isfinite(p[:2]).all()) for name, row in points.items()}
    known = {name: row for name, row in known.items() if row}
    if not known:
        return None
    figure, axes = styled_axes()
    named = _foremost(known, {name: max(point[1] for point in row) for name, row in known.items()})
    for name, row in known.items():
        cost, middle, low, high = np.maximum(np.array(row, np.float64).T, 0.5)
        if name not in named:
            axes.plot(cost, middle, marker="o", markersize=4, **_UNNAMED)
            continue
        ends = np.stack([middle - np.minimum(low, middle), np.maximum(high, middle) - middle])
        axes.errorbar(cost, middle, yerr=ends, color=methods[name].colour, linewidth=1.4, capsize=3)
        _marks(axes, methods[name], cost, middle, size=8)
    _say_unnamed(axes, len(known.keys() - named))
    if max_frames:
        axes.axhline(max_frames, color=INK, linestyle=(0, (1, 1.5)), linewidth=1.2, label="frames watched")
    axes.set_yscale("log", base=2)
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("compute over that of teacher forcing B (×)", color=INK, fontsize=11)
    axes.set_ylabel("horizon, frames", color=INK, fontsize=11)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else ""))
    _legend(axes)
    return figure


def most_telling(entries: Mapping[str, Cells], most: int = MOST_NAMED) -> set[str]:
    """What a plot names: B, B+ and ours first, then what lasts longest, `METHOD:PART` after all others."""
    lasting = {
        name: np.mean([np.mean(cell["rollouts"]["exit_frame"]) for cell in cells]) for name, cells in entries.items()
    }
    return _foremost(entries, lasting, most)


def _foremost(names: Iterable[str], lasting: Mapping[str, Any], most: int = MOST_NAMED) -> set[str]:
    """So many names, in the order of `most_telling`, by how long each lasts."""
    order = sorted(names, key=lambda name: (name not in _ALWAYS_NAMED, ":" in name, -lasting[name]))
    return set(order[:most])


def to_png(figure: Figure) -> bytes:
    """Returns the figure as PNG on white."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=144, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def to_svg(figure: Figure) -> str:
    """Returns the figure as an SVG element for a page: no background, ink in the page's own colour."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "recycle_jax"}):  # the same ids for the same figure
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\s(xmlns(:\w+)?|version)="[^"]*"', "", text)
    head, rest = text.split(">", 1)
    head = re.sub(r'\s(width|height)="[^"]*"', "", head)  # the page decides
    return f"{head}>{rest}".replace("xlink:href", "href").replace(INK.lower(), "currentColor")


def _quantiles(cells: Cells) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns frames and the 10 %, 50 % and 90 % quantiles of the distance over seeds and rollouts."""
    curves = [curve_of(cell, DISTANCE) for cell in cells]
    shared = sorted(set.intersection(*(set(curve) for curve in curves))) if curves else []
    rows = {frame: np.concatenate([curve[frame] for curve in curves]) for frame in shared}
    finite = {frame: row[np.isfinite(row)] for frame, row in rows.items()}
    kept = [frame for frame in shared if finite[frame].size]
    levels = [np.quantile(finite[frame], [0.1, 0.5, 0.9]) for frame in kept]
    table = np.maximum(np.array(levels).reshape(-1, 3).T, _LEAST)
    return np.array(kept), table[0], table[1], table[2]


def _survival(cells: Cells) -> tuple[np.ndarray, np.ndarray]:
    """Returns the steps of the survival function, from frame 1 to the last frame watched."""
    curve = stats.ecdf(censored_data(pooled([exits_of(cell) for cell in cells]))).sf
    last = max(float(cell["max_frames"]) for cell in cells)
    frames = np.unique(np.concatenate([[1.0], np.clip(curve.quantiles, 1.0, last), [last]]))
    return frames, np.asarray(curve.evaluate(frames))


def _at_powers(frames: np.ndarray, alive: np.ndarray, last: int) -> tuple[np.ndarray, np.ndarray]:
    places = np.array([4**k for k in range(int(np.log2(last) // 2) + 1)])
    return places, alive[np.searchsorted(frames, places, side="right") - 1]


def styled_axes(size: tuple[float, float] = SIZE) -> tuple[Figure, Axes]:
    """An empty figure of so many inches in the look of all plots."""
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    axes.tick_params(colors=INK, labelsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["bottom", "left"]].set_color(INK)
    axes.grid(True, color=INK, alpha=0.12, linewidth=0.6)
    return figure, axes


def _finish(axes: Axes, label: str, last: int) -> None:
    axes.set_xscale("log", base=4)
    axes.set_xlim(1.0, max(float(last), 2.0) * 1.05)
    axes.xaxis.set_major_locator(LogLocator(base=4))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xlabel("frame of the rollout", color=INK, fontsize=11)
    axes.set_ylabel(label, color=INK, fontsize=11)
    _legend(axes)


def _legend(axes: Axes) -> None:
    """Puts the legend above the axes, where it covers no curve."""
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=2,
        frameon=False,
        fontsize=9.5,
        labelcolor=INK,
        handlelength=2.4,
    )


def _draw_method(axes: Axes, method: Method, remark: str, frames: Any, low: Any, middle: Any, high: Any) -> None:
    axes.fill_between(frames, low, high, color=method.colour, alpha=0.16, linewidth=0)
    axes.plot(frames, middle, color=method.colour, linewidth=2.0)
    powers = np.isin(frames, [4**k for k in range(16)])
    _marks(axes, method, frames[powers], middle[powers], remark)


def _marks(axes: Axes, method: Method, x: Any, y: Any, remark: str = "", size: float = 6.5) -> None:
    """Marks points; the legend's sample is drawn here, with line and marker as they stand in the plot."""
    looks: dict[str, Any] = {"marker": method.marker, "color": method.colour, "markersize": size}
    axes.plot(x, y, linestyle="none", clip_on=False, **looks)
    axes.plot([], [], linewidth=2.0, label=method.name + remark, **looks)


def _say_unnamed(axes: Axes, count: int) -> None:
    if count:
        axes.plot([], [], label=f"{count} others", **_UNNAMED)


def _draw_law(axes: Axes, growth: Mapping[str, Any], floor: float) -> str:
    """Draws the elected law over the frames that it was fitted to, and returns its name, if there is one."""
    law, fitted = growth.get("law") or "undetermined", growth.get("fit_frames")
    params = {name: number(value) for name, value in (growth.get("params") or {}).items()}
    if not fitted or not params or not np.isfinite(list(params.values())).all():
        return ""
    frames = np.geomspace(max(number(fitted[0]), 1.0), number(fitted[1]), 100)
    family = "saturating" if law.startswith("saturating") else law
    curve = np.maximum(evaluate(Fit(law=family, params=params, aicc=np.nan), frames), max(floor, _LEAST))
    axes.plot(frames, curve, color=INK, linewidth=1.3, linestyle=(0, (4, 2)), alpha=0.85, zorder=3)
    return family


def _draw_band(axes: Axes, bands: Mapping[str, Any], lowest: float) -> None:
    """Shades what real video reaches, down to the bottom of the plot, since no frame is too valid."""
    edge = _edge(bands)
    if not edge:
        return
    bottom = min(lowest, edge) / 2.0
    axes.axhspan(bottom, edge, color=INK, alpha=0.09, linewidth=0, label="band of real video")
    axes.axhline(edge, color=INK, alpha=0.5, linewidth=0.8)
    axes.set_ylim(bottom=bottom)


def _edge(bands: Mapping[str, Any]) -> float:
    """The distance at which real video ends, 0 where that is not known."""
    edge = number((bands.get("statistics") or {}).get(DISTANCE, [None, None])[1])
    return edge if edge > 0.0 else 0.0
