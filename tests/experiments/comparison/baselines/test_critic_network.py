"""The critic of windows: one score a window, from all of its frames."""

import jax
import numpy as np
import pytest

from experiments.comparison.baselines.critic_network import window_critic


def test_a_score_is_of_its_own_window_and_of_every_frame():
    critic = window_critic(channels=2, frames=3, widths=(8, 8))
    params, apply = critic.init(jax.random.key(0)), jax.jit(critic.apply)
    window = jax.random.normal(jax.random.key(1), (4, 3, 6, 10, 2))
    score = apply(params, window)
    assert score.shape == (4,)
    seen = np.abs(jax.jit(jax.grad(lambda w: critic.apply(params, w)[1]))(window)).max(axis=(2, 3, 4))
    assert np.all(seen[1] > 0.0) and not np.any(seen[[0, 2, 3]])
    np.testing.assert_allclose(apply(params, window[::-1])[::-1], score, rtol=1e-4, atol=1e-6)


def test_a_critic_needs_a_layer():
    with pytest.raises(ValueError, match="widths is empty"):
        window_critic(channels=1, frames=2, widths=())
