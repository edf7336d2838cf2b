"""All methods against all places in one table: horizons only, and how many times B+'s they are.

    times B+ = geometric mean over places of  max(horizon, window) / max(horizon of B+, window)

over the places where a method was measured, whose number stands beside it. Horizons that outlast the measurement
count as its length, so that the ratio is a bound where any does.
"""

import math
from collections.abc import Mapping
from typing import Any

from recycle_jax.report import wording
from recycle_jax.report.grid import Column, Entry, Grid, Section
from recycle_jax.report.methods import known_methods
from recycle_jax.report.places import Place, by_place

BASELINE = "b_plus"


def overview_grid(results: Mapping[str, Any]) -> Grid | None:
    """Returns the table of the module docstring; None where fewer than two places have their usual rollouts."""
    places = {place: entries for place, entries in by_place(results["summary"]).items() if not place.variant}
    if len(places) < 2:
        return None
    methods = known_methods(method for entries in places.values() for method in entries)
    rows = []
    for method, shown in methods.items():
        horizons = {place: _horizon(results, entries.get(method)) for place, entries in places.items()}
        fields = [Entry(main=wording.horizon(found), detail=_kept(found)) for found in horizons.values()]
        rows.append([Entry(main=shown.name), *fields, _times(results, places, horizons)])
    columns = (
        Column(title="method", number=False),
        *(Column(title=place.title) for place in places),
        Column(title="times B+"),
    )
    return Grid(columns=columns, sections=[Section(title="", rows=rows)])


def _horizon(results: Mapping[str, Any], entry: str | None) -> Mapping[str, Any]:
    return {} if entry is None else results["summary"][entry].get("horizon_frames") or {}


def _kept(horizon: Mapping[str, Any]) -> str:
    """The share of rollouts that never left, where it says more than the median."""
    return f"{wording.percent(horizon.get('censored_fraction'))} kept" if horizon.get("lower_bound") else ""


def _times(
    results: Mapping[str, Any],
    places: Mapping[Place, Mapping[str, str]],
    horizons: Mapping[Place, Mapping[str, Any]],
) -> Entry:
    logs, bound = [], False
    for place, entries in places.items():
        own, other = horizons[place], _horizon(results, entries.get(BASELINE))
        if own and other:
            least = wording.number(((results.get("bands") or {}).get(place.world) or {}).get("window"))
            least = least if math.isfinite(least) else 1.0
            logs.append(math.log(max(own["median"], least) / max(other["median"], least)))
            bound = bound or bool(own.get("lower_bound"))
    if not logs:
        return Entry(main=wording.UNKNOWN)
    mean = math.exp(sum(logs) / len(logs))
    return Entry(main=f"{'≥ ' * bound}{wording.times(mean)}", detail=f"{len(logs)} of {len(places)} places")
