"""Which cell of its slot a new entry is written to.

`Ring` overwrites the oldest entry. `Nearest` is the rule of Stable Video Infinity (`l2_batch` in its released
training script): a full slot gives up the entry that is most like the new one,

    cell = argmin_j || E_new - E_j ||^2 = argmin_j ( ||E_j||^2 - 2 <E_new, E_j> )
    (1)

with the `||E_j||^2` cached in the bank, so that one matrix product is all it costs. It ages nothing: early
errors stay for ever where training goes elsewhere. That is the paper's, and the ring is the default. Rules that keep
a fair sample or the worst errors are in `errors.bank.eviction`.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import ClassVar, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax import Array, lax

from recycle_jax.errors.bank.storage import BankState, unpack
from recycle_jax.typing import PyTree

_HIGHEST = lax.Precision.HIGHEST


@runtime_checkable
class Replacement(Protocol):
    """A rule for choosing cells; a frozen value.

    Attributes:
        counts: whether it needs `BankState.seen`, the number of rows ever offered to a slot.
    """

    counts: ClassVar[bool]

    def norms(self, rows: PyTree) -> Array | None:
        """Squared norms `[S, b]` float32 of stored rows, or None where the rule keeps no norms."""
        ...

    def cells(
        self, state: BankState, rows: PyTree, slot: Array, rank: Array, write: Array, keys: Array | None
    ) -> Array:
        """The cell `[S, b]` int32 of every row, 0 or more; a row given `capacity` or more is not written.

        Args:
            state: the bank before the insert.
            rows: stored rows, leaves `[S, b, ...]`.
            slot: `[S, b]` int32, in range.
            rank: `[S, b]` int32, the number of earlier written rows with the same slot.
            write: `[S, b]` bool; the cells of the other rows are ignored.
            keys: `[S, b]` typed keys, or None where the insert was given none.
        """
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ring:
    """The oldest entry of the slot is overwritten.

    Attributes:
        key: float array of one entry (no leading axes, floats as float32) whose norm is watched, or None to
            keep no norms. Pass a function of a module: it is part of the bank's hash, and a new lambda
            compiles anew.
    """

    key: Callable[[PyTree], Array] | None = None
    counts: ClassVar[bool] = False

    def norms(self, rows: PyTree) -> Array | None:
        return None if self.key is None else squared_norms(self.key, rows)

    def cells(
        self, state: BankState, rows: PyTree, slot: Array, rank: Array, write: Array, keys: Array | None
    ) -> Array:
        return (jnp.take_along_axis(state.cursor, slot, axis=1) + rank) % capacity_of(state)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Nearest:
    """The entry nearest to the new one is overwritten once the slot is full (1).

    All rows of one insert are compared with the bank *as it was before*; the paper inserts one by one, so
    that a row may replace another of its own batch. Where several rows choose one cell the last of them gets
    it and the others are dropped. Rows that find an empty slot and outnumber its capacity go round it as in a
    ring.

    Attributes:
        key: float array of one entry (no leading axes, floats as float32) that distances are measured on; it
            may combine leaves, as in `-σ r` for the paper's data errors. Pass a function of a module: it is
            part of the bank's hash.
    """

    key: Callable[[PyTree], Array]
    counts: ClassVar[bool] = False

    def norms(self, rows: PyTree) -> Array | None:
        return squared_norms(self.key, rows)

    def cells(
        self, state: BankState, rows: PyTree, slot: Array, rank: Array, write: Array, keys: Array | None
    ) -> Array:
        capacity = capacity_of(state)
        count = jnp.take_along_axis(state.count, slot, axis=1)
        crowded = write & (count > 0) & (count + rank >= capacity)

        def search() -> Array:
            return self._closest(state, rows, slot)

        # Most inserts find room (a paper-sized bank never fills), and then no distance is computed at all.
        closest = lax.cond(jnp.any(crowded), search, lambda: jnp.zeros_like(slot))
        return jnp.where(crowded, closest, (count + rank) % capacity)

    def _closest(self, state: BankState, rows: PyTree, slot: Array) -> Array:
        shards, slots, capacity = state.norms.shape
        new = jax.vmap(partial(_flat_keys, self.key))(rows)  # [S, b, key]

        def products(block: tuple[Array, PyTree]) -> Array:
            number, entries = block
            return jnp.matmul(new[number // slots], _flat_keys(self.key, entries).T, precision=_HIGHEST)

        # Slot by slot, each against all rows of its shard: the transient is one slot and not the bank.
        blocks = jax.tree.map(lambda leaf: leaf.reshape((shards * slots,) + leaf.shape[2:]), state.entries)
        inner = lax.map(products, (jnp.arange(shards * slots, dtype=jnp.int32), blocks))
        shard, row = jnp.indices(slot.shape, dtype=jnp.int32)
        valid = jnp.arange(capacity, dtype=jnp.int32)[None, None] < state.count[shard, slot][:, :, None]
        distance = state.norms[shard, slot] - 2.0 * inner[shard * slots + slot, row]
        return jnp.argmin(jnp.where(valid, distance, jnp.inf), axis=2).astype(jnp.int32)


def capacity_of(state: BankState) -> int:
    """Cells a slot (of one shard) of a bank state."""
    return jax.tree.leaves(state.entries)[0].shape[2]


def squared_norms(key: Callable[[PyTree], Array], rows: PyTree) -> Array:
    """Squared norms `[S, b]` float32 of the key of stored rows, after rounding to the storage dtype."""
    return jnp.sum(jax.vmap(partial(_flat_keys, key))(rows) ** 2, axis=2)


def _flat_keys(key: Callable[[PyTree], Array], rows: PyTree) -> Array:
    """`[n, size]` float32: the keys of `n` stored entries."""
    return jax.vmap(lambda entry: key(jax.tree.map(_widen, unpack(entry))).ravel())(rows)


def _widen(leaf: Array) -> Array:
    return leaf.astype(jnp.float32) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf
