"""What is measured in recorded video, where no simulator tells a valid frame from another.

Each clip is compared with its own start, and a rollout counts as frozen once it moves less than a tenth of what its
start did (`statistics.FROZEN_BELOW`), in the mean over a window: the band of motion itself is wide, since recorded
things rest at times, and takes a near-still picture for one of them. Where real video of the calibration rests longer
than that, the limit is lower, and the table of bands says so.

Windows of the clips pass through the monitor that judges rollouts; one part of the clips gives the bands, another
checks them (`drift.bands`). Twice as many windows are measured as are needed, and the half that moves more is kept, or
a rollout that freezes would be like the rests in real video.
"""

import functools

import jax
import numpy as np

from recycle_jax.data.base import ClipSource
from recycle_jax.drift.bands import Bands, Extremes, Tolerance, calibrate
from recycle_jax.drift.base import measure
from recycle_jax.drift.monitor import Monitor
from recycle_jax.drift.statistics import FROZEN_BELOW, NONFINITE, RELATIVE_MOTION, Statistics
from recycle_jax.typing import Frames

FACTOR = 1.2
"""How far the bands of recorded video are widened."""

ROWS = 16
"""Windows that are measured at once, which bounds memory."""


def recorded_statistics(context_frames: int, window: int | None) -> Statistics:
    """Returns the statistics of recorded video.

    Args:
        context_frames: real frames that a rollout starts from, at least 2.
        window: frames over which motion is averaged before a rollout is called frozen; None leaves this out, as in
            results from before there was such a rule.
    """
    relative = ("retention", "sharpness", "contrast", "spectrum")
    return Statistics(context_frames=context_frames, relative=relative, spectrum=True, motion_frames=window)


def recorded_tolerances(statistics: Statistics) -> dict[str, Tolerance]:
    """Returns how far each band of recorded video is widened."""
    usual = {name: Tolerance(factor=FACTOR) for name in statistics.names if name != NONFINITE}
    if RELATIVE_MOTION in usual:
        usual[RELATIVE_MOTION] = Tolerance(lo_at_most=FROZEN_BELOW, hi_at_least=1.0)
    return usual


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
    return calibrate(
        _livelier(monitor, calibration, windows),
        _livelier(monitor, check, windows),
        window=monitor.window,
        max_frames=monitor.max_frames,
        tolerances=recorded_tolerances(monitor.statistics),
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
