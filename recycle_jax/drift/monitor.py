"""Watches rollouts while they run: windowed statistics, exits, and curves kept at log-spaced places only.

Windows of `W` frames do not overlap; a window's value is the mean inside it. A rollout exits at the first
window in which any statistic leaves its band, and its

    exit frame = W · (windows survived)                                                   (1)

which for a rollout that never left, here called censored, is the number of frames watched. Memory is one
window of frames and `O(log max_frames)` values a rollout.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array
from jaxtyping import Float

from recycle_jax.drift.bands import Bands, Extremes
from recycle_jax.drift.statistics import Statistics
from recycle_jax.typing import Frames, PyTree


def log_spaced(last: int, *, dense: int = 1, per_octave: int = 4) -> np.ndarray:
    """Returns the sorted integers 1 … `dense`, then about `per_octave` an octave, up to and with `last`."""
    octaves = np.arange(0, np.log2(last) * per_octave + 1)
    spaced = np.rint(2.0 ** (octaves / per_octave)).astype(np.int64)
    places = np.concatenate([np.arange(1, min(dense, last) + 1), spaced, [last]])
    return np.unique(places[places <= last])


@struct.dataclass(kw_only=True)
class MonitorState:
    """The carry of a monitor; `s` statistics, `b` rollouts, sharded over `b`.

    Attributes:
        step: int32 scalar, frames seen.
        history: `statistics.History`, the newest frames and the context's references.
        total: `[s, b]` float32, sum over the frames of the open window.
        minimum: `[s, b]` float32, smallest window value so far (+inf before the first).
        maximum: `[s, b]` float32, largest window value so far (-inf before the first).
        mean: `[s, b]` float32, running mean over windows.
        frames: `[kept frames, s, b]` float32, values of single frames; NaN where not reached.
        windows: `[kept windows, s, b]` float32, window values; NaN where not reached.
        survived: `[b]` int32, windows survived.
        alive: `[b]` bool, whether no window has left the bands.
        cause: `[b]` int32, bit `i` set where statistic `i` was outside at the exit; 0 while alive.
    """

    step: PyTree
    history: PyTree
    total: PyTree
    minimum: PyTree
    maximum: PyTree
    mean: PyTree
    frames: PyTree
    windows: PyTree
    survived: PyTree
    alive: PyTree
    cause: PyTree


@struct.dataclass(kw_only=True)
class Measurement:
    """What a monitor saw of `b` rollouts.

    Attributes:
        exit_frame: `[b]` int32, frames, by (1).
        censored: `[b]` bool, whether the rollout never left its bands.
        cause: `[b]` int32, one bit a statistic in the order of `Statistics.names`; 0 where censored.
        extremes: smallest, largest and mean window value of each statistic and rollout.
        frames: name -> `[kept frames, b]` float32 at `Monitor.kept_frames`.
        windows: name -> `[kept windows, b]` float32 at `Monitor.kept_windows`.
    """

    exit_frame: PyTree
    censored: PyTree
    cause: PyTree
    extremes: Extremes
    frames: PyTree
    windows: PyTree


@dataclasses.dataclass(frozen=True, kw_only=True)
class Monitor:
    """The streaming metric behind every horizon.

    Attributes:
        statistics: what is measured in a frame.
        window: `W`, frames a window.
        max_frames: frames watched; a multiple of `W`.
        bands: the bands of real video, or None while they are being calibrated (then only NaN and Inf exit).
        per_octave: kept places in each doubling of the frame number.
        dense: every one of the first `dense` frames is kept, for the growth laws of rollouts that fail early.
    """

    statistics: Statistics
    window: int
    max_frames: int
    bands: Bands | None = None
    per_octave: int = 4
    dense: int = 16

    def __post_init__(self) -> None:
        if self.window < 1 or self.max_frames < self.window or self.max_frames % self.window:
            raise ValueError(
                f"max_frames={self.max_frames} must be a positive multiple of window={self.window}: "
                f"take {max(self.max_frames // max(self.window, 1), 1) * max(self.window, 1)}"
            )
        if self.bands is not None:
            self.bands.check_fits(self.statistics.names, self.window, self.max_frames)

    @property
    def kept_frames(self) -> np.ndarray:
        """Frame numbers, from 1, at which single-frame values are kept."""
        return log_spaced(self.max_frames, dense=self.dense, per_octave=self.per_octave)

    @property
    def kept_windows(self) -> np.ndarray:
        """Window numbers, from 1, at which window values are kept; window `i` ends with frame `i·W`."""
        return log_spaced(self.max_frames // self.window, per_octave=self.per_octave)

    def init(self, context: Frames) -> MonitorState:
        """Starts from the clean context `[b, t, h, w, c]`."""
        rows, size = context.shape[0], len(self.statistics.names)
        zeros = jnp.zeros((size, rows), jnp.float32)
        return MonitorState(
            step=jnp.zeros((), jnp.int32),
            history=self.statistics.init(context),
            total=zeros,
            minimum=jnp.full_like(zeros, jnp.inf),
            maximum=jnp.full_like(zeros, -jnp.inf),
            mean=zeros,
            frames=jnp.full((len(self.kept_frames), size, rows), jnp.nan, jnp.float32),
            windows=jnp.full((len(self.kept_windows), size, rows), jnp.nan, jnp.float32),
            survived=jnp.zeros((rows,), jnp.int32),
            alive=jnp.ones((rows,), jnp.bool_),
            cause=jnp.zeros((rows,), jnp.int32),
        )

    def update(self, state: MonitorState, frame: Float[Array, "b h w c"]) -> MonitorState:
        """Adds one frame; frames after `max_frames` are not counted."""
        history, values = self.statistics.update(state.history, frame)
        value = jnp.stack([values[name] for name in self.statistics.names])
        step = state.step + 1
        total = state.total + value
        closes = (step % self.window == 0) & (step <= self.max_frames)
        state = dataclasses.replace(
            state,
            step=step,
            history=history,
            total=jnp.where(step % self.window == 0, 0.0, total),
            frames=_keep(state.frames, self.kept_frames, step, value),
        )
        return self._close(state, total / self.window, closes)

    def result(self, state: MonitorState) -> Measurement:
        """Returns exits, extremes and curves of the windows closed so far."""
        names = self.statistics.names
        return Measurement(
            exit_frame=state.survived * self.window,
            censored=state.alive,
            cause=state.cause,
            extremes=Extremes(
                minimum=dict(zip(names, state.minimum, strict=True)),
                maximum=dict(zip(names, state.maximum, strict=True)),
                mean=dict(zip(names, state.mean, strict=True)),
            ),
            frames={name: state.frames[:, i] for i, name in enumerate(names)},
            windows={name: state.windows[:, i] for i, name in enumerate(names)},
        )

    def causes(self, cause: np.ndarray) -> list[str]:
        """Names the statistics of each bit mask, joined by '+'; an empty string where no statistic left."""
        names = self.statistics.names
        return ["+".join(n for i, n in enumerate(names) if int(mask) >> i & 1) for mask in np.asarray(cause)]

    def _close(self, state: MonitorState, value: Array, closes: Array) -> MonitorState:
        """Books the window value `[s, b]` where `closes`; else changes nothing."""
        lo, hi = self._limits()
        outside = (value < lo) | (value > hi)
        bits = jnp.asarray(2 ** np.arange(len(self.statistics.names)), jnp.int32)[:, None]
        leaves = closes & state.alive & outside.any(axis=0)
        alive = state.alive & ~leaves
        number = state.step // self.window
        weight = 1.0 / jnp.maximum(number, 1).astype(jnp.float32)
        return dataclasses.replace(
            state,
            minimum=jnp.where(closes, jnp.minimum(state.minimum, value), state.minimum),
            maximum=jnp.where(closes, jnp.maximum(state.maximum, value), state.maximum),
            mean=jnp.where(closes, state.mean + (value - state.mean) * weight, state.mean),
            windows=_keep(state.windows, self.kept_windows, jnp.where(closes, number, 0), value),
            survived=state.survived + (closes & alive).astype(jnp.int32),
            alive=alive,
            cause=jnp.where(leaves, jnp.sum(outside.astype(jnp.int32) * bits, axis=0), state.cause),
        )

    def _limits(self) -> tuple[Array, Array]:
        """Returns the ends of the bands, each `[s, 1]` float32."""
        allowed = self.bands.statistics if self.bands is not None else {"nonfinite": (0.0, 0.0)}
        pairs = [allowed.get(name, (-np.inf, np.inf)) for name in self.statistics.names]
        lo, hi = np.asarray(pairs, np.float32).T
        return jnp.asarray(lo)[:, None], jnp.asarray(hi)[:, None]


def _keep(store: Array, places: np.ndarray, place: Array, value: Array) -> Array:
    """Writes `value` into the row of `store` whose place is `place`; writes nothing where there is none."""
    known = jnp.asarray(places, jnp.int32)
    row = jnp.searchsorted(known, place).astype(jnp.int32)
    hit = known[jnp.minimum(row, len(places) - 1)] == place
    return store.at[jnp.where(hit, row, len(places))].set(value, mode="drop")
