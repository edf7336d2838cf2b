"""Rollouts that keep their own pace, take the mean one, or end."""

import jax.numpy as jnp
import numpy as np
import pytest

from recycle_jax.drift.memory import memory, pace

ROWS = 64
OWN = np.exp(np.random.default_rng(0).normal(size=ROWS))
FRAMES = (8, 16, 32, 40, 48, 64, 80, 96, 112, 128)
STAYED = np.full(ROWS, 128)


def test_pace_is_the_mean_squared_change():
    steps = jnp.asarray([1.0, 3.0])
    frames = jnp.broadcast_to(jnp.outer(steps, jnp.arange(5.0))[..., None, None, None], (2, 5, 4, 4, 1))
    np.testing.assert_allclose(pace(frames), [1.0, 9.0])


def test_a_rollout_that_goes_on_as_it_began_remembers_all():
    seen = memory(dict.fromkeys(FRAMES, OWN), OWN, STAYED)
    assert seen["frames"] == [8, 16, 32, 64, 128]
    np.testing.assert_allclose(seen["correlation"], 1.0)
    np.testing.assert_allclose(seen["spread"], 1.0)
    assert seen["rollouts"] == [ROWS] * 5


def test_what_fades_into_the_mean_is_forgotten_and_alike():
    rng = np.random.default_rng(1)
    kept = {frame: 0.5 ** (frame / 16) for frame in FRAMES}
    motion = {f: np.exp(kept[f] * np.log(OWN) + 0.05 * rng.normal(size=ROWS)) for f in FRAMES}
    seen = memory(motion, OWN, STAYED)
    assert seen["correlation"][0] > 0.95
    assert abs(seen["correlation"][-1]) < 0.5
    np.testing.assert_allclose(seen["spread"][:2], [kept[8], kept[16]], atol=0.1)
    assert seen["spread"][-1] < 0.1


def test_rollouts_that_left_do_not_count_and_a_few_are_not_told_of():
    exits = np.where(np.arange(ROWS) < 16, 128, np.where(np.arange(ROWS) < 32, 32, 0))
    motion = {frame: np.where(exits >= frame, OWN, 0.0) for frame in FRAMES}
    seen = memory(motion, OWN, exits)
    assert seen["rollouts"] == [32, 32, 32, 16, 16]
    np.testing.assert_allclose(seen["correlation"], 1.0)
    assert memory(motion, OWN, exits, least=17)["frames"] == [8, 16, 32]


def test_a_pace_that_all_share_has_no_correlation():
    seen = memory({8: np.ones(ROWS)}, OWN, STAYED)
    assert seen["correlation"] == [None]


def test_other_rollouts_than_starts_are_refused():
    with pytest.raises(ValueError, match="64 rollouts, but the own pace of 2"):
        memory({8: OWN}, OWN[:2], STAYED)
