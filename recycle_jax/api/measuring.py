"""`horizon`: how long rollouts of a generator stay what real video is, and what ends them."""

import collections
import dataclasses
import functools
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh

from recycle_jax.api.defaults import as_source, max_frames
from recycle_jax.batch import Batch
from recycle_jax.data.arrays import ArrayClips
from recycle_jax.data.base import ClipSource
from recycle_jax.data.parts import recording_name
from recycle_jax.data.splitting import split_clips
from recycle_jax.drift import horizon as estimates
from recycle_jax.drift.bands import Bands
from recycle_jax.drift.cells import exits_of, measured
from recycle_jax.drift.monitor import Measurement, Monitor
from recycle_jax.drift.recorded import lively_starts, recorded_bands, recorded_statistics
from recycle_jax.generators.base import Generator
from recycle_jax.io.progress import progress
from recycle_jax.rollout.blocks import blocks
from recycle_jax.sharding import fetch
from recycle_jax.typing import Frames, Params, PyTree

WINDOW, WINDOWS = 16, 128
"""Frames a window of the bands; windows of real video behind them, and as many again that check them."""

CALIBRATION_BATCH, CHECK_BATCH, START_BATCH = 30_000_000, 31_000_000, 32_000_000
"""Numbers of the first batches, which nothing trains on where the source has no end."""

