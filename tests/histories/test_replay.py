"""Recycling of complete cases: clean and counted without any, and the case's own frames with them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recycle_jax.errors.bank.bank import ErrorBank
from recycle_jax.errors.rollout.harvest import Case, Harvest
from recycle_jax.histories.clean import TeacherForcing
from recycle_jax.histories.mixture import Mixture
from recycle_jax.histories.replay import ReplayCases

examples = jax.jit(lambda policy, *given: policy.examples(PARAMS, *given), static_argnums=(0, 1))
losses = jax.jit(lambda policy, *given: policy.loss(PARAMS, *given), static_argnums=(0, 1))
insert = jax.jit(ErrorBank.insert, static_argnums=0)
PARAMS = {"gain": jnp.float32(0.9)}
BANK = ErrorBank(shards=2, capacity=4)
EMPTY, FULL = "empty", "full"


def bank_state(predictor, fill):
    """Two shards; where full, one case a shard: context 0.5, its clean version 0.25, target 0.125."""
    state = BANK.init(Harvest(generator=predictor).entry((2, 2, 1)))
    if fill == EMPTY:
        return state
    return insert(BANK, state, one_case_a_shard(), jnp.zeros(2, jnp.int32), jnp.ones(2, bool))


def one_case_a_shard():
    """Two rows."""
    frames = lambda value, count: jnp.full((2, count, 2, 2, 1), value, jnp.float32)  # noqa: E731
    numbers = jnp.zeros(2, jnp.int32)
    return Case(
        context=frames(0.5, 2),
        clean_context=frames(0.25, 2),
        target=frames(0.125, 1),
        ages=jnp.ones((2, 2), jnp.int32),
        domain=numbers,
        step=numbers,
        score=jnp.zeros(2, jnp.float32),
    )


def test_without_cases_rows_are_clean_and_counted(predictor, batch_of, keys_of):
    policy, state, batch = ReplayCases(bank=BANK), bank_state(predictor, EMPTY), batch_of(4)
    drawn = examples(policy, predictor, state, batch, keys_of(4))
    np.testing.assert_array_equal(drawn.example.context, batch.clip[:, :2])
    np.testing.assert_array_equal(drawn.example.x0, batch.clip[:, 2:3])
    assert np.all(drawn.clean) and not np.any(drawn.found)
    loss, aux = losses(policy, predictor, state, batch, keys_of(4))
    assert aux.empty_draws == 4 and aux.metrics["rows_clean"] == 4.0
    plain, _ = losses(TeacherForcing(), predictor, None, batch, keys_of(4))
    np.testing.assert_allclose(loss, plain, rtol=1e-6)


def test_a_case_is_replayed_whole(predictor, batch_of, keys_of):
    state = bank_state(predictor, FULL)
    drawn = examples(ReplayCases(bank=BANK), predictor, state, batch_of(4), keys_of(4))
    assert np.all(drawn.example.context == 0.5)
    assert np.all(drawn.example.x0 == 0.125) and np.all(drawn.example.x_injected == 0.125)
    assert not np.any(drawn.clean) and np.all(drawn.found)


def test_frames_of_a_case_are_repaired_each_for_itself(predictor, batch_of, keys_of):
    """Whole rows stay under the case's target, whatever became of their frames."""
    state, rows = bank_state(predictor, FULL), 64
    drawn = examples(ReplayCases(bank=BANK, repair_prob=0.25), predictor, state, batch_of(rows), keys_of(rows))
    frames = np.asarray(drawn.example.context)[..., 0, 0, 0]
    assert set(np.unique(frames)) == {0.25, 0.5} and 0.1 < np.mean(frames == 0.25) < 0.4
    assert {tuple(row) for row in frames} == {(0.5, 0.5), (0.25, 0.5), (0.5, 0.25), (0.25, 0.25)}
    assert np.all(drawn.example.x0 == 0.125) and not np.any(drawn.clean)
    with pytest.raises(ValueError, match="repair_prob=1.5"):
        ReplayCases(bank=BANK, repair_prob=1.5)


def test_a_case_is_replayed_under_its_own_condition(predictor, batch_of, keys_of):
    """Rows of the empty shard keep the batch's."""
    told = lambda value, rows: {"push": jnp.full((rows, 1), value, jnp.float32)}  # noqa: E731
    state = BANK.init(Harvest(generator=predictor).entry((2, 2, 1), told(0.0, 1)))
    case = dataclasses.replace(one_case_a_shard(), condition=told(0.75, 2))
    state = insert(BANK, state, case, jnp.zeros(2, jnp.int32), jnp.asarray([True, False]))
    batch = batch_of(4).replace(condition=told(0.25, 4))
    example = examples(ReplayCases(bank=BANK), predictor, state, batch, keys_of(4)).example
    np.testing.assert_array_equal(example.condition["push"][:, 0], [0.75, 0.75, 0.25, 0.25])


def test_a_replayed_context_may_be_noised_and_says_so(predictor, batch_of, keys_of):
    state = bank_state(predictor, FULL)
    policy = ReplayCases(bank=BANK, noise=0.1)
    example = examples(policy, predictor, state, batch_of(8), keys_of(8)).example
    strength = np.abs(np.asarray(example.context) - 0.5).max(axis=(1, 2, 3, 4))
    assert np.all(strength < 5 * example.level) and np.all(example.level > 0) and example.level.max() <= 0.1
    assert np.all(example.x0 == 0.125)


def test_a_mixture_recycles_its_share(predictor, batch_of, keys_of):
    policy = Mixture(parts=((1, ReplayCases(bank=BANK)), (1, TeacherForcing())))
    batch = batch_of(8)
    drawn = examples(policy, predictor, bank_state(predictor, FULL), batch, keys_of(8))
    np.testing.assert_array_equal(drawn.clean, [False, True] * 4)
    assert np.all(drawn.example.context[::2] == 0.5)
    np.testing.assert_array_equal(drawn.example.context[1::2], batch.clip[1::2, :2])
    _, aux = losses(policy, predictor, bank_state(predictor, EMPTY), batch, keys_of(8))
    assert aux.empty_draws == 4, "only the rows that asked"
