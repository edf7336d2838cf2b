"""Rollouts of a fixed length that keep every frame: for filmstrips, video and short comparisons."""

import jax
import jax.numpy as jnp
from jax import Array

from recycle_jax.generators.base import Generator
from recycle_jax.typing import Frames, Params, PRNGKey, PyTree


def rollout(
    generator: Generator, params: Params, context: Frames, key: PRNGKey, frames: int, condition: PyTree = None
) -> Frames:
    """Generates `frames` frames after `context`, each chunk conditioned on generated history.

    Args:
        generator: who generates.
        params: its parameters.
        context: `[b, k, h, w, c]` real history, of which the generator sees the last `context_frames` frames.
        key: one key; rows and steps are folded in.
        frames: how many, a multiple of `chunk_frames`.
        condition: per-row pytree for the network, or None.

    Returns:
        `[b, frames, h, w, c]`, without the context.

    Raises:
        ValueError: if `frames` is no multiple of `chunk_frames`.
    """
    steps = steps_of(generator, frames)
    rows = context.shape[0]

    def body(carry: PyTree, i: Array) -> tuple[PyTree, Frames]:
        return generator.step(params, carry, rollout_keys(key, i, rows), condition)

    carry = generator.begin(params, context[:, -generator.context_frames :], condition)
    _, chunks = jax.lax.scan(body, carry, jnp.arange(steps, dtype=jnp.int32))
    return jnp.moveaxis(chunks, 0, 1).reshape(rows, frames, *context.shape[2:])


def steps_of(generator: Generator, frames: int) -> int:
    """Steps that make `frames` frames; ValueError where that is no whole number."""
    steps, rest = divmod(frames, generator.chunk_frames)
    if rest or frames < 1:
        near = max(1, round(frames / generator.chunk_frames)) * generator.chunk_frames
        raise ValueError(
            f"a rollout of {frames} frames is no multiple of chunk_frames = {generator.chunk_frames}: ask for {near}"
        )
    return steps


def rollout_keys(key: PRNGKey, step: Array, rows: int) -> Array:
    """`[b]` keys of one step, folded from step and row."""
    of_step = jax.random.fold_in(key, step)
    return jax.vmap(jax.random.fold_in, (None, 0))(of_step, jnp.arange(rows, dtype=jnp.int32))
