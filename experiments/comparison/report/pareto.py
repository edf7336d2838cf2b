"""All methods in one picture: how many times B+'s horizon for how many times B's compute.

    height = `overview.times_baseline`, over the tasks where the method was measured
    width  = geometric mean over the same tasks of its whole training cost over that of B

A method is on the Pareto front if no other one is as high for as little; hollow marks were not measured in all tasks,
so that they stand for fewer and are not counted to the front. Places with few of the methods are left out, as in the
table (`overview.shared`), and of hollow marks only as many are named as the legend has room for.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from experiments.comparison.labels import LABELS
from experiments.comparison.report.overview import shared, times_baseline
from recycle_jax.report import wording
from recycle_jax.report.labels import INK, Label
from recycle_jax.report.plots import styled_axes

SIZE = (9.4, 5.6)
"""Of axes and legend, in inches."""

LEGEND_ROWS = 24

OTHERS: dict[str, Any] = {"marker": "o", "color": "#999999", "markersize": 4, "markerfacecolor": "none"}
"""Looks of the methods that have no name in the picture."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Point:
    """A method in the picture.

    Attributes:
        cost: of training over that of B, 1 or more for whatever starts from B.
        times: horizon over that of B+.
        complete: whether it was measured in all tasks.
    """

    cost: float
    times: float
    complete: bool


def pareto_points(results: Mapping[str, Any]) -> dict[str, Point]:
    """Returns method -> its point, best first; empty where fewer than two tasks have their usual rollouts."""
    tasks, points = shared(results), {}
    if len(tasks) < 2:
        return {}
    for method, times in times_baseline(results).items():
        entries = [entries[method] for entries in tasks.values() if method in entries]
        costs = [wording.number(results["summary"][entry].get("cost_over_B")) for entry in entries]
        known = [cost for cost in costs if cost > 0.0]
        if known:
            cost = math.exp(sum(map(math.log, known)) / len(known))
            points[method] = Point(cost=cost, times=times.mean, complete=times.tasks == len(tasks))
    return dict(sorted(points.items(), key=lambda item: -item[1].times))


def front(points: Mapping[str, Point]) -> list[str]:
    """Returns the methods that no other one equals at their cost, cheapest first."""
    complete = [name for name in points if points[name].complete]
    best, kept = -math.inf, []
    for name in sorted(complete, key=lambda name: (points[name].cost, -points[name].times)):
        if points[name].times > best:
            best = points[name].times
            kept.append(name)
    return kept


def named(points: Mapping[str, Point]) -> list[str]:
    """Returns the methods of the legend, best first: those measured in all tasks, then others, parts of one last."""
    room = LEGEND_ROWS - 2  # the front and the others have a row each
    order = sorted(points, key=lambda name: (not points[name].complete, ":" in name))
    kept = set(order if len(points) <= room + 1 else order[:room])
    return [name for name in points if name in kept]


def pareto_plot(points: Mapping[str, Point]) -> Figure | None:
    """Draws all methods and the front; None where there are no points."""
    if not points:
        return None
    figure, axes = styled_axes(SIZE)
    _draw_front(axes, [points[name] for name in front(points)])
    shown_by_name, methods = named(points), LABELS.of(points)
    for name in shown_by_name:
        shown, point = methods[name], points[name]
        looks: dict[str, Any] = {"marker": shown.marker or "|", "color": shown.colour, "markersize": 8}
        looks["markerfacecolor"] = shown.colour if point.complete else "none"
        axes.plot([point.cost], [point.times], linestyle="none", label=_label(shown, point), **looks)
    others = [point for name, point in points.items() if name not in shown_by_name]
    if others:
        label = f"{len(others)} others (see the table)"
        costs, times = [point.cost for point in others], [point.times for point in others]
        axes.plot(costs, times, linestyle="none", label=label, zorder=1, **OTHERS)
    axes.axhline(1.0, color=INK, linewidth=0.6, alpha=0.5)
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
    axes.set_xlabel("compute over that of teacher forcing B (×)", color=INK, fontsize=11)
    axes.set_ylabel("horizon over that of B+, mean of a method's tasks", color=INK, fontsize=11)
    legend: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0), "frameon": False, "fontsize": 8}
    axes.legend(labelcolor=INK, **legend)
    return figure


def _label(label: Label, point: Point) -> str:
    """A mean over some tasks only is no rival of one over all of them, so that the legend says it."""
    return f"{wording.times(point.times)} {label.name}" + ("" if point.complete else " (some tasks)")


def _draw_front(axes: Any, best: Sequence[Point]) -> None:
    """Steps: what a little more compute brings only where a method spends it."""
    if not best:
        return
    costs, times = [point.cost for point in best], [point.times for point in best]
    axes.step(costs, times, where="post", color=INK, linestyle=(0, (4, 2)), linewidth=1.2, label="Pareto front")
