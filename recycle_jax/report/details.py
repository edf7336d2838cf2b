"""The tables behind the table: laws of growth, causes of exit, costs, bands."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from recycle_jax.drift.summary import COSTS
from recycle_jax.report import wording
from recycle_jax.report.failures import ALL, failures
from recycle_jax.report.grid import Column, Entry, Grid, Section, drop_empty
from recycle_jax.report.labels import Labels, readable
from recycle_jax.report.tables import law_votes
from recycle_jax.report.tasks import by_task, cells_of, split

METHOD = Column(title="method", number=False)
MEANINGS = {
    "distance": "off-manifold distance",
    "motion": "motion between frames",
    "relative_motion": "motion over that of the own start, at most 1",
    "retention": "mass over that of the first frames",
    "sharpness": "sharpness of edges",
    "contrast": "contrast",
    "spectrum": "share of fine detail",
    "identity": "share of things that are still what they were",
}
"""Statistic of a result file -> what it measures."""


def laws_grid(results: Mapping[str, Any], labels: Labels) -> Grid:
    """Returns the elected law of each entry, and in words what it says."""
    columns = (
        METHOD,
        Column(title="law of growth", number=False),
        Column(title="what it says", number=False),
        Column(title="fitted to frames", number=False),
    )

    def row(name: str, entry: str) -> list[Entry]:
        growth = results["summary"][entry].get("growth") or {}
        fitted = growth.get("fit_frames")
        frames = f"{wording.count(fitted[0])} to {wording.count(fitted[1])}" if fitted else wording.UNKNOWN
        return [Entry(main=name), law_votes(growth), Entry(main=law_in_words(growth)), Entry(main=frames)]

    return per_entry(results, labels, columns, row)


def law_in_words(growth: Mapping[str, Any]) -> str:
    """Returns one sentence on a law of growth, its numbers included."""
    law, params = growth.get("law"), growth.get("params") or {}
    end = wording.number(growth.get("n_max"))
    reach = f"; reaches the edge of the real band at frame {wording.count(end)}" if math.isfinite(end) else ""
    if end == 0.0:
        reach = "; above the real band from the start"
    if law == "exponential":
        return f"grows by {wording.short(100 * wording.number(params.get('eps')), 2)} % a frame{reach}"
    if law == "linear":
        return f"grows by {wording.short(params.get('alpha'), 2)} a frame{reach}"
    if law in ("saturating", "saturating_above_band"):
        side = "inside" if law == "saturating" else "above"
        return f"levels off at {wording.short(params.get('Einf'), 2)}, {side} the real band"
    return "too few points for a law"


def failures_grid(results: Mapping[str, Any], labels: Labels) -> Grid:
    """Returns for each entry the fraction of its rollouts that ended by each way of going wrong."""
    cells, bands = cells_of(results), results.get("bands") or {}
    found = {entry: failures(members, bands.get(split(entry)[0].world)) for entry, members in cells.items()}
    usual = [failure.name for failure in ALL]
    present = {name for row in found.values() for name in row}
    names = [name for name in usual if name in present] + sorted(present - set(usual))
    columns = (METHOD, *(Column(title=name) for name in names), Column(title="survival"))

    def row(name: str, entry: str) -> list[Entry]:
        fractions = found.get(entry, {})
        stayed = (results["summary"][entry].get("horizon_frames") or {}).get("censored_fraction")
        parts = [Entry(main=_share(fractions.get(failure))) for failure in names]
        return [Entry(main=name), *parts, Entry(main=wording.percent(stayed))]

    return per_entry(results, labels, columns, row)


def costs_grid(results: Mapping[str, Any], labels: Labels) -> Grid:
    """Returns what each entry cost, means over seeds; columns of which nothing is known are left out."""
    cells = cells_of(results)
    columns = (
        METHOD,
        Column(title="training"),
        Column(title="harvest"),
        Column(title="selection"),
        Column(title="total"),
        Column(title="÷ B"),
        Column(title="updates"),
        Column(title="wall time"),
        Column(title="error bank"),
        Column(title="bank entries"),
    )

    def row(name: str, entry: str) -> list[Entry]:
        members = cells.get(entry, [])
        parts = [_mean(members, "cost", part) for part in COSTS]
        total = math.nan if all(map(math.isnan, parts)) else float(np.nansum(parts))
        texts = [
            *(wording.flops(part) for part in (*parts, total)),
            wording.times(results["summary"][entry].get("cost_over_B")),
            wording.count(_mean(members, "cost", "updates")),
            wording.duration(_mean(members, "cost", "seconds")),
            wording.size(_mean(members, "bank", "bytes")),
            wording.count(_mean(members, "bank", "entries")),
        ]
        return [Entry(main=name), *(Entry(main=text) for text in texts)]

    return drop_empty(per_entry(results, labels, columns, row), wording.UNKNOWN)


def bands_grid(results: Mapping[str, Any]) -> Grid:
    """Returns the bands of each world."""
    columns = (
        Column(title="statistic", number=False),
        Column(title="lowest allowed"),
        Column(title="highest allowed"),
        Column(title="mean of real video"),
    )
    sections = [_band_section(world, bands) for world, bands in (results.get("bands") or {}).items()]
    return drop_empty(Grid(columns=columns, sections=sections), wording.UNKNOWN)


def _band_section(world: str, bands: Mapping[str, Any]) -> Section:
    means = bands.get("means") or {}
    rows = [
        [
            Entry(main=MEANINGS.get(name, readable(name))),
            *(Entry(main=wording.short(end, 2)) for end in ends),
            Entry(main=wording.short(means.get(name), 2)),
        ]
        for name, ends in bands["statistics"].items()
        if name != "nonfinite"  # its band is a point: no NaN is ever allowed
    ]
    return Section(title=readable(world), rows=rows)


def per_entry(
    results: Mapping[str, Any], labels: Labels, columns: Sequence[Column], row: Callable[[str, str], list[Entry]]
) -> Grid:
    """Returns a table with a section for each task and a row for each entry, made by `row(name, entry)`."""
    names = labels.of(split(entry)[1] for entry in results["summary"])
    sections = [
        Section(title=task.title, rows=[row(names[m].name, entry) for m, entry in entries.items()])
        for task, entries in by_task(results["summary"], labels).items()
    ]
    return Grid(columns=columns, sections=sections)


def _share(fraction: float | None) -> str:
    return wording.percent(fraction) if fraction else "·"


def _mean(cells: Sequence[Mapping[str, Any]], group: str, name: str) -> float:
    values = [wording.number((cell.get(group) or {}).get(name)) for cell in cells]
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan
