"""A user's Linen module in under ten lines, trained for two steps, and modules that do not fit."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from recycle_jax.batch import Batch
from recycle_jax.generators.adapt import flow_call, predictor_call
from recycle_jax.generators.base import Generator
from recycle_jax.generators.linen import from_linen
from recycle_jax.generators.predictor import Predictor
from recycle_jax.generators.rectified_flow import RectifiedFlow, velocity_head
from recycle_jax.histories.clean import TeacherForcing
from recycle_jax.sharding import make_mesh
from recycle_jax.training.state import init_state
from recycle_jax.training.step import make_correct

CONTEXT, CHUNK = jnp.zeros((1, 2, 4, 4, 1)), jnp.zeros((1, 1, 4, 4, 1))


class Pixelwise(nn.Module):
    """Someone's network: every pixel from the same pixel of two frames."""

    @nn.compact
    def __call__(self, context):
        x = nn.Dense(8)(jnp.moveaxis(context[..., 0], 1, -1))
        return nn.Dense(1)(nn.gelu(nn.LayerNorm()(x)))[:, None]


class Velocity(nn.Module):
    """The same for a flow."""

    @nn.compact
    def __call__(self, noisy, time, context):
        return noisy * time[:, None, None, None, None] / 1000.0 + Pixelwise()(context)


def your_predictor():
    return Predictor(network=from_linen(Pixelwise(), CONTEXT, call=predictor_call), context_frames=2)


def your_flow():
    network = from_linen(Velocity(), CHUNK, jax.ShapeDtypeStruct((1,), jnp.float32), CONTEXT, call=flow_call)
    return RectifiedFlow(network=network, context_frames=2, head=velocity_head)


@pytest.mark.parametrize("make", [your_predictor, your_flow])
def test_your_module_trains_and_rolls(make):
    generator = make()
    assert isinstance(generator, Generator)
    mesh, optimizer = make_mesh(jax.devices()[:1]), optax.sgd(0.1)
    correct = make_correct(generator, TeacherForcing(), optimizer, mesh)
    state = init_state(generator, optimizer, jax.random.key(0))
    start = jax.tree.map(np.asarray, state.params)
    clip = jax.random.normal(jax.random.key(1), (4, 3, 4, 4, 1))
    batch = Batch(clip=clip, domain=jnp.zeros(4, jnp.int32))
    for _ in range(2):
        state, _, metrics = correct(state, None, batch)
    assert np.isfinite(metrics["loss"]) and state.refused == 0
    pairs = zip(jax.tree.leaves(start), jax.tree.leaves(state.params), strict=True)
    assert all(np.any(old != new) for old, new in pairs)
    keys = jax.random.split(jax.random.key(2), 4)
    _, chunk = generator.step(state.params, generator.begin(state.params, clip[:, :2], None), keys, None)
    assert chunk.shape == (4, 1, 4, 4, 1) and np.isfinite(chunk).all()


def test_the_network_is_the_module():
    network, module = from_linen(Pixelwise(), CONTEXT, call=predictor_call), Pixelwise()
    params = network.init(jax.random.key(3))
    context = jax.random.normal(jax.random.key(4), (5, 2, 4, 4, 1))
    wanted = module.init(jax.random.key(3), CONTEXT)["params"]
    jax.tree.map(np.testing.assert_array_equal, params, wanted)
    out = network.apply(params, context, jnp.zeros(5), None)
    np.testing.assert_array_equal(out, module.apply({"params": params}, context))


def test_annotated_parameters_arrive_as_plain_arrays():
    class Annotated(nn.Module):
        @nn.compact
        def __call__(self, context):
            start = nn.with_partitioning(nn.initializers.ones_init(), (None,))
            return context[:, -1:] * self.param("gain", start, (1,))[None, None, None, None]

    params = from_linen(Annotated(), CONTEXT, call=predictor_call).init(jax.random.key(0))
    assert isinstance(params["gain"], jax.Array)


def test_what_generators_cannot_carry_is_refused():
    with pytest.raises(ValueError, match="BatchNorm keeps batch_stats.*GroupNorm"):
        from_linen(nn.BatchNorm(use_running_average=False), CONTEXT)
    with pytest.raises(ValueError, match="Dropout draws random numbers.*deterministic"):
        from_linen(nn.Dropout(0.5, deterministic=False), CONTEXT)
