"""Gains of maps whose gains are known."""

import jax
import numpy as np

from recycle_jax.drift.gain import gain


def test_the_gain_of_a_scaling_is_its_factor():
    base = jax.random.normal(jax.random.key(0), (3, 1, 8, 8, 1))
    moved = base + 0.1 * jax.random.normal(jax.random.key(1), base.shape)
    np.testing.assert_allclose(gain(lambda x: 0.5 * x[:, -1] + 1.0, base, moved), 0.5, rtol=1e-4)
    assert np.all(np.isnan(gain(lambda x: x[:, -1], base, base))), "there is no gain of no error"
