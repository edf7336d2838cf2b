"""What a shared corrector learns from, and what it refuses."""

from types import SimpleNamespace

import jax.numpy as jnp
import pytest

from experiments.comparison import second_networks
from experiments.comparison.baselines.mmd import WindowFeatures
from experiments.comparison.second_networks import corrected_shared
from recycle_jax.training.cost import flops_of


def arena(world, shape):
    generator = SimpleNamespace(context_frames=2, chunk_frames=1)
    return SimpleNamespace(world=world, held_out=SimpleNamespace(shape=shape), generator=generator)


def job(others):
    here = arena("balls", (32, 32, 3))
    return SimpleNamespace(arena=here, seed=3, others=lambda: [(other, lambda seed: None) for other in others])


def test_a_corrector_needs_another_generator_of_its_frame_size():
    with pytest.raises(ValueError, match="no other generator of balls's frame size is in this contest"):
        corrected_shared(job([arena("heartbeat", (16, 16, 3))]))


def test_harvests_are_shared_out_among_the_generators_that_fit(monkeypatch):
    asked = []
    monkeypatch.setattr(
        second_networks, "_harvested", lambda place, params, seed, n: asked.append((place.world, n)) or (None, n, 1.0)
    )
    monkeypatch.setattr(second_networks, "merge", lambda *states: ("bank", states))
    monkeypatch.setattr(second_networks, "_with_corrector", lambda job, bank, cases, spent: (bank, cases, spent))
    fit = [arena("driving", (32, 32, 3)), arena("rain", (32, 32, 3)), arena("snow", (32, 32, 3))]
    base = SimpleNamespace(params=None)
    task = job([*fit, arena("digits", (32, 32, 1))])
    task.others = lambda: [(other, lambda seed: base) for other in [*fit, arena("digits", (32, 32, 1))]]
    assert corrected_shared(task) == ("bank", (22, 22, 22), 3.0)
    assert asked == [("driving", 22), ("rain", 22), ("snow", 22)], "64 harvests, rounded up"


def test_a_critic_of_features_is_charged_for_all_of_them(monkeypatch):
    charged = []
    monkeypatch.setattr(second_networks, "forward_calls", lambda arena, generator: 1.0)
    monkeypatch.setattr(second_networks, "tune_with", lambda job, policy, phase: charged.append(policy.critic_share))
    second_networks.kernel(1.0)(job([]))
    features, window = WindowFeatures(), jnp.zeros((1, 2 + second_networks.CRITIC_STEPS, 32, 32, 3))
    alone = [flops_of(lambda w, i=i: features(w)[i], window) for i in range(2)]
    assert charged[0] > max(alone) and charged[0] == pytest.approx(sum(alone), rel=0.1)
