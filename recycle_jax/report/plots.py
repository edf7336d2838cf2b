"""Plots of survival and of statistics over time, each a matplotlib figure of its own with no global state.

The drift plot shows medians, because the laws of growth are fitted to the median rollout: a few rollouts that are
garbage already must not speak for all. Where more generators were measured than an eye can tell apart, those that the
labels put first and those that last longest keep their colours, variants come last, and the others are thin lines
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

from recycle_jax.drift.cells import curve_of, exits_of
from recycle_jax.drift.horizon import censored_data, pooled
from recycle_jax.drift.laws import Fit, evaluate
from recycle_jax.drift.statistics import DISTANCE
from recycle_jax.report.labels import INK, Label, Labels
from recycle_jax.report.wording import number, percent

Cells = Sequence[Mapping[str, Any]]

SIZE = (8.4, 4.6)
MOST_NAMED = 10
"""Generators that a plot names."""

_LEAST = 1e-9  # a logarithmic axis has no zero
_NEAR = 1e-2  # of the band's edge: what is nearer to real video than that is as good as there
UNNAMED: dict[str, Any] = {"color": INK, "alpha": 0.25, "linewidth": 0.8}
"""Looks of what has no name in a plot."""

MOTION = "motion"


def drift_plot(
    entries: Mapping[str, Cells],
    growths: Mapping[str, Mapping[str, Any]],
    bands: Mapping[str, Any] | None,
    labels: Labels,
) -> Figure | None:
    """Draws the off-manifold distance against the frame, with fitted laws and the band of real video.

    Args:
        entries: id -> its cells; those without a distance are left out.
        growths: id -> `growth` of its summary.
        bands: the world's bands as in a result file.
        labels: how ids are shown.

    Returns:
        The figure, or None where no entry has a distance.
    """
    curves = _curves(entries, DISTANCE)
    if not curves:
        return None
    figure, axes = styled_axes()
    floor, named = _NEAR * _edge(bands or {}), most_telling(entries, labels)
    curves = {name: (curve[0], *(np.maximum(each, floor) for each in curve[1:])) for name, curve in curves.items()}
    shown = labels.of(curves)
    for name, (frames, low, middle, high) in curves.items():
        if name in named:
            law = _draw_law(axes, growths.get(name) or {}, floor)
            _draw_curve(axes, shown[name], f": {law}" if law else "", frames, low, middle, high)
        else:
            axes.plot(frames, middle, **UNNAMED)
    say_unnamed(axes, len(curves.keys() - named))
    lowest = min(float(np.min(middle)) for _, _, middle, _ in curves.values())
    _draw_band(axes, bands or {}, lowest)
    axes.plot([], [], color=INK, linestyle=(0, (4, 2)), label="fitted law of growth")
    _finish(axes, "off-manifold distance (lower is better)", _last_frame(curves))
    axes.set_yscale("log")
    return figure


def motion_plot(entries: Mapping[str, Cells], bands: Mapping[str, Any] | None, labels: Labels) -> Figure | None:
    """Draws motion over the mean motion of real video against the frame; a rollout that freezes falls towards 0.

    Args:
        entries: id -> its cells; those without motion are left out.
        bands: the world's bands as in a result file.
        labels: how ids are shown.

    Returns:
        The figure, or None where no entry has motion or that of real video is not known.
    """
    real = number(((bands or {}).get("means") or {}).get(MOTION))
    curves = _curves(entries, MOTION) if real > 0.0 else {}
    if not curves:
        return None
    figure, axes = styled_axes()
    named, shown = most_telling(entries, labels), labels.of(curves)
    for name, (frames, low, middle, high) in curves.items():
        if name in named:
            _draw_curve(axes, shown[name], "", frames, low / real, middle / real, high / real)
        else:
            axes.plot(frames, middle / real, **UNNAMED)
    say_unnamed(axes, len(curves.keys() - named))
    axes.axhline(1.0, color=INK, linestyle=(0, (1, 1.5)), linewidth=1.6, label="mean of real video")
    _finish(axes, "motion ÷ real", _last_frame(curves))
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    return figure


def survival_plot(entries: Mapping[str, Cells], bands: Mapping[str, Any] | None, labels: Labels) -> Figure:
    """Draws the Kaplan-Meier fraction of rollouts still inside the band of real video against the frame."""
    figure, axes = styled_axes()
    last = max(int(cell["max_frames"]) for cells in entries.values() for cell in cells)
    stay = 1.0 - number((bands or {}).get("real_exit_fraction"))
    if np.isfinite(stay):
        label = f"real video: {percent(stay)} stay"
        axes.axhline(stay, color=INK, linestyle=(0, (1, 1.5)), linewidth=1.6, label=label, zorder=1)
    named, shown = most_telling(entries, labels), labels.of(entries)
    for name, cells in entries.items():
        frames, alive = _survival(cells)
        if name not in named:
            axes.step(frames, alive, where="post", **UNNAMED)
            continue
        axes.step(frames, alive, where="post", color=shown[name].colour, linewidth=2.0)
        marks(axes, shown[name], *_at_powers(frames, alive, last))
    say_unnamed(axes, len(entries.keys() - named))
    axes.axhline(0.5, color=INK, linewidth=0.6, alpha=0.5)
    axes.text(1.06, 0.515, "half: the horizon", color=INK, fontsize=8.5, alpha=0.8)
    _finish(axes, "survival: rollouts still inside the band", last)
    axes.set_ylim(-0.03, 1.05)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f} %"))
    return figure


def most_telling(entries: Mapping[str, Cells], labels: Labels, most: int = MOST_NAMED) -> set[str]:
    """What a plot names: first what the labels always name, then what lasts longest, variants after all others."""
    lasting = {
        name: np.mean([np.mean(cell["rollouts"]["exit_frame"]) for cell in cells]) for name, cells in entries.items()
    }
    return foremost(entries, lasting, labels, most)


def foremost(names: Iterable[str], lasting: Mapping[str, Any], labels: Labels, most: int = MOST_NAMED) -> set[str]:
    """So many names, in the order of `most_telling`, by how long each lasts."""
    shown = labels.of(names)
    order = sorted(shown, key=lambda name: (name not in labels.always, shown[name].variant, -lasting[name]))
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


def _curves(entries: Mapping[str, Cells], statistic: str) -> dict[str, tuple[np.ndarray, ...]]:
    """Returns id -> frames and quantiles of a statistic, of what has it."""
    curves = {name: _quantiles(cells, statistic) for name, cells in entries.items()}
    return {name: curve for name, curve in curves.items() if len(curve[0])}


def _last_frame(curves: Mapping[str, tuple[np.ndarray, ...]]) -> int:
    return max(int(curve[0][-1]) for curve in curves.values())


def _quantiles(cells: Cells, statistic: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns frames and the 10 %, 50 % and 90 % quantiles of a statistic over seeds and rollouts."""
    curves = [curve_of(cell, statistic) for cell in cells]
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
    powers = np.array([4**k for k in range(int(np.log2(last) // 2) + 1)])
    return powers, alive[np.searchsorted(frames, powers, side="right") - 1]


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
    legend(axes)


def legend(axes: Axes) -> None:
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


def _draw_curve(axes: Axes, label: Label, remark: str, frames: Any, low: Any, middle: Any, high: Any) -> None:
    axes.fill_between(frames, low, high, color=label.colour, alpha=0.16, linewidth=0)
    axes.plot(frames, middle, color=label.colour, linewidth=2.0)
    powers = np.isin(frames, [4**k for k in range(16)])
    marks(axes, label, frames[powers], middle[powers], remark)


def marks(axes: Axes, label: Label, x: Any, y: Any, remark: str = "", size: float = 6.5) -> None:
    """Marks points; the legend's sample is drawn here, with line and marker as they stand in the plot."""
    looks: dict[str, Any] = {"marker": label.marker, "color": label.colour, "markersize": size}
    axes.plot(x, y, linestyle="none", clip_on=False, **looks)
    axes.plot([], [], linewidth=2.0, label=label.name + remark, **looks)


def say_unnamed(axes: Axes, count: int) -> None:
    """Adds to the legend how many lines have no name."""
    if count:
        axes.plot([], [], label=f"{count} others", **UNNAMED)


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
