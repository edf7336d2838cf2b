"""A generator's second look at its own history, through noise that it is told of."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recycle_jax.errors.reconsidered import Reconsidered
from recycle_jax.errors.rollout.harvest import Harvest
from recycle_jax.errors.rollout.references import Gate
from recycle_jax.generators.anchored import Anchored
from recycle_jax.generators.context_noise import second_look
from recycle_jax.generators.predictor import Predictor
from recycle_jax.models.base import Network

pytestmark = pytest.mark.fast

SHAPE, ROWS = (4, 4, 1), 3
OPEN = Gate(distance=10.0, mass=1e9)
LEVEL = 0.2

# Says the last frame of its history, dimmed by what it is told.
TELLS = Network(
    init=lambda key: {"gain": jnp.float32(1.0)},
    apply=lambda params, context, level, condition: (
        params["gain"] * context[:, -1:] * (1.0 - level[:, None, None, None, None])
    ),
)
GENERATOR = Predictor(network=TELLS, context_frames=2)
PARAMS = {"gain": jnp.float32(0.5)}
CONTEXT = jnp.linspace(-1.0, 1.0, ROWS * 2 * 16).reshape(ROWS, 2, *SHAPE)
KEYS = jax.random.split(jax.random.key(0), ROWS)


def reference(**changes):
    usual = Reconsidered(params=PARAMS, look=second_look(GENERATOR, LEVEL), gate=OPEN)
    return dataclasses.replace(usual, **changes)


def refer(made, **changes):
    return reference(**changes)(CONTEXT, made, CONTEXT[:, :0], KEYS)


def test_many_draws_come_to_what_the_network_says_of_the_context_when_told():
    made = CONTEXT[:, -1:]
    want = 0.5 * (1.0 - LEVEL) * CONTEXT[:, -1:]
    one, many = refer(made).target, refer(made, draws=400).target
    np.testing.assert_allclose(many, want, atol=0.03)
    assert float(jnp.square(one - want).mean()) > 20 * float(jnp.square(many - want).mean())


def test_who_looks_is_a_leaf_so_that_it_can_be_renewed():
    bright = dataclasses.replace(reference(), params={"gain": jnp.float32(1.0)})
    np.testing.assert_allclose(bright(CONTEXT, CONTEXT[:, -1:], None, KEYS).target, 2.0 * refer(CONTEXT[:, -1:]).target)
    assert jax.tree.leaves(reference()) == [PARAMS["gain"]]


def test_cases_are_judged_by_how_far_the_two_looks_are_apart():
    near = refer(refer(CONTEXT[:, -1:]).target, gate=Gate(distance=1e-6))
    far = refer(CONTEXT[:, -1:] + 1.0, gate=Gate(distance=1e-6))
    assert near.accept.all() and not far.accept.any()
    np.testing.assert_array_equal(near.clean_context, CONTEXT)


def test_chains_need_no_clip_and_go_on_by_the_first_look():
    assert not reference().reads_clip
    assert Harvest(generator=GENERATOR, max_age=8).clip_frames(reference()) == GENERATOR.context_frames
    assert refer(CONTEXT[:, -1:]).go_on is None


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="draws"):
        reference(draws=0)
    with pytest.raises(ValueError, match="level"):
        second_look(GENERATOR, 0.0)
    with pytest.raises(ValueError, match="anchors"):
        second_look(Anchored(inner=GENERATOR), LEVEL)
