"""How far a curriculum is: a policy's memory of the updates that it has made.

With a ramp of R updates and u updates made,

    progress = min(1, u / R)                                                                    (1)

Updates that were refused do not count. A ramp of 0 is no curriculum: nothing is remembered, and progress is 1.
"""

import jax.numpy as jnp

from recycle_jax.typing import PyTree, RowInts, Scalar


def require_ramp(ramp: int) -> None:
    """Raises ValueError where a ramp is negative."""
    if ramp < 0:
        raise ValueError(f"ramp is {ramp}, a number of updates that cannot be negative: use 0 for no curriculum")


def begin_ramp(ramp: int, shards: int) -> RowInts | None:
    """The memory before the first update: `[shards]` int32 zeros, or None without a ramp."""
    return jnp.zeros(shards, jnp.int32) if ramp else None


def progress(ramp: int, memory: PyTree) -> Scalar:
    """Equation (1): float32 in [0, 1]."""
    if not ramp:
        return jnp.float32(1.0)
    return jnp.minimum(memory[0].astype(jnp.float32) / ramp, 1.0)


def count_update(ramp: int, memory: PyTree, is_finite: Scalar) -> PyTree:
    """The memory after an update, the same as before where it was not `is_finite`, or where there is no ramp."""
    return memory + is_finite.astype(jnp.int32) if ramp else memory
