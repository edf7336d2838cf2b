"""The bank against a plain model of itself: lists of entries, inserted one by one."""

import collections

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recycle_jax import rng
from recycle_jax.errors.bank.bank import AnySlot, ErrorBank
from recycle_jax.errors.bank.replacement import Nearest, Ring
from recycle_jax.errors.bank.storage import dequantise, quantise

SHARDS, SLOTS, CAPACITY, ROWS = 2, 3, 4, 12
ENTRY = {"error": jax.ShapeDtypeStruct((2,), jnp.float32), "id": jax.ShapeDtypeStruct((), jnp.int32)}
BANK = ErrorBank(shards=SHARDS, slots=SLOTS, capacity=CAPACITY)


def error_of(entry):
    return entry["error"]


def scaled_error_of(entry):
    return -entry["sigma"] * entry["error"]


insert = jax.jit(ErrorBank.insert, static_argnums=0)
draw = jax.jit(ErrorBank.draw, static_argnums=0)


def entries_numbered(ids):
    ids = np.asarray(ids, np.int32)
    return {"error": np.stack([ids, -ids], 1).astype(np.float32), "id": ids}


def inserts(rows=ROWS, slots=SLOTS):
    """Lists of inserts: slots (some out of range) and write masks."""
    one = st.tuples(
        st.lists(st.integers(-1, slots), min_size=rows, max_size=rows),
        st.lists(st.booleans(), min_size=rows, max_size=rows),
    )
    return st.lists(one, min_size=1, max_size=5)


