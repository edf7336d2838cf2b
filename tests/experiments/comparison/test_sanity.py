"""A still picture and real video, in a generator's place."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.comparison.sanity import CopyLast, Real
from recycle_jax.data.worlds.balls import BouncingBalls
from recycle_jax.data.worlds.clips import WorldClips
from recycle_jax.generators.base import clean_example
from recycle_jax.generators.predictor import Predictor
from recycle_jax.models.base import Network
from recycle_jax.rollout.scan import rollout

WORLD = BouncingBalls(size=16, balls=1, context_frames=2)
CLIPS = WorldClips(world=WORLD, seed=0)
NONE = Network(init=lambda key: {}, apply=lambda params, context, *rest: context[:, -1:])


def inner(chunk=1):
    return Predictor(network=NONE, context_frames=2, chunk_frames=chunk)


def test_a_still_picture_repeats_the_last_real_frame():
    clip = CLIPS.batch(0, 3, 6).clip
    frames = rollout(CopyLast(inner=inner(2)), {}, clip[:, :2], jax.random.key(0), 4)
    np.testing.assert_array_equal(frames, jnp.repeat(clip[:, 1:2], 4, axis=1))


def test_its_loss_is_what_moves_between_two_frames():
    batch = CLIPS.batch(0, 3, 3)
    fit = CopyLast(inner=inner()).fit({}, clean_example(inner(), batch, jax.random.split(jax.random.key(0), 3)))
    moved = np.square(batch.clip[:, 1] - batch.clip[:, 2]).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(fit.loss, moved, rtol=1e-5)


def test_real_video_goes_on_as_the_world_does():
    """The speed is read from two frames: good for a few, and wrong where the ball bounced between them."""
    clip = CLIPS.batch(0, 8, 6).clip
    frames = rollout(Real(inner=inner(), world=WORLD), {}, clip[:, :2], jax.random.key(0), 4)
    apart = np.square(frames - clip[:, 2:]).mean(axis=(1, 2, 3, 4))
    still = np.square(clip[:, 1:2] - clip[:, 2:]).mean(axis=(1, 2, 3, 4))
    assert np.median(apart / still) < 0.02
    keys = jax.random.split(jax.random.key(0), 8)
    loss = Real(inner=inner(), world=WORLD).fit({}, clean_example(inner(), CLIPS.batch(0, 8, 3), keys)).loss
    assert np.median(loss) < 1e-3


def test_real_video_has_one_frame_a_step():
    with pytest.raises(ValueError, match="chunk_frames is 2: a world shows one frame at a time"):
        Real(inner=inner(2), world=WORLD)
