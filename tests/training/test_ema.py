"""Averaged parameters: what they are, that updates do not notice, and what a phase hands out."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recycle_jax.histories.clean import TeacherForcing
from recycle_jax.sharding import make_mesh
from recycle_jax.training.ema import ema_params, with_ema
from recycle_jax.training.loop import Schedule
from recycle_jax.training.phases import Adam, train_phase
from recycle_jax.training.state import with_optimizer
from recycle_jax.training.step import update

START = {"a": jnp.asarray([1.0, -2.0]), "b": jnp.asarray(3.0)}


def trained(optimizer, gradients):
    """The states after each of the gradients."""
    state = with_optimizer(START, optimizer, jax.random.key(0))
    for value in gradients:
        gradient = jax.tree.map(lambda leaf, v=value: jnp.full_like(leaf, v), state.params)
        state, _, _ = update(state, optimizer, jnp.asarray(0.0), gradient)
        yield state


@given(
    horizon=st.floats(1.0, 50.0, allow_nan=False, width=32),
    gradients=st.lists(st.floats(-2.0, 2.0, width=32), min_size=1, max_size=8),
)
def test_it_is_the_moving_average_of_the_newest_parameters(horizon, gradients):
    expected = np.asarray(START["a"], np.float64)
    for state in trained(with_ema(optax.sgd(0.5), horizon), gradients):
        expected = expected + (np.asarray(state.params["a"], np.float64) - expected) / horizon
    np.testing.assert_allclose(ema_params(state)["a"], expected, atol=1e-5)


def test_updates_are_those_of_the_inner_optimiser():
    gradients = [0.5, -1.0, 0.25]
    plain = list(trained(optax.adam(0.1), gradients))[-1]
    also = list(trained(with_ema(optax.adam(0.1), 3.0), gradients))[-1]
    chex.assert_trees_all_equal(plain.params, also.params)


def test_a_horizon_of_one_hands_out_the_newest():
    state = list(trained(with_ema(optax.sgd(0.5), 1.0), [1.0, 2.0]))[-1]
    chex.assert_trees_all_close(ema_params(state), state.params)


def test_without_an_average_the_newest_are_handed_out():
    state = list(trained(optax.sgd(0.5), [1.0]))[-1]
    assert ema_params(state) is state.params


def test_a_refused_step_leaves_the_average_alone():
    first, second = trained(with_ema(optax.sgd(0.5), 4.0), [1.0, float("nan")])
    assert int(second.refused) == 1
    chex.assert_trees_all_equal(ema_params(first), ema_params(second))


def test_a_phase_hands_out_its_average(tiny):
    """Parameters move one way here: the average stays nearer to the start than the newest."""
    generator, mesh = tiny.line(), make_mesh(jax.devices()[:1])
    start = generator.init(jax.random.key(0))

    def phase(average):
        adam, schedule = Adam(learning_rate=0.01, average=average), Schedule(updates=6, rows=4, frames=3)
        key = jax.random.key(0)
        return train_phase(generator, TeacherForcing(), tiny.Waves(), schedule, key, mesh, params=start, adam=adam)

    newest, mean = phase(0.0), phase(1.0)
    for name in start:
        assert abs(mean[name] - start[name]) < abs(newest[name] - start[name])


@pytest.mark.parametrize("horizon", [0.5, 0.0, float("nan")])
def test_a_horizon_below_one_update_is_refused(horizon):
    with pytest.raises(ValueError, match="must be at least 1 update"):
        with_ema(optax.sgd(0.1), horizon)


def test_an_average_needs_parameters():
    optimizer = with_ema(optax.sgd(0.1), 2.0)
    with pytest.raises(ValueError, match="needs the parameters"):
        optimizer.update(START, optimizer.init(START))
