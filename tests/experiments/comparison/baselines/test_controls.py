"""Controls of recycling: what they keep of an error, and what they take from it."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.comparison.baselines.controls import PhaseRandomised, Shuffled, transformed
from recycle_jax.errors.bank.bank import AnySlot, ErrorBank
from recycle_jax.errors.rollout.harvest import Case, Harvest


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


def test_a_bank_of_other_errors_keeps_clean_contexts_and_targets(predictor):
    """The error of every case is .25: half of it is left."""
    usual = ErrorBank(capacity=4)
    frames = lambda value, count: jnp.full((2, count, 2, 2, 1), value, jnp.float32)  # noqa: E731
    numbers = jnp.zeros(2, jnp.int32)
    case = Case(
        context=frames(0.5, 2),
        clean_context=frames(0.25, 2),
        target=frames(0.125, 1),
        ages=jnp.ones((2, 2), jnp.int32),
        domain=numbers,
        step=numbers,
        score=jnp.zeros(2),
    )
    state = usual.insert(usual.init(Harvest(generator=predictor).entry((2, 2, 1))), case, numbers, numbers == 0)
    drawn = transformed(usual, Shuffled(amplitude=0.5)).draw(state, keys(), AnySlot())
    np.testing.assert_allclose(drawn.entries.context, 0.375, rtol=1e-6)
    assert np.all(drawn.entries.clean_context == 0.25) and np.all(drawn.entries.target == 0.125)
