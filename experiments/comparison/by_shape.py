"""Which digits the rollouts of moving digits lose: surviving starts, shape by shape.

A rollout is lost where it leaves the bands of all real video. All shapes share one band of motion, whose lower edge is
drawn by the shape that changes the picture least when it moves; such a shape is also the one whose mistakes a mean
square weighs least. Whether a generator is lost on some starts of every shape, or on all starts of one, decides what a
percentage of starts means: in the second case a few shapes stand behind all of them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from experiments.comparison.cells import survivors
from experiments.comparison.domains import WORLDS
from experiments.comparison.evaluation import start_context
from experiments.comparison.labels import LABELS
from experiments.comparison.suite import Config
from experiments.comparison.worlds.digits import MovingDigits
from recycle_jax.errors.rollout.references import displaced
from recycle_jax.report import wording
from recycle_jax.report.grid import Column, Entry, Grid, Section
from recycle_jax.report.tasks import cells_of

WORLD = "digits"


def shapes_of_starts(rows: int) -> dict[str, list[Any]]:
    """Which digit each start of the evaluation shows, and what a pixel's displacement changes of it.

    Returns:
        `{"digit": [rows], "change": [rows]}`, changes as mean squares in units of [-1, 1]².
    """
    world = WORLDS[WORLD]
    assert isinstance(world, MovingDigits)
    frames = start_context(world, Config().context, rows)
    state = jax.vmap(world.decode)(frames)[0]
    digit = world.handwriting.label[np.asarray(state.shape)[:, 0]]
    change = np.asarray(displaced(frames, 1.0))
    return {"digit": digit.tolist(), "change": [float(f"{value:.6g}") for value in change]}


def by_shape_grid(results: Mapping[str, Any], methods: Sequence[str]) -> Grid:
    """Methods against shapes, a section for each kind of generator; starts of all seeds that survived to the end.

    Args:
        results: a summary of `experiments.compare`, which holds what the starts show.
        methods: ids, in the order of the rows; those without cells are left out.
    """
    cells, names, digit = cells_of(results), LABELS.of(methods), np.array(results["starts"][WORLD]["digit"])
    sections = []
    for kind in ("predictor", "flow"):
        there = {method: cells.get(f"{WORLD}/{kind}/{method}", []) for method in methods}
        rows = [[Entry(main=names[method].name), *_shares(there[method], digit)] for method in methods if there[method]]
        sections.append(Section(title=f"{WORLD} · {kind}", rows=rows))
    return Grid(columns=_columns(digit, np.array(results["starts"][WORLD]["change"])), sections=sections)


def _columns(digit: np.ndarray, change: np.ndarray) -> list[Column]:
    titles = [f"{d} ({wording.short(float(change[digit == d].mean()), 2)})" for d in np.unique(digit)]
    return [Column(title="method", number=False), *(Column(title=title) for title in titles)]


def _shares(cells: Sequence[Mapping[str, Any]], digit: np.ndarray) -> list[Entry]:
    """Survivors of all starts of each shape, seed by seed."""
    stayed = [survivors(cell) for cell in sorted(cells, key=lambda cell: cell["seed"])]
    shapes = [digit == d for d in np.unique(digit)]
    return [Entry(main=", ".join(f"{seed[of].sum()} of {of.sum()}" for seed in stayed)) for of in shapes]
