"""Two generators of one line each, and clips whose pixels tell clip and frame."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recycle_jax.batch import Batch
from recycle_jax.generators.predictor import Predictor
from recycle_jax.generators.rectified_flow import RectifiedFlow, velocity_head
from recycle_jax.models.base import Network

FRAME = (2, 2, 1)


@pytest.fixture(scope="session")
def predictor():
    """Two frames in, one out: `gain` times the newest, plus 0.01."""
    network = Network(
        init=lambda key: {"gain": jnp.float32(0.9)},
        apply=lambda params, context, level, condition: params["gain"] * context[:, -1:] + 0.01,
    )
    return Predictor(network=network, context_frames=2)


@pytest.fixture(scope="session")
def flow():
    """Two frames in, one out, of velocity `gain` times noisy frame minus newest frame."""

    def apply(params, noisy, sigma, context, level, condition):
        return params["gain"] * noisy - context[:, -1:]

    network = Network(init=lambda key: {"gain": jnp.float32(0.9)}, apply=apply)
    return RectifiedFlow(network=network, context_frames=2, shift=5.0, head=velocity_head)


@pytest.fixture(scope="session")
def batch_of():
    """`batch_of(rows, frames)`: the pixel of clip `i`, frame `j` is `(10 i + j) / 1000`."""

    def make(rows, frames=3):
        number = np.add.outer(10.0 * np.arange(rows), np.arange(frames)) / 1000.0
        clip = np.broadcast_to(number[:, :, None, None, None], (rows, frames, *FRAME)).astype(np.float32)
        return Batch(clip=jnp.asarray(clip), domain=jnp.arange(rows, dtype=jnp.int32))

    return make


@pytest.fixture(scope="session")
def keys_of():
    """`keys_of(rows)`: a key for each row."""
    return lambda rows, seed=0: jax.random.split(jax.random.key(seed), rows)