SHOWN_BYTES, FEWEST_SHOWN = 16 << 20, 160
"""Of the first rollout as many frames are kept for pictures as take so many bytes, but at least so many frames."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """What was measured of one set of parameters.

    Attributes:
        cell: exits, causes and curves of all rollouts, as the cells of a result file have them.
        shown: uint8 `[frames, h, w, c]`, the first frames of the first rollout; None where frames are no pictures.
        motion: mean motion of the rollouts over that of real video.
    """

    cell: Mapping[str, Any]
    shown: np.ndarray | None
    motion: float

    @property
    def exits(self) -> estimates.Exits:
        """Exit frames and censoring of all rollouts."""
        return exits_of(self.cell)

    @property
    def median(self) -> float:
        """Kaplan-Meier median in frames; a lower bound where `survival` is above one half."""
        return estimates.median(self.exits)[0]

    @property
    def interval(self) -> tuple[float, float]:
        """95 % bootstrap interval of the median over rollouts, in frames."""
        found = estimates.horizon([self.exits], self.cell["max_frames"], np.random.default_rng(0))
        low, high = found["ci95"]
        return float(low), float(high)

    @property
    def survival(self) -> float:
        """Share of rollouts that never left the bands."""
        return float(np.mean(self.cell["rollouts"]["censored"]))

    @property
    def causes(self) -> dict[str, int]:
        """Statistics that ended rollouts, and how many each."""
        causes = [cause for cause in self.cell["rollouts"]["cause"] if cause]
        return dict(collections.Counter(causes).most_common())


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Horizon:
    """How long rollouts stay inside the bands of real video.

    Attributes:
        measured: name -> what was measured; the generator in question comes first.
        bands: the bands of real video, or None where they could not be calibrated.
        note: what limits the measurement; empty where nothing does.
        frames: frames watched.
        real: uint8 `[frames, h, w, c]`, how the first start goes on in the recording, or None.
    """

    measured: Mapping[str, Measured]
    bands: Bands | None
    note: str
    frames: int
    real: np.ndarray | None

    @property
    def this(self) -> Measured:
        """Of the generator in question."""
        return next(iter(self.measured.values()))

    @property
    def median(self) -> float:
        """See `Measured.median`; NaN where nothing could be calibrated."""
        return self.this.median if self.bands is not None else math.nan

    @property
    def survival(self) -> float:
        """See `Measured.survival`; NaN where nothing could be calibrated."""
        return self.this.survival if self.bands is not None else math.nan

    @property
    def causes(self) -> dict[str, int]:
        """See `Measured.causes`."""
        return self.this.causes

    def __repr__(self) -> str:
        lines = [f"Horizon over {self.frames} frames" + (f" ({self.note})" if self.note else "")]
        return "\n  ".join([*lines, *(f"{name}: {self.describe(name)}" for name in self.measured)])

    def save(self, path: str | os.PathLike[str], *, fps: float = 12.0, notes: Sequence[str] = ()) -> Path:
        """Writes one self-contained HTML page: curves of survival, causes, statistics, pictures and video.

        Args:
            path: of the page.
            fps: frames a second of the videos.
            notes: sentences for the page, such as where the parameters lie.

        Raises:
            ImportError: without the extras `report` and `video`, with the command that installs them.
        """
        from recycle_jax.api.page import write_page  # its packages are extras

        return write_page(self, path, fps=fps, notes=notes)

    def describe(self, name: str) -> str:
        """What was measured under a name, in a line."""
        seen = self.measured[name]
        if self.bands is None:
            return f"not calibrated; motion {seen.motion:.2f} of real video's"
        bound = ">= " if seen.survival > 0.5 else ""
        low, high = seen.interval
        causes = ", ".join(f"{cause} {count}" for cause, count in list(seen.causes.items())[:3]) or "none"
        return (
            f"median {bound}{seen.median:.0f} frames [{low:.0f}, {high:.0f}], survival {seen.survival:.0%}, "
            f"motion {seen.motion:.2f} of real video's, exits by {causes}"
        )


def horizon(
    generator: Generator,
    params: Params,
    held_out: ClipSource | Sequence[np.ndarray],
    *,
    frames: int = 1024,
    against: Params | None = None,
    others: Mapping[str, tuple[Generator, Params]] = MappingProxyType({}),
    name: str = "this",
    rollouts: int = 64,
    window: int = WINDOW,
    seed: int = 0,
    mesh: Mesh | None = None,
) -> Horizon:
    """Rolls a generator out from real starts and asks when it leaves the bands of real video, and why.

    A rollout exits at the first window in which motion, sharpness, contrast, texture or brightness leaves what windows
    of real video show (`drift.bands`). Bands that cannot be calibrated, since clips are too few or too short, cost the
    horizon and nothing else: the note says what is missing.

    Args:
        generator: who rolls out.
        params: its parameters.
        held_out: clips that nothing was trained on, as a source or a list of arrays `[t, h, w, c]`; as long as the
            rollouts to be judged.
        frames: of a rollout; cut to what the clips can judge.
        against: other parameters of the same generator, measured alike under the name `against`.
        others: name -> generator and parameters, measured alike.
        name: of the generator in question, in the report.
        rollouts: how many, each from another start.
        window: frames over which statistics are averaged.
        seed: of what the generator draws.
        mesh: of the devices to use, all by default.
    """
    source = as_source(held_out)
    bands, length, note = _calibrated(source, generator, frames, window)
    monitor = Monitor(
        statistics=recorded_statistics(generator.context_frames, window), window=window, max_frames=length, bands=bands
    )
    clips, start = (source, START_BATCH), _context(generator)
    longest = max_frames(source)
    there = length if longest is None else min(length, longest - start)
    real, shown = lively_starts(clips, rollouts, start, there, min(there, _shown_frames(source.shape)))
    pairs = {name: (generator, params), **({} if against is None else {"against": (generator, against)}), **others}
    seen = {name: _measure(name, *pair, real, monitor, seed, mesh) for name, pair in pairs.items()}
    return Horizon(measured=seen, bands=bands, note=note, frames=length, real=as_picture(shown) if there else None)


def _calibrated(source: ClipSource, generator: Generator, frames: int, window: int) -> tuple[Bands | None, int, str]:
    """Bands, the length that they hold for, and what limits them."""
    wanted = max(1, frames // window) * window
    longest = max_frames(source)
    length = wanted if longest is None else min(wanted, (longest - _context(generator)) // window * window)
    if length < window:
        return None, wanted, f"not calibrated: the longest held-out clip has {longest} frames, {window} are a window"
    note = "" if length == wanted else f"the longest held-out clip has {longest} frames, which judges {length}"
    monitor = Monitor(
        statistics=recorded_statistics(generator.context_frames, window), window=window, max_frames=length
    )
    try:
        first, second = _halves(source)
        bands = recorded_bands((first, CALIBRATION_BATCH), (second, CHECK_BATCH), monitor, WINDOWS)
    except ValueError as error:
        return None, length, f"not calibrated: {error}"
    return bands, length, note


def _halves(source: ClipSource) -> tuple[ClipSource, ClipSource]:
    """Two sources without a clip in common, where clips are recorded."""
    if isinstance(source, ArrayClips):
        return split_clips(source, 0.5, lambda name: f"check {recording_name(name)}")
    return source, source


def _measure(
    name: str,
    generator: Generator,
    params: Params,
    real: Batch,
    monitor: Monitor,
    seed: int,
    mesh: Mesh | None,
) -> Measured:
    steps, key = -(-monitor.max_frames // generator.chunk_frames), jax.random.key(seed)
    # From the host, so that it goes to whatever devices the rollout is on.
    start = np.asarray(real.clip)
    seen, shown = monitor.init(jnp.asarray(start)), list[np.ndarray]()
    with progress(f"rolling out {name}", monitor.max_frames) as advance:
        for block in blocks(generator, params, start, steps, key, condition=real.condition, mesh=mesh):
            seen = _watch(monitor, seen, block)
            if sum(len(part) for part in shown) < _shown_frames(start.shape[2:]):
                shown.append(fetch(block[0]))
            advance(block.shape[1])
    result = monitor.result(seen)
    usual = 1.0 if monitor.bands is None else monitor.bands.means["motion"]
    return Measured(
        cell={"window": monitor.window, **measured(monitor, fetch(result))},
        shown=as_picture(np.concatenate(shown)[: _shown_frames(start.shape[2:])]),
        motion=_motion(result) / usual,
    )


@functools.partial(jax.jit, static_argnums=0)
def _watch(monitor: Monitor, seen: PyTree, block: Frames) -> PyTree:
    def body(seen: PyTree, frame: Array) -> tuple[PyTree, None]:
        return monitor.update(seen, frame), None

    return jax.lax.scan(body, seen, jnp.moveaxis(block, 1, 0))[0]


def _motion(result: Measurement) -> float:
    return float(np.mean(fetch(result.extremes.mean["motion"])))


def _shown_frames(frame: tuple[int, ...]) -> int:
    return max(FEWEST_SHOWN, SHOWN_BYTES // math.prod(frame))


def _context(generator: Generator) -> int:
    return max(generator.context_frames, 2)


def as_picture(frames: np.ndarray) -> np.ndarray | None:
    """Frames `[t, h, w, c]` in [-1, 1] as uint8 of 1 or 3 channels; None for latents of other widths."""
    if frames.shape[-1] not in (1, 3):
        return None
    return np.asarray(np.round((np.clip(frames.astype(np.float32), -1.0, 1.0) + 1.0) * 127.5), np.uint8)
