"""One-step errors: what is drawn, where it goes, what is written, and that it costs nothing when closed."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from recycle_jax import flow_matching as fm
from recycle_jax import rng, sharding
from recycle_jax.errors.bank.bank import ErrorBank
from recycle_jax.errors.bank.slots import AgeSlots, NoiseSlots
from recycle_jax.errors.one_step.algebra import ClippedExact, ResidualEntry
from recycle_jax.errors.one_step.inject import Gates
from recycle_jax.histories.base import Aux, HistoryPolicy
from recycle_jax.histories.clean import TeacherForcing
from recycle_jax.histories.mixture import Mixture
from recycle_jax.histories.one_step import OneStepErrors, one_step
from recycle_jax.histories.svi import svi_film, svi_shot, svi_weight
from recycle_jax.training.state import with_optimizer
from recycle_jax.training.step import make_correct

PARAMS = {"gain": jnp.float32(0.9)}
FRAME = (2, 2, 1)
SLOTS = NoiseSlots(steps=4, shift=5.0)
BANK = ErrorBank(slots=4, capacity=64)
ROWS = 64
RESIDUALS = (1.0, 2.0, 4.0, 8.0)
ALWAYS = Gates(data=1.0, noise=1.0, context=1.0, clean=0.0)
POLICY = OneStepErrors(bank=BANK, slots=SLOTS, gates=ALWAYS)
FINE = jnp.asarray(True)
ENTRY = ResidualEntry.entry(1, FRAME)
record = jax.jit(OneStepErrors.record, static_argnums=0)
insert = jax.jit(ErrorBank.insert, static_argnums=0)


def entries(residuals, sigmas, ages=None):
    count = len(residuals)
    return ResidualEntry(
        residual=jnp.broadcast_to(jnp.asarray(residuals, jnp.float32)[:, None, None, None, None], (count, 1, *FRAME)),
        sigma=jnp.asarray(sigmas, jnp.float32)[:, None],
        age=jnp.asarray([1] * count if ages is None else ages, jnp.int32),
        domain=jnp.zeros(count, jnp.int32),
        step=jnp.zeros(count, jnp.int32),
    )


def numbered_bank():
    """One entry a slot, of the slot's own sigma; the residual of slot `n` is `2**n`."""
    sigmas = SLOTS.times() / fm.TIME_SCALE
    rows = entries(RESIDUALS, sigmas)
    return insert(BANK, BANK.init(ENTRY), rows, jnp.arange(4, dtype=jnp.int32), jnp.ones(4, bool)), sigmas


@functools.partial(jax.jit, static_argnums=(0, 1))
def drawn_of(policy, generator, state, batch, keys):
    return policy.examples(PARAMS, generator, state, batch, keys)


@functools.partial(jax.jit, static_argnums=(0, 1))
def loss_of(policy, generator, state, batch, keys):
    return policy.loss(PARAMS, generator, state, batch, keys)


def test_data_and_noise_errors_are_of_the_rows_own_slot(flow, batch_of, keys_of):
    state, sigmas = numbered_bank()
    rows = ROWS
    drawn = drawn_of(POLICY, flow, state, batch_of(rows), keys_of(rows))
    example = drawn.example
    slot = SLOTS(example.sigma[:, 0], jnp.ones(rows, jnp.int32))
    assert set(np.asarray(slot)) == {0, 1, 2, 3}
    residual, sigma = jnp.asarray(RESIDUALS)[slot], sigmas[slot]
    data = (example.x_injected - example.x0)[:, 0, 0, 0, 0]
    np.testing.assert_allclose(data, -sigma * residual, rtol=1e-4, atol=1e-5)
    plain = flow.corruption(rng.split_rows(keys_of(rows), 7)[0], example.x0)
    np.testing.assert_array_equal(example.sigma, plain.sigma)
    noise = (example.noise_injected - plain.noise)[:, 0, 0, 0, 0]
    np.testing.assert_allclose(noise, (1.0 - sigma) * residual, rtol=1e-4, atol=1e-5)
    assert not np.any(drawn.clean) and np.all(drawn.found)


