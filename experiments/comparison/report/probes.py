"""What is left of errors that others made, and how diverse rollouts are, see `drift.probes`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recycle_jax.report import wording
from recycle_jax.report.details import METHOD, per_entry
from recycle_jax.report.grid import Column, Entry, Grid
from recycle_jax.report.labels import Labels
from recycle_jax.report.tasks import cells_of


def probes_grid(results: Mapping[str, Any], labels: Labels) -> Grid | None:
    """Returns what is left of foreign errors after some frames, and how diverse rollouts are; None if not measured.

    A mean is over the cells of an entry that met the kind of error.
    """
    probed = [cell["probes"] for cell in results.get("cells") or [] if cell.get("probes")]
    if not probed:
        return None
    kinds, frames = list(dict.fromkeys(kind for probe in probed for kind in probe["responses"])), probed[0]["frames"]
    after = ", ".join(wording.count(frame) for frame in frames)
    columns = (
        METHOD,
        *(Column(title=f"{kind} left after {after} frames") for kind in kinds),
        Column(title="diversity"),
    )
    cells = cells_of(results)

    def row(name: str, entry: str) -> list[Entry]:
        seen = [cell["probes"] for cell in cells.get(entry, []) if cell.get("probes")]
        spread = [probe["diversity"] for probe in seen]
        shown = wording.short(float(np.mean(spread)), 2) if spread else wording.UNKNOWN
        return [Entry(main=name), *(Entry(main=_left(seen, kind)) for kind in kinds), Entry(main=shown)]

    return per_entry(results, labels, columns, row)


def _left(probed: Sequence[Mapping[str, Any]], kind: str) -> str:
    """The mean response to a kind of error, frame by frame."""
    met = [probe["responses"][kind] for probe in probed if kind in probe["responses"]]
    return ", ".join(wording.short(value, 2) for value in np.mean(met, axis=0)) if met else wording.UNKNOWN
