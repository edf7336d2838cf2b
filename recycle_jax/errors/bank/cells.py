"""Where rows go and where draws come from: the index arithmetic of the error bank, one shard at a time.

Nothing here touches an entry. Valid cells of a slot are always `[0, count)`.
"""

import jax
import jax.numpy as jnp
from jax import Array

from recycle_jax.typing import PRNGKey


def rank_in_slot(slot: Array, write: Array) -> Array:
    """`[b]` int32: how many earlier written rows have the same slot."""
    row = jnp.arange(slot.shape[0], dtype=jnp.int32)
    earlier = (slot[:, None] == slot[None]) & write[None] & (row[None] < row[:, None])
    return jnp.sum(earlier, axis=1, dtype=jnp.int32)


def drop_overwritten(slot: Array, cell: Array, write: Array, capacity: int) -> Array:
    """Cells with every row that is not to be written, or that a later row overwrites, sent out of range.

    Each such row gets a cell of its own past the end, since a scatter with unique indices counts them too.
    """
    row = jnp.arange(slot.shape[0], dtype=jnp.int32)
    same = (slot[:, None] == slot[None]) & (cell[:, None] == cell[None])
    beaten = jnp.any(same & write[None] & (row[None] > row[:, None]), axis=1)
    return jnp.where(write & ~beaten, cell, capacity + row)


def rows_per_slot(slot: Array, write: Array, slots: int) -> Array:
    """`[slots]` int32: written rows a slot."""
    hit = (slot[:, None] == jnp.arange(slots, dtype=jnp.int32)[None]) & write[:, None]
    return jnp.sum(hit, axis=0, dtype=jnp.int32)


def one_cell(key: PRNGKey, count: Array) -> Array:
    """A cell uniform over `[0, count)`, 0 if there is none."""
    return jax.random.randint(key, (), 0, jnp.maximum(count, 1), jnp.int32)


def any_cell(key: PRNGKey, counts: Array) -> tuple[Array, Array, Array]:
    """A slot and cell uniform over the `sum(counts)` entries of a shard, and whether there is any."""
    ends = jnp.cumsum(counts, dtype=jnp.int32)
    entry = one_cell(key, ends[-1])
    slot = jnp.minimum(jnp.sum(ends <= entry, dtype=jnp.int32), counts.shape[0] - 1)
    return slot, entry - (ends[slot] - counts[slot]), ends[-1] > 0
