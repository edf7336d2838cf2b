"""Horizons against cost: what shorter and longer runs of each method give, task by task."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from experiments.comparison.labels import LABELS
from recycle_jax.report.labels import INK, family
from recycle_jax.report.plots import UNNAMED, foremost, legend, marks, say_unnamed, styled_axes
from recycle_jax.report.tasks import Task, by_task
from recycle_jax.report.wording import number


@dataclasses.dataclass(frozen=True, kw_only=True)
class CostCurve:
    """Horizons of one task at several costs, as lengths of training give them.

    Attributes:
        title: the task, in words.
        points: method id -> (cost over B, median horizon, low end and high end of its interval).
        max_frames: frames watched.
    """

    title: str
    points: Mapping[str, Sequence[tuple[float, float, float, float]]]
    max_frames: int | None = None


def cost_curves(summary: Mapping[str, Mapping[str, Any]]) -> list[CostCurve]:
    """Returns one curve a task; points of `METHOD` and `METHOD+SHARE` are joined."""
    return [_cost_curve(task, entries, summary) for task, entries in by_task(summary, LABELS).items()]


def _cost_curve(task: Task, entries: Mapping[str, str], summary: Mapping[str, Mapping[str, Any]]) -> CostCurve:
    horizons = {method: summary[entry].get("horizon_frames") or {} for method, entry in entries.items()}
    points: dict[str, list[tuple[float, float, float, float]]] = {}
    for method, entry in entries.items():
        points.setdefault(family(method), []).append(_cost_point(summary[entry]))
    limits = [int(horizon["max_frames"]) for horizon in horizons.values() if horizon.get("max_frames")]
    return CostCurve(title=task.title, points=points, max_frames=max(limits, default=None))


def _cost_point(entry: Mapping[str, Any]) -> tuple[float, float, float, float]:
    horizon = entry.get("horizon_frames") or {}
    low, high = horizon.get("ci95") or (None, None)
    return number(entry.get("cost_over_B")), number(horizon.get("median")), number(low), number(high)


def cost_plot(
    points: Mapping[str, Sequence[tuple[float, float, float, float]]],
    max_frames: int | None = None,
) -> Figure | None:
    """Draws horizons against cost, each method's points joined; the foremost have names, see `report.plots.foremost`.

    Args:
        points: method id -> (cost over B, median horizon, low end, high end of its interval).
        max_frames: frames watched; horizons there are lower bounds.

    Returns:
        The figure, or None where no point has both values.
    """
    known = {name: sorted(p for p in row if np.isfinite(p[:2]).all()) for name, row in points.items()}
    known = {name: row for name, row in known.items() if row}
    if not known:
        return None
    figure, axes = styled_axes()
    named = foremost(known, {name: max(point[1] for point in row) for name, row in known.items()}, LABELS)
    shown = LABELS.of(known)
    for name, row in known.items():
        cost, middle, low, high = np.maximum(np.array(row, np.float64).T, 0.5)
        if name not in named:
            axes.plot(cost, middle, marker="o", markersize=4, **UNNAMED)
            continue
        ends = np.stack([middle - np.minimum(low, middle), np.maximum(high, middle) - middle])
        axes.errorbar(cost, middle, yerr=ends, color=shown[name].colour, linewidth=1.4, capsize=3)
        marks(axes, shown[name], cost, middle, size=8)
    say_unnamed(axes, len(known.keys() - named))
    if max_frames:
        axes.axhline(max_frames, color=INK, linestyle=(0, (1, 1.5)), linewidth=1.2, label="frames watched")
    axes.set_yscale("log", base=2)
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("compute over that of teacher forcing B (×)", color=INK, fontsize=11)
    axes.set_ylabel("horizon, frames", color=INK, fontsize=11)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else ""))
    legend(axes)
    return figure
