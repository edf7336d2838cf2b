"""How reliable a remedy is: what every training run of it keeps, place by place and seed by seed.

A horizon is the median over the rollouts of all seeds, so that a method may lose one run in five wholly and show
nothing of it. Who trains once wants to know of the single run. So all seeds are listed here, and counted: a run
*fails* where half of its rollouts or more leave the bands of real video within the measurement.
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
"""A run fails that keeps this share of its rollouts or less."""

TITLE = "per cent of rollouts kept, one number a training seed, from seed 0 on"


def by_seed_grid(results: Mapping[str, Any], methods: Sequence[str]) -> Grid:
    """Methods against places, with all seeds; then how many runs there are, how many fail and what the worst keeps.

    Args:
        results: of `experiments.compare`.
        methods: ids, in the order of the rows; those without cells are left out.
    """
    cells, names = cells_of(results), LABELS.of(methods)
    places = [place for place in measured(results) if place.world in WORLDS]
    rows = []
    for method in methods:
        kept = [kept_by_seed(cells.get(f"{place.world}/{place.generator}/{method}", [])) for place in places]
        if any(kept):
            rows.append([Entry(main=names[method].name), *map(_listed, kept), *_counted(kept)])
    titles = [*(place.title for place in places), "runs", "that fail", "worst run"]
    columns = [Column(title="method", number=False), *(Column(title=title) for title in titles)]
    return Grid(columns=columns, sections=[Section(title=TITLE, rows=rows)])


def kept_by_seed(cells: Sequence[Mapping[str, Any]]) -> dict[int, float]:
    """Seed -> share of its rollouts that never left."""
    return {cell["seed"]: survival(cell) for cell in cells}


def _listed(kept: Mapping[int, float]) -> Entry:
    """All seeds up to the last that was run, each in its place: one that was not run is told too."""
    if not kept:
        return Entry(main=wording.UNKNOWN)
    shown = [_short(kept[seed]) if seed in kept else wording.UNKNOWN for seed in range(max(kept) + 1)]
    return Entry(main=", ".join(shown))


def _counted(kept: Sequence[Mapping[int, float]]) -> list[Entry]:
    runs = [share for place in kept for share in place.values()]
    failed = sum(share <= FAILED for share in runs)
    return [Entry(main=str(len(runs))), Entry(main=str(failed)), Entry(main=wording.percent(min(runs)))]


def _short(share: float) -> str:
    """Per cent without its sign."""
    return wording.percent(share).removesuffix(" %")
