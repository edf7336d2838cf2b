"""Displacements of blobs: found where they are small, and nothing else taken for one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recycle_jax.errors.rollout.registration import Registration, displacement

pytestmark = pytest.mark.fast

SIZE = 24


def blob(y, x, size=3.0):
    """A bright Gaussian on black, `[1, 1, SIZE, SIZE, 1]`."""
    at = jnp.arange(SIZE, dtype=jnp.float32)
    square = jnp.square(at[:, None] - y) + jnp.square(at[None, :] - x)
    return (2.0 * jnp.exp(-square / (2.0 * size**2)) - 1.0)[None, None, :, :, None]


def clip_of(frames):
    return jnp.concatenate(frames, axis=1)


@settings(max_examples=20, deadline=None)
@given(dy=st.floats(-0.4, 0.4), dx=st.floats(-0.4, 0.4))
def test_a_shifted_blob_is_displacement_and_nothing_else(dy, dx):
    registration, still, shifted = Registration(time=False, ridge=1e-4), blob(11.0, 12.0), blob(11.0 + dy, 12.0 + dx)
    tangents = registration.tangents(still)
    p = registration.fit(shifted - still, tangents)
    # Moving by +d subtracts d times the gradient: what is fitted is the coefficient of the gradient.
    np.testing.assert_allclose(p[0, 0, 0, 0], [-dy, -dx], atol=0.03)
    left = shifted - still - displacement(tangents, p)
    assert float(jnp.abs(left).max()) < 0.05
    moved = float(jnp.square(shifted - still).mean())
    assert float(jnp.square(left).mean()) <= 0.05 * moved + 1e-9


@settings(max_examples=10, deadline=None)
@given(late=st.floats(-0.5, 0.5))
def test_a_late_frame_is_displacement_in_time(late):
    """A blob that breathes without moving: no shift in space explains it, one in time does."""
    breathing = clip_of([blob(11.0, 12.0, 3.0 + 0.1 * i) for i in range(3)])
    shown = blob(11.0, 12.0, 3.1 + 0.1 * late)
    in_time, in_space = Registration(ridge=1e-5), Registration(time=False, ridge=1e-5)
    tangents = in_time.tangents(breathing)[:, 1:2]
    p = in_time.fit(shown - breathing[:, 1:2], tangents)
    assert float(p[0, 0, 0, 0, 2]) == pytest.approx(late, abs=0.05)
    flat = in_space.tangents(breathing)[:, 1:2]
    blamed = displacement(flat, in_space.fit(shown - breathing[:, 1:2], flat))
    assert float(jnp.abs(blamed).max()) < 0.01


def test_fast_motion_leaves_time_out():
    """A small blob that moves by three pixels a frame is shown twice by a central difference; a slow one is not."""
    clips = {step: clip_of([blob(11.0, 6.0 + step * i, 1.5) for i in range(4)]) for step in (0.5, 3.0)}
    in_time = {step: np.abs(Registration().tangents(clip)[..., 2]).max() for step, clip in clips.items()}
    assert in_time[3.0] == 0.0 and in_time[0.5] > 0.05
    both = jnp.concatenate([clips[3.0], clips[0.5]])
    np.testing.assert_array_equal(np.abs(Registration().tangents(both)[0, ..., 2]).max(), 0.0)


def test_fading_is_not_displacement():
    registration, bright = Registration(time=False), blob(11.0, 12.0)
    faded = 0.8 * (bright + 1.0) - 1.0
    tangents = registration.tangents(bright)
    assert float(jnp.abs(displacement(tangents, registration.fit(faded - bright, tangents))).max()) < 1e-3


def test_cells_move_on_their_own():
    """Two blobs that move apart: the frame as a whole does not move, its halves do."""
    still, apart = (jnp.maximum(blob(12.0, 5.0 - d, 1.5), blob(12.0, 18.0 + d, 1.5)) for d in (0.0, 0.4))
    whole, halves = Registration(time=False, ridge=1e-4), Registration(time=False, cells=2, ridge=1e-4)
    left = {}
    for registration in (whole, halves):
        tangents = registration.tangents(still)
        p = registration.fit(apart - still, tangents)
        left[registration.cells] = float(jnp.square(apart - still - displacement(tangents, p)).mean())
    assert left[2] < 0.3 * left[1]


def test_empty_frames_do_not_move():
    registration, black = Registration(time=True, cells=2), -jnp.ones((2, 3, 8, 8, 3))
    noise = 0.1 * jax.random.normal(jax.random.key(0), black.shape)
    p = registration.fit(noise, registration.tangents(black))
    np.testing.assert_array_equal(p, 0.0)


@pytest.mark.parametrize("wrong", [{"cells": 0}, {"ridge": 0.0}, {"slowness": 0.0}])
def test_wrong_settings_are_named(wrong):
    with pytest.raises(ValueError, match="cells is .* ridge .* so use cells=1 .* ridge such as|slowness is 0.0"):
        Registration(**wrong)


def test_frames_must_divide_into_cells():
    with pytest.raises(ValueError, match="24 x 24 pixels do not divide into 5 cells"):
        Registration(cells=5).tangents(blob(1.0, 1.0))
