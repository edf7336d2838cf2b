"""The error bank: a store of entries of fixed shape, written and drawn inside compiled programs.

An entry is any pytree (a residual and its σ, or a complete case). The bank has `S` *logical* shards, a number
that does not depend on the machine, each with `slots` slots of `capacity` cells. Row `i` of `b` belongs to
shard `i // (b / S)`; a shard never looks at another one, so the functions here run unchanged on the whole
bank under `jax.jit` and on the local shards inside a `shard_map`, without a collective, and give the same
result on any number of devices.

Costs: a draw is index arithmetic and a gather of `b` rows, whatever the capacity; an insert is a scatter of
`b` rows, in place if the state is donated.
"""

import dataclasses
from typing import Any

import chex
import jax
import jax.numpy as jnp
from flax import struct
from jax import Array

from recycle_jax.errors.bank import cells
from recycle_jax.errors.bank.draws import DrawRule, Located
from recycle_jax.errors.bank.replacement import Replacement, Ring
from recycle_jax.errors.bank.storage import BankState, pack, split_to_shards, to_storage, unpack
from recycle_jax.errors.bank.threshold import AdaptiveThreshold
from recycle_jax.typing import PyTree, RowFlags, RowInts, RowKeys, Rows


@struct.dataclass(kw_only=True)
class AnySlot:
    """Draw uniformly over all entries of the row's shard: a slot with more entries is hit more often.

    Attributes:
        allowed: slots to draw from, `[slots]` bool (replicated) or `[b, slots]` bool (sharded over `b`), such
            as the slots of an age window; None for all of them.
    """

    allowed: Any = None


