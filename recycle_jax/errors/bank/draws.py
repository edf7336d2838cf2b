"""Draws that do not treat all entries alike: balanced over domains, or by score.

Beside a slot and `AnySlot`, a draw may follow a rule, shard by shard over the `n` entries that it has:

    Balanced     p(entry) = 1 / (domains present * entries of its domain)                           (1)
    Prioritised  p(entry) ~ score^exponent                                                          (2)

and every row comes with the weight that makes a mean over drawn rows the mean over entries again,

    w = 1 / (n p),        E[w loss] = mean over entries of loss                                     (3)

(importance sampling as in prioritised replay, Schaul et al., arXiv 1511.05952; its annealing is a power of `w`,
and up to the caller). Probabilities are ratios of whole numbers, so that (3) is exact, and that a shard
draws the same whether or not others lie on the same device.
"""

from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array

from recycle_jax.errors.bank.cells import one_cell
from recycle_jax.errors.bank.storage import BankState
from recycle_jax.errors.bank.tags import Tag, domain_of, read_tags, score_of, valid_cells
from recycle_jax.typing import PRNGKey

_LARGEST = 2**31 - 1


@struct.dataclass(kw_only=True)
class Located:
    """Where a rule draws from; leaves `[S, b / S]`, sharded over `S`.

    Attributes:
        slot: int32, in range.
        cell: int32, in range.
        found: bool, whether there is an entry.
        weight: float32, equation (3), 1 where nothing was found; None where all entries are drawn alike.
    """

    slot: Any
    cell: Any
    found: Any
    weight: Any = None


@runtime_checkable
class DrawRule(Protocol):
    """A rule of `ErrorBank.draw`; a pytree whose functions and sizes are static."""

    def locate(self, state: BankState, keys: Array) -> Located:
        """A place for each of the keys `[S, b / S]`, each in its own shard."""
        ...


@struct.dataclass(kw_only=True)
class Balanced:
    """First a domain, uniformly among those that the shard has entries of, then one of its entries (1).

    Attributes:
        domains: how many there are (static); a label outside `[0, domains)` counts as the nearest.
        domain: label of one entry (static).
        allowed: `[slots]` bool, slots to draw from (replicated), None for all.
    """

    domains: int = struct.field(pytree_node=False)
    domain: Tag = struct.field(pytree_node=False, default=domain_of)
    allowed: Any = None

    def __post_init__(self) -> None:
        if self.domains < 1:
            raise ValueError(f"domains={self.domains}, but entries have at least 1 domain: raise domains")

    def locate(self, state: BankState, keys: Array) -> Located:
        """See `DrawRule`."""
        label = jnp.clip(read_tags(self.domain, state.entries, 3), 0, self.domains - 1)
        label = _flat(jnp.where(_open_cells(state, self.allowed), label, self.domains))
        return _located(state, *jax.vmap(self._shard)(keys, label))

    def _shard(self, keys: Array, label: Array) -> tuple[Array, Array, Array]:
        count, order, first = _by_label(label, self.domains)
        rank = jnp.cumsum(count > 0, dtype=jnp.int32)
        total = jnp.sum(count)

        def draw(key: PRNGKey) -> tuple[Array, Array]:
            of_domain, of_entry = jax.random.split(key)
            domain = jnp.argmax(rank > one_cell(of_domain, rank[-1]))
            weight = rank[-1].astype(jnp.float32) * count[domain].astype(jnp.float32)
            return order[first[domain] + one_cell(of_entry, count[domain])], weight

        entry, weight = jax.vmap(draw)(keys)
        return entry, weight / jnp.maximum(total, 1).astype(jnp.float32), total


@struct.dataclass(kw_only=True)
class Prioritised:
    """An entry with probability proportional to `score**exponent` (2).

    Scores are taken relative to the highest of the shard and rounded to steps of `shard's cells / 2^31` of it, never
    to none, so that every entry can be drawn; one that is negative or not finite counts as 0.

    Attributes:
        exponent: 0 draws uniformly, 1 in proportion to the score (static).
        score: of one entry (static).
        allowed: `[slots]` bool, slots to draw from (replicated), None for all.
    """

    exponent: float = struct.field(pytree_node=False, default=1.0)
    score: Tag = struct.field(pytree_node=False, default=score_of)
    allowed: Any = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.exponent < float("inf"):
            raise ValueError(f"exponent={self.exponent}, but priorities rise with the score: use 0 (uniform) or more")

    def locate(self, state: BankState, keys: Array) -> Located:
        """See `DrawRule`."""
        score = read_tags(self.score, state.entries, 3).astype(jnp.float32)
        score = jnp.where(jnp.isfinite(score), jnp.maximum(score, 0.0), 0.0)
        opened = _flat(_open_cells(state, self.allowed))
        return _located(state, *jax.vmap(self._shard)(keys, _flat(score), opened))

    def _shard(self, keys: Array, score: Array, opened: Array) -> tuple[Array, Array, Array]:
        highest = jnp.max(jnp.where(opened, score, 0.0))
        share = (score / jnp.maximum(highest, jnp.finfo(jnp.float32).tiny)) ** self.exponent
        steps = min(2**24, _LARGEST // score.shape[0])
        units = jnp.where(opened, jnp.clip((share * steps).astype(jnp.int32), 1, steps), 0)
        ends = jnp.cumsum(units, dtype=jnp.int32)
        total = jnp.sum(opened, dtype=jnp.int32)
        place = jax.vmap(one_cell, (0, None))(keys, ends[-1])
        entry = jnp.minimum(jnp.searchsorted(ends, place, side="right"), score.shape[0] - 1).astype(jnp.int32)
        drawn = jnp.maximum(units[entry], 1).astype(jnp.float32) * jnp.maximum(total, 1).astype(jnp.float32)
        return entry, ends[-1].astype(jnp.float32) / drawn, total


def _by_label(label: Array, labels: int) -> tuple[Array, Array, Array]:
    """`(count [labels], order, first [labels])`: cells label after label, and where each begins."""
    count = jnp.sum(label[None] == jnp.arange(labels, dtype=jnp.int32)[:, None], axis=1, dtype=jnp.int32)
    order = jnp.argsort(label, stable=True)  # cells without an entry last
    return count, order, jnp.cumsum(count, dtype=jnp.int32) - count


def _open_cells(state: BankState, allowed: Array | None) -> Array:
    """`[S, slots, capacity]` bool: valid cells of allowed slots."""
    valid = valid_cells(state)
    if allowed is None:
        return valid
    if allowed.shape != valid.shape[1:2]:
        raise ValueError(f"allowed has shape {allowed.shape}, but must be {valid.shape[1:2]}: one flag a slot")
    return valid & allowed[None, :, None]


def _flat(cells: Array) -> Array:
    """`[S, slots, capacity]` to `[S, slots * capacity]`."""
    return cells.reshape((cells.shape[0], -1))


def _located(state: BankState, entry: Array, weight: Array, total: Array) -> Located:
    """From numbers inside a shard `[S, b / S]` and its entries `[S]`."""
    capacity = valid_cells(state).shape[2]
    found = jnp.broadcast_to((total > 0)[:, None], entry.shape)
    weight = jnp.where(found, weight, 1.0)
    return Located(slot=entry // capacity, cell=entry % capacity, found=found, weight=weight)
