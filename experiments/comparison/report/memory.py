"""What is left of the motion of each start's own clip, see `drift.memory`: correlations and spreads, by octave."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.comparison.labels import LABELS
from recycle_jax.report import wording
from recycle_jax.report.grid import Column, Entry, Grid, Section
from recycle_jax.report.tasks import by_task, cells_of

EARLY = 64
"""Frame by which a rollout has long left its start behind."""

COLUMNS = (
    Column(title="method", number=False),
    Column(title=f"own motion, {EARLY} frames on"),
    Column(title="own motion, at the end"),
    Column(title="spread of motion, at the end"),
    Column(title="last frame with enough rollouts"),
)


def memory_grid(results: Mapping[str, Any]) -> Grid | None:
    """Returns methods by tasks, means over seeds; None where no memory was measured."""
    cells = cells_of(results)
    sections = []
    for task, entries in by_task(results["summary"], LABELS).items():
        seen_by = {
            m: [c["memory"] for c in cells.get(e, []) if c.get("memory", {}).get("frames")] for m, e in entries.items()
        }
        seen_by = {method: seen for method, seen in seen_by.items() if seen}
        names = LABELS.of(seen_by)
        if seen_by:
            rows = [[Entry(main=names[method].name), *_row(seen)] for method, seen in seen_by.items()]
            sections.append(Section(title=task.title, rows=rows))
    return Grid(columns=COLUMNS, sections=sections) if sections else None


def at(seen: Sequence[Mapping[str, Any]], name: str, frame: int) -> str:
    """The mean over seeds of one quantity at a frame, or a dash where too few rollouts were left in all of them."""
    values = [dict(zip(one["frames"], one[name], strict=True)).get(frame) for one in seen]
    there = [value for value in values if value is not None]
    return f"{np.mean(there):.2f}" if there else wording.UNKNOWN


def _row(seen: Sequence[Mapping[str, Any]]) -> list[Entry]:
    last = max(one["frames"][-1] for one in seen)
    shown = (at(seen, "correlation", EARLY), at(seen, "correlation", last), at(seen, "spread", last))
    return [*(Entry(main=value) for value in shown), Entry(main=wording.count(last))]
