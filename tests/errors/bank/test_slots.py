"""Slot maps against brute force, and the numbers of the paper's map."""

import hypothesis
import hypothesis.strategies as st
import jax.numpy as jnp
import numpy as np
import pytest

from recycle_jax.errors.bank.slots import AgeSlots, NoiseSlots, OneSlot


def shifted(sigma, shift):
    return shift * sigma / (1 + (shift - 1) * sigma)


@hypothesis.given(st.lists(st.floats(0, 1), min_size=8, max_size=8), st.sampled_from([(7, 1.0), (50, 5.0)]))
def test_the_noise_slot_is_the_nearest_timestep(sigma, schedule):
    steps, shift = schedule
    sigma = np.float32(sigma)
    slot = NoiseSlots(steps=steps, shift=shift)(jnp.asarray(sigma), jnp.ones(8, jnp.int32))
    times = 1000 * shifted(1 - np.arange(steps) / steps, shift)
    distance = np.abs(times[None] - 1000 * np.float64(sigma)[:, None])
    chosen = distance[np.arange(8), np.asarray(slot)]
    assert (chosen <= distance.min(1) + 1e-3).all()  # ties are float32's to break


def test_the_slots_of_the_paper_stand_for_twenty_training_timesteps_each():
    """1,000 training timesteps over 50 inference steps at shift 5; the ends take 11 and 29."""
    sigma = shifted(np.linspace(1, 0, 1001)[:-1], 5.0)
    slot = NoiseSlots(steps=50, shift=5.0)(jnp.asarray(sigma, jnp.float32), jnp.ones(1000, jnp.int32))
    np.testing.assert_array_equal(np.bincount(np.asarray(slot)), [11] + [20] * 48 + [29])


def test_age_windows():
    ages = AgeSlots.even(width=4, windows=3)
    assert ages.starts == (1, 5, 9)
    age = jnp.asarray([1, 4, 5, 8, 9, 12, 13, 400])
    np.testing.assert_array_equal(ages(jnp.zeros(8), age), [0, 0, 1, 1, 2, 2, 2, 2])


@hypothesis.given(st.integers(1, 40), st.integers(0, 40))
def test_allowed_slots_are_those_that_may_hold_an_age_of_the_window(min_age, more):
    ages = AgeSlots(starts=(1, 3, 4, 9, 17))
    slots = np.asarray(ages(jnp.zeros(81), jnp.arange(81)))
    inside = np.unique(slots[min_age : min_age + more + 1])
    mask = ages.allowed(min_age, jnp.asarray(min_age + more))
    np.testing.assert_array_equal(np.flatnonzero(mask), inside)


def test_maps_without_age_allow_every_slot():
    assert OneSlot().slots == 1
    assert not OneSlot()(jnp.zeros(3), jnp.ones(3, jnp.int32)).any()
    assert OneSlot().allowed(1, 4).all()
    assert NoiseSlots(steps=7).allowed(1, 4).tolist() == [True] * 7


@pytest.mark.parametrize(
    "build",
    [
        lambda: NoiseSlots(steps=0),
        lambda: NoiseSlots(shift=0.0),
        lambda: AgeSlots(starts=()),
        lambda: AgeSlots(starts=(2, 4)),
        lambda: AgeSlots(starts=(1, 4, 4)),
    ],
)
def test_an_impossible_map_is_refused(build):
    with pytest.raises(ValueError, match="raise|try"):
        build()