def test_context_errors_are_of_any_slot(flow, batch_of, keys_of):
    state, sigmas = numbered_bank()
    rows = ROWS
    batch = batch_of(rows)
    example = drawn_of(POLICY, flow, state, batch, keys_of(rows)).example
    error = np.asarray(example.context - batch.clip[:, :2])
    assert np.ptp(error, axis=(1, 2, 3, 4)).max() < 1e-5, "a chunk of one frame is repeated"
    which = np.abs(error[:, :1, 0, 0, 0] + np.asarray(sigmas * jnp.asarray(RESIDUALS))[None]).argmin(axis=1)
    counts = np.bincount(which, minlength=4)
    assert np.all(counts > rows / 4 * 0.5), f"one entry a slot, drawn {counts} times"


def test_unaligned_data_errors_are_of_any_slot_too(flow, batch_of, keys_of):
    state, sigmas = numbered_bank()
    policy = dataclasses.replace(POLICY, aligned=False, target=ClippedExact(most=4.0))
    example = drawn_of(policy, flow, state, batch_of(ROWS), keys_of(ROWS)).example
    data = np.asarray(example.x_injected - example.x0)[:, 0, 0, 0, 0]
    which = np.abs(data[:, None] + np.asarray(sigmas * jnp.asarray(RESIDUALS))[None]).argmin(axis=1)
    own = np.asarray(SLOTS(example.sigma[:, 0], jnp.ones(ROWS, jnp.int32)))
    assert np.any(which != own) and set(which) == {0, 1, 2, 3}
    assert example.target == ClippedExact(most=4.0)


def test_the_amplitude_scales_every_error(flow, batch_of, keys_of):
    state, _ = numbered_bank()
    batch, keys = batch_of(ROWS), keys_of(ROWS)
    once, half = (
        drawn_of(dataclasses.replace(POLICY, amplitude=a), flow, state, batch, keys).example for a in (1.0, 0.5)
    )
    np.testing.assert_allclose(half.x_injected - half.x0, 0.5 * (once.x_injected - once.x0), atol=1e-5)
    clean = batch.clip[:, :2]
    np.testing.assert_allclose(half.context - clean, 0.5 * (once.context - clean), atol=1e-5)


def test_an_empty_bank_is_clean_and_counted_and_fills(flow, batch_of, keys_of):
    state, batch, keys = BANK.init(ENTRY), batch_of(ROWS), keys_of(ROWS)
    _, aux = loss_of(POLICY, flow, state, batch, keys)
    assert np.all(aux.clean) and aux.empty_draws == ROWS
    state = record(POLICY, state, aux, keys, jnp.int32(5), FINE)
    assert state.empty_draws[0] == ROWS
    assert state.inserted[0] == ROWS, "rows whose gates are open write, though they found nothing"


@pytest.mark.parametrize("gates", [dataclasses.replace(ALWAYS, clean=1.0), Gates(data=0.0, noise=0.0, context=0.0)])
def test_closed_gates_are_teacher_forcing(gates, flow, batch_of, keys_of):
    """To the bit in what the network sees; the loss is another program's, and may be rounded otherwise."""
    state, _ = numbered_bank()
    batch, keys = batch_of(8), keys_of(8)
    policy = dataclasses.replace(POLICY, gates=gates)
    drawn = drawn_of(policy, flow, state, batch, keys)
    plain = drawn_of(TeacherForcing(), flow, None, batch, rng.split_rows(keys, 7)[0])
    jax.tree.map(np.testing.assert_array_equal, drawn, plain)
    fits = [flow.fit(PARAMS, d.example).loss for d in (drawn, plain)]
    np.testing.assert_array_equal(*fits)


