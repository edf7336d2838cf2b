"""All methods against all tasks in one table: horizons only, and how many times B+'s they are.

    times B+ = geometric mean over tasks of  max(horizon, window) / max(horizon of B+, window)

over the tasks where a method was measured, whose number stands beside it; a task where fewer than a quarter of all
methods were measured does not count, since hardly any method could be compared with another over it. Horizons that
outlast the measurement count as its length, so that the ratio is a bound where any does.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from experiments.comparison.labels import LABELS
from recycle_jax.report import wording
from recycle_jax.report.grid import Column, Entry, Grid, Section
from recycle_jax.report.tasks import Task, by_task, shown_domain

BASELINE = "b_plus"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Times:
    """A method's mean horizon over that of B+.

    Attributes:
        mean: of the module docstring.
        bound: whether a horizon of its own outlasted the measurement, so that the mean is a lower bound.
        tasks: how many tasks it was measured in.
    """

    mean: float
    bound: bool
    tasks: int


def measured(results: Mapping[str, Any]) -> dict[Task, dict[str, str]]:
    """Returns the tasks that have their usual rollouts: task -> method -> entry.

    What was trained on one domain to be shown another is not among them; it has a table of its own (`report.domains`).
    """
    tasks = by_task(results["summary"], LABELS)
    split = {(task.world, task.generator) for task in tasks if shown_domain(task)}
    return {
        task: entries
        for task, entries in tasks.items()
        if not task.variant and (task.world, task.generator) not in split
    }


def shared(results: Mapping[str, Any]) -> dict[Task, dict[str, str]]:
    """Returns the tasks of `measured` with at least a quarter of all methods."""
    tasks = measured(results)
    methods = {method for entries in tasks.values() for method in entries}
    return {task: entries for task, entries in tasks.items() if 4 * len(entries) >= len(methods)}


def times_baseline(results: Mapping[str, Any]) -> dict[str, Times]:
    """Returns method -> how many times B+'s horizon it has; without methods that share no task with B+."""
    found: dict[str, list[tuple[float, bool]]] = {}
    for task, entries in shared(results).items():
        other, least = _horizon(results, entries.get(BASELINE)), _least(results, task)
        for method, entry in entries.items():
            own = _horizon(results, entry)
            if own and other:
                ratio = max(own["median"], least) / max(other["median"], least)
                found.setdefault(method, []).append((math.log(ratio), bool(own.get("lower_bound"))))
    return {
        method: Times(
            mean=math.exp(sum(log for log, _ in ratios) / len(ratios)),
            bound=any(bound for _, bound in ratios),
            tasks=len(ratios),
        )
        for method, ratios in found.items()
    }


def overview_grid(results: Mapping[str, Any]) -> Grid | None:
    """Returns the table of the module docstring; None where fewer than two tasks have their usual rollouts."""
    tasks, times = measured(results), times_baseline(results)
    if len(tasks) < 2:
        return None
    methods = LABELS.of(method for entries in tasks.values() for method in entries)
    rows = []
    for method, shown in methods.items():
        horizons = [_horizon(results, entries.get(method)) for entries in tasks.values()]
        fields = [Entry(main=wording.horizon(found), detail=_survival(found)) for found in horizons]
        rows.append([Entry(main=shown.name), *fields, _times(times.get(method), len(shared(results)))])
    columns = (
        Column(title="method", number=False),
        *(Column(title=task.title) for task in tasks),
        Column(title="times B+"),
    )
    return Grid(columns=columns, sections=[Section(title="", rows=rows)])


def _horizon(results: Mapping[str, Any], entry: str | None) -> Mapping[str, Any]:
    return {} if entry is None else results["summary"][entry].get("horizon_frames") or {}


def _least(results: Mapping[str, Any], task: Task) -> float:
    """A window of the task's bands, the shortest horizon that can be measured."""
    window = wording.number(((results.get("bands") or {}).get(task.world) or {}).get("window"))
    return window if math.isfinite(window) else 1.0


def _survival(horizon: Mapping[str, Any]) -> str:
    """The share of rollouts that survive, where it says more than the median."""
    return f"{wording.percent(horizon.get('censored_fraction'))} survive" if horizon.get("lower_bound") else ""


def _times(times: Times | None, tasks: int) -> Entry:
    if times is None:
        return Entry(main=wording.UNKNOWN)
    main = f"{'≥ ' * times.bound}{wording.times(times.mean)}"
    return Entry(main=main, detail=f"{times.tasks} of {tasks} tasks")
