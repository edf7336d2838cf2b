"""How reliable a method is: the survival of every training run, task by task and seed by seed.

A horizon is the median over the rollouts of all seeds. A method may lose one run in five wholly and show nothing of it.
So all seeds are listed here and counted: a run *fails* where half of its rollouts or more leave the bands of real video
within the measurement.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.comparison.cells import survival
from experiments.comparison.domains import WORLDS
from experiments.comparison.labels import LABELS
from experiments.comparison.report.overview import measured
from recycle_jax.report import wording
from recycle_jax.report.grid import Column, Entry, Grid, Section
from recycle_jax.report.tasks import cells_of

FAILED = 0.5
"""A run fails whose survival is this or less."""

TITLE = "survival in per cent, one number a training seed, from seed 0 on"


def by_seed_grid(results: Mapping[str, Any], methods: Sequence[str]) -> Grid:
    """Methods against tasks, with all seeds; then how many runs there are, how many fail and how the worst one does.

    Args:
        results: of `experiments.compare`.
        methods: ids, in the order of the rows; those without cells are left out.
    """
    cells, names = cells_of(results), LABELS.of(methods)
    tasks = [task for task in measured(results) if task.world in WORLDS]
    rows = []
    for method in methods:
        found = [survival_by_seed(cells.get(f"{task.world}/{task.generator}/{method}", [])) for task in tasks]
        if any(found):
            rows.append([Entry(main=names[method].name), *map(_listed, found), *_counted(found)])
    titles = [*(task.title for task in tasks), "runs", "that fail", "worst run"]
    columns = [Column(title="method", number=False), *(Column(title=title) for title in titles)]
    return Grid(columns=columns, sections=[Section(title=TITLE, rows=rows)])


def survival_by_seed(cells: Sequence[Mapping[str, Any]]) -> dict[int, float]:
    """Returns seed -> survival."""
    return {cell["seed"]: survival(cell) for cell in cells}


def _listed(found: Mapping[int, float]) -> Entry:
    """All seeds up to the last that was run, each in its position: one that was not run is a dash."""
    if not found:
        return Entry(main=wording.UNKNOWN)
    shown = [_short(found[seed]) if seed in found else wording.UNKNOWN for seed in range(max(found) + 1)]
    return Entry(main=", ".join(shown))


def _counted(found: Sequence[Mapping[int, float]]) -> list[Entry]:
    runs = [share for task in found for share in task.values()]
    failed = sum(share <= FAILED for share in runs)
    return [Entry(main=str(len(runs))), Entry(main=str(failed)), Entry(main=wording.percent(min(runs)))]


def _short(share: float) -> str:
    """Per cent without its sign."""
    return wording.percent(share).removesuffix(" %")
