"""What is measured in recorded video, where no simulator tells a valid frame from another.

Each clip is compared with its own start, and a rollout counts as frozen once it moves less than a tenth of what its
start did (`statistics.FROZEN_BELOW`), in the mean over a window: the band of motion itself is wide, since recorded
things rest at times, and takes a near-still picture for one of them. Where real video of the calibration rests longer
than that, the limit is lower, and the table of bands says so.

Windows of the clips pass through the monitor that judges rollouts; one part of the clips gives the bands, another
checks them (`drift.bands`). Of recorded video twice as many windows are read as are needed, and the half that moves
more is kept, for bands and for the starts of rollouts alike: a rollout that freezes would else be like a rest in real
video.
Where the next frame follows from the ones before, as in a simulated world, nothing rests, and every window counts.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from recycle_jax.batch import Batch
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
        _window_extremes(monitor, calibration, windows),
        _window_extremes(monitor, check, windows),
        window=monitor.window,
        max_frames=monitor.max_frames,
        tolerances=recorded_tolerances(monitor.statistics),
    )


def lively_starts(
    clips: tuple[ClipSource, int], rows: int, context: int, frames: int, shown: int
) -> tuple[Batch, np.ndarray]:
    """Starts for rollouts of `frames` frames, from windows such as the bands are made of.

    Returns:
        A batch of clips `[rows, context, h, w, c]`, and how the first of them goes on, `[shown, h, w, c]`.
    """
    source, first = clips
    if source.deterministic or frames < 1:
        whole = source.batch(first, 1, context + shown).clip
        return source.batch(first, rows, context), np.asarray(whole[0, context:])
    parts = [source.batch(first + i, ROWS, context + frames) for i in range(-(-2 * rows // ROWS))]
    motion = np.concatenate([np.asarray(_mean_motion(part.clip[:, context - 1 :])) for part in parts])
    starts = [dataclasses.replace(part, clip=part.clip[:, :context]) for part in parts]
    lively = np.sort(np.argsort(motion)[-rows:])
    newest = parts[lively[0] // ROWS].clip[lively[0] % ROWS, context : context + shown]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[lively], *starts), np.asarray(newest)


def _window_extremes(monitor: Monitor, clips: tuple[ClipSource, int], count: int) -> Extremes:
    """Extremes of `count` windows, `[count]` each; of recorded video the livelier half of twice as many."""
    source, first = clips
    context = max(monitor.statistics.context_frames, 2)
    wanted = count if source.deterministic else 2 * count
    parts = [
        jax.device_get(_extremes(monitor, source.batch(first + i, ROWS, context + monitor.max_frames).clip, context))
        for i in range(-(-wanted // ROWS))
    ]
    seen: Extremes = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
    kept = np.arange(count) if source.deterministic else np.sort(np.argsort(seen.mean["motion"])[-count:])
    return jax.tree.map(lambda leaf: leaf[kept], seen)


@functools.partial(jax.jit, static_argnums=(0, 2))
def _extremes(monitor: Monitor, clip: Frames, context: int) -> Extremes:
    return measure(monitor, clip[:, :context], clip[:, context:]).extremes


@jax.jit
def _mean_motion(clip: Frames) -> Array:
    return jnp.mean(jnp.square(jnp.diff(clip, axis=1)), axis=(1, 2, 3, 4))
