"""A generator so small that its programs compile in a second, and clips for it."""

import pytest

import recycle_jax as rj


@pytest.fixture(scope="session")
def clips():
    return rj.data.WorldClips(world=rj.data.BouncingBalls(size=16))


@pytest.fixture(scope="session")
def generator(clips):
    network = rj.models.frame_unet(shape=clips.shape, context_frames=2, chunk_frames=1, width=8)
    return rj.Predictor(network=network, context_frames=2)


@pytest.fixture(scope="session")
def flow(clips):
    network = rj.models.velocity_unet(shape=clips.shape, context_frames=2, chunk_frames=2, width=8)
    return rj.RectifiedFlow(network=network, context_frames=2, chunk_frames=2, steps=2)
