"""Tags of stored entries: the small leaves by which draws and replacements choose among them.

A tag is a function of one entry that reads small leaves, `entry -> number`. Inside a compiled program only the leaves
that it reads are touched, so that choosing costs the same however large the frames of an entry are. Pass functions
of a module: they are part of a program's hash, and a new lambda compiles anew.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from recycle_jax.errors.bank.replacement import capacity_of
from recycle_jax.errors.bank.storage import BankState, unpack
from recycle_jax.typing import PyTree

Tag = Callable[[PyTree], Array]


def domain_of(entry: PyTree) -> Array:
    """The domain of a case or residual entry, int32."""
    return entry.domain


def score_of(entry: PyTree) -> Array:
    """The score of a case: how far it lies from its reference, float32."""
    return entry.score


def read_tags(tag: Tag, stored: PyTree, axes: int) -> Array:
    """The tags of stored entries with so many leading axes: 3 for a bank `[S, slots, capacity]`, 2 for rows `[S, b]`.

    Raises:
        ValueError: if the tag of an entry is not a number.
    """
    read = tag
    for _ in range(axes):
        read = jax.vmap(read)
    tags = read(unpack(stored))
    if tags.ndim != axes:
        raise ValueError(
            f"the tag {getattr(tag, '__name__', tag)} of an entry has shape {tags.shape[axes:]}, but entries are "
            f"chosen by one number each: reduce it"
        )
    return tags


def valid_cells(state: BankState) -> Array:
    """`[S, slots, capacity]` bool: the cells that hold an entry."""
    return jnp.arange(capacity_of(state), dtype=jnp.int32)[None, None] < state.count[:, :, None]
