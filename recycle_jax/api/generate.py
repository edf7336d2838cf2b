"""`rollout`, `stream` and `iterate`: a generator run on its own output, into memory, into a file, or block by block."""

import dataclasses
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from recycle_jax.generators.base import Generator
from recycle_jax.io.progress import progress
from recycle_jax.rollout.blocks import blocks, require_generator
from recycle_jax.rollout.scan import steps_of
from recycle_jax.sharding import fetch, is_first_host
from recycle_jax.typing import Frames, Params, PyTree


def rollout(
    generator: Generator,
    params: Params,
    start: Any,
    frames: int,
    *,
    seed: int = 0,
    condition: PyTree = None,
    mesh: Mesh | None = None,
) -> Frames:
    """Generates `frames` frames after `start`, each chunk conditioned on generated history, and keeps them all.

    Args:
        generator: who generates.
        params: its parameters.
        start: `[b, t, h, w, c]` real frames, of which the generator sees the last `context_frames`; floats in the
            range of the training clips, or uint8 in 0..255.
        frames: how many.
        seed: of what the generator draws.
        condition: a `Condition` whose `per_frame` leaves have a value for each frame to be made, `[b, frames, ...]`; a
            pytree of leaves `[b, ...]` that hold for all of them; or None.
        mesh: of the devices to use, all by default.

    Returns:
        `[b, frames, h, w, c]`, without the start.

    Raises:
        ValueError: if the start cannot be one of this generator's, or there are no frames to make.
    """
    steps = _steps(generator, frames)
    made = blocks(generator, params, start, steps, jax.random.key(seed), condition=condition, mesh=mesh)
    return jnp.concatenate(list(made), axis=1)[:, :frames]


def iterate(
    generator: Generator,
    params: Params,
    start: Any,
    *,
    seed: int = 0,
    condition: PyTree = None,
    mesh: Mesh | None = None,
) -> Iterator[Frames]:
    """Yields the frames of a rollout without end, some at a time, `[b, n, h, w, c]`; arguments as in `rollout`."""
    return blocks(generator, params, start, None, jax.random.key(seed), condition=condition, mesh=mesh)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Streamed:
    """A video that was streamed to a file.

    Attributes:
        path: of the file.
        frames: how many were written.
        seconds: how long it took, compilation included.
    """

    path: Path
    frames: int
    seconds: float

    def __repr__(self) -> str:
        return f"Streamed({self.frames} frames, {self.frames / self.seconds:.3g} a second, to {self.path})"


def stream(
    generator: Generator,
    params: Params,
    start: Any,
    frames: int,
    *,
    to: str | os.PathLike[str],
    fps: float = 12,
    decode: Callable[[Frames], Frames] | None = None,
    seed: int = 0,
    condition: PyTree = None,
    mesh: Mesh | None = None,
) -> Streamed:
    """Generates frames into an mp4 file as they are made; neither memory nor the wait for the first grows with them.

    The file can be played while it grows and after a kill. Several rows lie side by side in one picture.

    Args:
        generator, params, start, seed, condition, mesh: as in `rollout`.
        frames: how many.
        to: the file to write.
        fps: frames a second of the file.
        decode: from the generator's frames `[b, n, h, w, c]` to pixels in [-1, 1], for generators of latents.

    Raises:
        ValueError: if the start cannot be one of this generator's, or there are no frames to make.
        ImportError: without the extra `video`, with the command that installs it.
        OSError: unwritable or full disk, with the remedy.
    """
    from recycle_jax.io.video import Mp4Writer  # an extra

    steps, began, written = _steps(generator, frames), time.perf_counter(), 0
    made = blocks(generator, params, start, steps, jax.random.key(seed), condition=condition, mesh=mesh)
    with Mp4Writer(to, fps=fps) as writer, progress(f"streaming to {os.fspath(to)}", frames) as advance:
        for block in made:
            pixels = fetch(_to_uint8(block if decode is None else decode(block)))[:, : frames - written]
            for frame in np.moveaxis(pixels, 1, 0) if is_first_host() else ():
                writer.append(_tiled(frame))
            written += pixels.shape[1]
            advance(pixels.shape[1])
    return Streamed(path=Path(to).absolute(), frames=written, seconds=time.perf_counter() - began)


def _steps(generator: Generator, frames: int) -> int:
    """Steps that make at least so many frames."""
    require_generator(generator)
    if frames < 1:
        raise ValueError(f"frames is {frames}, must be at least 1")
    chunk = generator.chunk_frames
    return steps_of(generator, -(-frames // chunk) * chunk)


@jax.jit
def _to_uint8(frames: Frames) -> Any:
    return jnp.round((jnp.clip(frames.astype(jnp.float32), -1.0, 1.0) + 1.0) * 127.5).astype(jnp.uint8)


def _tiled(frames: np.ndarray) -> np.ndarray:
    """`[b, h, w, c]` side by side in one picture, in rows of about the square root of their number."""
    b, h, w, c = frames.shape
    across = math.ceil(math.sqrt(b))
    down = -(-b // across)
    grid = np.zeros((down * across, h, w, c), frames.dtype)
    grid[:b] = frames
    return grid.reshape(down, across, h, w, c).swapaxes(1, 2).reshape(down * h, across * w, c)
