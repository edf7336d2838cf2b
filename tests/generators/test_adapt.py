"""A user's own network in under ten lines, and what happens to one that does not fit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from recycle_jax.batch import Batch
from recycle_jax.generators.adapt import fixed, flow_call, from_function, from_nnx, predictor_call
from recycle_jax.generators.base import Generator, clean_example
from recycle_jax.generators.predictor import Predictor
from recycle_jax.generators.rectified_flow import RectifiedFlow, velocity_head

KEYS = jax.random.split(jax.random.key(0), 2)


class Pixelwise(nnx.Module):
    """Someone's network: every pixel from the same pixel of two frames."""

    def __init__(self, rngs):
        self.mix = nnx.Linear(2, 1, rngs=rngs)

    def __call__(self, context):
        return self.mix(jnp.moveaxis(context[..., 0], 1, -1))[:, None]


def assert_trains_and_rolls(generator):
    assert isinstance(generator, Generator)
    params = generator.init(jax.random.key(0))
    clip = jax.random.normal(jax.random.key(1), (2, 3, 4, 4, 1))
    example = clean_example(generator, Batch(clip=clip, domain=jnp.zeros(2, jnp.int32)), KEYS)
    gradient = jax.grad(lambda p: generator.fit(p, example).loss.mean())(params)
    assert all(np.any(leaf != 0.0) for leaf in jax.tree.leaves(gradient))
    _, chunk = generator.step(params, generator.begin(params, clip[:, :2], None), KEYS, None)
    assert chunk.shape == (2, 1, 4, 4, 1)


def test_your_module_as_a_predictor():
    network = from_nnx(lambda rngs: Pixelwise(rngs), predictor_call)
    assert_trains_and_rolls(Predictor(network=network, context_frames=2))


def test_your_module_as_a_flow():
    class Velocity(Pixelwise):
        def __call__(self, noisy, time, context):
            return noisy * time[:, None, None, None, None] / 1000.0 + super().__call__(context)

    network = from_nnx(Velocity, flow_call)
    assert_trains_and_rolls(RectifiedFlow(network=network, context_frames=2, head=velocity_head))


def test_your_function_as_a_predictor():
    def fade(params, context):
        return params["gain"] * context[:, -1:]

    network = from_function(fade, fixed({"gain": np.float32(0.9)}), predictor_call)
    assert_trains_and_rolls(Predictor(network=network, context_frames=2))


def test_your_function_as_a_flow():
    def velocity(params, noisy, time, context):
        return noisy - params["gain"] * context[:, -1:]

    network = from_function(velocity, fixed({"gain": np.float32(0.9)}), flow_call)
    assert_trains_and_rolls(RectifiedFlow(network=network, context_frames=2, head=velocity_head))


def test_your_network_with_actions():
    def move(params, context, action):
        return context[:, -1:] + params["speed"] * action[:, None, None, None, :]

    network = from_function(move, fixed({"speed": 2.0}), lambda net, context, level, action: net(context, action))
    generator = Predictor(network=network, context_frames=1)
    _, chunk = generator.step(generator.init(KEYS[0]), jnp.zeros((2, 1, 4, 4, 1)), KEYS, jnp.ones((2, 1)))
    np.testing.assert_array_equal(chunk, np.full((2, 1, 4, 4, 1), 2.0))


def test_time_runs_from_0_to_1000():
    network = from_function(
        lambda p, noisy, time, context: noisy * 0.0 + time[:, None, None, None, None], fixed({}), flow_call
    )
    frames = jnp.zeros((2, 1, 4, 4, 1))
    out = network.apply({}, frames, jnp.asarray([[1.0], [0.25]]), frames, jnp.zeros(2), None)
    np.testing.assert_array_equal(out[:, 0, 0, 0, 0], [1000.0, 250.0])


def test_your_weights_outlive_a_donation():
    weights = {"gain": jnp.float32(0.9)}
    init = fixed(weights)
    spend = jax.jit(lambda params: jax.tree.map(lambda leaf: leaf + 1.0, params), donate_argnums=0)
    spend(init(jax.random.key(0)))
    assert weights["gain"] == np.float32(0.9) and init(jax.random.key(0))["gain"] == np.float32(0.9)


@pytest.mark.parametrize("shape", [(2, 4, 4, 1), (2, 1, 4, 4, 3), (1, 1, 4, 4, 1)])
def test_a_chunk_of_another_shape_is_named(shape):
    network = from_function(lambda params, context: jnp.zeros(shape), fixed({}), predictor_call)
    with pytest.raises(ValueError, match=r"made \(.*\) of \(2, 2, 4, 4, 1\).*reshape"):
        network.apply({}, jnp.zeros((2, 2, 4, 4, 1)), jnp.zeros(2), None)


def test_a_module_with_running_statistics_is_refused():
    with pytest.raises(ValueError, match="BatchNorm keeps mean, a BatchStat.*GroupNorm"):
        from_nnx(lambda rngs: nnx.BatchNorm(1, rngs=rngs), predictor_call)
