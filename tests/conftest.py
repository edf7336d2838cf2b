"""Strict numerics on the CPU for every test, which tests belong in a process of their own, and small generators."""

import os

# Before the first import of JAX; children inherit both. Tests mostly compile: unoptimised code takes .6 of their time.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_backend_optimization_level=0".strip()

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recycle_jax.batch import Batch
from recycle_jax.generators.predictor import Predictor
from recycle_jax.generators.rectified_flow import RectifiedFlow, velocity_head
from recycle_jax.models.base import Network

FRAME = (2, 2, 1)

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

hypothesis.settings.register_profile(
    "suite",
    deadline=None,  # the first example compiles
    max_examples=12,
    derandomize=True,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.data_too_large],
)
hypothesis.settings.register_profile("search", deadline=None, max_examples=300)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves tests for eight devices to the process that has them."""
    if os.environ.get("JAX_NUM_CPU_DEVICES") == "8":
        return
    left_out = [item for item in items if item.get_closest_marker("devices8")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


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
