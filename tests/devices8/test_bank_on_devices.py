"""A bank split over 1, 2 and 8 devices is the same bank, and its program never communicates."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recycle_jax import rng, sharding
from recycle_jax.errors.bank import capacity
from recycle_jax.errors.bank.bank import AnySlot, ErrorBank
from recycle_jax.errors.bank.replacement import Nearest, Ring
from recycle_jax.sharding import ROLES

pytestmark = pytest.mark.devices8

ROWS, STEPS = 32, 5
ENTRY = {"error": jax.ShapeDtypeStruct((6, 4), jnp.bfloat16), "step": jax.ShapeDtypeStruct((), jnp.int32)}
COLLECTIVES = re.compile(r"\b(all-reduce|all-gather|all-to-all|reduce-scatter|collective-\w+)(-start)?\(")


def error_of(entry):
    return entry["error"]


def bank_of(replacement):
    return ErrorBank(shards=8, slots=3, capacity=8, replacement=replacement)


@functools.cache
def step_on(mesh, bank):
    """Draw in a slot and in any slot, then insert: what a correction step does with the bank."""

    def step(state, error, slot, key, number):
        keys = rng.row_keys(key, slot.shape[0], sharding.first_row(slot.shape[0]))
        drawn = bank.draw(state, keys, slot)
        other = bank.draw(state, keys, AnySlot(allowed=jnp.asarray([True, False, True])))
        error = error + 0.5 * jnp.where(drawn.found, 1.0, 0.0)[:, None, None]
        state = bank.count_empty(state, ~drawn.found)
        write = jax.vmap(lambda k: jax.random.bernoulli(k, 0.8))(keys)
        rows = {"error": error, "step": jnp.full(slot.shape, number)}
        state = bank.insert(state, rows, slot, write, after=(drawn, other))
        return state, (drawn, other)

    roles = (ROLES.bank, ROLES.rows, ROLES.rows, ROLES.params, ROLES.params)
    sharded = sharding.shard_over_data(step, mesh, roles, (ROLES.bank, ROLES.rows))
    return jax.jit(sharded, donate_argnums=0)


def batch(mesh, number):
    rng = np.random.default_rng(number)
    error = rng.normal(size=(ROWS, 6, 4)).astype(np.float32)
    slot = rng.integers(0, 3, ROWS).astype(np.int32)
    return (
        *(sharding.place(x, mesh, ROLES.rows) for x in (error, slot)),
        sharding.place(jax.random.fold_in(jax.random.key(0), number), mesh, ROLES.params),
        sharding.place(jnp.int32(number), mesh, ROLES.params),
    )


@functools.cache
def run(devices, bank):
    """The bank after some steps and what they drew, as host arrays."""
    mesh = sharding.make_mesh(jax.devices()[:devices])
    state = capacity.allocate(bank, ENTRY, mesh)
    step = step_on(mesh, bank)
    draws = []
    for number in range(STEPS):
        state, drawn = step(state, *batch(mesh, number))
        draws.append(jax.tree.map(np.asarray, drawn))
    assert len(state.count.sharding.device_set) == devices
    return jax.tree.map(np.asarray, state), draws


@pytest.fixture(scope="module", params=["ring", "nearest"])
def bank(request):
    return bank_of({"ring": Ring(key=error_of), "nearest": Nearest(key=error_of)}[request.param])


def test_draws_and_banks_are_equal_to_the_bit_on_1_2_and_8_devices(bank):
    one, one_draws = run(1, bank)
    assert (one.count == bank.capacity).any(), "no slot was ever full: replacement was not tested"
    for devices in (2, 8):
        many, many_draws = run(devices, bank)
        jax.tree.map(np.testing.assert_array_equal, (many, many_draws), (one, one_draws))


def test_the_program_has_no_collective_and_no_copy_of_the_bank(bank):
    mesh = sharding.make_mesh()
    state = capacity.allocate(bank, ENTRY, mesh)
    compiled = step_on(mesh, bank).lower(state, *batch(mesh, 0)).compile()
    text = compiled.as_text()
    assert not COLLECTIVES.search(text)
    local = "[1,3,8,6,4]"
    assert f"u16{local}" in text
    copies = [line for line in text.splitlines() if re.search(rf"= \w+{re.escape(local)}\S* copy\(", line)]
    assert not copies
    before = pointers(state)
    state, _ = compiled(state, *batch(mesh, 0))
    assert pointers(state) == before


def pointers(state):
    return [shard.data.unsafe_buffer_pointer() for leaf in jax.tree.leaves(state) for shard in leaf.addressable_shards]


def test_the_search_for_collectives_finds_one():
    mesh = sharding.make_mesh()
    program = sharding.shard_over_data(sharding.sum_over_data, mesh, (ROLES.rows,), ROLES.params)
    assert COLLECTIVES.search(jax.jit(program).lower(jnp.ones(8)).compile().as_text())


def test_a_gradient_is_reduced_by_one_mean():
    mesh = sharding.make_mesh()
    data = jnp.arange(16, dtype=jnp.float32)

    def loss(weight, rows):
        return jnp.mean((weight * rows - 1.0) ** 2)

    def gradient(weight, rows):
        return sharding.mean_over_data(jax.grad(loss)(weight, rows))

    program = jax.jit(sharding.shard_over_data(gradient, mesh, (ROLES.params, ROLES.rows), ROLES.params))
    np.testing.assert_allclose(program(jnp.float32(2.0), data), jax.grad(loss)(jnp.float32(2.0), data), rtol=1e-6)
    assert len(COLLECTIVES.findall(program.lower(jnp.float32(2.0), data).compile().as_text())) == 1


def test_a_bank_moves_to_another_mesh_and_goes_on_drawing_the_same(bank):
    state, _ = run(2, bank)
    draws = []
    for devices in (2, 8):
        mesh = sharding.make_mesh(jax.devices()[:devices])
        here = sharding.place(state, mesh, ROLES.bank)
        draws.append(jax.tree.map(np.asarray, step_on(mesh, bank)(here, *batch(mesh, 99))[1]))
    jax.tree.map(np.testing.assert_array_equal, *draws)


def test_sizes_that_eight_devices_cannot_split_are_refused():
    mesh = sharding.make_mesh()
    with pytest.raises(ValueError, match="use 8 or 16"):
        sharding.place(jnp.zeros(12), mesh, ROLES.rows)
    with pytest.raises(ValueError, match="shards is 6, must be a multiple of 8: use 8"):
        capacity.allocate(ErrorBank(shards=6, capacity=2), ENTRY, mesh)
    assert capacity.available(mesh).bytes_per_device < capacity._free_ram() / 4