def test_a_step_leaves_its_residuals_in_their_slots(flow, batch_of, keys_of):
    rows, batch = ROWS, batch_of(ROWS)
    mesh = sharding.make_mesh(jax.devices()[:1])
    correct = make_correct(flow, POLICY, optax.sgd(0.1), mesh)
    state = with_optimizer({"gain": jnp.float32(0.9)}, optax.sgd(0.1), jax.random.key(3))
    keys = rng.row_keys(jax.random.fold_in(jax.random.key(3), 0), rows)
    _, aux = loss_of(POLICY, flow, BANK.init(ENTRY), batch, keys)
    _, bank, metrics = correct(state, BANK.init(ENTRY), batch)
    slot = np.asarray(SLOTS(aux.sigma[:, 0], jnp.ones(rows, jnp.int32)))
    np.testing.assert_array_equal(bank.count[0], np.bincount(slot, minlength=4))
    stored = BANK.read(bank)
    for n in range(4):
        mine = np.flatnonzero(slot == n)
        np.testing.assert_allclose(stored.sigma[0, n, : len(mine), 0], aux.sigma[mine, 0], rtol=1e-6)
        kept = np.asarray(stored.residual[0, n, : len(mine)].astype(jnp.float32))
        np.testing.assert_allclose(kept, aux.residual[mine], rtol=1e-2, atol=1e-4)
        np.testing.assert_array_equal(stored.domain[0, n, : len(mine)], mine)
    assert metrics["empty_draws"] == rows


def aux_of(rows, residual=0.5, clean=True):
    return Aux(
        residual=jnp.full((rows, 1, *FRAME), residual),
        sigma=jnp.ones((rows, 1)),
        clean=jnp.full(rows, clean),
        domain=jnp.zeros(rows, jnp.int32),
        metrics={},
        empty_draws=jnp.int32(0),
    )


def test_rows_that_are_clean_on_purpose_seldom_write(keys_of):
    rows = 1000
    bank = ErrorBank(capacity=rows)
    policy = OneStepErrors(bank=bank, gates=dataclasses.replace(ALWAYS, clean=0.5), clean_write=0.1)
    keys = keys_of(rows)
    state = record(policy, bank.init(ENTRY), aux_of(rows), keys, jnp.int32(0), FINE)
    clean = np.asarray(policy.gates.draw(rng.split_rows(keys, 7)[1]).clean)
    written = int(state.inserted[0]) - int((~clean).sum())
    assert 0.05 * clean.sum() < written < 0.16 * clean.sum(), "all others write"
    assert state.empty_draws[0] == (~clean).sum(), "rows that asked and stayed clean"


def test_a_refused_step_changes_nothing(keys_of):
    state, _ = numbered_bank()
    after = record(POLICY, state, aux_of(4, jnp.nan), keys_of(4), jnp.int32(0), jnp.asarray(False))
    jax.tree.map(np.testing.assert_array_equal, after, state)


def test_a_mixture_records_each_parts_own_rows(keys_of):
    policy = Mixture(parts=((1, TeacherForcing()), (2, POLICY)))
    aux = dataclasses.replace(aux_of(6), domain=jnp.arange(6, dtype=jnp.int32))
    state = jax.jit(policy.record)(BANK.init(ENTRY), aux, keys_of(6), jnp.int32(0), FINE)
    stored = BANK.read(state).domain[0, 0]
    np.testing.assert_array_equal(stored[:4], [1, 2, 4, 5])
    assert state.inserted[0] == 4


def test_a_correction_step_copies_no_bank(predictor, batch_of):
    """Neither the draw, nor the insert, nor the refusal of a step that is not finite."""
    policy = one_step(bank=ErrorBank(capacity=50_000))
    correct = make_correct(predictor, policy, optax.sgd(0.1), sharding.make_mesh(jax.devices()[:1]))
    state = with_optimizer({"gain": jnp.float32(0.9)}, optax.sgd(0.1), jax.random.key(3))
    bank = jax.eval_shape(policy.bank.init, ENTRY)
    memory = correct.lower(state, bank, batch_of(4)).compile().memory_analysis()
    assert memory.temp_size_in_bytes < memory.alias_size_in_bytes / 10


