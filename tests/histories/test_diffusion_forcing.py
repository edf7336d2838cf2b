"""Diffusion Forcing: levels of single frames, what they do to them, and who can be told."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recycle_jax.batch import Batch
from recycle_jax.generators.context_noise import ContextNoise
from recycle_jax.generators.predictor import Predictor
from recycle_jax.generators.rectified_flow import RectifiedFlow
from recycle_jax.histories.base import HistoryPolicy
from recycle_jax.histories.diffusion_forcing import DiffusionForcing
from recycle_jax.models.conv import frame_unet, velocity_unet

FRAME = (8, 8, 1)
SIZE = {"shape": FRAME, "context_frames": 3, "chunk_frames": 1, "patch": 4, "width": 8, "levels": 1}


def pair(frame_levels):
    """A predictor and a flow, told a level a frame or one for all."""
    return {
        "predictor": Predictor(network=frame_unet(**SIZE, frame_levels=frame_levels), context_frames=3),
        "flow": RectifiedFlow(network=velocity_unet(**SIZE, frame_levels=frame_levels), context_frames=3, steps=1),
    }


TOLD, DEAF = pair(True), pair(False)


@pytest.fixture(scope="module")
def batch():
    return Batch(clip=jnp.full((256, 4, *FRAME), 0.5), domain=jnp.zeros(256, jnp.int32))


@functools.partial(jax.jit, static_argnums=(0, 1))
def example_of(policy, generator, batch, keys):
    return policy.examples(None, generator, None, batch, keys).example


@pytest.mark.parametrize("most", [1.0, 0.3])
def test_levels_are_uniform_and_independent_between_frames(most, batch, keys_of):
    level = np.asarray(example_of(DiffusionForcing(most=most), TOLD["flow"], batch, keys_of(256)).level) / most
    assert level.shape == (256, 3) and level.min() >= 0.0 and level.max() <= 1.0
    np.testing.assert_allclose(level.mean(axis=0), 0.5, atol=0.06)
    np.testing.assert_allclose(level.std(axis=0), 12**-0.5, atol=0.03)
    assert np.abs(np.corrcoef(level.T) - np.eye(3)).max() < 0.2


@pytest.mark.parametrize("kind", ["predictor", "flow"])
def test_a_frame_is_noised_to_the_level_that_is_told_and_the_chunk_to_another(kind, batch, keys_of):
    example = example_of(DiffusionForcing(), TOLD[kind], batch, keys_of(256))
    level, context = np.asarray(example.level)[..., None, None, None], np.asarray(example.context)
    noise = (context - (1.0 - level) * 0.5) / np.maximum(level, 1e-3)
    strong = level[..., 0, 0, 0] > 0.05
    np.testing.assert_allclose(noise[strong].mean(), 0.0, atol=0.02)
    np.testing.assert_allclose(noise[strong].std(axis=(1, 2, 3)).mean(), 1.0, atol=0.02)
    np.testing.assert_array_equal(example.x0, 0.5)
    if kind == "flow":
        apart = np.corrcoef(np.asarray(example.sigma)[:, 0], np.asarray(example.level).mean(axis=1))[0, 1]
        assert abs(apart) < 0.2, "the chunk's level has nothing to do with the history's"


@pytest.mark.parametrize("kind", ["predictor", "flow"])
def test_it_trains_networks_that_are_told_each_level_and_refuses_others(kind, batch, keys_of):
    policy, few = DiffusionForcing(), jax.tree.map(lambda leaf: leaf[:2], batch)
    assert isinstance(policy, HistoryPolicy)
    shapes = jax.eval_shape(TOLD[kind].init, jax.random.key(0))
    loss = jax.eval_shape(lambda p: policy.loss(p, TOLD[kind], None, few, keys_of(2))[0], shapes)
    assert loss.shape == ()
    shapes = jax.eval_shape(DEAF[kind].init, jax.random.key(0))
    with pytest.raises(ValueError, match=r"level is \[2, 3\], .* one for the whole context: .* frame_levels=True"):
        jax.eval_shape(lambda p: policy.loss(p, DEAF[kind], None, few, keys_of(2))[0], shapes)


@pytest.mark.parametrize("kind", ["predictor", "flow"])
def test_generation_may_be_told_that_its_history_is_slightly_noisy(kind, batch, keys_of):
    """Stabilised sampling: all frames are told the same level, none is noised."""
    generator = ContextNoise(inner=TOLD[kind], told=0.1)
    few = jax.tree.map(lambda leaf: leaf[:2], batch)
    shapes = jax.eval_shape(generator.init, jax.random.key(0))
    _, chunk = jax.eval_shape(lambda p: generator.step(p, few.clip[:, :3], keys_of(2), None), shapes)
    assert chunk.shape == (2, 1, *FRAME)


@pytest.mark.parametrize("most", [0.0, 1.5])
def test_levels_outside_are_refused(most):
    with pytest.raises(ValueError, match=rf"most is {most}, must lie in \(0, 1\]"):
        DiffusionForcing(most=most)
