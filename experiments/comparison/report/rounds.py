"""What rounds of recycling bring for what they cost: measured value against the bill, round by round."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from experiments.comparison.labels import METHODS
from recycle_jax.report.labels import INK
from recycle_jax.report.plots import SIZE
from recycle_jax.report.wording import number


def rounds_of_cell(cell: Mapping[str, Any], cost_over_b: Any = None) -> Figure | None:
    """Draws the rounds that a cell tells of, None where it tells of none.

    They are `{"cost": [...], "value": [...]}`, values the distance of rollouts from their reference, costs in units of
    whatever was trained before the first round, and where there was an automatic stop its `best` values and the reason
    why it `stopped`, or None.

    Args:
        cell: of a result file.
        cost_over_b: all compute of the run over that of B, as the table of costs has it: where the axis ends.
    """
    rounds = cell.get("rounds") or {}
    if not rounds.get("value"):
        return None
    # What came before the rounds is one unit of their cost; the whole is known in units of B.
    total = number(cost_over_b)
    unit = total / (1.0 + sum(rounds["cost"])) if total > 0.0 else 1.0
    costs = [unit * cost for cost in rounds["cost"]]
    pairs = list(zip(costs, [number(value) for value in rounds["value"]], strict=True))
    best = [number(value) for value in rounds["best"]] if rounds.get("best") else None
    label = "distance of rollouts from their reference, mean square"
    return rounds_plot(pairs, best, len(pairs) if rounds.get("stopped") else None, start=unit, value_label=label)


def rounds_plot(
    rounds: Sequence[tuple[float, float]],
    best: Sequence[float] | None = None,
    stopped: int | None = None,
    *,
    start: float = 0.0,
    cost_label: str = "compute spent ÷ B",
    value_label: str = "horizon, frames",
) -> Figure | None:
    """Draws the value measured after each round against everything spent by then.

    Args:
        rounds: `(cost of the round, value after it)`, oldest first.
        best: what the rule of the stop went by (`Stop.best`), one number a round, drawn as a line.
        stopped: number of rounds after which the rule said stop; drawn as an upright line.
        start: spent before the first round.
        cost_label: of the axis, with the unit.
        value_label: of the axis, with the unit.

    Returns:
        The figure, or None where no value is finite.

    Raises:
        ValueError: if `best` has another length than `rounds`.
    """
    if best is not None and len(best) != len(rounds):
        raise ValueError(f"{len(best)} best values for {len(rounds)} rounds: give one a round")
    cost, value = np.array(rounds, np.float64).reshape(-1, 2).T
    spent, kept = start + np.cumsum(cost), np.isfinite(value)
    if not kept.any():
        return None
    look = METHODS["recycle"]
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.add_subplot()
    if best is not None:
        line = np.where(np.isfinite(best), best, np.nan)
        axes.step(spent, line, where="post", color=look.colour, linewidth=2.0, label="best so far, smoothed")
    axes.plot(spent[kept], value[kept], linestyle="none", marker=look.marker, color=look.colour, label="a round")
    if stopped is not None and 0 < stopped <= len(spent):
        label = f"stopped after round {stopped}"
        axes.axvline(spent[stopped - 1], color=INK, linestyle=(0, (1, 1.5)), linewidth=1.4, label=label)
    axes.set_xlabel(cost_label, color=INK, fontsize=11)
    axes.set_ylabel(value_label, color=INK, fontsize=11)
    axes.tick_params(colors=INK, labelsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["bottom", "left"]].set_color(INK)
    axes.grid(True, color=INK, alpha=0.12, linewidth=0.6)
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3, frameon=False, fontsize=9.5, labelcolor=INK)
    return figure
