"""The fixed statistics of a frame, given the frames before it: what the bands of real video are put around.

With `x_n` the newest frame, `k = context_frames` and means over pixels and channels of one rollout:

    distance   mean (x_n - project(x_{n-k+1} … x_n))²           off-manifold error        (1)
    motion     mean (x_n - x_{n-1})²                            freezing, jitter          (2)
    retention  mass(x_n) / mean over its own context of mass    erasing, filling          (3)
    sharpness  (mean (∂_h x)² + mean (∂_w x)²) / (var x + floor)   blur, noise            (4)
    contrast   sqrt(var x)                                      fading, saturation        (5)
    spectrum   energy above 1/4 cycle a pixel / (energy + floor)   texture, checkerboards (6)
    nonfinite  1 where any value of the frame is NaN or Inf, else 0                       (7)
    identity   share of the things shown that its own context showed       swapping       (8)
    relative_motion  min(1, e_n / e_0),  e_n = e_{n-1} + (motion_n - e_{n-1}) / T   frozen (9)

with e_0 the motion of the rollout's own context.

A generator wins one of these by freezing, blurring, fading, erasing or by turning a thing into another, which each of
the other statistics may take for good video: hence all of them. (8) is for worlds that can tell what they show. (4) is
divided by the variance so that fading moves (5) alone. `relative` names the frame statistics of (3) to (6) that are
taken as a ratio to the rollout's own context: retention always should be; sharpness and contrast where clips of one
world differ more than drift does. (9) is for recorded video, whose band of motion is wide since recorded things rest at
times: what still moves a tenth as much as its own start did, in the mean over the last T frames, is not frozen.

Every value is finite whatever the frame holds: values are clipped to `limit`, and NaN and Inf count as zero
there and are flagged by (7), which no band allows.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array
from jaxtyping import Float

from recycle_jax.typing import Clip, Frame, Frames, PyTree, Scalar

NONFINITE = "nonfinite"
DISTANCE = "distance"
IDENTITY = "identity"
RELATIVE_MOTION = "relative_motion"
FROZEN_BELOW = 0.1
"""A rollout is frozen that moves less than this share of its own start's motion."""

_STILL = 1e-8  # motion of a start that shows one frame twice
_WORST = 1e12
FRAME_STATISTICS = ("retention", "sharpness", "contrast", "spectrum")


def brightness(frame: Frame) -> Scalar:
    """Foreground mass of bright objects on black: mean of `(x + 1) / 2`, in [0, 1] for valid frames."""
    return jnp.mean((frame + 1.0) / 2.0)


