"""Rollouts block by block: any length from a few compiled programs, in constant memory.

A block is some steps of a generator in one compiled call. Blocks have 32 steps; what is left over at the end is made
of blocks of 16, 8, 4, 2 and 1, so that rollouts of any length share at most six programs. Programs are kept by
generator, block length and shapes: a second rollout of the same shapes compiles nothing. Step and row are folded into
the keys of every draw, so that a rollout does not depend on how it is cut into blocks.
"""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh

from recycle_jax.batch import condition_for, frames_of
from recycle_jax.generators.base import Generator, require_same_frames
from recycle_jax.rollout.scan import checked_context, rollout_keys
from recycle_jax.sharding import ROLES, make_mesh, padded, place
from recycle_jax.typing import Frames, Params, PRNGKey, PyTree

BLOCK = 32
"""Steps of the longest block."""


def blocks(
    generator: Generator,
    params: Params,
    start: Any,
    steps: int | None,
    key: PRNGKey,
    *,
    condition: PyTree = None,
    mesh: Mesh | None = None,
) -> Iterator[Frames]:
    """Yields the frames of a rollout, `[b, n * chunk_frames, h, w, c]` a block of `n` steps, on the devices.

    Args:
        generator: who generates.
        params: its parameters.
        start: `[b, t, h, w, c]` real frames, at least `context_frames`; floats, or uint8 in 0..255.
        steps: how many, None for no end.
        key: one key; rows and steps are folded in.
        condition: a `Condition` whose `per_frame` leaves have a value for each generated frame, `[b, frames, ...]`; a
            pytree of leaves `[b, ...]` that hold for all of them; or None.
        mesh: of the devices to use, all by default; rows are split over them, and padded where they cannot be.

    Raises:
        ValueError: if the start cannot be one of this generator's.
        TypeError: if the generator lacks a method.
    """
    context = checked_start(generator, start)
    rows = context.shape[0]
    _require_frames(condition, steps, generator.chunk_frames)
    mesh = _fitting(make_mesh() if mesh is None else mesh, rows)
    context, condition = place(padded((context, condition), mesh), mesh, ROLES.rows, copy=True)
    params, key = place((params, key), mesh, ROLES.params)
    static = _Static(generator)
    carry = _begin(static, params, context, condition_for(condition, 0, generator.chunk_frames))
    done = 0
    while steps is None or done < steps:
        count = BLOCK if steps is None else min(BLOCK, 1 << (steps - done).bit_length() - 1)
        told = condition_for(condition, done * generator.chunk_frames, count * generator.chunk_frames)
        carry, frames = _block(static, params, carry, key, jnp.int32(done), told, count, context.shape)
        done += count
        yield frames if frames.shape[0] == rows else frames[:rows]


def checked_start(generator: Generator, start: Any) -> Frames:
    """The newest `context_frames` frames of a start, as floats.

    Raises:
        ValueError: if it is not `[b, t, h, w, c]`, too short, or of a dtype that frames cannot have.
        TypeError: if the generator lacks a method of `Generator`.
    """
    require_generator(generator)
    start = start if isinstance(start, jax.Array) else np.asarray(start)
    if start.dtype == np.uint8:
        start = start.astype(np.float32) / np.float32(127.5) - np.float32(1.0)
    return checked_context(generator, start)


def _require_frames(condition: PyTree, steps: int | None, chunk: int) -> None:
    given = frames_of(condition)
    if given is None:
        return
    if steps is None or given < steps * chunk:
        wanted = "a rollout without end" if steps is None else f"{steps * chunk} frames in chunks of {chunk}"
        raise ValueError(
            f"the condition has values for {given} frames, but {wanted} are to be made: "
            "give a value for each frame, or make fewer"
        )


def require_generator(generator: Any) -> None:
    """Raises a TypeError that lists what a generator lacks."""
    names = (
        "context_frames",
        "chunk_frames",
        "calls_per_step",
        "init",
        "corruption",
        "fit",
        "to_error",
        "begin",
        "step",
    )
    lacking = [name for name in names if not hasattr(generator, name)]
    if lacking:
        raise TypeError(
            f"{type(generator).__name__} is no generator: it lacks {', '.join(lacking)}; wrap a network in "
            "rj.Predictor or rj.RectifiedFlow, or write the methods of rj.Generator"
        )


class _Static:
    """A generator as a static argument: equal generators share a program; one without a hash is known by identity."""

    def __init__(self, generator: Generator):
        self.generator = generator
        try:
            self.key: Any = (type(generator), hash(generator))
        except TypeError:
            self.key = id(generator)

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Static) or self.key != other.key:
            return False
        return self.generator is other.generator or bool(self.generator == other.generator)


@functools.partial(jax.jit, static_argnums=0)
def _begin(static: _Static, params: Params, context: Frames, condition: PyTree) -> PyTree:
    return static.generator.begin(params, context, condition)


@functools.partial(jax.jit, static_argnums=(0, 6, 7), donate_argnums=2)
def _block(
    static: _Static,
    params: Params,
    carry: PyTree,
    key: PRNGKey,
    first: Array,
    condition: PyTree,
    count: int,
    context: tuple[int, ...],
) -> tuple[PyTree, Frames]:
    chunk = static.generator.chunk_frames
    frame = jax.ShapeDtypeStruct(context, jnp.float32)

    def body(carry: PyTree, i: Array) -> tuple[PyTree, Frames]:
        keys = rollout_keys(key, first + i, context[0])
        carry, frames = static.generator.step(params, carry, keys, condition_for(condition, i * chunk, chunk))
        require_same_frames(frame, frames)
        return carry, frames

    carry, chunks = jax.lax.scan(body, carry, jnp.arange(count, dtype=jnp.int32))
    return carry, jnp.moveaxis(chunks, 0, 1).reshape(context[0], count * chunk, *context[2:])


def _fitting(mesh: Mesh, rows: int) -> Mesh:
    """The mesh, or its first devices where there are fewer rows than devices, all of this host."""
    if rows >= mesh.size or jax.process_count() > 1:
        return mesh
    return make_mesh(list(mesh.devices.flat[:rows]))
