"""Why rollouts ended, in words.

A cell records which statistics were outside their band at the exit, not on which side. The side is read from
the rollout's own curve, at the first kept window that reaches the exit window or lies after it: with too
little mass a generator erases, with too much it fills. Where that window lies inside the band again, or the
curve was not kept, the side stays unknown and is called so. A cell that was made smaller, without its rollouts'
curves, holds the failures that were read from them: `rollouts.failure`, joined by `+`.
"""

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recycle_jax.drift.cells import curve_of, exits_of
from recycle_jax.report.wording import number

Cell = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Failure:
    """One way of going wrong.

    Attributes:
        name: one word.
        meaning: what a viewer sees.
    """

    name: str
    meaning: str


NONFINITE = Failure(name="not finite", meaning="the numbers became NaN or infinite")
SWAPPING = Failure(name="swapping", meaning="a thing has turned into another")
FROZEN = Failure(name="frozen", meaning="the picture moves less than a tenth of what its own start did")
OFF_MANIFOLD = Failure(name="off-manifold", meaning="frames show what the world cannot show")
SIDES = {
    "motion": (
        Failure(name="freezing", meaning="the picture moves less than real video ever does"),
        Failure(name="jitter", meaning="the picture moves more than real video ever does"),
    ),
    "retention": (
        Failure(name="erasing", meaning="objects vanish"),
        Failure(name="filling", meaning="objects grow or multiply"),
    ),
    "sharpness": (
        Failure(name="blur", meaning="edges wash out"),
        Failure(name="speckle", meaning="edges or grains appear where there are none"),
    ),
    "contrast": (
        Failure(name="fading", meaning="the picture goes flat"),
        Failure(name="glare", meaning="the contrast rises beyond real video's"),
    ),
    "spectrum": (
        Failure(name="lost texture", meaning="fine detail disappears"),
        Failure(name="false texture", meaning="fine patterns appear, such as checkerboards"),
    ),
}
"""Statistic -> what it means to fall below its band, and to rise above it."""

WHOLE = {"nonfinite": NONFINITE, "distance": OFF_MANIFOLD, "identity": SWAPPING, "relative_motion": FROZEN}
"""Statistic with one way of failing -> that way."""

ALL = (*WHOLE.values(), *(failure for pair in SIDES.values() for failure in pair))


def failures(cells: Sequence[Cell], bands: Mapping[str, Any] | None) -> dict[str, float]:
    """Returns, most frequent first, the fraction of rollouts that ended by each way of going wrong.

    A rollout that left several bands in one window counts for each, so that the fractions may add up to more
    than one.

    Args:
        cells: the cells of one entry.
        bands: the world's bands as in a result file, or None where they are not known.
    """
    named = [name for cell in cells for row in rollout_failures(cell, bands) for name in row]
    total = sum(len(cell["rollouts"]["cause"]) for cell in cells)
    return {name: times / total for name, times in collections.Counter(named).most_common()}


def rollout_failures(cell: Cell, bands: Mapping[str, Any] | None) -> list[list[str]]:
    """Returns for each rollout of a cell the names of its failures; none where it never left its bands."""
    if "failure" in cell["rollouts"]:
        return [[name for name in joined.split("+") if name] for joined in cell["rollouts"]["failure"]]
    exits, limits = exits_of(cell), (bands or {}).get("statistics", {})
    after = exits.exit_frame + number((bands or {}).get("window", 1))
    causes = cell["rollouts"]["cause"]
    curves = {name: _of_each_rollout(cell, name, len(causes)) for name in SIDES}
    return [
        [
            _name(name, _value_after(curves.get(name, {}), after[row], row), limits.get(name))
            for name in (cause or "").split("+")
            if name
        ]
        for row, cause in enumerate(causes)
    ]


def _of_each_rollout(cell: Cell, name: str, rollouts: int) -> dict[int, np.ndarray]:
    """Returns a curve at the frames where every rollout's value was kept, not their mean alone."""
    return {frame: row for frame, row in curve_of(cell, name).items() if len(row) == rollouts > 1}


def _value_after(curve: Mapping[int, np.ndarray], frame: float, row: int) -> float:
    """Returns the rollout's window value at the first kept frame from `frame` on, NaN where there is none."""
    later = [kept for kept in curve if kept >= frame]
    return float(curve[min(later)][row]) if later else float("nan")


def _name(statistic: str, value: float, band: Sequence[Any] | None) -> str:
    if statistic in WHOLE:
        return WHOLE[statistic].name
    below, above = SIDES.get(statistic, (None, None))
    if band and below and value < number(band[0]):
        return below.name
    if band and above and value > number(band[1]):
        return above.name
    return f"{statistic}, side unknown"
