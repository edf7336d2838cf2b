"""Rules of drawing, keeping and admitting: the same on any number of devices, without a collective or a copy."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recycle_jax import rng, sharding
from recycle_jax.errors.bank import capacity
from recycle_jax.errors.bank.bank import ErrorBank
from recycle_jax.errors.bank.draws import Balanced, Prioritised
from recycle_jax.errors.bank.eviction import Lowest, Reservoir
from recycle_jax.errors.bank.threshold import AdaptiveThreshold
from recycle_jax.sharding import ROLES

pytestmark = pytest.mark.devices8

ROWS, STEPS, DOMAINS = 32, 6, 3
COLLECTIVES = re.compile(r"\b(all-reduce|all-gather|all-to-all|reduce-scatter|collective-\w+)(-start)?\(")
ENTRY = {
    "error": jax.ShapeDtypeStruct((6, 4), jnp.bfloat16),
    "score": jax.ShapeDtypeStruct((), jnp.float32),
    "domain": jax.ShapeDtypeStruct((), jnp.int32),
}


def score_of(entry):
    return entry["score"]


def domain_of(entry):
    return entry["domain"]


RULES = (Balanced(domains=DOMAINS, domain=domain_of), Prioritised(exponent=0.7, score=score_of))


@functools.cache
def step_on(devices, bank):
    """Draw by both rules, admit, insert."""

    def step(state, error, key):
        rows = error.shape[0]
        keys = rng.row_keys(key, rows, sharding.first_row(rows))
        drawn = tuple(bank.draw(state, keys, rule) for rule in RULES)
        entry = {
            "error": error,
            "score": jax.vmap(lambda k: jax.random.exponential(k))(keys),
            "domain": jax.vmap(lambda k: jax.random.randint(k, (), 0, DOMAINS))(keys),
        }
        write, state = bank.admit(state, entry["score"], entry["domain"], jnp.ones(rows, bool))
        state = bank.insert(state, entry, jnp.zeros(rows, jnp.int32), write, after=drawn, keys=keys)
        return state, drawn

    mesh = sharding.make_mesh(jax.devices()[:devices])
    sharded = sharding.shard_over_data(step, mesh, (ROLES.bank, ROLES.rows, ROLES.params), (ROLES.bank, ROLES.rows))
    return mesh, jax.jit(sharded, donate_argnums=0)


def given(mesh, number):
    error = np.random.default_rng(number).normal(size=(ROWS, 6, 4)).astype(np.float32)
    key = sharding.place(jax.random.fold_in(jax.random.key(0), number), mesh, ROLES.params)
    return sharding.place(error, mesh, ROLES.rows), key


def run(devices, bank):
    mesh, step = step_on(devices, bank)
    state, draws = capacity.allocate(bank, ENTRY, mesh), []
    for number in range(STEPS):
        state, drawn = step(state, *given(mesh, number))
        draws.append(jax.tree.map(np.asarray, drawn))
    return jax.tree.map(np.asarray, state), draws


@pytest.fixture(scope="module", params=[Reservoir(), Lowest(score=score_of)], ids=["reservoir", "lowest"])
def bank(request):
    threshold = AdaptiveThreshold(level=0.3, domains=DOMAINS, warmup=2)
    return ErrorBank(shards=8, capacity=6, replacement=request.param, threshold=threshold)


def test_draws_and_banks_are_the_same_on_1_and_8_devices(bank):
    (one, one_draws), (many, many_draws) = run(1, bank), run(8, bank)
    assert (one.count == bank.capacity).all(), "no slot was full: eviction was not tested"
    assert one.inserted.sum() < ROWS * STEPS, "everything was admitted: the threshold was not tested"
    # What is counted and stored is equal to the bit; logarithms may be rounded apart by different programs.
    jax.tree.map(
        np.testing.assert_array_equal, (many.entries, many.count, many.seen), (one.entries, one.count, one.seen)
    )
    near = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
    jax.tree.map(near, many.thresholds, one.thresholds)
    for drawn, other in zip(many_draws, one_draws, strict=True):
        for rule, same in zip(drawn, other, strict=True):
            jax.tree.map(np.testing.assert_array_equal, (rule.entries, rule.found), (same.entries, same.found))
            near(rule.weight, same.weight)


def test_no_collective_and_in_place(bank):
    mesh, step = step_on(8, bank)
    state = capacity.allocate(bank, ENTRY, mesh)
    compiled = step.lower(state, *given(mesh, 0)).compile()
    assert not COLLECTIVES.search(compiled.as_text())

    def pointers(tree):
        return [part.data.unsafe_buffer_pointer() for leaf in jax.tree.leaves(tree) for part in leaf.addressable_shards]

    before = pointers(state.entries)
    state, _ = compiled(state, *given(mesh, 0))
    assert pointers(state.entries) == before
