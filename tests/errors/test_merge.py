"""Merged banks: the entries of all, none of the empty cells, and refusals of what does not belong together."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recycle_jax.errors.bank.bank import AnySlot, ErrorBank
from recycle_jax.errors.merge import merge

ENTRY = {"frame": jax.ShapeDtypeStruct((2,), jnp.float16), "number": jax.ShapeDtypeStruct((), jnp.int32)}
insert = jax.jit(ErrorBank.insert, static_argnums=0)
draw = jax.jit(ErrorBank.draw, static_argnums=0)


def filled(numbers, capacity=4, slots=1, shards=1, entry=ENTRY):
    """A bank whose entries are these numbers, twice as a frame; they go round the slots."""
    bank = ErrorBank(shards=shards, slots=slots, capacity=capacity)
    state = bank.init(entry)
    if not numbers:
        return state
    number = jnp.asarray(numbers, jnp.int32)
    rows = {"frame": jnp.repeat(number[:, None], 2, axis=1).astype(jnp.float32), "number": number}
    slot = jnp.arange(len(numbers), dtype=jnp.int32) % slots
    return insert(bank, state, rows, slot, jnp.ones(len(numbers), bool))


def test_the_entries_of_all_come_first_and_empty_cells_last():
    bank, state = merge(filled([1, 2]), filled([3, 4, 5, 6, 7], capacity=6), filled([]))
    assert bank == ErrorBank(capacity=14)
    assert int(state.count[0, 0]) == int(state.cursor[0, 0]) == int(state.inserted[0]) == 7
    np.testing.assert_array_equal(state.entries["number"][0, 0], [1, 2, 3, 4, 5, 6, 7] + [0] * 7)
    drawn = draw(bank, state, jax.random.split(jax.random.key(0), 400), AnySlot())
    assert np.all(drawn.found)
    np.testing.assert_array_equal(drawn.entries["frame"][:, 0], drawn.entries["number"].astype(jnp.float16))
    counts = np.bincount(np.asarray(drawn.entries["number"]), minlength=8)
    assert counts[0] == 0 and counts[1:].min() > 400 / 7 / 2, "every entry equally often, whichever bank it is from"


def test_slots_and_shards_stay_apart():
    _, state = merge(filled([1, 2, 3, 4], slots=2, shards=2), filled([5, 6, 7, 8], slots=2, shards=2))
    np.testing.assert_array_equal(state.count, [[2, 2], [2, 2]])
    np.testing.assert_array_equal(state.entries["number"][:, :, :2], [[[1, 5], [2, 6]], [[3, 7], [4, 8]]])


def test_full_rings_go_on_where_a_merged_one_is_full():
    bank, state = merge(filled([1, 2, 3, 4, 5]), filled([6, 7, 8, 9]))
    rows = {"frame": jnp.zeros((1, 2)), "number": jnp.full(1, 10, jnp.int32)}
    state = insert(bank, state, rows, jnp.zeros(1, jnp.int32), jnp.ones(1, bool))
    assert int(state.count[0, 0]) == 8
    assert sorted(np.asarray(state.entries["number"][0, 0])) == [2, 3, 4, 6, 7, 8, 9, 10]


def test_what_does_not_belong_together_is_refused():
    larger = {**ENTRY, "frame": jax.ShapeDtypeStruct((3,), jnp.float16)}
    with pytest.raises(ValueError, match=r"\['frame'\].* harvest with the same shards, frame size"):
        merge(filled([]), filled([], entry=larger))
    with pytest.raises(ValueError, match="harvest with the same shards"):
        merge(filled([]), filled([], slots=2))
    with pytest.raises(ValueError, match="merge banks of one kind of case"):
        merge(filled([]), filled([], entry={"number": ENTRY["number"]}))
    with pytest.raises(ValueError, match="no bank was given"):
        merge()
