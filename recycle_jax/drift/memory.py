"""Memory: whether a rollout goes on as its own clip would, or as any clip might.

Bands are of all real video, so a generator that forgets how fast its digit flew and lets every digit fly at the mean
speed never leaves them. Let `m_i(t)` be the motion of rollout `i` in the windows that end in the octave up to frame `t`
(geometric mean), and `q_i` the motion of the real continuation of its start, over many frames:

    correlation(t) = corr_i (log m_i(t), log q_i)                                                   (1)
    spread(t)      = std_i log m_i(t) / std_i log q_i                                               (2)

over the rollouts that are within their bands up to `t`; the others are the horizon's matter. Real video, whose pace
stays its own, is near 1 in both; 0 in (1) is a generator whose rollouts have nothing of their starts' pace left, and
less than 1 in (2) says that they have become alike.
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from recycle_jax.typing import Frames

_LEAST = 1e-9
"""Motion of a still window, whose logarithm is asked for too."""


def pace(frames: Frames) -> Float[Array, " b"]:
    """Mean squared change from frame to frame of `[b, t, h, w, c]`, `q` of (1)."""
    return jnp.mean(jnp.square(jnp.diff(frames, axis=1)), axis=(1, 2, 3, 4))


def memory(
    motion: Mapping[int, Float[np.ndarray, " b"]],
    own: Float[np.ndarray, " b"],
    exit_frame: Int[np.ndarray, " b"],
    *,
    least: int = 8,
) -> dict[str, list[Any]]:
    """Equations (1) and (2), octave by octave.

    Args:
        motion: last frame of a kept window -> its motion, rollout by rollout, as `drift.cells.curve_of` gives it.
        own: `pace` of every start's real continuation.
        exit_frame: frames that every rollout stayed within its bands.
        least: rollouts within their bands from which on an octave is told of.

    Returns:
        `{"frames", "correlation", "spread", "rollouts"}`, lists over the octaves, the last how many rollouts were
        within their bands; a correlation is None where no two rollouts differ.

    Raises:
        ValueError: if a curve has other rollouts than `own`.
    """
    own, exits = np.log(np.maximum(own, _LEAST)), np.asarray(exit_frame)
    seen: dict[str, list[Any]] = {"frames": [], "correlation": [], "spread": [], "rollouts": []}
    for last, windows in sorted(_octaves(motion).items()):
        if windows.shape[1] != own.size:
            raise ValueError(f"{windows.shape[1]} rollouts, but the own pace of {own.size}: give that of each start")
        there = exits >= last
        if there.sum() < least:
            break
        now, then = np.log(np.maximum(windows, _LEAST)).mean(axis=0)[there], own[there]
        alike = min(now.std(), then.std()) < 1e-6
        seen["frames"].append(last)
        seen["correlation"].append(None if alike else round(float(np.corrcoef(now, then)[0, 1]), 3))
        seen["spread"].append(None if alike else round(float(now.std() / then.std()), 3))
        seen["rollouts"].append(int(there.sum()))
    return seen


def _octaves(motion: Mapping[int, np.ndarray]) -> dict[int, np.ndarray]:
    """Last frame of an octave -> the windows `[windows, b]` that end in it."""
    ends = {frame: 2 ** int(np.ceil(np.log2(frame))) for frame in motion}
    octaves = {end: [frame for frame in sorted(motion) if ends[frame] == end] for end in set(ends.values())}
    return {frames[-1]: np.stack([motion[frame] for frame in frames]) for frames in octaves.values()}
