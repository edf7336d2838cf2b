"""The window denoiser's preconditioning: identity without noise, one unit of target at every level."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recycle_jax.errors.rollout.references import Denoised, Gate
from recycle_jax.models.base import Network
from recycle_jax.models.denoiser import preconditioned, weight

STD = 0.5
WINDOW = jnp.asarray(np.random.default_rng(0).uniform(-1.0, 1.0, (3, 3, 4, 4, 1)), jnp.float32)


def scaled(window=0.0):
    """A network of one line: `scale` everywhere, plus its input `window` times."""
    return Network(
        init=lambda key: {"scale": jnp.float32(1.0)},
        apply=lambda params, x, level, condition: params["scale"] + window * x,
    )


@pytest.mark.parametrize("scale", [0.0, 1.0, -100.0, 1e6])
def test_without_noise_nothing_changes_whatever_the_network_says(scale):
    denoiser = preconditioned(scaled(), STD)
    out = denoiser.apply({"scale": jnp.float32(scale)}, WINDOW, jnp.zeros(3), None)
    np.testing.assert_allclose(out, WINDOW, rtol=1e-6)


def test_each_row_is_scaled_by_its_own_level():
    """Equation (1), term by term, and clipped to the range of frames."""
    level = jnp.asarray([0.1, 0.5, 2.0])
    out = preconditioned(scaled(2.0), STD).apply({"scale": jnp.float32(0.3)}, WINDOW, level, None)
    size = np.sqrt(np.asarray(level) ** 2 + STD**2)[:, None, None, None, None]
    skip, gain = (STD / size) ** 2, np.asarray(level)[:, None, None, None, None] * STD / size
    by_hand = skip * WINDOW + gain * (0.3 + 2.0 * WINDOW / size)
    np.testing.assert_allclose(out, np.clip(by_hand, -1.0, 1.0), rtol=1e-5, atol=1e-6)
    assert np.abs(by_hand).max() > 1.0, "nothing was clipped"


def test_the_weight_undoes_the_gain_of_the_output():
    level = jnp.asarray([0.02, 0.1, 0.5, 2.0])
    apply = preconditioned(scaled(), STD).apply
    still = jnp.zeros((4, 1, 1, 1, 1))
    gain = apply({"scale": jnp.float32(1e-3)}, still, level, None).ravel() / 1e-3  # a zero window leaves c_out F
    np.testing.assert_allclose(weight(level, STD), 1.0 / np.square(gain), rtol=1e-4)


def test_the_networks_target_is_of_unit_size_at_every_level():
    """`F* = (window - c_skip noisy) / c_out` has mean square 1, which is what the preconditioning is for."""
    rng = np.random.default_rng(1)
    clean = rng.normal(scale=STD, size=100_000)
    for level in (0.02, 0.3, 1.0):
        noisy = clean + level * rng.normal(size=clean.shape)
        target = clean - STD**2 / (level**2 + STD**2) * noisy
        np.testing.assert_allclose(np.mean(target**2) * weight(jnp.float32(level), STD), 1.0, rtol=0.03)


@pytest.mark.parametrize("std", [0.0, -1.0, float("nan")])
def test_a_standard_deviation_of_nothing_is_refused(std):
    with pytest.raises(ValueError, match=f"data_std is {std}"):
        preconditioned(scaled(), std)


@pytest.mark.parametrize("levels", [(0.3,), (0.5, 0.3, 0.1)])
def test_as_reference_an_oracle_recovers_the_clean_window(levels):
    """One station or three: a denoiser that knows the answer gives it, and the gate sees how far off it was."""
    drift = jnp.asarray([0.0, 0.1, 0.5])[:, None, None, None, None]
    clean = 0.5 * WINDOW
    reference = Denoised(
        params={}, denoise=lambda params, noisy, level: clean, levels=levels, gate=Gate(distance=0.05, mass=10.0)
    )
    drifted = clean + drift
    keys = jax.random.split(jax.random.key(0), 3)
    referred = reference(drifted[:, :2], drifted[:, 2:], WINDOW[:, :0], keys)
    np.testing.assert_allclose(referred.target, clean[:, 2:], atol=1e-6)
    np.testing.assert_allclose(referred.clean_context, clean[:, :2], atol=1e-6)
    np.testing.assert_allclose(referred.score, np.square(drift).ravel(), atol=1e-6)
    np.testing.assert_array_equal(referred.accept, [True, True, False])
    assert not reference.reads_clip


def test_stations_are_told_their_own_level_and_noise():
    """A denoiser that knows the level: what remains above a station's clean window is `level` of noise."""
    told = []

    def denoise(params, noisy, level):
        told.append((np.asarray(level), np.asarray(noisy)))
        return jnp.zeros_like(noisy)

    window = jnp.zeros((2, 3, 16, 16, 1))
    reference = Denoised(params={}, denoise=denoise, levels=(0.4, 0.2, 0.1))
    reference(window[:, :2], window[:, 2:], window[:, :0], jax.random.split(jax.random.key(0), 2))
    for (level, noisy), wanted in zip(told, (0.4, 0.2, 0.1), strict=True):
        np.testing.assert_allclose(level, wanted, rtol=1e-6)
        np.testing.assert_allclose(noisy.std(), wanted, rtol=0.1)
