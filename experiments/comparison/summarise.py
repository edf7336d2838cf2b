"""From a full result file of the comparison to the summary that is committed, below 1 MB.

    python -m experiments.comparison.summarise FULL.json OUT.json

FULL.json is what `python -m experiments.compare --publish FULL.json` wrote. The summary has what the published tables
are made of: of each cell the median exit, which rollouts survived, the one-step loss, the last responses to foreign
errors and memory at two frames; of each entry its horizon, survival, causes, law, cost, and motion and mass at the
last frame. Curves, single exits, rounds and wall times are left out; a run goes on from the full file alone.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.comparison.by_shape import WORLD, shapes_of_starts
from experiments.comparison.cell_store import write_by_lines
from experiments.comparison.cells import median_exit, survivors, survivors_as_text
from recycle_jax.io.writers import read_json

USAGE = "usage: python -m experiments.comparison.summarise FULL.json OUT.json"
FULL = "git show 20ea5f4:experiments/results/compare.json"
"""Prints the file that the committed summary was made of."""

MEMORY_FRAMES = (64, 1024)
"""Frames at which the tables show memory."""

WHOLE = ("world", "generator", "method", "seed", "max_frames", "clean_loss")
"""Fields of a cell that are kept as they are."""

LAST = ("dynamics_ratio", "retention")
"""Curves of an entry that are kept at their last frame."""


def summarised(results: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the summary of a full result file."""
    return {
        **results,
        "full": FULL,
        "starts": {WORLD: shapes_of_starts(max(survivors(cell).size for cell in results["cells"]))},
        "cells": [_cell(cell) for cell in results["cells"]],
        "summary": {name: _entry(entry) for name, entry in results["summary"].items()},
        "headline": {**results["headline"], "horizon_ratios": _rounded(results["headline"]["horizon_ratios"])},
    }


def _cell(cell: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: cell[name] for name in WHOLE if name in cell}
    if cell["train_domain"] != cell["eval_domain"]:
        kept |= {"train_domain": cell["train_domain"], "eval_domain": cell["eval_domain"]}
    stayed = survivors(cell)
    rollouts = {"count": stayed.size, "median_exit": median_exit(cell), "survivors": survivors_as_text(stayed.tolist())}
    responses = {kind: values[-1:] for kind, values in (cell.get("probes") or {}).get("responses", {}).items()}
    memory = _memory(cell.get("memory") or {})
    return {**kept, "rollouts": rollouts, **({"probes": {"responses": responses}} if responses else {}), **memory}


def _memory(memory: Mapping[str, Any]) -> dict[str, Any]:
    """Correlation and spread at the frames that tables show, if they were measured at all."""
    if not memory:
        return {}
    frames = memory["frames"]
    shown = [i for i, frame in enumerate(frames) if frame in MEMORY_FRAMES]
    return {"memory": {name: [values[i] for i in shown] for name, values in memory.items() if name != "rollouts"}}


def _entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    ends = {name: {last: entry[name][last]} for name in LAST if (last := max(entry[name], key=int, default=None))}
    growth = {"law": entry["growth"]["law"]}
    kept = {name: value for name, value in entry.items() if name not in (*LAST, "growth", "horizon_frames", "survival")}
    return {"horizon_frames": entry["horizon_frames"], **_rounded({**kept, "growth": growth, **ends})}


def _rounded(value: Any) -> Any:
    """Numbers with four significant digits."""
    if isinstance(value, Mapping):
        return {name: _rounded(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def main(arguments: list[str]) -> None:
    """Reads the one file and writes the other."""
    if len(arguments) != 2:
        sys.exit(USAGE)
    full, out = map(Path, arguments)
    write_by_lines(out, summarised(read_json(full)))
    print(f"{out}: {out.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
