"""The table of results: every generator of every task, winners and losers alike."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.table import Table

from recycle_jax.drift.statistics import DISTANCE
from recycle_jax.report import wording
from recycle_jax.report.failures import failures
from recycle_jax.report.grid import (
    Column,
    Entry,
    Grid,
    Section,
    as_html,
    as_markdown,
    as_rich,
    drop_empty,
    only,
)
from recycle_jax.report.labels import Labels
from recycle_jax.report.tasks import by_task, cells_of, split

LAWS = {
    "exponential": "exponential",
    "linear": "linear",
    "saturating": "saturates in band",
    "saturating_above_band": "saturates above band",
    "undetermined": "undetermined",
}
"""Law of a result file -> its name for readers."""

COLUMNS = (
    Column(title="method", meaning="How the generator was trained.", number=False),
    Column(title="horizon", meaning="Frames until half of the rollouts have left the band of real video."),
    Column(title="survival", meaning="Share of rollouts inside the bands to the last frame watched."),
    Column(title="error growth", meaning="The law that the off-manifold distance follows.", number=False),
    Column(title="motion ÷ real", meaning="Motion at the last frame watched over real video's; 1 is right."),
    Column(title="mass ÷ start", meaning="Mass at the last frame watched over the first frames'; 1 is right."),
    Column(title="ended by", meaning="What ended rollouts, with the fraction of rollouts.", number=False),
    Column(title="one-step loss", meaning="Error of a single step from clean history; lower is better."),
    Column(title="compute ÷ B", meaning="All training compute over that of teacher forcing, B."),
    Column(title="tuning trials", meaning="Settings tried before the one that is shown."),
    Column(title="seeds × rollouts", meaning="Trainings from scratch, times rollouts of each."),
)


BRIEF = ("method", "horizon", "survival", "motion ÷ real", "ended by", "compute ÷ B")
"""Columns of the brief table."""


def summary_table(results: Mapping[str, Any], labels: Labels, *, brief: bool = False) -> Table:
    """Returns the table of a result file for the console.

    Args:
        results: the content of `results.json`.
        labels: how ids are shown.
        brief: only the columns that a terminal of 80 characters can show.
    """
    grid = summary_grid(results, labels)
    grid = only(grid, BRIEF) if brief else grid
    return as_rich(grid, "How long rollouts stay realistic: frames, with 95 % intervals below")


def markdown_table(results: Mapping[str, Any], labels: Labels) -> str:
    """Returns the table of a result file as Markdown."""
    return as_markdown(summary_grid(results, labels))


def html_table(results: Mapping[str, Any], labels: Labels) -> str:
    """Returns the table of a result file as HTML, with no style of its own."""
    return as_html(summary_grid(results, labels))


def summary_grid(results: Mapping[str, Any], labels: Labels) -> Grid:
    """Returns the content of the table; columns of which nothing is known are left out."""
    summary, cells, bands = results["summary"], cells_of(results), results.get("bands") or {}
    names = labels.of(split(entry)[1] for entry in summary)
    sections = [
        Section(
            title=task.title,
            rows=[
                _row(names[method].name, summary[entry], cells.get(entry, []), bands.get(task.world))
                for method, entry in entries.items()
            ],
        )
        for task, entries in by_task(summary, labels).items()
    ]
    return drop_empty(Grid(columns=COLUMNS, sections=sections), wording.UNKNOWN)


def law_votes(growth: Mapping[str, Any]) -> Entry:
    """Returns the elected law with the fraction of bootstrap resamples that voted for it."""
    law = growth.get("law") or "undetermined"
    votes = wording.percent((growth.get("votes") or {}).get(law))
    return Entry(main=LAWS.get(law, law), detail="" if votes == wording.UNKNOWN else f"votes {votes}")


def clean_loss(cells: Sequence[Mapping[str, Any]]) -> float:
    """Returns the mean one-step loss over seeds, NaN where none was measured."""
    losses = [wording.number(cell.get("clean_loss")) for cell in cells]
    known = [loss for loss in losses if not math.isnan(loss)]
    return float(np.mean(known)) if known else math.nan


def _row(
    name: str, entry: Mapping[str, Any], cells: Sequence[Mapping[str, Any]], bands: Mapping[str, Any] | None
) -> list[Entry]:
    horizon = entry.get("horizon_frames") or {}
    trials = entry.get("tuning_trials")
    return [
        Entry(main=name),
        Entry(main=wording.horizon(horizon), detail=wording.horizon_interval(horizon)),
        Entry(main=wording.percent(horizon.get("censored_fraction"))),
        _growth(entry, bands),
        _at_the_end(entry.get("dynamics_ratio")),
        _at_the_end(entry.get("retention")),
        _ended_by(cells, bands),
        Entry(main=wording.short(clean_loss(cells), 2)),
        Entry(main=wording.times(entry.get("cost_over_B"))),
        Entry(main=wording.count(trials) if trials else wording.UNKNOWN),
        Entry(main=_amount(entry, cells)),
    ]


def _growth(entry: Mapping[str, Any], bands: Mapping[str, Any] | None) -> Entry:
    """The law of growth, unless the world has no distance that could grow."""
    if bands is not None and DISTANCE not in bands["statistics"]:
        return Entry(main=wording.UNKNOWN)
    return law_votes(entry.get("growth") or {})


def _at_the_end(curve: Mapping[str, Sequence[Any]] | None) -> Entry:
    """Returns mean and interval at the last frame of a `{FRAME: [mean, lo, hi]}`."""
    if not curve:
        return Entry(main=wording.UNKNOWN)
    mean, *ends = curve[max(curve, key=int)]
    texts = [_ratio(end) for end in ends]
    return Entry(main=_ratio(mean), detail=texts[0] if len(set(texts)) == 1 else " to ".join(texts))


def _ratio(value: Any) -> str:
    """Returns a ratio with two decimals; the size of garbage says nothing."""
    x = wording.number(value)
    if math.isnan(x):
        return wording.UNKNOWN
    return "> 100" if x > 100 else f"{x:.2f}"


def _ended_by(cells: Sequence[Mapping[str, Any]], bands: Mapping[str, Any] | None, most: int = 3) -> Entry:
    if not cells:
        return Entry(main=wording.UNKNOWN)
    found = list(failures(cells, bands).items())
    texts = [f"{name} {wording.percent(fraction)}" for name, fraction in found[:most]]
    more = f"and {len(found) - most} more" if len(found) > most else ""
    return Entry(main=", ".join(texts) or "nothing", detail=more)


def _amount(entry: Mapping[str, Any], cells: Sequence[Mapping[str, Any]]) -> str:
    sizes = sorted({len(cell["rollouts"]["exit_frame"]) for cell in cells})
    seeds = len(cells) or entry.get("seeds")
    if not sizes or not seeds:
        return wording.UNKNOWN
    return f"{seeds} × {sizes[0]}" + (f" to {sizes[-1]}" if len(sizes) > 1 else "")
