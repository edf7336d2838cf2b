"""The page of a `Horizon` (`api.measuring`): one HTML file that holds its tables, plots, pictures and video."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from recycle_jax.drift.summary import summarise
from recycle_jax.io.files import write_bytes
from recycle_jax.io.workdir import run_metadata
from recycle_jax.report.build import Media, Video, build_report
from recycle_jax.report.filmstrips import Filmstrip, columns
from recycle_jax.report.labels import REAL
from recycle_jax.report.page import Words
from recycle_jax.sharding import is_first_host

VIDEO_FRAMES = 160
"""Frames of the video; the filmstrip goes to the last frame that was kept."""

WORLD, GENERATOR = "clips", "generator"
"""What results call the clips and the generator, of which there is one each."""


def write_page(horizon: Any, path: str | os.PathLike[str], *, fps: float, notes: Sequence[str]) -> Path:
    """Writes the page in one step, on the first host; see `Horizon.save`."""
    if not is_first_host():
        return Path(path).absolute()
    with tempfile.TemporaryDirectory() as folder:
        page = build_report(
            results_of(horizon),
            folder,
            _media(horizon, fps),
            words=Words(
                answer=" ".join([_said(horizon), *notes]),
                command="rj.horizon(generator, params, held_out).save(…)",
            ),
            console=Console(quiet=True),
        )
        return write_bytes(Path(path).absolute(), page.read_bytes())


def results_of(horizon: Any) -> dict[str, Any]:
    """The measurement as a result file has it (schema 1); without bands there is no summary."""
    cells = [
        {"world": WORLD, "generator": GENERATOR, "method": name, "seed": 0, "cost": None, **seen.cell}
        for name, seen in horizon.measured.items()
    ]
    bands = {} if horizon.bands is None else {WORLD: horizon.bands}
    return {
        "schema_version": 1,
        "experiment": "horizon",
        "preset": "",
        **run_metadata({"frames": horizon.frames}),
        "bands": {name: value.to_json() for name, value in bands.items()},
        "cells": cells if bands else [],
        "summary": summarise(cells, bands) if bands else {},
        "headline": {},
    }


def _said(horizon: Any) -> str:
    if horizon.bands is None:
        return f"No horizon: {horizon.note}. The pictures below are all that was measured."
    lines = [f"{name.capitalize()}: {horizon.describe(name)}." for name in horizon.measured]
    return " ".join([*lines, f"Note: {horizon.note}." if horizon.note else ""]).strip()


def _media(horizon: Any, fps: float) -> Media:
    shown = {} if horizon.real is None else {REAL: horizon.real}
    shown |= {name: seen.shown for name, seen in horizon.measured.items() if seen.shown is not None}
    if not shown:
        return Media()
    numbers = columns(max(len(frames) for frames in shown.values()))
    rows = {name: frames[[n - 1 for n in numbers if n <= len(frames)]] for name, frames in shown.items()}
    length = min(VIDEO_FRAMES, *(len(frames) for frames in shown.values()))
    videos = {name: np.asarray(frames[:length]) for name, frames in shown.items()}
    title = "The first start"
    return Media(
        filmstrips=[Filmstrip(title=title, numbers=numbers, rows=rows)],
        videos=[Video(name="rollouts", title=title, columns=videos, fps=fps)],
    )
