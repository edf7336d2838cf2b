"""Gains of maps whose gains are known, and golden population numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recycle_jax.drift.gain import gain, gains
from recycle_jax.drift.population import RandomFeatures, frechet, mmd


def test_the_gain_of_a_scaling_is_its_factor():
    base = jax.random.normal(jax.random.key(0), (3, 1, 8, 8, 1))
    moved = base + 0.1 * jax.random.normal(jax.random.key(1), base.shape)
    np.testing.assert_allclose(gain(lambda x: 0.5 * x[:, -1] + 1.0, base, moved), 0.5, rtol=1e-4)
    assert np.all(np.isnan(gain(lambda x: x[:, -1], base, base))), "there is no gain of no error"


def test_errors_are_split_along_and_off_the_manifold():
    """Valid frames are constant; the step halves what is off the constants and keeps the level."""

    def project(window):
        return jnp.broadcast_to(window[-1].mean(), window[-1].shape)

    def step(context):
        newest = context[:, -1]
        level = newest.mean(axis=(1, 2, 3), keepdims=True)
        return level + 0.5 * (newest - level)

    clean = jnp.zeros((4, 1, 8, 8, 1))
    noise = jax.random.normal(jax.random.key(0), clean.shape)
    erroneous = clean + 0.3 + 0.1 * (noise - noise.mean(axis=(2, 3, 4), keepdims=True))
    found = gains(step, project, clean, erroneous, simulate=lambda context: context[:, -1])
    np.testing.assert_allclose(found.off_manifold, 0.5, rtol=1e-3)
    np.testing.assert_allclose(found.on_manifold, 1.0, rtol=1e-3)
    np.testing.assert_allclose(found.simulator, 1.0, rtol=1e-3)
    np.testing.assert_allclose(found.on_error, 0.3, rtol=1e-3)
    np.testing.assert_allclose(found.off_error, 0.1, rtol=0.3)
    with pytest.raises(ValueError, match="odd"):
        gains(step, project, jnp.zeros((1, 2, 8, 8, 1)), jnp.zeros((1, 2, 8, 8, 1)))


def test_population_distances_tell_faded_from_real(discs):
    network = RandomFeatures()
    features = jax.jit(network)
    first, second, third = (jax.jit(discs.video, static_argnums=(1, 2))(jax.random.key(k), 64, 3) for k in range(3))
    first, second, faded = (np.asarray(features(clip)) for clip in (first, second, 0.5 * (third - 1.0)))
    assert frechet(first, first) == pytest.approx(0.0, abs=1e-3)
    assert frechet(first, faded) > 5 * frechet(first, second)
    assert mmd(first, faded) > 5 * abs(mmd(first, second))
    with pytest.raises(ValueError, match="at least 2"):
        frechet(first[:1], second)
