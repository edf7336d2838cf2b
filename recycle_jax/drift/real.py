"""Bands of recorded video, from clips alone: no simulator, no other network.

Windows of the clips pass through the monitor that judges rollouts. One part of the clips gives the bands, another part
checks them (`drift.bands`). Recorded things rest at times; where resting windows counted, a rollout that freezes would
be like real video. So twice as many windows are measured as are needed, and the half that moves more is kept.
"""

import functools

import jax
import numpy as np

from recycle_jax.data.base import ClipSource
from recycle_jax.drift.bands import Bands, Extremes, Tolerance, calibrate
from recycle_jax.drift.base import measure
from recycle_jax.drift.monitor import Monitor
from recycle_jax.drift.statistics import NONFINITE, Statistics
from recycle_jax.typing import Frames

ROWS = 16
"""Windows that are measured at once, which bounds memory."""

WIDENING = 1.2
"""Factor by which every band is widened."""


def recorded_statistics(context_frames: int) -> Statistics:
    """What is measured in recorded video: each clip relative to its own start, texture by its spectrum."""
    relative = ("retention", "sharpness", "contrast", "spectrum")
    return Statistics(context_frames=context_frames, relative=relative, spectrum=True)


def recorded_bands(
    calibration: tuple[ClipSource, int], check: tuple[ClipSource, int], monitor: Monitor, windows: int
) -> Bands:
    """Bands of recorded video for a monitor without bands.

    Args:
        calibration: clips that give the bands, and the number of the first batch to read.
        check: the same of the clips on which they are checked.
        monitor: what is measured and how long.
        windows: how many windows of each.

    Raises:
        ValueError: if clips are too short or too few, or too many windows of real video leave the bands.
    """
    names = [name for name in monitor.statistics.names if name != NONFINITE]
    return calibrate(
        _livelier(monitor, calibration, windows),
        _livelier(monitor, check, windows),
        window=monitor.window,
        max_frames=monitor.max_frames,
        tolerances={name: Tolerance(factor=WIDENING) for name in names},
    )


def _livelier(monitor: Monitor, clips: tuple[ClipSource, int], count: int) -> Extremes:
    """Extremes of the livelier half of `2 count` windows, `[count]` each."""
    source, first = clips
    context = max(monitor.statistics.context_frames, 2)
    parts = [
        jax.device_get(_extremes(monitor, source.batch(first + i, ROWS, context + monitor.max_frames).clip, context))
        for i in range(-(-2 * count // ROWS))
    ]
    seen: Extremes = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
    lively = np.sort(np.argsort(seen.mean["motion"])[-count:])
    return jax.tree.map(lambda leaf: leaf[lively], seen)


@functools.partial(jax.jit, static_argnums=(0, 2))
def _extremes(monitor: Monitor, clip: Frames, context: int) -> Extremes:
    return measure(monitor, clip[:, :context], clip[:, context:]).extremes