@struct.dataclass(kw_only=True)
class Drawn:
    """What a draw gave.

    Attributes:
        entries: pytree of `[b, ...]` leaves in storage dtypes, sharded over `b`; zeros where nothing was
            found.
        found: `[b]` bool, sharded over `b`: whether there was an entry to draw. Select with `where`; a row
            without one uses clean context.
        weight: `[b]` float32, sharded over `b`: what to weigh the row's loss with, so that its mean is that over all
            entries (`errors.bank.draws`, equation 3); None where all entries are drawn alike.
    """

    entries: PyTree
    found: Any
    weight: Any = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class ErrorBank:
    """The shape of a bank and its rule of replacement.

    Attributes:
        shards: logical shards `S`; the same on every machine, a multiple of the number of devices.
        slots: bins a shard.
        capacity: entries a slot of a shard, so that the bank holds `shards * slots * capacity`.
        replacement: which cell a new entry is written to, if any.
        threshold: which errors are worth banking (`admit`), None for all.
    """

    shards: int = 1
    slots: int = 1
    capacity: int
    replacement: Replacement = Ring()
    threshold: AdaptiveThreshold | None = None

    def __post_init__(self) -> None:
        for name in ("shards", "slots", "capacity"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}, but a bank needs at least 1: raise {name}")
        if self.slots * self.capacity >= 2**31:
            raise ValueError(
                f"{self.slots} slots of capacity {self.capacity} are more entries than the 2147483647 that "
                f"int32 numbers in a shard: use more shards, or at most capacity {(2**31 - 1) // self.slots}"
            )

    def init(self, entry: PyTree) -> BankState:
        """An empty bank, zero-filled.

        Args:
            entry: pytree of `jax.ShapeDtypeStruct` (or arrays): one entry's shapes and storage dtypes.

        Returns:
            The state of all `S` shards; `capacity.allocate` checks the memory first and places it on a mesh.
        """
        size = (self.shards, self.slots, self.capacity)
        entries = jax.tree.map(lambda leaf: pack(jnp.zeros(size + tuple(leaf.shape), leaf.dtype)), entry)
        row = jax.eval_shape(lambda tree: jax.tree.map(lambda leaf: leaf[:, 0], tree), entries)
        tracked = jax.eval_shape(self.replacement.norms, row) is not None
        return BankState(
            entries=entries,
            norms=jnp.zeros((self.shards, self.slots, self.capacity if tracked else 0), jnp.float32),
            cursor=jnp.zeros((self.shards, self.slots), jnp.int32),
            count=jnp.zeros((self.shards, self.slots), jnp.int32),
            inserted=jnp.zeros((self.shards,), jnp.int32),
            empty_draws=jnp.zeros((self.shards,), jnp.int32),
            seen=jnp.zeros((self.shards, self.slots), jnp.int32) if self.replacement.counts else None,
            thresholds=None if self.threshold is None else self.threshold.init(self.shards),
        )

    def admit(self, state: BankState, score: Rows, domain: RowInts, live: RowFlags) -> tuple[RowFlags, BankState]:
        """Which rows are worth banking, by the bank's adaptive threshold, which learns from them.

        Args:
            state: the bank, or its local shards.
            score: `[b]` float, how large each row's error is.
            domain: `[b]` int32.
            live: `[b]` bool, rows that come into question.

        Returns:
            `(write [b] bool, state)`; `live` and the state as they are in a bank without a threshold.
        """
        if self.threshold is None:
            return live, state
        write, thresholds = self.threshold(state.thresholds, score, domain, live)
        return write, dataclasses.replace(state, thresholds=thresholds)

    def insert(
        self,
        state: BankState,
        entries: PyTree,
        slot: RowInts,
        write: RowFlags,
        *,
        after: PyTree = (),
        keys: RowKeys | None = None,
    ) -> BankState:
        """Writes rows, in row order; with the ring exactly as if they were inserted one by one.

        Args:
            state: the bank, or its local shards; donate it, and the insert is in place.
            entries: pytree of `[b, ...]` leaves; floats are cast to the storage dtype.
            slot: `[b]` int32; a row with a slot outside `[0, slots)` is not written.
            write: `[b]` bool, rows to write.
            after: every `Drawn` of the same program whose entries the inserted rows do not all depend on
                (pass all of them to be sure). Without it the result is the same, but XLA's CPU compiler,
                which may then read after it writes, copies the whole bank (openxla/xla issue 20440).
            keys: `[b]` typed keys, folded with the global row number; only a `Reservoir` needs them.

        Raises:
            ValueError: if `b` is no multiple of the shards, the entries are not what the bank was made for, or the
                replacement rule needs keys and has none.
            TypeError: if a leaf would change kind (float, integer, bool).
        """
        chex.assert_equal_shape([slot, write])
        chex.assert_type([slot, write], [int, bool])
        slot, write, entries = split_to_shards((slot, write, entries), _shards(state))
        write = _wait_for(after, write) & (slot >= 0) & (slot < self.slots)
        slot = jnp.clip(slot, 0, self.slots - 1)
        rows = to_storage(entries, state.entries)
        rank = jax.vmap(cells.rank_in_slot)(slot, write)
        split = None if keys is None else split_to_shards(keys, _shards(state))
        cell = self.replacement.cells(state, rows, slot, rank, write, split)
        kept = write & (cell < self.capacity)
        cell = jax.vmap(cells.drop_overwritten, (0, 0, 0, None))(slot, cell, kept, self.capacity)
        offered, written = (
            jax.vmap(cells.rows_per_slot, (0, 0, None))(slot, flags, self.slots) for flags in (write, kept)
        )
        norms = self.replacement.norms(rows)
        return dataclasses.replace(
            state,
            entries=jax.tree.map(lambda leaf, row: _scatter(leaf, slot, cell, row), state.entries, rows),
            norms=state.norms if norms is None else _scatter(state.norms, slot, cell, norms),
            cursor=(state.cursor + written) % self.capacity,
            count=jnp.minimum(state.count + written, self.capacity),
            inserted=state.inserted + jnp.sum(written, axis=1, dtype=jnp.int32),
            seen=None if state.seen is None else state.seen + offered,
        )

    def draw(self, state: BankState, keys: RowKeys, slot: RowInts | AnySlot | DrawRule) -> Drawn:
        """One entry for each row, with replacement: uniform over a slot or over the entries of many, or by a rule.

        Args:
            state: the bank, or its local shards.
            keys: `[b]` typed keys; nothing else is random, so fold the global row number into each.
            slot: `[b]` int32, the slot to draw from (nothing is found in one out of range), or `AnySlot`,
                or a rule of `errors.bank.draws`.

        Raises:
            ValueError: if `b` is no multiple of the shards.
        """
        place = self._locate(state, keys, slot)
        rows = jax.tree.map(lambda leaf: _gather(leaf, place.slot, place.cell), state.entries)
        entries = jax.tree.map(lambda row: _where(place.found, row), unpack(rows))
        return jax.tree.map(_undeal, Drawn(entries=entries, found=place.found, weight=place.weight))

    def _locate(self, state: BankState, keys: RowKeys, slot: RowInts | AnySlot | DrawRule) -> Located:
        shards = _shards(state)
        split = split_to_shards(keys, shards)
        if isinstance(slot, DrawRule):
            return slot.locate(state, split)
        if isinstance(slot, AnySlot):
            counts = _allowed_counts(state.count, slot.allowed, keys.shape[0])
            chosen, cell, found = jax.vmap(jax.vmap(cells.any_cell))(split, counts)
            return Located(slot=chosen, cell=cell, found=found)
        chosen = split_to_shards(slot, shards)
        inside = (chosen >= 0) & (chosen < self.slots)
        chosen = jnp.clip(chosen, 0, self.slots - 1)
        count = jnp.where(inside, jnp.take_along_axis(state.count, chosen, axis=1), 0)
        return Located(slot=chosen, cell=jax.vmap(jax.vmap(cells.one_cell))(split, count), found=count > 0)

    def count_empty(self, state: BankState, missed: RowFlags) -> BankState:
        """Counts the rows `[b]` bool that wanted an entry and found none (`wanted & ~drawn.found`)."""
        missed = split_to_shards(missed, _shards(state)).astype(jnp.int32)
        return dataclasses.replace(state, empty_draws=state.empty_draws + jnp.sum(missed, axis=1, dtype=jnp.int32))

    def read(self, state: BankState) -> PyTree:
        """All entries, `[S, slots, capacity, ...]` in storage dtypes; a copy, so only for looking."""
        return unpack(state.entries)

    def stats(self, state: BankState) -> dict[str, Array]:
        """What a collapse watch looks at; sums over the shards that the state holds.

        Returns:
            `entries` `[slots]` int32, `fill` `[slots]` float32 in [0, 1], `inserted` and `empty_draws` int32
            scalars, and, where the replacement rule keeps norms, `norm` `[slots]` float32: mean norm of an
            entry's key, 0 in an empty slot.
        """
        entries = jnp.sum(state.count, axis=0, dtype=jnp.int32)
        total = _shards(state) * self.capacity
        stats = {
            "entries": entries,
            "fill": entries.astype(jnp.float32) / total,
            "inserted": jnp.sum(state.inserted, dtype=jnp.int32),
            "empty_draws": jnp.sum(state.empty_draws, dtype=jnp.int32),
        }
        if state.norms.shape[2]:  # a cell that is not valid has norm 0
            summed = jnp.sum(jnp.sqrt(state.norms), axis=(0, 2))
            stats["norm"] = summed / jnp.maximum(entries, 1).astype(jnp.float32)
        return stats


