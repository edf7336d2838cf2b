"""A discriminator in a policy's memory: the same on every device, and the one that a single device trains."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.comparison.baselines.adversarial import AdversarialSelfForcing
from experiments.comparison.baselines.critic_network import window_critic
from recycle_jax.batch import Batch
from recycle_jax.generators.predictor import Predictor
from recycle_jax.models.base import Network
from recycle_jax.sharding import ROLES, make_mesh, place
from recycle_jax.training.phases import Adam
from recycle_jax.training.state import init_state
from recycle_jax.training.step import make_correct

pytestmark = pytest.mark.devices8

ROWS, FRAME = 16, (4, 4, 1)
NETWORK = Network(
    init=lambda key: {"gain": jnp.float32(0.9)},
    apply=lambda params, context, level, condition: params["gain"] * context[:, -1:] + 0.01,
)
PREDICTOR = Predictor(network=NETWORK, context_frames=2)
CRITIC = window_critic(channels=1, frames=4, widths=(8,))
POLICY = AdversarialSelfForcing(steps=2, weight=0.1, critic_share=1.0, critic=CRITIC)
ADAM = Adam(learning_rate=0.01).build(4)


def clips(seed):
    phase = np.random.default_rng(seed).uniform(0.0, 2.0 * np.pi, (ROWS, 1, *FRAME))
    clip = 0.8 * np.sin(phase + 0.5 * np.arange(4).reshape(1, -1, 1, 1, 1))
    return Batch(clip=jnp.asarray(clip, jnp.float32), domain=jnp.zeros(ROWS, jnp.int32))


def trained(devices):
    mesh = make_mesh(jax.devices()[:devices])
    memory = place(POLICY.begin(PREDICTOR, clips(0), devices, jax.random.key(1)), mesh, ROLES.bank)
    state = place(init_state(PREDICTOR, ADAM, jax.random.key(0)), mesh, ROLES.params)
    program = make_correct(PREDICTOR, POLICY, ADAM, mesh)
    for step in range(3):
        state, memory, _ = program(state, memory, place(clips(step), mesh, ROLES.rows))
    return jax.tree.map(np.asarray, (memory.params, state.params))


def test_copies_stay_the_same_and_are_those_of_one_device():
    (critics, params), (critic, alone) = trained(8), trained(1)
    jax.tree.map(lambda leaf: np.testing.assert_array_equal(leaf, np.broadcast_to(leaf[:1], leaf.shape)), critics)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[:1], b, rtol=1e-3, atol=1e-5), critics, critic)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4), params, alone)
