"""A phase without harvests on 1 and 8 devices: what a relay keeps is the same, however many devices share it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.comparison.baselines.relay import Relay
from recycle_jax.batch import Batch
from recycle_jax.generators.predictor import Predictor
from recycle_jax.histories.clean import TeacherForcing
from recycle_jax.histories.gradient_normalised import GradientNormalizedLoss
from recycle_jax.histories.mixture import Mixture
from recycle_jax.models.base import Network
from recycle_jax.sharding import make_mesh
from recycle_jax.training.loop import Observer, Schedule
from recycle_jax.training.phases import train_phase

pytestmark = pytest.mark.devices8

CAPACITY, ROWS, UPDATES = 24, 32, 6
RELAY = Relay(max_age=2, capacity=CAPACITY)
BESIDE = GradientNormalizedLoss(inner=Mixture(parts=((1, TeacherForcing()), (1, RELAY))), reference_energy=0.1)
NETWORK = Network(
    init=lambda key: {"gain": jnp.float32(0.9)},
    apply=lambda params, context, level, condition: params["gain"] * context[:, -1:] + 0.01,
)
PREDICTOR = Predictor(network=NETWORK, context_frames=2)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Waves:
    shape: tuple[int, int, int] = (4, 4, 1)
    domains: tuple[str, ...] = ("waves",)
    deterministic: bool = True

    def batch(self, step, rows, frames):
        phase = np.random.default_rng(step).uniform(0.0, 2.0 * np.pi, (rows, 1, *self.shape))
        clip = 0.8 * np.sin(phase + 0.5 * np.arange(frames).reshape(1, -1, 1, 1, 1))
        return Batch(clip=jnp.asarray(clip, jnp.float32), domain=jnp.zeros(rows, jnp.int32))


def remembered(devices, policy):
    """The relay's memory after a phase that wrote more than it holds."""
    seen = []
    observer = Observer(watch=lambda state, harvest: seen.append(jax.device_get(state.bank)))
    frames, mesh = policy.clip_frames(PREDICTOR), make_mesh(jax.devices()[:devices])
    schedule = Schedule(updates=UPDATES, rows=ROWS, frames=frames, watch_every=UPDATES)
    train_phase(PREDICTOR, policy, Waves(), schedule, jax.random.key(0), mesh, observer=observer)
    return seen[-1].own[-1] if policy is BESIDE else seen[-1]


@pytest.mark.parametrize(
    ("devices", "policy"), [(1, RELAY), (8, RELAY), (8, BESIDE)], ids=["1", "8", "8, beside another"]
)
def test_all_devices_together_keep_what_one_does(devices, policy):
    memory = remembered(devices, policy)
    assert memory.inserted.sum() > CAPACITY, "the phase is too short to fill it"
    np.testing.assert_array_equal(memory.count, CAPACITY // 8)
    assert memory.count.shape == (8, 1) and memory.capacity == CAPACITY // 8


def test_a_capacity_that_devices_cannot_share_is_refused():
    with pytest.raises(ValueError, match="capacity 20 is not divisible by 8 shards: use 16 or 24"):
        remembered(8, dataclasses.replace(RELAY, capacity=20))
