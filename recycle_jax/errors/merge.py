"""Several banks made one: harvests of other generators and other worlds, drawn from together.

Shard by shard and slot by slot the valid cells of all banks lie side by side in the merged one, so that a draw from
any slot hits every entry equally often, whichever bank it came from.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from recycle_jax.errors.bank.bank import ErrorBank
from recycle_jax.errors.bank.storage import BankState


def merge(*states: BankState) -> tuple[ErrorBank, BankState]:
    """One bank with the entries of all, and its shape; the given ones stay as they are.

    Args:
        states: banks of the same shards, slots and entries; capacities may differ.

    Returns:
        `(bank, state)` of the summed capacity, a ring without norms.

    Raises:
        ValueError: if no bank is given, or if shards, slots or entries differ.
    """
    if not states:
        raise ValueError("no bank was given: merge at least one")
    for state in states[1:]:
        _require_alike(states[0], state)
    sizes = [leaf.shape[:3] for leaf in (jax.tree.leaves(state.entries)[0] for state in states)]
    shards, slots, _ = sizes[0]
    bank = ErrorBank(shards=shards, slots=slots, capacity=sum(size[2] for size in sizes))
    count: Array = sum((state.count for state in states[1:]), states[0].count)
    order = _valid_first(states, [size[2] for size in sizes])
    return bank, BankState(
        entries=jax.tree.map(lambda *leaves: _gather(leaves, order), *(state.entries for state in states)),
        norms=jnp.zeros((shards, slots, 0), jnp.float32),
        cursor=count % bank.capacity,
        count=count,
        inserted=sum((state.inserted for state in states[1:]), states[0].inserted),
        empty_draws=sum((state.empty_draws for state in states[1:]), states[0].empty_draws),
    )


def _require_alike(first: BankState, other: BankState) -> None:
    here, there = (jax.tree.structure(state.entries) for state in (first, other))
    if str(here) != str(there):
        raise ValueError(f"entries of structure {there} do not go with {here}: merge banks of one kind of case")
    leaves = [jax.tree_util.tree_leaves_with_path(state.entries) for state in (first, other)]
    for (path, one), (_, two) in zip(*leaves, strict=True):
        # All but the capacity, which may differ.
        kinds = [(leaf.shape[:2], leaf.shape[3:], leaf.dtype.name) for leaf in (one, two)]
        if kinds[0] != kinds[1]:
            raise ValueError(
                f"{jax.tree_util.keystr(path)} is {kinds[1]} (shards and slots, entry, dtype) in one bank and "
                f"{kinds[0]} in another: harvest with the same shards, frame size and context_frames"
            )


def _valid_first(states: tuple[BankState, ...], capacities: list[int]) -> Array:
    """`[S, slots, total capacity]` int32: the cells of the banks laid end to end, valid ones first."""
    cells = [jnp.arange(capacity, dtype=jnp.int32)[None, None] for capacity in capacities]
    empty = [cell >= state.count[:, :, None] for cell, state in zip(cells, states, strict=True)]
    return jnp.argsort(jnp.concatenate(empty, axis=2), axis=2, stable=True).astype(jnp.int32)


def _gather(leaves: tuple[Any, ...], order: Array) -> Array:
    """Cells of all banks in that order."""
    return jax.vmap(jax.vmap(lambda cells, at: cells[at]))(jnp.concatenate(leaves, axis=2), order)
