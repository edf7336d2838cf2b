"""The identities of section 3 in double precision: single precision loses 1 / sigma in the exact target."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recycle_jax import flow_matching as fm
from recycle_jax import rng

pytestmark = pytest.mark.fast

SIGMAS = st.floats(fm.SMALLEST_SIGMA, 1.0)
SEEDS = st.integers(0, 2**31 - 1)


def arrays(seed, count, dtype=np.float64):
    """Frames `[2, 3, 2, 2, 1]`."""
    return np.random.default_rng(seed).standard_normal((count, 2, 3, 2, 2, 1)).astype(dtype)


def levels(sigma, dtype=np.float64):
    """`[2, 3]`: the drawn level, and others on the other frames."""
    return np.asarray([[sigma, 0.5, 1.0], [1.0, sigma, 0.25]], dtype)


@hypothesis.given(SEEDS, SIGMAS)
def test_following_the_velocity_gives_both_ends(seed, sigma):
    with jax.enable_x64(True):
        x0, eps = arrays(seed, 2)
        x = fm.interpolate(x0, eps, levels(sigma))
        np.testing.assert_allclose(fm.data_end(x, fm.velocity(x0, eps), levels(sigma)), x0, atol=1e-12)
        noise_end = x + (1.0 - fm.over_frames(levels(sigma))) * fm.velocity(x0, eps)
        np.testing.assert_allclose(noise_end, eps, atol=1e-12)


@hypothesis.given(SEEDS, SIGMAS)
def test_the_exact_target_points_at_the_clean_clip(seed, sigma):
    with jax.enable_x64(True):
        x0, x_injected, noise = arrays(seed, 3)
        v = fm.exact_target(x0, x_injected, noise, levels(sigma))
        x = fm.interpolate(x_injected, noise, levels(sigma))
        np.testing.assert_allclose(fm.data_end(x, v, levels(sigma)), x0, atol=1e-12)
        np.testing.assert_allclose(v, (x - x0) / fm.over_frames(levels(sigma)), rtol=1e-9, atol=1e-9)


@hypothesis.given(SEEDS, SIGMAS)
def test_single_precision_loses_no_more_than_one_over_sigma(seed, sigma):
    x0, x_injected, noise = arrays(seed, 3, np.float32)
    sigmas = levels(sigma, np.float32)
    v = fm.exact_target(x0, x_injected, noise, sigmas)
    want = (fm.interpolate(x_injected, noise, sigmas) - x0) / fm.over_frames(sigmas)
    assert np.all(np.abs(v - want) * fm.over_frames(sigmas) < 5e-6)


@hypothesis.given(SEEDS, SIGMAS)
def test_targets_agree_to_the_bit_where_nothing_is_injected(seed, sigma):
    x0, noise = arrays(seed, 2, np.float32)
    sigmas = levels(sigma, np.float32)
    plain = fm.velocity(x0, noise)
    np.testing.assert_array_equal(fm.paper_target(x0, x0, noise, sigmas), plain)
    np.testing.assert_array_equal(fm.exact_target(x0, x0, noise, sigmas), plain)


@hypothesis.given(st.floats(0.0, 1.0), st.floats(0.2, 8.0), st.floats(0.2, 8.0))
def test_shifts_keep_the_ends_and_compose(sigma, first, second):
    with jax.enable_x64(True):
        sigma = np.float64(sigma)
        assert fm.shift_sigma(np.float64(0.0), first) == 0.0
        assert fm.shift_sigma(np.float64(1.0), first) == pytest.approx(1.0)
        assert fm.shift_sigma(sigma, 1.0) == sigma
        twice = fm.shift_sigma(fm.shift_sigma(sigma, first), second)
        assert twice == pytest.approx(fm.shift_sigma(sigma, first * second), abs=1e-12)


@pytest.mark.parametrize("steps, shift", [(1, 1.0), (4, 5.0), (50, 5.0)])
def test_a_schedule_falls_from_one_to_zero(steps, shift):
    sigmas = np.asarray(fm.euler_schedule(steps, shift))
    assert sigmas.shape == (steps + 1,) and sigmas[0] == 1.0 and sigmas[-1] == 0.0
    assert np.all(np.diff(sigmas) < 0)


def test_a_schedule_has_a_step():
    with pytest.raises(ValueError, match="steps is 0.*steps=1"):
        fm.euler_schedule(0, 1.0)


def test_a_row_draws_the_same_whatever_its_neighbours():
    keys = jax.random.split(jax.random.key(0), 4)
    for draw in (lambda k: rng.normal_rows(k, (2, 3)), rng.uniform_rows, lambda k: rng.split_rows(k, 3)[1]):
        together, alone = draw(keys), draw(keys[2:])
        assert jnp.all(together[2:] == alone)
