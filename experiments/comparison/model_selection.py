"""Which setting of a remedy goes on from the screening.

Rule, fixed before it ran: of a family's settings the one whose geometric mean over worlds, generators and seeds of the
mean exit frame is largest; where a cell is missing yet, the family waits. A setting that cannot serve a place counts
there with its twin's frames, or not at all.

Good settings reach the end of a screening's rollouts everywhere, so that its two worlds cannot tell them apart. A
family may have a run-off: settings whose score is close to its best are judged on more worlds besides, and the same
mean over all of them decides. This too was fixed before a run-off ran.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.comparison.method import Method
from experiments.comparison.methods import family_of
from experiments.comparison.runner import Comparison
from experiments.comparison.task import Task


def choose(comparison: Comparison, tasks: Sequence[Task], cells: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The rule of the module docstring."""
    found: dict[str, tuple[float, str]] = {}
    means = geometric_means(comparison, tasks, cells)
    for name, mean in means.items():
        found[family_of(name)] = max(found.get(family_of(name), (-1.0, "")), (mean or 0.0, name))
    waits = {family_of(name) for name, mean in means.items() if mean is None}
    return {family: name for family, (_, name) in found.items() if family not in waits}


def best_of(
    comparison: Comparison,
    tasks: Sequence[Task],
    cells: Sequence[Mapping[str, Any]],
    families: Sequence[str],
    min_share: float,
) -> tuple[str, ...]:
    """Who goes to a run-off: settings of `families` with at least `min_share` of their best's score; never one
    alone."""
    means = geometric_means(comparison, tasks, cells)
    chosen: tuple[str, ...] = ()
    for family in families:
        own = {name: mean for name, mean in means.items() if family_of(name) == family and mean is not None}
        close = tuple(name for name, mean in own.items() if mean >= min_share * max(own.values()))
        chosen += close if len(close) > 1 else ()
    return chosen


def geometric_means(
    comparison: Comparison, tasks: Sequence[Task], cells: Sequence[Mapping[str, Any]]
) -> dict[str, float | None]:
    """Setting -> its score over the tasks, 0 where nobody serves one, None where a cell is missing yet."""
    exits: dict[tuple[str, str, str, int], float] = {
        (c["method"], c["world"], c["generator"], c["seed"]): float(np.mean(c["rollouts"]["exit_frame"])) for c in cells
    }
    means: dict[str, float | None] = {}
    for name in comparison.methods:
        served = [(shown, p.world, p.kind) for p in tasks if (shown := stands_for(comparison.table, name, p))]
        wanted = [(*where, seed) for where in served for seed in comparison.seeds]
        there = all(key in exits for key in wanted)
        means[name] = _geometric_mean([exits[key] for key in wanted]) if there else None
    return means


def _geometric_mean(values: Sequence[float]) -> float:
    return math.exp(np.mean([math.log(max(value, 1.0)) for value in values])) if values else 0.0


def stands_for(table: Mapping[str, Method], name: str, place: Task) -> str:
    """Whose cells tell of a setting: its own, its twin's where it refuses, empty where nobody's do."""
    if not table[name].refuses(place):
        return name
    twin = table[name].twin
    return twin if twin and not table[twin].refuses(place) else ""