@struct.dataclass(kw_only=True)
class History:
    """What the next frame's statistics need of the past.

    Attributes:
        window: `[b, max(k, 2), h, w, c]` float32, the newest frames, oldest first, sharded over `b`.
        reference: name -> `[b]` float32, mean over the rollout's own context, for each relative statistic.
        shown: `[b, n]` int32, what the context showed, or None where (8) is not measured.
        start: `[b]` float32, e_0 of (9), or None where it is not measured.
        recent: `[b]` float32, e_n of (9), or None where it is not measured.
    """

    window: PyTree
    reference: PyTree
    shown: PyTree = None
    start: PyTree = None
    recent: PyTree = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Statistics:
    """Statistics (1) to (9) of one world.

    Attributes:
        context_frames: frames a projection sees, the newest included.
        project: nearest valid newest frame of a window `[k, h, w, c]`, unbatched; None leaves (1) out.
        identify: what the newest frame of a window `[k, h, w, c]` shows, `[n]` int32, unbatched; None leaves (8) out.
        mass: foreground mass of a frame `[h, w, c]`, unbatched, not negative.
        relative: which of (3) to (6) are ratios to the rollout's own context.
        spectrum: whether (6) is measured (recordings without a projector).
        motion_frames: `T` of (9), frames; None leaves it out.
        limit: frames are clipped to `[-limit, limit]`.
        floor: smallest denominator of a ratio, in the units of what it divides.
    """

    context_frames: int
    project: Callable[[Clip], Frame] | None = None
    identify: Callable[[Clip], Array] | None = None
    mass: Callable[[Frame], Scalar] = brightness
    relative: tuple[str, ...] = ("retention",)
    spectrum: bool = False
    motion_frames: int | None = None
    limit: float = 4.0
    floor: float = 1e-3

    def __post_init__(self) -> None:
        if self.context_frames < 1:
            raise ValueError(f"context_frames={self.context_frames} must be at least 1: give the window's length")
        if self.motion_frames is not None and self.motion_frames < 1:
            raise ValueError(f"motion_frames={self.motion_frames} must be at least 1 frame, or None to leave it out")
        if self.limit <= 1.0 or self.floor <= 0.0:
            raise ValueError(f"limit={self.limit} must exceed 1, the range of valid frames, and floor={self.floor} 0")
        unknown = set(self.relative) - set(FRAME_STATISTICS)
        if unknown:
            raise ValueError(f"relative={self.relative} must name some of {FRAME_STATISTICS}: drop {sorted(unknown)}")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the statistics measured, in the order of the bits of an exit's cause."""
        distance = (DISTANCE,) if self.project is not None else ()
        spectrum = ("spectrum",) if self.spectrum else ()
        identity = (IDENTITY,) if self.identify is not None else ()
        relative = () if self.motion_frames is None else (RELATIVE_MOTION,)
        return (NONFINITE, *distance, "motion", "retention", "sharpness", "contrast", *spectrum, *identity, *relative)

    def init(self, context: Frames) -> History:
        """Starts from the clean context `[b, t, h, w, c]`.

        Raises:
            ValueError: if the context has fewer frames than (1), (2), (8) and (9) need.
        """
        need = max(self.context_frames, 2) if self.project is not None or self.identify is not None else 1
        need = max(need, 1 if self.motion_frames is None else 2)
        if context.shape[1] < need:
            raise ValueError(f"a context of {context.shape[1]} frames is too short: give at least {need} clean frames")
        clean, _ = self._clean(context)
        per_frame = jax.vmap(jax.vmap(self._frame_statistics))(clean)
        reference = {name: jnp.maximum(per_frame[name].mean(axis=1), self.floor) for name in self.relative}
        length = max(self.context_frames, 2)
        # A single frame of context is repeated: its own motion is then unknown and taken as none.
        padded = jnp.concatenate([clean[:, :1], clean], axis=1)
        shown = None if self.identify is None else jax.vmap(self.identify)(clean[:, -self.context_frames :])
        history = History(window=padded[:, -length:], reference=reference, shown=shown)
        if self.motion_frames is None:
            return history
        motion = jnp.mean(jnp.diff(clean, axis=1) ** 2, axis=(1, 2, 3, 4))
        start = jnp.maximum(motion, _STILL)
        return dataclasses.replace(history, start=start, recent=start)

    def update(self, history: History, frame: Float[Array, "b h w c"]) -> tuple[History, dict[str, Array]]:
        """Adds `frame` to the history and returns its statistics, name -> `[b]` float32, all finite."""
        clean, finite = self._clean(frame)
        window = jnp.concatenate([history.window[:, 1:], clean[:, None]], axis=1)
        values = jax.vmap(self._frame_statistics)(clean)
        values |= {name: values[name] / history.reference[name] for name in self.relative}
        values["motion"] = jnp.mean((clean - window[:, -2]) ** 2, axis=(1, 2, 3))
        if self.project is not None:
            nearest, _ = self._clean(jax.vmap(self.project)(window[:, -self.context_frames :]))
            values[DISTANCE] = jnp.mean((clean - nearest) ** 2, axis=(1, 2, 3))
        if self.identify is not None:
            same = jax.vmap(self.identify)(window[:, -self.context_frames :]) == history.shown
            values[IDENTITY] = jnp.mean(same.astype(jnp.float32), axis=1)
        values[NONFINITE] = 1.0 - finite.astype(jnp.float32)
        recent = history.recent
        if self.motion_frames is not None:
            recent = recent + (values["motion"] - recent) / self.motion_frames
            values[RELATIVE_MOTION] = jnp.minimum(recent / history.start, 1.0)
        history = dataclasses.replace(history, window=window, recent=recent)
        return history, {name: _bounded(values[name]) for name in self.names}

    def _clean(self, frames: Array) -> tuple[Array, Array]:
        """Returns clipped float32 frames and whether each frame was finite (the last three axes reduced)."""
        finite = jnp.isfinite(frames)
        frames = jnp.where(finite, frames.astype(jnp.float32), 0.0)
        return jnp.clip(frames, -self.limit, self.limit), finite.all(axis=(-3, -2, -1))

    def _frame_statistics(self, frame: Array) -> dict[str, Array]:
        variance = jnp.mean(jnp.var(frame, axis=(0, 1)))
        gradient = jnp.mean(jnp.diff(frame, axis=0) ** 2) + jnp.mean(jnp.diff(frame, axis=1) ** 2)
        values = {
            "retention": jnp.asarray(self.mass(frame), jnp.float32),
            "sharpness": gradient / (variance + self.floor),
            "contrast": jnp.sqrt(variance),
        }
        if self.spectrum:
            values["spectrum"] = _high_frequencies(frame, self.floor)
        return values


def _bounded(value: Array) -> Array:
    """Makes a user's mass or projection harmless: far outside any band, yet summable over a window."""
    return jnp.clip(jnp.nan_to_num(value, nan=_WORST), -_WORST, _WORST)


def _high_frequencies(frame: Array, floor: float) -> Array:
    """Statistic (6) of a frame `[h, w, c]`; with this normalisation the energies sum to the variance."""
    height, width, _ = frame.shape
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(height), np.fft.fftfreq(width), indexing="ij"))
    high = jnp.asarray(radius > 0.25, jnp.float32)[:, :, None]
    centred = frame - frame.mean(axis=(0, 1), keepdims=True)
    energy = jnp.abs(jnp.fft.fft2(centred, axes=(0, 1), norm="forward")) ** 2
    return jnp.sum(energy * high) / (jnp.sum(energy) + floor)
