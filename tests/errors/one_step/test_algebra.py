"""One residual and its sigma hold both errors; what they are measured against depends on the target."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recycle_jax import flow_matching as fm
from recycle_jax.errors.bank.bank import ErrorBank
from recycle_jax.errors.bank.replacement import Nearest
from recycle_jax.errors.one_step.algebra import (
    ClippedExact,
    ResidualEntry,
    context_error,
    data_error,
    entry_error,
    noise_error,
)

pytestmark = pytest.mark.fast

SEEDS = st.integers(0, 2**31 - 1)
SIGMAS = st.floats(fm.SMALLEST_SIGMA, 1.0)


def injected_pass(seed, sigma, target):
    """Arrays of a pass in double precision, frames `[2, 3, 2, 2, 1]`."""
    x0, x_injected, noise, v = np.random.default_rng(seed).standard_normal((4, 2, 3, 2, 2, 1))
    sigmas = np.asarray([[sigma, 0.5, 1.0], [1.0, sigma, 0.25]])
    asked = target(x0, x_injected, noise, sigmas)
    return x0, x_injected, fm.interpolate(x_injected, noise, sigmas), v, asked, sigmas


@hypothesis.given(SEEDS, SIGMAS, st.sampled_from([fm.paper_target, fm.exact_target]))
def test_one_residual_gives_the_errors_of_both_ends(seed, sigma, target):
    with jax.enable_x64(True):
        _, _, x, v, asked, sigmas = injected_pass(seed, sigma, target)
        data, noise = data_error(v - asked, sigmas), noise_error(v - asked, sigmas)
        np.testing.assert_allclose(data, fm.data_end(x, v, sigmas) - fm.data_end(x, asked, sigmas), atol=1e-11)
        ends = (1.0 - fm.over_frames(sigmas)) * (v - asked)  # of the noise ends x + (1 - sigma) v
        np.testing.assert_allclose(noise, ends, atol=1e-9)
        np.testing.assert_allclose(noise - data, v - asked, atol=1e-9)


@hypothesis.given(SEEDS, SIGMAS)
def test_what_is_banked_is_measured_against_the_targets_own_end(seed, sigma):
    with jax.enable_x64(True):
        x0, x_injected, x, v, asked, sigmas = injected_pass(seed, sigma, fm.paper_target)
        off = fm.data_end(x, v, sigmas) - x0
        rest = (1.0 - fm.over_frames(sigmas)) * (x_injected - x0)
        np.testing.assert_allclose(off, data_error(v - asked, sigmas) + rest, atol=1e-11)
        x0, _, x, v, asked, sigmas = injected_pass(seed, sigma, fm.exact_target)
        np.testing.assert_allclose(fm.data_end(x, v, sigmas) - x0, data_error(v - asked, sigmas), atol=1e-11)


@hypothesis.given(SEEDS, SIGMAS, st.floats(0.5, 2.0))
def test_the_pull_of_an_aligned_error_does_not_grow_as_sigma_falls(seed, sigma, ratio):
    with jax.enable_x64(True):
        x0, residual, noise = np.random.default_rng(seed).standard_normal((3, 1, 1, 2, 2, 1))
        here, there = np.full((1, 1), sigma), np.full((1, 1), ratio * sigma)
        injected = x0 + data_error(residual, there)
        pull = fm.exact_target(x0, injected, noise, here) - fm.paper_target(x0, injected, noise, here)
        np.testing.assert_allclose(pull, -(1.0 - sigma) * ratio * residual, rtol=1e-6, atol=1e-8)


@hypothesis.given(SEEDS, SIGMAS, st.floats(0.1, 10.0))
def test_the_clipped_target_is_exact_where_the_pull_is_small(seed, sigma, most):
    x0, x_injected, noise = np.random.default_rng(seed).standard_normal((3, 2, 1, 2, 2, 1)).astype(np.float32)
    given = (x0, x_injected, noise, np.full((2, 1), sigma, np.float32))
    paper, exact, clipped = (f(*given) for f in (fm.paper_target, fm.exact_target, ClippedExact(most=most)))
    assert np.all(np.abs(clipped - paper) <= most * (1 + 1e-5) + 1e-5)
    small = np.abs(exact - paper) < most
    np.testing.assert_allclose(clipped[small], exact[small], rtol=1e-5, atol=1e-5)


def test_a_clip_is_positive():
    with pytest.raises(ValueError, match="most=0.*paper_target"):
        ClippedExact(most=0.0)


@pytest.mark.parametrize("chunk, context", [(5, 2), (2, 2), (1, 3), (2, 5)])
def test_a_context_error_is_a_window_of_the_chunks(chunk, context):
    """Frames are numbered; a chunk that is too short goes round."""
    rows = 64
    frames = jnp.broadcast_to(jnp.arange(chunk, dtype=jnp.float32)[None, :, None, None, None], (rows, chunk, 1, 1, 1))
    window = context_error(frames, context, jax.random.split(jax.random.key(0), rows))
    numbers = np.asarray(window)[..., 0, 0, 0]
    assert numbers.shape == (rows, context)
    start = numbers[:, 0].astype(int)
    np.testing.assert_array_equal(numbers, (start[:, None] + np.arange(context)) % chunk)
    want = range(chunk - context + 1) if chunk >= context else range(chunk)
    assert set(start) == set(want), "every start is drawn"


def test_entries_are_kept_as_bfloat16_and_compared_as_data_errors():
    """Two residuals, one of them at sigma 0.1: the new one is nearer to it as an error, not as a residual."""
    entry = ResidualEntry.entry(1, (1, 1, 1))
    assert entry.residual.dtype == jnp.bfloat16 and entry.residual.shape == (1, 1, 1, 1)
    bank = ErrorBank(capacity=2, replacement=Nearest(key=entry_error))

    def rows(residuals, sigmas):
        count = np.zeros(len(residuals), np.int32)
        return ResidualEntry(
            residual=np.reshape(np.float32(residuals), (-1, 1, 1, 1, 1)),
            sigma=np.reshape(np.float32(sigmas), (-1, 1)),
            age=count,
            domain=count,
            step=count,
        )

    state = bank.insert(bank.init(entry), rows([4.0, 1.0], [0.125, 1.0]), np.zeros(2, np.int32), np.ones(2, bool))
    state = bank.insert(state, rows([0.5], [1.0]), np.zeros(1, np.int32), np.ones(1, bool))
    np.testing.assert_array_equal(bank.read(state).residual.ravel().astype(np.float32), [0.5, 1.0])
