"""What is left of a method on video of a domain that it never saw.

For entries `WORLD/GENERATOR/METHOD` with partners `…@DOMAIN`, horizons and one-step losses on both, and

    of B+       horizon on the unseen domain over that of B+ there: below 1, recycling has cost generality
    disparity   horizon on its own domain over that on the unseen one: 1 is even-handed
    loss ÷ B+   one-step loss over that of B+, on each domain: above 1, one-step quality was paid for stability

Medians of horizons are compared, one below a window of the bands counting as a window, as in `drift.horizon`; where one
is censored the ratio is a bound, and says so.
"""

import math
from collections.abc import Mapping
from typing import Any

from experiments.comparison.labels import LABELS
from recycle_jax.report import wording
from recycle_jax.report.grid import Column, Entry, Grid, Section
from recycle_jax.report.labels import readable
from recycle_jax.report.tables import clean_loss
from recycle_jax.report.tasks import by_task, cells_of, shown_domain

COLUMNS = (
    Column(title="method", number=False),
    Column(title="horizon, own domain"),
    Column(title="horizon, unseen domain"),
    Column(title="unseen, of B+"),
    Column(title="disparity"),
    Column(title="loss ÷ B+, own"),
    Column(title="loss ÷ B+, unseen"),
)


def domains_grid(results: Mapping[str, Any]) -> Grid | None:
    """Returns the table of the module docstring, or None where no method was measured on an unseen domain."""
    tasks = by_task(results["summary"], LABELS)
    sections = []
    for task, entries in tasks.items():
        domain = shown_domain(task)
        own = {method: f"{task.world}/{task.generator}/{method}" for method in entries}
        shared = {method: (own[method], entries[method]) for method in entries if own[method] in results["summary"]}
        if domain and shared:
            title = f"{readable(task.world)} · {readable(task.generator)} · unseen: {readable(domain)}"
            sections.append(Section(title=title, rows=_rows(results, shared)))
    return Grid(columns=COLUMNS, sections=sections) if sections else None


def _rows(results: Mapping[str, Any], shared: Mapping[str, tuple[str, str]]) -> list[list[Entry]]:
    names, cells = LABELS.of(shared), cells_of(results)
    horizons = {method: [_horizon(results, entry) for entry in pair] for method, pair in shared.items()}
    least = _window(results)
    losses = {method: [clean_loss(cells.get(entry, [])) for entry in pair] for method, pair in shared.items()}

    def row(method: str) -> list[Entry]:
        own, unseen = horizons[method]
        return [
            Entry(main=names[method].name),
            *(Entry(main=wording.horizon(horizon)) for horizon in (own, unseen)),
            Entry(main=_ratio(unseen, horizons["b_plus"][1], least) if "b_plus" in horizons else wording.UNKNOWN),
            Entry(main=_ratio(own, unseen, least)),
            *(Entry(main=_over(losses, method, side)) for side in (0, 1)),
        ]

    return [row(method) for method in shared]


def _horizon(results: Mapping[str, Any], entry: str) -> Mapping[str, Any]:
    return results["summary"][entry].get("horizon_frames") or {}


def _window(results: Mapping[str, Any]) -> float:
    windows = [wording.number(bands.get("window")) for bands in (results.get("bands") or {}).values()]
    return max((window for window in windows if math.isfinite(window)), default=1.0)


def _ratio(one: Mapping[str, Any], other: Mapping[str, Any], least: float) -> str:
    """Ratio of medians; with a sign where one side is only known to be at least so long."""
    a, b = wording.number(one.get("median")), wording.number(other.get("median"))
    if not (math.isfinite(a) and math.isfinite(b)):
        return wording.UNKNOWN
    longer, shorter = bool(one.get("lower_bound")), bool(other.get("lower_bound"))
    if longer and shorter:
        return "tie"
    return f"{'≥ ' * longer}{'≤ ' * shorter}{wording.times(max(a, least) / max(b, least))}"


def _over(losses: Mapping[str, list[float]], method: str, side: int) -> str:
    base = losses["b_plus"][side] if "b_plus" in losses else math.nan
    return wording.times(losses[method][side] / base) if base > 0.0 else wording.UNKNOWN
