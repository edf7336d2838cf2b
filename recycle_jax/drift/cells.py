"""What a monitor measured, as the plain values of a result file's cell, and back.

A curve holds the mean over rollouts and, for the bootstrap, every rollout's value rounded to four significant
digits: `{"frames": [n], "mean": [n], "rollouts": [n][b]}`. The off-manifold distance is of single frames, so
that growth can be followed from the first; the other curves are window means, filed under the last frame of
the window.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Num

from recycle_jax.drift.horizon import Exits
from recycle_jax.drift.monitor import Measurement, Monitor
from recycle_jax.drift.statistics import DISTANCE, NONFINITE


def measured(monitor: Monitor, measurement: Measurement) -> dict[str, Any]:
    """Returns the `max_frames`, `rollouts` and `curves` entries of a cell, ready for JSON."""
    curves = {}
    for name in monitor.statistics.names:
        if name == DISTANCE:
            curves[name] = _curve(monitor.kept_frames, measurement.frames[name])
        elif name != NONFINITE:
            curves[name] = _curve(monitor.kept_windows * monitor.window, measurement.windows[name])
    return {
        "max_frames": monitor.max_frames,
        "rollouts": {
            "exit_frame": np.asarray(measurement.exit_frame).tolist(),
            "censored": np.asarray(measurement.censored).tolist(),
            "cause": monitor.causes(np.asarray(measurement.cause)),
        },
        "curves": curves,
    }


def exits_of(cell: Mapping[str, Any]) -> Exits:
    """Returns the exits recorded in a cell."""
    rollouts = cell["rollouts"]
    return Exits(
        exit_frame=np.asarray(rollouts["exit_frame"], np.float64),
        censored=np.asarray(rollouts["censored"], bool),
    )


def curve_of(cell: Mapping[str, Any], name: str) -> dict[int, np.ndarray]:
    """Returns frame -> the rollouts' values of a curve, or its mean alone where no rollouts were kept."""
    curve = cell["curves"].get(name, {"frames": [], "mean": []})
    rows = curve.get("rollouts") or [[value] for value in curve["mean"]]
    return {frame: np.asarray(row, np.float64) for frame, row in zip(curve["frames"], rows, strict=True)}


def _curve(frames: Num[np.ndarray, " places"], values: Any) -> dict[str, Any]:
    values = np.asarray(values, np.float64)
    reached = ~np.isnan(values).any(axis=1)
    return {
        "frames": frames[reached].tolist(),
        "mean": [_rounded(value) for value in values[reached].mean(axis=1)],
        "rollouts": [[_rounded(value) for value in row] for row in values[reached]],
    }


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
