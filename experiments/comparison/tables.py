"""The tables of docs/results and of the README, made from the committed result files.

    python -m experiments.comparison.tables

puts each table between its two marks, `<!-- table: NAME -->` and `<!-- end -->`, and leaves the rest of a page as it
is. A test makes them again, so that no table can say anything but what the committed results say.
"""

import dataclasses
import functools
import re
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.comparison import index_tables
from experiments.comparison.apebench_results import geometric_mean
from experiments.comparison.by_scenario import errors_grid, valid_grid
from experiments.comparison.by_seed import by_seed_grid, survival_by_seed
from experiments.comparison.by_shape import by_shape_grid
from experiments.comparison.cells import median_exit, survivors
from experiments.comparison.domains import CROWDED, STOCHASTIC, WORLDS
from experiments.comparison.labels import LABELS
from experiments.comparison.report.answer import paired_grid
from experiments.comparison.report.domains import domains_grid
from experiments.comparison.report.memory import EARLY, at
from experiments.comparison.report.overview import measured, overview_grid
from experiments.comparison.suite import Config
from recycle_jax.io.files import write_bytes
from recycle_jax.io.writers import read_json
from recycle_jax.report import wording
from recycle_jax.report.grid import Column, Entry, Grid, Section, as_markdown
from recycle_jax.report.tables import markdown_table
from recycle_jax.report.tasks import cells_of

HERE = Path(__file__).parent.parent
PAGES = (*sorted((HERE.parent / "docs" / "results").glob("*.md")), HERE.parent / "README.md")

SHORT = (
    "b",
    "b_plus",
    "b_plus:cold",
    "b_plus:fast",
    "b_plus:cold,fast",
    "scheduled_early:fast",
    "forcing_early:fast",
    "corrupt_early:fast",
    "corrupt_early:history,fast",
    "discrete:fast",
    "relay_early:fast",
    "noise",
    "pushforward",
    "scheduled",
    "forcing",
    "resampling",
    "critic_mmd",
    "backward",
    "corrupt",
    "discrete",
    "svi_shot",
    "relay",
    "ours:slow",
    "ours:relayed,fast",
    "ours",
    "real",
)
"""Methods of the table of horizons: each family as the screening chose it, B+, the best rivals and recycling at the
recipe's learning rate too; without parts and controls."""

RATES = (
    "b_plus",
    "b_plus:fast",
    "b_plus:cold",
    "b_plus:cold,fast",
    "scheduled_early",
    "scheduled_early:fast",
    "forcing_early",
    "forcing_early:fast",
    "corrupt_early",
    "corrupt_early:fast",
    "corrupt_early:history,fast",
    "discrete",
    "discrete:fast",
    "relay_early",
    "relay_early:fast",
    "relay_always",
    "relay_always:fast",
    "scheduled_early:even,fast",
    "relay_early:even,fast",
    "ours:slow",
    "ours:fast,trusted",
    "ours:scaled",
    "ours:relayed,fast",
    "ours:even,fast",
    "ours:within,fast",
    "ours",
)
"""Methods of the table of rates: B+, the best rivals and ours, each at the budget's rates and then at the recipe's."""

SHAPED = (
    "scheduled_early:fast",
    "scheduled_early:even,fast",
    "relay_early:fast",
    "relay_early:even,fast",
    "ours:slow",
    "ours:relayed,fast",
    "ours:even,fast",
    "ours:within,fast",
    "ours",
    "real",
)
"""Methods of the table of digits, shape by shape: those with the highest survival."""

REMEMBERING = (
    "b_plus:fast",
    "b_plus:cold,fast",
    "scheduled_early:fast",
    "corrupt_early:fast",
    "corrupt_early:history,fast",
    "discrete:fast",
    "relay_early:fast",
    "ours:relayed,fast",
    "ours",
    "ours:within,fast",
    "ours:within,unmended,fast",
    "real",
)
"""Methods of the table of memory."""