def _shards(state: BankState) -> int:
    return state.count.shape[0]


def _wait_for(arrays: PyTree, flags: Array) -> Array:
    """The flags unchanged, but computed after the arrays (an `optimization_barrier` is dropped too soon)."""
    for leaf in jax.tree.leaves(arrays):
        probe = leaf.reshape((leaf.shape[0], -1))[:, 0].astype(jnp.float32)
        # x - x is 0 or NaN, never above a half; but a compiler must not assume 0, so it cannot cut this tie.
        flags = flags & ~jnp.any(probe - probe > 0.5)
    return flags


def _undeal(rows: Array) -> Array:
    return rows.reshape((rows.shape[0] * rows.shape[1],) + rows.shape[2:])


def _where(flags: Array, rows: Array) -> Array:
    flags = flags.reshape(flags.shape + (1,) * (rows.ndim - flags.ndim))
    return jnp.where(flags, rows, jnp.zeros_like(rows))


def _scatter(leaf: Array, slot: Array, cell: Array, rows: Array) -> Array:
    def write(leaf: Array, slot: Array, cell: Array, rows: Array) -> Array:
        return leaf.at[slot, cell].set(rows, mode="drop", unique_indices=True)

    return jax.vmap(write)(leaf, slot, cell, rows)


def _gather(leaf: Array, slot: Array, cell: Array) -> Array:
    return jax.vmap(lambda leaf, slot, cell: leaf.at[slot, cell].get(mode="clip"))(leaf, slot, cell)


def _allowed_counts(count: Array, allowed: Array | None, rows: int) -> Array:
    """`[S, b / S, slots]` int32: the entries that each row may draw from."""
    shards, slots = count.shape
    if allowed is None:
        allowed = jnp.ones((slots,), bool)
    if allowed.shape not in ((slots,), (rows, slots)):
        raise ValueError(f"allowed has shape {allowed.shape}, but must be {(slots,)} or {(rows, slots)}")
    allowed = split_to_shards(jnp.broadcast_to(allowed.reshape((-1, slots)), (rows, slots)), shards)
    return jnp.where(allowed, count[:, None], 0)
