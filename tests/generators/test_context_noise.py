"""Context noise: nothing where nothing is asked for, noise that is seen and not kept, and a level that is told."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recycle_jax.batch import Batch
from recycle_jax.generators.anchored import Anchored
from recycle_jax.generators.base import Generator, clean_example
from recycle_jax.generators.context_noise import ContextNoise
from recycle_jax.generators.predictor import Predictor
from recycle_jax.generators.rectified_flow import RectifiedFlow, velocity_head
from recycle_jax.models.base import Network
from recycle_jax.rollout.scan import rollout

ROWS, FRAME = 3, (8, 8, 1)
KEY = jax.random.key(3)
CONTEXT = jnp.asarray(np.random.default_rng(0).uniform(-1.0, 1.0, (ROWS, 2, *FRAME)), jnp.float32)


def predictor(level_weight=0.0):
    """The newest frame, plus the level times a weight."""

    def apply(params, context, level, condition):
        return context[:, -1:] + level_weight * level[:, None, None, None, None]

    return Predictor(network=Network(init=lambda key: {}, apply=apply), context_frames=2)


def flow():
    """Two Euler steps through a field that sees its context and its level."""

    def apply(params, noisy, sigma, context, level, condition):
        return 0.9 * noisy - context[:, -1:] + level[:, None, None, None, None]

    return RectifiedFlow(
        network=Network(init=lambda key: {}, apply=apply), context_frames=2, steps=2, head=velocity_head
    )


BOTH = pytest.mark.parametrize("inner", [predictor(1.0), flow()], ids=["predictor", "flow"])


@BOTH
def test_it_is_a_generator_that_trains_and_bills_as_the_one_inside(inner):
    noisy = ContextNoise(inner=inner, told=0.3, added=0.2)
    assert isinstance(noisy, Generator)
    assert noisy.calls_per_step == inner.calls_per_step
    clip = jnp.concatenate([CONTEXT, CONTEXT], axis=1)
    batch, keys = Batch(clip=clip, domain=jnp.zeros(ROWS, jnp.int32)), jax.random.split(KEY, ROWS)
    here = noisy.fit({}, clean_example(noisy, batch, keys)).loss
    np.testing.assert_array_equal(here, inner.fit({}, clean_example(inner, batch, keys)).loss)


@BOTH
def test_without_noise_and_level_it_is_the_inner_generator(inner):
    plain = ContextNoise(inner=inner)
    np.testing.assert_array_equal(rollout(plain, {}, CONTEXT, KEY, 5), rollout(inner, {}, CONTEXT, KEY, 5))


def test_noise_has_its_strength_and_does_not_pile_up():
    """The network copies what it sees: a chunk is noised once more each step, the older frame of the carry not."""
    noisy, keys = ContextNoise(inner=predictor(), added=0.1), jax.random.split(KEY, ROWS)
    carry, chunk = noisy.step({}, noisy.begin({}, CONTEXT, None), keys, None)
    assert np.std(chunk[:, 0] - CONTEXT[:, 1]) == pytest.approx(0.1, rel=0.15)
    np.testing.assert_array_equal(carry[:, 0], CONTEXT[:, 1])
    np.testing.assert_array_equal(carry[:, 1:], chunk)


def test_noise_is_new_at_every_step():
    noisy = ContextNoise(inner=predictor(), added=0.1)
    rolled = np.asarray(rollout(noisy, {}, CONTEXT, KEY, 3))
    first, second = rolled[:, 1] - rolled[:, 0], rolled[:, 2] - rolled[:, 1]
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.25


def test_the_network_is_told_another_level():
    told = ContextNoise(inner=predictor(level_weight=2.0), told=0.25)
    np.testing.assert_allclose(rollout(told, {}, CONTEXT, KEY, 2)[:, 1], CONTEXT[:, 1] + 1.0, rtol=1e-6)
    keys = jax.random.split(KEY, ROWS)
    chunks = [who.step({}, CONTEXT, keys, None)[1] for who in (ContextNoise(inner=flow(), told=0.25), flow())]
    assert np.abs(np.asarray(chunks[0] - chunks[1])).min() > 0.01


def test_levels_outside_and_generators_that_cannot_be_told_are_refused():
    with pytest.raises(ValueError, match=r"added is 1.5, must lie in \[0, 1\]"):
        ContextNoise(inner=predictor(), added=1.5)
    with pytest.raises(ValueError, match="inner keeps 1 anchors, .* put Anchored around this"):
        ContextNoise(inner=Anchored(inner=predictor()), added=0.1)
    inside = ContextNoise(inner=predictor(), added=0.1)
    assert ContextNoise(inner=inside, added=0.1).added == 0.1, "noise alone needs no network"
    with pytest.raises(TypeError, match="ContextNoise has no network to be told"):
        ContextNoise(inner=inside, told=0.1)
