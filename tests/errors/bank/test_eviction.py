"""What a full slot keeps: a uniform sample of all that came, or the highest scores."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from recycle_jax.errors.bank.bank import AnySlot, ErrorBank
from recycle_jax.errors.bank.eviction import Lowest, Reservoir
from recycle_jax.errors.bank.replacement import Replacement

CAPACITY, ROWS = 4, 12
ENTRY = {"score": jax.ShapeDtypeStruct((), jnp.float32), "id": jax.ShapeDtypeStruct((), jnp.int32)}


def score(entry):
    return entry["score"]


insert = jax.jit(ErrorBank.insert, static_argnums=0)


def rows_of(ids, scores=None):
    ids = jnp.asarray(ids, jnp.int32)
    return {"id": ids, "score": jnp.zeros(ids.shape) if scores is None else jnp.asarray(scores, jnp.float32)}


@pytest.mark.parametrize("batch", [5, 30])
def test_a_reservoir_keeps_every_row_equally_often_whenever_it_came(batch):
    shards, offered = 800, 30
    bank = ErrorBank(shards=shards, capacity=CAPACITY, replacement=Reservoir())
    state, key = bank.init(ENTRY), jax.random.key(0)
    for start in range(0, offered, batch):
        ids = np.tile(np.arange(start, start + batch), shards)
        keys = jax.random.split(jax.random.fold_in(key, start), ids.size)
        zeros = np.zeros(ids.size, np.int32)
        state = insert(bank, state, rows_of(ids), zeros, np.ones(ids.size, bool), keys=keys)
    held = np.asarray(state.entries["id"][:, 0])
    assert all(len(set(shard)) == CAPACITY for shard in held.tolist()), "no row is held twice"
    kept = np.bincount(held.ravel(), minlength=offered)
    found = stats.chisquare(kept).pvalue
    assert found > 1e-3, f"rows were kept {kept} times, not uniformly (p = {found:.1e})"
    np.testing.assert_array_equal(state.seen, np.full((shards, 1), offered))
    np.testing.assert_array_equal(state.count, np.full((shards, 1), CAPACITY))


@hypothesis.given(st.lists(st.lists(st.integers(-1, 2), min_size=ROWS, max_size=ROWS), min_size=1, max_size=4))
def test_a_reservoir_in_batches_is_a_reservoir_one_by_one(batches):
    bank = ErrorBank(slots=2, capacity=CAPACITY, replacement=Reservoir())
    whole = alone = bank.init(ENTRY)
    for number, slots in enumerate(batches):
        rows = rows_of(np.arange(ROWS) + ROWS * number + 1)
        keys = jax.random.split(jax.random.key(number), ROWS)
        slot, write = np.asarray(slots, np.int32), np.arange(ROWS) % 5 > 0
        whole = insert(bank, whole, rows, slot, write, keys=keys)
        for row in range(ROWS):
            one = jax.tree.map(lambda leaf, row=row: leaf[row : row + 1], (rows, slot, write, keys))
            alone = insert(bank, alone, *one[:3], keys=one[3])
    jax.tree.map(np.testing.assert_array_equal, whole, alone)


@hypothesis.given(
    st.lists(
        st.lists(st.tuples(st.integers(-1, 2), st.integers(0, 6), st.booleans()), min_size=ROWS, max_size=ROWS),
        min_size=1,
        max_size=5,
    )
)
def test_the_highest_scores_of_each_slot_are_kept(batches):
    bank = ErrorBank(slots=2, capacity=CAPACITY, replacement=Lowest(score=score))
    state, model, number = bank.init(ENTRY), {0: [], 1: []}, 0
    for batch in batches:
        slot, scores, write = (np.asarray(column) for column in zip(*batch, strict=True))
        ids = np.arange(ROWS) + number + 1
        number += ROWS
        state = insert(bank, state, rows_of(ids, scores), slot.astype(np.int32), write)
        for row in np.flatnonzero(write):
            if slot[row] in model:
                model[slot[row]].append((-int(scores[row]), int(ids[row])))
    for slot, offered in model.items():
        best = sorted(offered)[:CAPACITY]
        count = int(state.count[0, slot])
        assert count == min(len(offered), CAPACITY)
        held = zip(state.entries["score"][0, slot, :count], state.entries["id"][0, slot, :count], strict=True)
        held = sorted((-int(s), int(i)) for s, i in held)
        assert [s for s, _ in held] == [s for s, _ in best] and set(held) <= set(offered)
        assert not state.entries["id"][0, slot, count:].any(), "cells past the count stay zero"


def test_what_scores_lower_than_all_is_not_written_nor_counted():
    bank = ErrorBank(capacity=2, replacement=Lowest(score=score))
    zeros, yes = np.zeros(2, np.int32), np.ones(2, bool)
    state = insert(bank, bank.init(ENTRY), rows_of([1, 2], [5.0, 3.0]), zeros, yes)
    assert state.inserted[0] == 2 and state.seen is None
    state = insert(bank, state, rows_of([3, 4], [3.0, 4.0]), zeros, yes)
    assert state.inserted[0] == 3
    np.testing.assert_array_equal(state.entries["id"][0, 0], [1, 4])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_no_number_is_the_first_to_go(bad):
    bank = ErrorBank(capacity=2, replacement=Lowest(score=score))
    zeros, yes = np.zeros(2, np.int32), np.ones(2, bool)
    state = insert(bank, bank.init(ENTRY), rows_of([1, 2], [bad, 0.5]), zeros, yes)
    assert state.count[0, 0] == 2, "an empty cell takes anything"
    state = insert(bank, state, rows_of([3, 4], [bad, 0.1]), zeros, yes)
    assert set(np.asarray(state.entries["id"][0, 0]).tolist()) == {2, 4}


@pytest.mark.parametrize("rule", [Reservoir(), Lowest(score=score)])
def test_an_insert_is_in_place(rule):
    assert isinstance(rule, Replacement)
    bank = ErrorBank(shards=2, slots=2, capacity=50, replacement=rule)
    entry = {"frames": jax.ShapeDtypeStruct((8, 8), jnp.bfloat16), "score": jax.ShapeDtypeStruct((), jnp.float32)}
    rows = {"frames": jnp.ones((4, 8, 8)), "score": jnp.ones(4)}
    slot, write, keys = jnp.zeros(4, jnp.int32), jnp.ones(4, bool), jax.random.split(jax.random.key(0), 4)

    def step(state):
        drawn = bank.draw(state, keys, AnySlot())
        return bank.insert(state, rows, slot, write, after=drawn, keys=keys)

    state = bank.init(entry)
    compiled = jax.jit(step, donate_argnums=0).lower(state).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 2 * 2 * 50 * 64 * 2, "the bank is copied"
    before = [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(state)]
    assert [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(compiled(state))] == before


def test_a_reservoir_without_keys_is_refused():
    bank = ErrorBank(capacity=2, replacement=Reservoir())
    with pytest.raises(ValueError, match="pass keys"):
        bank.insert(bank.init(ENTRY), rows_of([1]), jnp.zeros(1, jnp.int32), jnp.ones(1, bool))
