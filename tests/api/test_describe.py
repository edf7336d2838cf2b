"""From values to JSON and back, and what is refused."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st

import recycle_jax as rj
from recycle_jax.api.describe import describe, rebuild
from recycle_jax.generators.rectified_flow import velocity_head

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text(), inner), max_leaves=8
)


class Pixelwise(nnx.Module):
    """Someone's network, at the top of a module, with a setting."""

    def __init__(self, width, rngs):
        self.first = nnx.List([nnx.Linear(2, width, rngs=rngs)])
        self.last = nnx.Linear(width, 1, rngs=rngs)

    def __call__(self, context):
        return self.last(self.first[0](jnp.moveaxis(context[..., 0], 1, -1)))[:, None]


class Dense(nn.Module):
    """The same in Linen."""

    width: int

    @nn.compact
    def __call__(self, context):
        return nn.Dense(1)(nn.Dense(self.width)(jnp.moveaxis(context[..., 0], 1, -1)))[:, None]


@given(VALUES)
def test_what_json_can_hold_comes_back(value):
    assert rebuild(describe(value)) == value


@pytest.mark.parametrize("value", [velocity_head, rj.Predictor, jnp.dtype("bfloat16")])
def test_functions_classes_and_dtypes_come_back(value):
    assert rebuild(describe(value)) == value


def networks():
    context = jnp.zeros((1, 2, 4, 4, 1))
    yield "nnx", rj.generators.from_nnx(Pixelwise, width=3)
    yield "linen", rj.generators.from_linen(Dense(width=3), context)
    yield "unet", rj.models.frame_unet(shape=(16, 16, 1), context_frames=2, chunk_frames=1, width=8)


@pytest.mark.parametrize("network", [pytest.param(network, id=name) for name, network in networks()])
def test_a_network_that_is_rebuilt_computes_the_same(network):
    generator = rj.Predictor(network=network, context_frames=2)
    again = rebuild(describe(generator))
    assert dataclasses.replace(again, network=network) == generator
    shape = (2, 2, 16, 16, 1)
    params, context = generator.init(jax.random.key(0)), jax.random.normal(jax.random.key(1), shape)
    keys = jax.random.split(jax.random.key(2), 2)
    chunks = [g.step(params, g.begin(params, context, None), keys, None)[1] for g in (generator, again)]
    np.testing.assert_array_equal(*chunks)


def test_what_has_no_import_path_is_refused_by_name():
    network = rj.generators.from_nnx(lambda rngs: Pixelwise(3, rngs))
    with pytest.raises(ValueError, match=r"generator.network.*<lambda>.*no import path.*save\(None"):
        describe(rj.Predictor(network=network, context_frames=2))
    bare = rj.models.Network(init=lambda key: {}, apply=lambda params, x: x)
    with pytest.raises(ValueError, match="does not know how it was made"):
        describe(rj.Predictor(network=bare, context_frames=2))
    with pytest.raises(ValueError, match="partial"):
        describe({"f": functools.partial(print)})


def test_what_cannot_be_imported_is_named_with_its_path():
    with pytest.raises(ImportError, match=r"Net in the module no_such_module.*PYTHONPATH"):
        rebuild({"import": "no_such_module:Net"})