def filled(bank, counts, entry=ENTRY):
    """A bank whose shard `s` holds `counts[s][slot]` entries, numbered from 1, and the numbers by place."""
    slots = [[slot for slot, n in enumerate(shard) for _ in range(n)] for shard in counts]
    rows = bank.slots * bank.capacity  # always the same, to compile once
    slot = np.asarray([shard + [-1] * (rows - len(shard)) for shard in slots], np.int32).ravel()
    ids = np.arange(1, slot.size + 1)
    state = insert(bank, bank.init(entry), entries_numbered(ids), slot, np.ones(slot.size, bool))
    places = collections.defaultdict(set)
    for number in np.flatnonzero(slot >= 0):
        places[int(number) // rows, int(slot[number])].add(int(ids[number]))
    return state, places


@hypothesis.given(inserts())
def test_a_ring_insert_is_the_same_as_inserting_one_by_one(sequence):
    state = BANK.init(ENTRY)
    model = collections.defaultdict(list)
    total = 0
    for batch, (slots, write) in enumerate(sequence):
        ids = 1 + batch * ROWS + np.arange(ROWS)
        state = insert(BANK, state, entries_numbered(ids), np.int32(slots), np.asarray(write))
        for row in range(ROWS):
            if write[row] and 0 <= slots[row] < SLOTS:
                model[row // (ROWS // SHARDS), slots[row]].append(int(ids[row]))
                total += 1
    cells = np.asarray(state.entries["id"])
    for shard in range(SHARDS):
        for slot in range(SLOTS):
            want = np.zeros(CAPACITY, np.int32)
            for number, entry in enumerate(model[shard, slot]):
                want[number % CAPACITY] = entry  # the oldest goes first
            np.testing.assert_array_equal(cells[shard, slot], want)
            assert state.count[shard, slot] == min(len(model[shard, slot]), CAPACITY)
            assert state.cursor[shard, slot] == len(model[shard, slot]) % CAPACITY
    np.testing.assert_array_equal(state.entries["error"][..., 1], -cells.astype(np.float32))
    assert state.inserted.sum() == total


def test_rows_past_the_capacity_leave_the_last_ones():
    ids = np.arange(1, 11)
    bank = ErrorBank(capacity=CAPACITY)
    state = insert(bank, bank.init(ENTRY), entries_numbered(ids), np.zeros(10, np.int32), np.ones(10, bool))
    np.testing.assert_array_equal(state.entries["id"][0, 0], [9, 10, 7, 8])
    assert state.inserted[0] == 10


def test_a_new_bank_is_zero_and_empty():
    state = BANK.init(ENTRY)
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(state))
    assert state.norms.shape == (SHARDS, SLOTS, 0)


@pytest.mark.parametrize("where", ["slot", "any", "window", "out of range"])
def test_an_empty_place_gives_zeros_and_is_counted(where):
    state, _ = filled(BANK, [[0, 3, 0], [0, 2, 0]])
    slot = {
        "slot": np.zeros(8, np.int32),
        "any": AnySlot(),
        "window": AnySlot(allowed=np.asarray([True, False, True])),
        "out of range": np.full(8, SLOTS, np.int32),
    }[where]
    state = BANK.init(ENTRY) if where == "any" else state
    drawn = draw(BANK, state, jax.random.split(jax.random.key(0), 8), slot)
    assert not drawn.found.any()
    assert not drawn.entries["error"].any()
    wanted = jnp.arange(8) < 6  # the gate of two rows of the second shard is off
    state = BANK.count_empty(state, wanted & ~drawn.found)
    np.testing.assert_array_equal(state.empty_draws, [4, 2])


@hypothesis.given(st.lists(st.lists(st.integers(0, CAPACITY), min_size=3, max_size=3), min_size=2, max_size=2))
def test_a_draw_gives_only_entries_of_its_slot_and_shard(counts):
    state, places = filled(BANK, counts)
    slot = np.arange(24, dtype=np.int32) % SLOTS
    drawn = draw(BANK, state, jax.random.split(jax.random.key(1), 24), slot)
    for row in range(24):
        inside = places[row // 12, int(slot[row])]
        assert bool(drawn.found[row]) == bool(inside)
        assert not inside or int(drawn.entries["id"][row]) in inside


def frequencies(bank, state, slot, rows=4000):
    drawn = draw(bank, state, jax.random.split(jax.random.key(2), rows), slot)
    assert drawn.found.all()
    return collections.Counter(np.asarray(drawn.entries["id"]).tolist())


def test_a_draw_from_one_slot_is_uniform():
    bank = ErrorBank(slots=SLOTS, capacity=CAPACITY)
    state, _ = filled(bank, [[2, 4, 1]])
    seen = frequencies(bank, state, np.full(4000, 1, np.int32))
    assert sorted(seen) == [3, 4, 5, 6]
    assert all(abs(n - 1000) < 140 for n in seen.values()), seen  # five standard deviations


def test_a_draw_from_any_slot_is_uniform_over_entries_not_over_slots():
    bank = ErrorBank(slots=SLOTS, capacity=CAPACITY)
    state, _ = filled(bank, [[1, 0, 4]])
    seen = frequencies(bank, state, AnySlot())
    assert sorted(seen) == [1, 2, 3, 4, 5]
    assert all(abs(n - 800) < 130 for n in seen.values()), seen


def test_an_age_window_restricts_each_row():
    bank = ErrorBank(slots=SLOTS, capacity=CAPACITY)
    state, _ = filled(bank, [[1, 2, 4]])
    allowed = np.tile(np.asarray([[True, True, False], [False, False, True]]), (2000, 1))
    drawn = draw(bank, state, jax.random.split(jax.random.key(3), 4000), AnySlot(allowed=allowed))
    ids = np.asarray(drawn.entries["id"])
    assert set(ids[0::2].tolist()) == {1, 2, 3}
    assert set(ids[1::2].tolist()) == {4, 5, 6, 7}
    assert abs((ids[0::2] == 1).sum() - 2000 / 3) < 110


def test_a_draw_depends_on_its_key_and_row_only():
    """A local shard by itself draws what it draws as part of the whole."""
    state, _ = filled(BANK, [[4, 4, 4], [4, 4, 4]])
    keys = rng.row_keys(jax.random.key(4), 16)
    whole = draw(BANK, state, keys, AnySlot())
    half = draw(BANK, jax.tree.map(lambda leaf: leaf[1:], state), keys[8:], AnySlot())
    np.testing.assert_array_equal(whole.entries["id"][8:], half.entries["id"])


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_a_float_comes_back_as_its_storage_dtype_rounds_it(dtype):
    bank = ErrorBank(capacity=8)
    values = jax.random.normal(jax.random.key(5), (8, 3, 5))
    state = insert(
        bank, bank.init(jax.ShapeDtypeStruct((3, 5), dtype)), values, np.zeros(8, np.int32), np.ones(8, bool)
    )
    read = bank.read(state)
    assert read.dtype == dtype
    np.testing.assert_array_equal(read[0, 0], values.astype(dtype))
    drawn = draw(bank, state, jax.random.split(jax.random.key(6), 4), np.zeros(4, np.int32)).entries
    assert drawn.dtype == dtype
    assert all((row == np.asarray(read)[0, 0]).all((1, 2)).any() for row in np.asarray(drawn)[:, None])


def test_bytes_keep_zero_exactly_and_the_rest_to_half_a_step():
    values = jnp.concatenate([jnp.zeros(1), jax.random.uniform(jax.random.key(7), (99,), minval=-2, maxval=2)])
    back = dequantise(quantise(values, 2.0), 2.0)
    assert back[0] == 0
    assert jnp.abs(back - values).max() <= 2.0 / 254 + 1e-6
    np.testing.assert_allclose(dequantise(quantise(jnp.asarray([9.0, -9.0]), 2.0), 2.0), [2.0, -2.0])


@pytest.mark.parametrize(("key", "dtype"), [(error_of, jnp.bfloat16), (scaled_error_of, jnp.float32)])
def test_nearest_replacement_is_the_brute_force_argmin(key, dtype):
    bank = ErrorBank(shards=2, slots=2, capacity=5, replacement=Nearest(key=key))
    entry = {"error": jax.ShapeDtypeStruct((3, 2), dtype), "sigma": jax.ShapeDtypeStruct((), jnp.float32)}
    state = bank.init(entry)
    rng = np.random.default_rng(0)
    replaced = 0
    for _ in range(12):
        before = jax.tree.map(np.asarray, bank.read(state))
        count = np.asarray(state.count)
        error = jnp.asarray(rng.normal(size=(8, 3, 2)), dtype)
        rows = {"error": error, "sigma": jnp.asarray(rng.uniform(0.1, 1, 8), jnp.float32)}
        slot, write = rng.integers(0, 2, 8).astype(np.int32), rng.random(8) < 0.7
        state = insert(bank, state, rows, slot, write)
        want = {name: leaf.copy() for name, leaf in before.items()}
        rank = collections.Counter()
        for row in np.flatnonzero(write):
            place = row // 4, int(slot[row])
            cell = count[place] + rank[place]
            rank[place] += 1
            if cell >= 5:  # full: the nearest of what was there before this insert, later rows over earlier ones
                replaced += 1
                new = np.float64(key({name: np.asarray(leaf[row], np.float32) for name, leaf in rows.items()}))
                old = [
                    np.float64(key({name: np.asarray(leaf[place][j], np.float32) for name, leaf in before.items()}))
                    for j in range(count[place])
                ]
                cell = np.argmin([np.sum((new - e) ** 2) for e in old])
            for name in want:
                want[name][place][cell] = rows[name][row]
        got = jax.tree.map(np.asarray, bank.read(state))
        for name in want:
            np.testing.assert_array_equal(got[name], want[name])
        flat = jax.vmap(jax.vmap(jax.vmap(key)))(jax.tree.map(lambda leaf: leaf.astype(np.float32), got))
        np.testing.assert_allclose(state.norms, (flat**2).sum((3, 4)), rtol=1e-5)
    assert replaced > 20


def test_nearest_rows_that_outnumber_an_empty_slot_go_round_it():
    bank = ErrorBank(capacity=3, replacement=Nearest(key=error_of))
    ids = np.arange(1, 6)
    state = insert(bank, bank.init(ENTRY), entries_numbered(ids), np.zeros(5, np.int32), np.ones(5, bool))
    np.testing.assert_array_equal(state.entries["id"][0, 0], [4, 5, 3])


def test_of_rows_that_choose_one_cell_the_last_gets_it():
    bank = ErrorBank(capacity=2, replacement=Nearest(key=error_of))
    state = insert(bank, bank.init(ENTRY), entries_numbered([10, 100]), np.zeros(2, np.int32), np.ones(2, bool))
    state = insert(bank, state, entries_numbered([11, 12]), np.zeros(2, np.int32), np.ones(2, bool))
    np.testing.assert_array_equal(state.entries["id"][0, 0], [12, 100])
    assert state.inserted[0] == 4


def test_stats_name_what_a_watch_needs():
    bank = ErrorBank(shards=2, slots=3, capacity=4, replacement=Ring(key=error_of))
    state, places = filled(bank, [[1, 0, 4], [3, 0, 0]])
    state = bank.count_empty(state, jnp.asarray([True, False, True, True]))
    stats = jax.jit(bank.stats)(state)
    np.testing.assert_array_equal(stats["entries"], [4, 0, 4])
    np.testing.assert_allclose(stats["fill"], [0.5, 0, 0.5])
    assert (stats["inserted"], stats["empty_draws"]) == (8, 3)
    norms = [
        np.sqrt(2.0) * np.mean([*places[0, 0], *places[1, 0]]),
        0,
        np.sqrt(2.0) * np.mean([*places[0, 2]]),
    ]
    np.testing.assert_allclose(stats["norm"], norms, rtol=1e-6)
    assert "norm" not in BANK.stats(BANK.init(ENTRY))


def big_arrays(compiled, smallest):
    """Lines of the compiled program, outside fusions, that make an array of at least this many elements."""
    made = []
    for line in compiled.as_text().splitlines():
        words = line.strip().removeprefix("ROOT ").split(" = ", 1)
        if len(words) < 2 or "[" not in words[1] or words[1].startswith("("):
            continue
        sizes = words[1].split("[", 1)[1].split("]", 1)[0]
        elements = np.prod([int(n) for n in sizes.split(",") if n.isdigit()])
        if elements >= smallest and any(f" {op}(" in line for op in ("copy", "convert", "bitcast-convert")):
            made.append(line.strip())
    return made


def test_waiting_for_a_draw_changes_nothing_even_if_it_is_not_finite():
    state, _ = filled(BANK, [[2, 0, 4], [1, 1, 1]])
    rows, slot, write = entries_numbered(range(100, 112)), np.zeros(12, np.int32), np.ones(12, bool)
    drawn = {
        "a": jnp.asarray([jnp.nan, jnp.inf, -jnp.inf, 1e38] * 3),
        "b": jnp.arange(12),
        "c": jnp.ones((12, 2), bool),
    }
    waited = jax.jit(BANK.insert)(state, rows, slot, write, after=drawn)
    jax.tree.map(np.testing.assert_array_equal, waited, insert(BANK, state, rows, slot, write))


@pytest.mark.parametrize("replacement", [Ring(), Ring(key=error_of), Nearest(key=error_of)])
def test_an_insert_is_in_place_and_a_draw_touches_rows_only(replacement):
    bank = ErrorBank(shards=2, slots=2, capacity=500, replacement=replacement)
    entry = {
        "error": jax.ShapeDtypeStruct((8, 8), jnp.bfloat16),
        "frames": jax.ShapeDtypeStruct((8, 8), jnp.uint8),
    }
    rows = {"error": jnp.ones((4, 8, 8)), "frames": jnp.ones((4, 8, 8), jnp.uint8)}
    slot, write, keys = jnp.zeros(4, jnp.int32), jnp.ones(4, bool), jax.random.split(jax.random.key(0), 4)

    def step(state, rows):
        drawn = bank.draw(state, keys, slot)
        other = bank.draw(state, keys, AnySlot())
        rows = {**rows, "error": rows["error"] + drawn.entries["error"].astype(jnp.float32)}
        state = bank.insert(bank.count_empty(state, ~drawn.found), rows, slot, write, after=(drawn, other))
        return state, other  # nothing that is inserted depends on the other draw

    state = bank.init(entry)
    compiled = jax.jit(step, donate_argnums=0).lower(state, rows).compile()
    elements = 2 * 2 * 500 * 64
    assert not big_arrays(compiled, elements), "a program that only touches rows converts or copies the bank"
    transient = 2 * elements * 4 if isinstance(replacement, Nearest) else elements
    assert compiled.memory_analysis().temp_size_in_bytes < transient
    before = [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(state)]
    state, _ = compiled(state, rows)
    assert [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(state)] == before


@pytest.mark.parametrize(("shards", "slots", "capacity"), [(0, 1, 1), (1, 0, 1), (1, 1, -3), (1, 50, 2**30)])
def test_an_impossible_bank_is_refused(shards, slots, capacity):
    with pytest.raises(ValueError, match="capacity|shards|slots"):
        ErrorBank(shards=shards, slots=slots, capacity=capacity)


def test_rows_that_do_not_fit_are_refused_with_a_remedy():
    state = BANK.init(ENTRY)
    slot, write = jnp.zeros(7, jnp.int32), jnp.ones(7, bool)
    with pytest.raises(ValueError, match="use 6 or 8 rows"):
        BANK.insert(state, jax.tree.map(jnp.asarray, entries_numbered(range(7))), slot, write)
    with pytest.raises(ValueError, match="use 6 or 8 rows"):
        BANK.draw(state, jax.random.split(jax.random.key(0), 7), AnySlot())
    rows = jax.tree.map(jnp.asarray, entries_numbered(range(6)))
    with pytest.raises(ValueError, match="structure"):
        BANK.insert(state, {"error": rows["error"]}, slot[:6], write[:6])
    with pytest.raises(ValueError, match="shape"):
        BANK.insert(state, {**rows, "error": rows["error"][:, :1]}, slot[:6], write[:6])
    with pytest.raises(TypeError, match="quantise"):
        BANK.insert(state, {**rows, "id": rows["error"][:, 0]}, slot[:6], write[:6])
    with pytest.raises(ValueError, match="allowed"):
        BANK.draw(state, jax.random.split(jax.random.key(0), 6), AnySlot(allowed=jnp.ones(2, bool)))