CONTROLLED = (
    "phase_randomised:even,fast",
    "phase_randomised:half,even,fast",
    "phase_randomised:twice,even,fast",
    "shuffled:even,fast",
    "stale:even,fast",
    "foreign:even,fast",
)
"""Controls of the recipe as it is."""

RELIABLE = (
    "b_plus:fast",
    "b_plus:cold,fast",
    "scheduled_early:fast",
    "corrupt_early:fast",
    "corrupt_early:history,fast",
    "discrete:fast",
    "relay_early:fast",
    *CONTROLLED,
    "ours:relayed,fast",
    "ours",
)
"""Methods of the table of single runs: what several seeds were asked of at the recipe's rate."""

BEGINNINGS = {
    "relay-c1116398@2000": "relay for half of B's updates, lr=2e-3",
    "b@2000,0.008": "half of B's updates, lr=8e-3",
}
"""What recycling starts from, by the names of its saved parameters."""

MOST = 0.5
"""Survival from which on it says more than the median does."""

NOTHING = Entry(main=wording.UNKNOWN)

MARKED = re.compile(r"(<!-- table: ([\w-]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def marked_tables(text: str) -> dict[str, str]:
    """Name -> table of a page, as it stands there."""
    return {name: table for _, name, table, _ in MARKED.findall(text)}


def with_tables(text: str) -> str:
    """The page with every marked table made again.

    Raises:
        ValueError: if a mark names a table that there is not.
    """

    def made(match: re.Match[str]) -> str:
        start, name, _, end = match.groups()
        if name not in TABLES:
            raise ValueError(f"there is no table {name!r}: a mark may name {', '.join(TABLES)}")
        return f"{start}{TABLES[name]()}{end}"

    return MARKED.sub(made, text)


@functools.cache
def _results(experiment: str) -> Mapping[str, Any]:
    """A committed result file; nobody changes what is read."""
    return read_json(HERE / "results" / f"{experiment}.json")


def _part(results: Mapping[str, Any], worlds: Collection[str], methods: Collection[str] = ()) -> dict[str, Any]:
    """The results with the summary of some worlds and methods only; no methods are all."""

    def wanted(entry: str) -> bool:
        world, _, method = entry.split("/")
        return world in worlds and (not methods or method in methods)

    return {**results, "summary": {name: entry for name, entry in results["summary"].items() if wanted(name)}}


def _overview(worlds: Collection[str]) -> str:
    return _markdown(overview_grid(_part(_results("compare"), worlds)))


def _short() -> str:
    """Horizons, in the order of `SHORT`; times B+ only where all tasks were measured, or they say little."""
    grid = overview_grid(_part(_results("compare"), WORLDS, SHORT))
    assert grid is not None
    names = [LABELS.of(SHORT)[method].name for method in SHORT]
    section = grid.sections[0]
    rows = sorted(section.rows, key=lambda row: names.index(row[0].main))
    everywhere = rows[SHORT.index("b_plus")][-1].detail
    rows = [
        [*row[:-1], dataclasses.replace(row[-1], detail="") if row[-1].detail == everywhere else NOTHING]
        for row in rows
    ]
    return _markdown(dataclasses.replace(grid, sections=[dataclasses.replace(section, rows=rows)]))


def _methods() -> str:
    """What the methods of the table of horizons are, in a sentence each."""
    methods = LABELS.of(SHORT)
    rows = [[Entry(main=methods[method].name), Entry(main=methods[method].about)] for method in SHORT]
    columns = [Column(title="method", number=False), Column(title="what it is", number=False)]
    return as_markdown(Grid(columns=columns, sections=[Section(title="", rows=rows)]))


def _foreign() -> str:
    """What is left of each kind of foreign error, method by method and task by task."""
    results = _results("compare")
    kinds = dict.fromkeys(kind for cell in results["cells"] for kind in cell["probes"]["responses"])
    names = [name for name in SHORT if name != "real"]
    return _by_tasks(results, names, ", ".join(kinds), lambda cells: _left(cells, kinds))


def _rates() -> str:
    """Survival and one-step loss, at both learning rates."""
    return _by_tasks(
        _results("compare"),
        RATES,
        "survival, or median frames where it is below half, seed by seed; one-step loss in units of 10⁻⁴",
        _rate_of,
    )


def _accuracy(names: Sequence[str]) -> str:
    """One-step loss over the recipe's of the same seeds, and survival over all seeds."""
    results = _results("compare")
    ours = cells_of(results)

    def over_ours(cells: Sequence[Mapping[str, Any]]) -> Entry:
        own = {cell["seed"]: cell["clean_loss"] for cell in ours[f"{cells[0]['world']}/{cells[0]['generator']}/ours"]}
        ratios = [cell["clean_loss"] / own[cell["seed"]] for cell in cells if cell["seed"] in own]
        alive = np.mean(list(survival_by_seed(cells).values()))
        return Entry(main=f"{geometric_mean(np.array(ratios)):.2f}×", detail=wording.percent(alive))

    title = "one-step loss ÷ the final recipe's, geometric mean over the seeds that both have; survival in brackets"
    return _by_tasks(results, names, title, over_ours)


def _long() -> str:
    """Rollouts of ten thousand frames."""
    title = "frames that half of the rollouts outlast; survivors in brackets"
    return _by_tasks(_results("compare"), Config().long_methods, title, _outlasted, variant="@10000")


def _memory() -> str:
    """What is left of the motion of each start's own clip."""
    title = (
        "correlation with the motion of each start's own clip after 64 and 1,024 frames; spread of motion then ÷ real"
    )
    return _by_tasks(_results("compare"), REMEMBERING, title, _remembered)


def _by_tasks(
    results: Mapping[str, Any],
    methods: Sequence[str],
    title: str,
    shown: Callable[[Sequence[Mapping[str, Any]]], Entry],
    variant: str = "",
) -> str:
    """Methods against the four worlds' tasks, each field made of the cells that are there."""
    cells, names = cells_of(results), LABELS.of(methods)
    tasks = [task for task in measured(results) if task.world in WORLDS]
    rows = []
    for method in methods:
        there = [cells.get(f"{task.world}/{task.generator}/{method}{variant}", []) for task in tasks]
        if any(there):
            rows.append([Entry(main=names[method].name), *(shown(c) if c else NOTHING for c in there)])
    columns = [Column(title="method", number=False), *(Column(title=task.title) for task in tasks)]
    return as_markdown(Grid(columns=columns, sections=[Section(title=title, rows=rows)]))


def _rate_of(cells: Sequence[Mapping[str, Any]]) -> Entry:
    """Share of rollouts that never left, or the median where most did, seed by seed, and the mean one-step loss."""
    seen = [
        wording.percent(np.mean(alive)) if np.mean(alive) >= MOST else wording.count(median)
        for median, alive in map(_exits, _in_order(cells))
    ]
    loss = float(np.mean([cell["clean_loss"] for cell in cells]))
    return Entry(main=f"{', '.join(seen)}; {1e4 * loss:.2g}")


def _outlasted(cells: Sequence[Mapping[str, Any]]) -> Entry:
    """Median exit and how many rollouts never left, seed by seed."""
    seen = [
        f"{wording.count(median)} ({alive.sum()} of {alive.size})" for median, alive in map(_exits, _in_order(cells))
    ]
    return Entry(main=", ".join(seen))


def _remembered(cells: Sequence[Mapping[str, Any]]) -> Entry:
    """Means over seeds; octaves in which too few rollouts are within their bands are dashes."""
    seen = [cell["memory"] for cell in cells if "memory" in cell]
    early, late, spread = at(seen, "correlation", EARLY), at(seen, "correlation", 1024), at(seen, "spread", 1024)
    return Entry(main=f"{early}, {late}; {spread}" if seen else wording.UNKNOWN)


def _in_order(cells: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return sorted(cells, key=lambda cell: cell["seed"])


def _exits(cell: Mapping[str, Any]) -> tuple[float, np.ndarray]:
    """Median exit of a cell's rollouts, and which never left."""
    return median_exit(cell), survivors(cell)


def _left(cells: Sequence[Mapping[str, Any]], kinds: Collection[str]) -> Entry:
    """The last frame's response to every kind, means over the seeds that met it."""
    seen = [cell["probes"]["responses"] for cell in cells]
    met = [[responses[kind][-1] for responses in seen if kind in responses] for kind in kinds]
    return Entry(main=", ".join(wording.short(float(np.mean(m)), 2) if m else wording.UNKNOWN for m in met))


def _handed_on() -> str:
    """How speeds are handed on, run by run: slope of the first step, then correlations."""
    rows = _results("handed_on")["rows"]
    steps = list(rows[0]["steps"])
    titles = [f"slope, step {steps[0]}", *(f"correlation, step {step}" for step in steps)]
    columns = [Column(title="method", number=False), Column(title="seed"), Column(title="one-step loss")]
    columns += [Column(title=title) for title in titles]
    return as_markdown(Grid(columns=columns, sections=[Section(title="", rows=[_hand(row, steps) for row in rows])]))


def _hand(row: Mapping[str, Any], steps: Sequence[str]) -> list[Entry]:
    """One run's; what it begins from has no name but its file's."""
    seen = [row["steps"][step] for step in steps]
    name = BEGINNINGS.get(row["method"]) or LABELS.named(row["method"])
    slope = f"{seen[0]['slope']:.2f} ± {seen[0]['slope_error']:.2f}"
    shown = [name, str(row["seed"]), wording.short(row["clean_loss"], 2), slope]
    return [Entry(main=text) for text in (*shown, *(f"{at['correlation']:.2f}" for at in seen))]


def _markdown(grid: Grid | None) -> str:
    return "nothing yet\n" if grid is None else as_markdown(grid)


TABLES: dict[str, Callable[[], str]] = {
    "short": _short,
    "methods": _methods,
    "worlds": lambda: markdown_table(_results("worlds"), LABELS),
    "footage": lambda: markdown_table(_results("footage"), LABELS),
    "compare": lambda: _overview(WORLDS),
    "stochastic": lambda: _overview(STOCHASTIC),
    "crowded": lambda: _overview(CROWDED),
    "paired": lambda: _markdown(paired_grid(_results("compare"))),
    "rates": _rates,
    "accuracy": lambda: _accuracy([name for name in SHORT if name not in ("ours", "real")]),
    "controls": lambda: _accuracy((*CONTROLLED, "ours")),
    "long": _long,
    "foreign": _foreign,
    "memory": _memory,
    "handed_on": _handed_on,
    "seeds": lambda: as_markdown(by_seed_grid(_results("compare"), RELIABLE)),
    "shapes": lambda: as_markdown(by_shape_grid(_results("compare"), SHAPED)),
    "apebench": lambda: as_markdown(errors_grid(_results("apebench"))),
    "valid": lambda: as_markdown(valid_grid(_results("apebench"))),
    "front": lambda: index_tables.front_table(_results("compare")),
    "headline": lambda: index_tables.headline_table(_results("compare")),
    "controls_small": lambda: index_tables.controls_table(_results("compare")),
    "two_things": lambda: index_tables.two_things_table(_results("compare")),
    "unseen": lambda: index_tables.unseen_table(_results("compare")),
    "footage_small": lambda: index_tables.footage_table(_results("footage")),
    "cost": lambda: index_tables.cost_table(_results("bench")),
    "domains": lambda: _markdown(domains_grid(_results("compare"))),
}
"""Name of a mark -> makes its table."""


def main() -> None:
    """Makes the tables of all pages again; takes no arguments, and says so before anything is written."""
    if sys.argv[1:]:
        sys.exit(f"{sys.argv[1]}: this takes no arguments; it writes the pages of docs/results and the README")
    for page in PAGES:
        write_bytes(page, with_tables(page.read_text()).encode())
        print(f"{page.name}: {', '.join(marked_tables(page.read_text()))}")


if __name__ == "__main__":
    main()
