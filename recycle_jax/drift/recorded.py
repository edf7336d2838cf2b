"""What is measured in recorded video, where no simulator tells a valid frame from another.

Each clip is compared with its own start, and a rollout counts as frozen once it moves less than a tenth of what its
start did (`statistics.FROZEN_BELOW`), in the mean over a window: the band of motion itself is wide, since recorded
things rest at times, and takes a near-still picture for one of them. Where real video of the calibration rests longer
than that, the limit is lower, and the table of bands says so.
"""

from recycle_jax.drift.bands import Tolerance
from recycle_jax.drift.statistics import FROZEN_BELOW, NONFINITE, RELATIVE_MOTION, Statistics

FACTOR = 1.2
"""How far the bands of recorded video are widened."""


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
