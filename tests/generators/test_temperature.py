"""When a flow is cooled: by how much of what changes it foretells."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recycle_jax.batch import Batch
from recycle_jax.generators.context_noise import ContextNoise
from recycle_jax.generators.predictor import Predictor
from recycle_jax.generators.rectified_flow import RectifiedFlow
from recycle_jax.generators.temperature import choose_temperature, is_deterministic, unexplained_variance
from recycle_jax.models.base import Network

ROWS = 6


def flow_that_moves(by):
    """Its best guess is the newest frame and so much more."""
    network = Network(init=lambda key: {}, apply=lambda params, noisy, sigma, context, *rest: context[:, -1:] + by)
    return RectifiedFlow(network=network, context_frames=2)


def ramp(step=0.1, chance=0.0):
    clip = jnp.broadcast_to(step * jnp.arange(3.0).reshape(1, 3, 1, 1, 1), (ROWS, 3, 8, 8, 1))
    clip = clip.at[:, 2].add(chance * jax.random.normal(jax.random.key(0), (ROWS, 8, 8, 1)))
    return Batch(clip=clip, domain=jnp.zeros(ROWS, jnp.int32))


@pytest.mark.parametrize(("by", "share"), [(0.0, 1.0), (0.1, 0.0), (0.05, 0.25), (-0.1, 4.0)])
def test_what_is_unexplained_is_the_missed_share_of_what_changes(by, share):
    np.testing.assert_allclose(unexplained_variance(flow_that_moves(by), {}, ramp()), share, atol=1e-5)


def test_a_flow_that_foretells_is_cooled_and_one_that_cannot_is_not():
    flow = flow_that_moves(0.1)
    assert choose_temperature(flow, {}, ramp()).temperature == 0.0
    assert choose_temperature(flow, {}, ramp(), temperature=0.2).temperature == 0.2
    assert choose_temperature(flow, {}, ramp(chance=0.5)) is flow, "chance is most of what changes"


def test_where_nothing_changes_nothing_is_foretold():
    assert choose_temperature(flow_that_moves(0.1), {}, ramp(step=0.0)).temperature == 1.0
    assert np.isfinite(unexplained_variance(flow_that_moves(0.0), {}, ramp(step=0.0)))


def test_predictors_and_cold_flows_draw_nothing_in_any_wrapper():
    flow = flow_that_moves(0.1)
    cold = dataclasses.replace(flow, temperature=0.0)
    predictor = Predictor(network=flow.network, context_frames=2)
    told = [ContextNoise(inner=inner, told=0.5) for inner in (predictor, cold, flow)]
    assert [is_deterministic(who) for who in (predictor, cold, flow, *told)] == [True, True, False] * 2
    assert not is_deterministic(object()), "who does not say is taken to draw"
