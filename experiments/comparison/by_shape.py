"""Which handwriting the rollouts of moving digits lose: kept starts, shape by shape.

A rollout is lost where it leaves the bands of all real video. All shapes share one band of motion, whose lower edge is
drawn by the shape that changes the picture least when it moves; such a shape is also the one whose mistakes a mean
square weighs least. Whether a generator is lost on some starts of every shape, or on all starts of one, decides what a
percentage of starts means: in the second case a few shapes stand behind all of them.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

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


@functools.cache
def shapes_of_starts(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Which digit the judge's starts show and what a pixel's displacement changes of each, both `[rows]`."""
    world = WORLDS[WORLD]
    assert isinstance(world, MovingDigits)
    frames = start_context(world, Config().context, rows)
    state = jax.vmap(world.decode)(frames)[0]
    digit = world.handwriting.label[np.asarray(state.shape)[:, 0]]
    return digit, np.asarray(displaced(frames, 1.0))


def by_shape_grid(results: Mapping[str, Any], methods: Sequence[str]) -> Grid:
    """Methods against shapes, a section for each kind of generator; starts of all seeds that kept to the end.

    Args:
        results: of `experiments.compare`.
        methods: ids, in the order of the rows; those without cells are left out.
    """
    cells, names = cells_of(results), LABELS.of(methods)
    rows_of = lambda kind: [  # noqa: E731
        [Entry(main=names[method].name), *_shares(there)]
        for method in methods
        if (there := cells.get(f"{WORLD}/{kind}/{method}", []))
    ]
    sections = [Section(title=f"{WORLD} · {kind}", rows=rows_of(kind)) for kind in ("predictor", "flow")]
    return Grid(columns=_columns(), sections=sections)


def _columns() -> list[Column]:
    digit, change = shapes_of_starts(Config().judging.rollouts)
    titles = [f"{d} ({wording.short(float(change[digit == d].mean()), 2)})" for d in np.unique(digit)]
    return [Column(title="method", number=False), *(Column(title=title) for title in titles)]


def _shares(cells: Sequence[Mapping[str, Any]]) -> list[Entry]:
    """Kept of all starts of each shape, seed by seed."""
    seeds = [_kept(cell) for cell in sorted(cells, key=lambda cell: cell["seed"])]
    return [Entry(main=", ".join(f"{kept[i]} of {of[i]}" for kept, of in seeds)) for i in range(len(seeds[0][0]))]


def _kept(cell: Mapping[str, Any]) -> tuple[list[int], list[int]]:
    exits = np.array(cell["rollouts"]["exit_frame"])
    digit, _ = shapes_of_starts(exits.size)
    stayed = exits >= cell["max_frames"]
    shapes = np.unique(digit)
    return [int(stayed[digit == d].sum()) for d in shapes], [int((digit == d).sum()) for d in shapes]
