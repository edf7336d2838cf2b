"""Discretised history: training and generation see the same codes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.comparison.baselines.codebook import Codebook, quantise
from experiments.comparison.baselines.discrete import DiscreteHistory
from experiments.comparison.baselines.discretised import Discretised
from recycle_jax.generators.base import Generator, slide
from recycle_jax.histories.base import HistoryPolicy
from recycle_jax.histories.clean import TeacherForcing
from recycle_jax.rollout.scan import rollout

PARAMS = {"gain": jnp.float32(0.9)}
CODEBOOK = Codebook(codes=jnp.linspace(-1.0, 1.0, 11)[:, None])  # steps of 0.2


@functools.partial(jax.jit, static_argnums=(0, 1))
def examples(policy, generator, batch, keys):
    return policy.examples(PARAMS, generator, None, batch, keys).example


def test_only_the_history_is_quantised(predictor, batch_of, keys_of):
    batch = batch_of(16)
    assert isinstance(DiscreteHistory(codebook=CODEBOOK), HistoryPolicy)
    example = examples(DiscreteHistory(codebook=CODEBOOK), predictor, batch, keys_of(16))
    np.testing.assert_array_equal(example.context, quantise(CODEBOOK, batch.clip[:, :2]))
    np.testing.assert_array_equal(example.x0, batch.clip[:, 2:])
    assert np.any(example.context != batch.clip[:, :2])


@pytest.mark.parametrize("kind", ["predictor", "flow"])
def test_the_policy_trains_what_the_wrapped_generator_generates_from(kind, request, batch_of, keys_of):
    """Policy, wrapper, and both together are one loss."""
    inner, batch, keys = request.getfixturevalue(kind), batch_of(16), keys_of(16)
    wrapped = Discretised(inner=inner, codebook=CODEBOOK)
    policy = DiscreteHistory(codebook=CODEBOOK)
    assert isinstance(wrapped, Generator)
    loss = jax.jit(lambda p, g: p.loss(PARAMS, g, None, batch, keys)[0], static_argnums=(0, 1))
    one = loss(policy, inner)
    np.testing.assert_allclose([loss(TeacherForcing(), wrapped), loss(policy, wrapped)], one, rtol=1e-6)
    assert one != loss(TeacherForcing(), inner)


@pytest.mark.parametrize("kind", ["predictor", "flow"])
def test_a_step_sees_codes_and_keeps_what_it_made(kind, request, batch_of, keys_of):
    inner, context, keys = request.getfixturevalue(kind), batch_of(16).clip[:, :2], keys_of(16)
    wrapped = Discretised(inner=inner, codebook=CODEBOOK)
    carry, chunk = jax.jit(wrapped.step)(PARAMS, wrapped.begin(PARAMS, context, None), keys, None)
    _, want = jax.jit(inner.step)(PARAMS, quantise(CODEBOOK, context), keys, None)
    np.testing.assert_allclose(chunk, want, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(carry, slide(context, chunk))


def test_small_errors_do_not_reach_the_second_step(predictor):
    """An error of 0.05 on a code lies in its dead zone, so that both rollouts are one."""
    wrapped = Discretised(inner=predictor, codebook=CODEBOOK)
    roll = jax.jit(lambda context: rollout(wrapped, PARAMS, context, jax.random.key(0), 5))
    context = jnp.full((1, 2, 2, 2, 1), 0.6)
    np.testing.assert_array_equal(roll(context + 0.05), roll(context))


def test_a_wrapped_generator_is_a_static_argument(predictor):
    wrapped = Discretised(inner=predictor, codebook=CODEBOOK)
    assert hash(wrapped) == hash(Discretised(inner=predictor, codebook=CODEBOOK))
    assert wrapped == Discretised(inner=predictor, codebook=CODEBOOK)
