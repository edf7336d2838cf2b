"""Which entries a full slot keeps: a fair sample of all that came, or the worst errors.

`Reservoir` is algorithm R (Vitter, "Random sampling with a reservoir", 1985): row number `n` of a slot, counted from
0 over everything that was ever offered to it,

    n < capacity    goes to cell n
    else            goes to cell j = U{0, ..., n} if j < capacity, and nowhere otherwise                (1)

so that after any number of rows each of them is kept with the same probability. Rows of one batch are numbered in
row order, and of two that choose one cell the later gets it: the same as one by one.

`Lowest` keeps the entries of highest score. With old scores `o_0 <= o_1 <= ...` and those of the batch
`n_0 >= n_1 >= ...` in one slot,

    n_j replaces o_j where n_j > o_j                                                                    (2)

keeps the best `capacity` of both together, each row with a cell of its own, and writes nothing that is lower than all
that is kept.
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import Array, lax

from recycle_jax.errors.bank.replacement import capacity_of
from recycle_jax.errors.bank.storage import BankState
from recycle_jax.errors.bank.tags import Tag, read_tags, score_of, valid_cells
from recycle_jax.typing import PRNGKey, PyTree

_RESERVOIR_STREAM = 0x5265
"""Folded into the rows' keys, which others may use too."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reservoir:
    """Every entry ever offered is kept with the same probability (1); `ErrorBank.insert` then needs the rows' keys."""

    counts: ClassVar[bool] = True

    def norms(self, rows: PyTree) -> Array | None:
        return None

    def cells(
        self, state: BankState, rows: PyTree, slot: Array, rank: Array, write: Array, keys: Array | None
    ) -> Array:
        if keys is None:
            raise ValueError("insert got no keys, but a reservoir draws which rows it keeps: pass keys, one a row")
        capacity = capacity_of(state)
        number = jnp.take_along_axis(state.seen, slot, axis=1) + rank

        def place(key: PRNGKey, number: Array) -> Array:
            return jax.random.randint(jax.random.fold_in(key, _RESERVOIR_STREAM), (), 0, number + 1, jnp.int32)

        drawn = jax.vmap(jax.vmap(place))(keys, number)
        return jnp.where(number < capacity, number, jnp.minimum(drawn, capacity))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lowest:
    """A full slot gives up its entry of lowest score, and a row that scores no higher is not written (2).

    Attributes:
        score: of one entry, as it is stored; one that is not finite counts as the lowest of all.
    """

    score: Tag = score_of
    counts: ClassVar[bool] = False

    def norms(self, rows: PyTree) -> Array | None:
        return None

    def cells(
        self, state: BankState, rows: PyTree, slot: Array, rank: Array, write: Array, keys: Array | None
    ) -> Array:
        capacity = capacity_of(state)
        reach = min(capacity, slot.shape[1])
        old = jnp.where(valid_cells(state), _finite(read_tags(self.score, state.entries, 3)), -jnp.inf)
        lowest, cell = lax.top_k(-old, reach)  # [S, slots, reach]; empty cells first, in their order
        new = _finite(read_tags(self.score, rows, 2))
        place = jax.vmap(_rank_by_score)(new, slot, write)
        shard = jnp.arange(slot.shape[0], dtype=jnp.int32)[:, None]
        at = (shard, slot, jnp.minimum(place, reach - 1))
        return jnp.where((place < reach) & (new > -lowest[at]), cell[at], capacity)


def _finite(score: Array) -> Array:
    score = score.astype(jnp.float32)
    return jnp.where(jnp.isfinite(score), score, jnp.finfo(jnp.float32).min)


def _rank_by_score(score: Array, slot: Array, write: Array) -> Array:
    """`[b]` int32: the written rows of the same slot with a higher score, or the same and earlier."""
    row = jnp.arange(slot.shape[0], dtype=jnp.int32)
    higher = (score[None] > score[:, None]) | ((score[None] == score[:, None]) & (row[None] < row[:, None]))
    return jnp.sum(higher & (slot[None] == slot[:, None]) & write[None], axis=1, dtype=jnp.int32)
