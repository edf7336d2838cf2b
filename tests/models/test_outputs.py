"""Parametrisations: what a raw output stands for, for predictors and flows alike."""

import jax.numpy as jnp
import numpy as np
import pytest

from recycle_jax.models.base import Network
from recycle_jax.models.outputs import mean_kept

CONTEXT = jnp.stack([jnp.zeros((2, 4, 4, 1)), jnp.full((2, 4, 4, 1), 0.5)], axis=1)
LEVEL, NOISY, SIGMA = jnp.zeros(2), jnp.full((2, 3, 4, 4, 1), 7.0), jnp.ones((2, 3))


@pytest.mark.parametrize("inputs", [(CONTEXT, LEVEL, None), (NOISY, SIGMA, CONTEXT, LEVEL, None)])
def test_a_kept_mean_is_the_newest_frames_and_leaves_the_shape_of_what_is_made(inputs):
    made = jnp.linspace(-1.0, 1.0, 2 * 3 * 4 * 4).reshape(2, 3, 4, 4, 1)
    kept = mean_kept(Network(init=lambda key: {}, apply=lambda params, *inputs: made)).apply({}, *inputs)
    np.testing.assert_allclose(kept.mean((2, 3, 4)), 0.5, rtol=1e-6)
    shape = np.asarray(made - made.mean((2, 3), keepdims=True))
    np.testing.assert_allclose(kept - kept.mean((2, 3), keepdims=True), shape, atol=1e-6)


def test_parameters_stay_the_networks_own():
    network = Network(init=lambda key: {"offset": key}, apply=lambda params, *inputs: inputs[-3])
    assert mean_kept(network).init(5) == {"offset": 5}
