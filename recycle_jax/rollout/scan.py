"""Rollouts of a fixed length that keep every frame: for filmstrips, video and short comparisons.

A program is compiled once for each generator, length and shape, and kept. With a mesh, every device rolls out its share
of the rows; a row draws the same on any mesh.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import Mesh

from recycle_jax.generators.base import Generator, require_same_frames
from recycle_jax.rng import row_keys
from recycle_jax.sharding import split_over_devices
from recycle_jax.typing import Frames, Params, PRNGKey, PyTree, Scalar

KEPT_PROGRAMS = 64
"""Compiled rollouts that are kept."""


def rollout(
    generator: Generator,
    params: Params,
    context: Frames,
    key: PRNGKey,
    frames: int,
    condition: PyTree = None,
    *,
    mesh: Mesh | None = None,
    first: Scalar | int = 0,
) -> Frames:
    """Generates `frames` frames after `context`, each chunk conditioned on generated history.

    Args:
        generator: who generates.
        params: its parameters.
        context: `[b, k, h, w, c]` real history in any float dtype, of which the generator sees the last
            `context_frames` frames.
        key: one key; rows and steps are folded in.
        frames: how many, a multiple of `chunk_frames`.
        condition: per-row pytree for the network, or None.
        mesh: the devices that share the rows, any number of them; arguments may then lie anywhere. None rolls out where
            the arguments lie, also inside of compiled programs.
        first: global number of the first row, where `context` is a part of more rows; without a mesh only.

    Returns:
        `[b, frames, h, w, c]`, without the context.

    Raises:
        ValueError: if `frames` is no multiple of `chunk_frames`, or the context is too short, has no five axes or is
            of integers.
    """
    steps = steps_of(generator, frames)
    context = checked_context(generator, context)
    if mesh is None:
        return kept(_compiled, generator, steps)(params, (context, condition), key, first)
    video: Frames = kept(_split, generator, steps, mesh)(params, (context, condition), key)
    return video


def _rolled(generator: Generator, steps: int) -> Callable[..., Frames]:
    """`(params, (context, condition), key, first) -> frames`, of a part of the rows or all of them."""

    def rolled(params: Params, rows: tuple[Frames, PyTree], key: PRNGKey, first: Scalar) -> Frames:
        context, condition = rows

        def body(carry: PyTree, i: Array) -> tuple[PyTree, Frames]:
            carry, chunk = generator.step(params, carry, rollout_keys(key, i, context.shape[0], first), condition)
            require_same_frames(context, chunk)
            return carry, chunk

        carry = generator.begin(params, context, condition)
        _, chunks = jax.lax.scan(body, carry, jnp.arange(steps, dtype=jnp.int32))
        return jnp.moveaxis(chunks, 0, 1).reshape(context.shape[0], -1, *context.shape[2:])

    return rolled


def _compiled(generator: Generator, steps: int) -> Callable[..., Frames]:
    return jax.jit(_rolled(generator, steps))


def _split(generator: Generator, steps: int, mesh: Mesh) -> Callable[..., Frames]:
    return split_over_devices(_rolled(generator, steps), mesh)


def kept(make: Callable[..., Any], *what: Any) -> Any:
    """What `make` makes of hashable values, kept from call to call; made anew where one of them cannot be hashed."""
    try:
        hash(what)
    except TypeError:
        return make(*what)
    return _kept(make, *what)


@functools.lru_cache(maxsize=KEPT_PROGRAMS)
def _kept(make: Callable[..., Any], *what: Any) -> Any:
    return make(*what)


def checked_context(generator: Generator, context: Any) -> Frames:
    """The newest `context_frames` frames of a history, where a generator can begin on it; else ValueError."""
    wanted = generator.context_frames
    if getattr(context, "ndim", None) != 5 or context.shape[1] < wanted:
        raise ValueError(
            f"the context has shape {getattr(context, 'shape', None)}, must be [rows, frames, height, width, channels] "
            f"with at least {wanted} frames, the generator's context_frames: pass the newest {wanted} real frames; "
            "a single clip becomes a row by clip[None]"
        )
    if not jnp.issubdtype(context.dtype, jnp.floating):
        remedy = "x / 127.5 - 1 makes them of bytes" if context.dtype == jnp.uint8 else "convert them"
        raise ValueError(f"the context is {context.dtype}, must be floats as in training, in [-1, 1]: {remedy}")
    # Of float64, which JAX knows only where it was asked for, float32 is made.
    return jnp.asarray(context[:, -wanted:], jax.dtypes.canonicalize_dtype(context.dtype))


def steps_of(generator: Generator, frames: int) -> int:
    """Steps that make `frames` frames; ValueError where that is no whole number."""
    steps, rest = divmod(frames, generator.chunk_frames)
    if rest or frames < 1:
        near = max(1, round(frames / generator.chunk_frames)) * generator.chunk_frames
        raise ValueError(
            f"a rollout of {frames} frames is no multiple of chunk_frames = {generator.chunk_frames}: ask for {near}"
        )
    return steps


def rollout_keys(key: PRNGKey, step: Array, rows: int, first: Scalar | int = 0) -> Array:
    """`[b]` keys of one step, folded from step and global row number."""
    return row_keys(jax.random.fold_in(key, step), rows, first)
