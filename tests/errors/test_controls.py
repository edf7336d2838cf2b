"""Controls of recycling: what they keep of an error, and what they take from it."""

import jax
import jax.numpy as jnp
import numpy as np

from recycle_jax.errors.controls import PhaseRandomised, Shuffled


def errors(rows=4):
    """Blobs in two channels, the second minus half of the first."""
    y, x = np.mgrid[:8, :8]
    blob = np.exp(-((y - 3.0) ** 2 + (x - 5.0) ** 2) / 3.0)
    strength = np.arange(1, rows + 1)[:, None, None, None, None] * np.ones((1, 3, 1, 1, 1))
    return jnp.asarray(strength * blob[None, None, ..., None] * np.array([1.0, -0.5]), jnp.float32)


def keys(rows=4):
    return jax.random.split(jax.random.key(0), rows)


def spectrum(x):
    return np.abs(np.fft.fftn(np.asarray(x, np.float64), axes=(1, 2, 3)))


def test_random_phases_keep_the_spectrum_and_the_channels_but_not_the_shape():
    error = errors()
    remade = PhaseRandomised(amplitude=2.0)(error, keys())
    assert remade.dtype == error.dtype
    np.testing.assert_allclose(spectrum(remade), 2.0 * spectrum(error), atol=2e-4)
    np.testing.assert_allclose(remade[..., 1], -0.5 * remade[..., 0], atol=1e-5)
    alike = np.sum(remade * error, axis=(1, 2, 3, 4)) / np.sum(2.0 * error * error, axis=(1, 2, 3, 4))
    assert np.all(np.abs(alike) < 0.6), "the blob is still there"
    assert not np.allclose(remade[0] * 2.0, remade[1], atol=1e-2), "every row has phases of its own"


def test_shuffled_errors_are_those_of_other_rows():
    error = errors()
    remade = Shuffled(amplitude=0.5)(error, keys())
    np.testing.assert_allclose(remade[1:], 0.5 * error[:-1], rtol=1e-6)
    np.testing.assert_allclose(remade[0], 0.5 * error[-1], rtol=1e-6)
