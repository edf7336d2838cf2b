"""Random numbers by row: a row draws the same whatever its neighbours and whatever the number of devices."""

import jax
import jax.numpy as jnp
from jax import Array

from recycle_jax.typing import PRNGKey, RowKeys


def row_keys(key: PRNGKey, rows: int, first: Array | int = 0) -> RowKeys:
    """A key for each of `rows` rows, folded with its global number, so that it is the same on any mesh.

    Args:
        key: the step's key, the same on every device.
        rows: the number of rows here.
        first: the global number of the first row here: `first_row(rows)` inside `shard_over_data`.
    """
    numbers = jnp.asarray(first, jnp.int32) + jnp.arange(rows, dtype=jnp.int32)
    return jax.vmap(jax.random.fold_in, (None, 0))(key, numbers)


def normal_rows(keys: RowKeys, shape: tuple[int, ...]) -> Array:
    """Standard normal `[b, *shape]`, each row from its own key, so that a row does not depend on its neighbours."""
    return jax.vmap(lambda key: jax.random.normal(key, shape, jnp.float32))(keys)


def uniform_rows(keys: RowKeys, low: float = 0.0, high: float = 1.0) -> Array:
    """Uniform `[b]` in [low, high), each row from its own key."""
    return jax.vmap(lambda key: jax.random.uniform(key, (), jnp.float32, low, high))(keys)


def split_rows(keys: RowKeys, count: int) -> tuple[RowKeys, ...]:
    """Splits every row's key into `count` keys: a tuple of `[b]` keys."""
    split = jax.vmap(lambda key: jax.random.split(key, count))(keys)
    return tuple(split[:, i] for i in range(count))