def test_ages_grow_by_one_with_every_recycling_and_can_be_chosen(predictor, batch_of, keys_of):
    """An error made on a context with an error of age `a` is of age `a + 1`; only age 2 is drawn."""
    slots = AgeSlots(starts=(1, 2, 3))
    policy = one_step(bank=ErrorBank(slots=3, capacity=32), slots=slots, share=1.0, min_age=2, max_age=2)
    state = policy.bank.init(ENTRY)
    batch, keys = batch_of(4), keys_of(4)

    def step(state):
        _, aux = policy.loss(PARAMS, predictor, state, batch, keys)
        return policy.record(state, aux, keys, jnp.int32(0), FINE), aux.clean

    state, clean = jax.jit(step)(state)
    assert np.all(clean) and state.count[0].tolist() == [4, 0, 0]
    state = insert(policy.bank, state, entries([0.25], [1.0], [2]), jnp.asarray([1]), jnp.ones(1, bool))
    state, clean = jax.jit(step)(state)
    assert not np.any(clean) and state.count[0].tolist() == [4, 1, 4]
    assert set(np.asarray(policy.bank.read(state).age[0, 2, :4])) == {3}


def test_a_predictors_errors_have_their_own_sign(predictor, batch_of, keys_of):
    """E = +r; and nothing but the context is touched."""
    bank = ErrorBank(capacity=2)
    policy = one_step(bank=bank, share=1.0)
    assert isinstance(policy, HistoryPolicy)
    state = insert(bank, bank.init(ENTRY), entries([0.25], [1.0]), jnp.zeros(1, jnp.int32), jnp.ones(1, bool))
    batch = batch_of(4)
    example = drawn_of(policy, predictor, state, batch, keys_of(4)).example
    np.testing.assert_allclose(example.context, batch.clip[:, :2] + 0.25, rtol=1e-6)
    np.testing.assert_array_equal(example.x_injected, batch.clip[:, 2:3])
    assert not np.any(example.noise_injected)


def test_svi_presets_carry_the_published_numbers():
    shot, film = svi_shot(), svi_film()
    for policy, clean in ((shot, 0.2), (film, 0.5)):
        assert policy.gates == Gates(data=0.9, noise=0.01, context=0.9, clean=clean)
        assert (policy.bank.slots, policy.bank.capacity, policy.clean_write) == (50, 500, 0.1)
        assert policy.target is fm.paper_target and policy.aligned
    assert svi_shot(capacity=8).bank.init(ENTRY).norms.shape == (1, 50, 8), "norms for the nearest replacement"
    # The notes' table of the released weight, by timestep.
    times = jnp.asarray([1000.0, 978.0, 921.0, 833.0, 682.0, 556.0, 357.0, 208.0, 48.0])
    want = [0.0, 0.14, 0.50, 1.03, 1.74, 2.04, 1.87, 1.25, 0.31]
    np.testing.assert_allclose(svi_weight(times / 1000.0), want, atol=0.02)


def test_contradictions_are_named_at_construction():
    with pytest.raises(ValueError, match="bank has 4 slots.*has 50: make it with slots=50"):
        OneStepErrors(bank=BANK, slots=NoiseSlots())
    with pytest.raises(ValueError, match="clean_write=2"):
        dataclasses.replace(POLICY, clean_write=2.0)
    with pytest.raises(ValueError, match="ClippedExact"):
        dataclasses.replace(POLICY, aligned=False, target=fm.exact_target)
    with pytest.raises(ValueError, match="min_age=3, max_age=2, .*: use min_age=1 for all ages, or raise max_age"):
        dataclasses.replace(POLICY, min_age=3, max_age=2)
