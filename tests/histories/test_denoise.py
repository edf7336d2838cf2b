"""Training of a window denoiser: the noise is of the strength that it says, white and smooth."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recycle_jax.batch import Batch
from recycle_jax.generators.predictor import Predictor
from recycle_jax.histories.denoise import DenoiseWindows, smooth_noise
from recycle_jax.models.base import Network
from recycle_jax.models.denoiser import weight

ROWS, SIZE = 64, 16


def windows(rows=ROWS, frames=3):
    return jnp.zeros((rows, frames, SIZE, SIZE, 1))


@pytest.fixture(scope="module")
def denoiser():
    """Three frames in, the same three out."""
    network = Network(
        init=lambda key: {"gain": jnp.float32(1.0)},
        apply=lambda params, window, level, condition: params["gain"] * window,
    )
    return Predictor(network=network, context_frames=3, chunk_frames=3)


def example_of(denoiser, keys, frames=3, **fields):
    batch = Batch(clip=windows(frames=frames), domain=jnp.zeros(ROWS, jnp.int32))
    return DenoiseWindows(**fields).examples(None, denoiser, None, batch, keys).example


def test_levels_are_log_uniform_in_their_range(denoiser, keys_of):
    level = np.asarray(example_of(denoiser, keys_of(ROWS), least=0.02, most=0.5).level)
    assert level.min() >= 0.02 and level.max() <= 0.5
    below = np.mean(level < 0.1)  # the middle of log 0.02 .. log 0.5
    assert 0.3 < below < 0.7, f"{below:.0%} of the levels are below the geometric middle"


def test_the_noise_has_the_level_that_the_network_is_told(denoiser, keys_of):
    example = example_of(denoiser, keys_of(ROWS))
    strength = np.asarray(example.context).std(axis=(1, 2, 3, 4)) / np.asarray(example.level)
    np.testing.assert_allclose(strength, 1.0, atol=0.2)
    np.testing.assert_allclose(strength.mean(), 1.0, atol=0.03)


def test_the_target_is_the_window_itself(denoiser, keys_of):
    example = example_of(denoiser, keys_of(ROWS), frames=5)
    np.testing.assert_array_equal(example.x0, windows())
    assert example.context.shape == example.x0.shape and not np.any(example.noise_injected)
    np.testing.assert_array_equal(example.sigma, np.ones((ROWS, 3)))


def test_levels_weigh_as_they_are_told_to(denoiser, keys_of):
    flat, weighed = (
        example_of(denoiser, keys_of(ROWS), **fields) for fields in ({}, {"weight": lambda level: weight(level, 0.5)})
    )
    np.testing.assert_array_equal(flat.weight, np.ones(ROWS))
    np.testing.assert_allclose(weighed.weight, weight(weighed.level, 0.5), rtol=1e-6)


@pytest.mark.parametrize("least,most", [(0.0, 0.5), (0.5, 0.5), (0.5, 0.1), (-0.1, 0.5)])
def test_levels_out_of_order_are_refused(least, most):
    with pytest.raises(ValueError, match=f"least={least} to most={most}: need 0 < least < most, so use .* larger most"):
        DenoiseWindows(least=least, most=most)


@pytest.mark.parametrize("block", [2, 4, 5])
def test_smooth_noise_has_unit_variance_and_varies_over_a_block(block):
    noise = np.asarray(smooth_noise(jax.random.split(jax.random.key(1), ROWS), windows(), block))
    np.testing.assert_allclose(noise.std(axis=(1, 2, 3, 4)), 1.0, rtol=1e-4)
    for axis in (2, 3):
        near = np.mean(noise * np.roll(noise, 1, axis))
        far = np.mean(noise * np.roll(noise, 2 * block, axis))
        assert near > 0.5 and abs(far) < 0.15, f"correlation {near:.2f} over 1, {far:.2f} over {2 * block} pixels"
    between_frames = np.mean(noise[:, 0] * noise[:, 1])
    assert abs(between_frames) < 0.05, "frames are independent"


def test_rows_do_not_share_noise():
    keys = jax.random.split(jax.random.key(2), 2)
    pair = np.asarray(smooth_noise(keys, windows(2), 4))
    assert abs(np.mean(pair[0] * pair[1])) < 0.2
    alone = np.asarray(smooth_noise(keys[:1], windows(1), 4))
    np.testing.assert_allclose(alone[0], pair[0], rtol=1e-5, atol=1e-6)
