"""Training, recycling, rollouts and evaluation on 2 and 8 devices: the numbers of one device.

Draws and counters are equal to the bit. Networks of 16, 8 and 2 rows are different programs, whose outputs differ by
roundings (tolerances below); gradients are means over devices in another order.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.comparison.evaluation import held_out_loss, judge, probes, strip_frames
from recycle_jax.batch import Batch
from recycle_jax.drift.monitor import Monitor
from recycle_jax.drift.statistics import Statistics
from recycle_jax.errors.rollout.references import Gate, Recorded
from recycle_jax.generators.predictor import Predictor
from recycle_jax.generators.rectified_flow import RectifiedFlow, velocity_head
from recycle_jax.generators.temperature import choose_temperature, is_deterministic
from recycle_jax.histories.clean import TeacherForcing
from recycle_jax.histories.recipe import Recycling
from recycle_jax.models.base import Network
from recycle_jax.rollout.scan import rollout
from recycle_jax.sharding import ROLES, fetch, make_mesh, place
from recycle_jax.training.loop import Observer, Schedule
from recycle_jax.training.phases import RECYCLING_BATCHES, Adam, recycle_phase, train_phase
from recycle_jax.training.watcher import Watcher

pytestmark = pytest.mark.devices8
many = pytest.mark.parametrize("devices", [2, 8])
near = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)

FRAME, ROWS = (4, 4, 1), 16
KEY = jax.random.key(0)
START = {"newest": np.float32(0.9), "older": np.float32(-0.1), "offset": np.float32(0.05)}
NETWORK = Network(
    init=lambda key: jax.tree.map(jnp.asarray, START),
    apply=lambda params, context, level, condition: (
        params["newest"] * context[:, -1:] + params["older"] * context[:, -2:-1] + params["offset"]
    ),
)
PREDICTOR = Predictor(network=NETWORK, context_frames=2)
FLOW = RectifiedFlow(
    network=Network(
        init=NETWORK.init,
        apply=lambda params, noisy, sigma, context, level, condition: params["newest"] * noisy - context[:, -1:],
    ),
    context_frames=2,
    steps=2,
    head=velocity_head,
)
MONITOR = Monitor(statistics=Statistics(context_frames=2), window=2, max_frames=4)
RECYCLING = Recycling(chains=8, max_age=3, harvest_every=2, harvest_steps=2, capacity=32, noise=0.1)
REFERENCE = Recorded(gate=Gate(distance=10.0, mass=10.0))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Waves:
    asked: list[int] = dataclasses.field(default_factory=list)
    shape: tuple[int, int, int] = FRAME
    domains: tuple[str, ...] = ("waves",)
    deterministic: bool = True

    def batch(self, step, rows, frames):
        self.asked.append(step)
        phase = np.random.default_rng(step).uniform(0.0, 2.0 * np.pi, (rows, 1, *self.shape))
        clip = 0.8 * np.sin(phase + 0.5 * np.arange(frames).reshape(1, -1, 1, 1, 1))
        return Batch(clip=jnp.asarray(clip, jnp.float32), domain=jnp.zeros(rows, jnp.int32))


def mesh_of(devices):
    return make_mesh(jax.devices()[:devices])


@functools.cache
def made_on(devices) -> dict[str, Any]:
    """Two phases as a user runs them, and what became of the user's own arrays, which lie on the mesh already."""
    mesh, source, adam = mesh_of(devices), Waves(), Adam(learning_rate=0.02)
    start, key = place((PREDICTOR.init(KEY), jax.random.key(1)), mesh, ROLES.params)
    first = Schedule(updates=3, rows=ROWS, frames=3)
    params = train_phase(PREDICTOR, TeacherForcing(), source, first, key, mesh, params=start, adam=adam)
    asked = list(source.asked)
    log: list[dict[str, Any]] = []
    watcher = Watcher(generator=PREDICTOR, batch=source.batch(7, 6, 3), mesh=mesh)
    state = recycle_phase(
        PREDICTOR,
        params,
        REFERENCE,
        source,
        RECYCLING,
        Schedule(updates=6, rows=ROWS, frames=3, log_every=1, watch_every=2),
        key,
        mesh,
        adam=adam,
        observer=Observer(log=log.append, watch=watcher),
    )
    return {
        "start": fetch(start),
        "params": fetch(params),
        "state": fetch(dataclasses.replace(state, train=dataclasses.replace(state.train, key=None))),
        "log": [{name: value for name, value in record.items() if "seconds" not in name} for record in log],
        "rounds": [dataclasses.asdict(seen) for seen in watcher.rounds],
        "key": np.asarray(jax.random.key_data(key)),
        "first": asked,
        "second": source.asked[len(asked) + 1 :],
    }


@many
def test_both_phases_make_the_numbers_of_one_device(devices):
    one, other = made_on(1), made_on(devices)
    jax.tree.map(near, other["params"], one["params"])
    for record, same in zip(other["log"], one["log"], strict=True):
        assert record.keys() == same.keys()
        # Cases are kept in 16 bits: a rounding of a rollout may be one of those.
        near([record[name] for name in same], list(same.values()), rtol=1e-3)
    jax.tree.map(functools.partial(near, rtol=1e-3, atol=1e-4), other["state"].train.params, one["state"].train.params)
    for name in ("cursor", "count", "inserted", "empty_draws"):
        np.testing.assert_array_equal(getattr(other["state"].bank, name), getattr(one["state"].bank, name))
    for name in ("ages", "domain", "step"):
        np.testing.assert_array_equal(
            getattr(other["state"].bank.entries, name), getattr(one["state"].bank.entries, name)
        )
    np.testing.assert_array_equal(other["state"].chains.ages, one["state"].chains.ages)
    for seen, same in zip(other["rounds"], one["rounds"], strict=True):
        near([seen["clean_loss"], seen["gain"]], [same["clean_loss"], same["gain"]], rtol=1e-3)
    assert one["state"].bank.count.shape == (8, 1) and one["log"][-1]["loss_recycled"] > 0.0


@many
def test_the_callers_arrays_stay_and_the_phases_see_other_clips(devices):
    made = made_on(devices)
    np.testing.assert_array_equal(made["key"], jax.random.key_data(jax.random.key(1)))
    assert made["start"] == START and made["params"] != START
    assert set(made["first"]) == {0, 1, 2}
    assert set(made["second"]) == set(range(RECYCLING_BATCHES, RECYCLING_BATCHES + 6))


def starts(rows, frames=2):
    return Waves().batch(3, rows, frames).clip


@pytest.mark.parametrize(("devices", "rows"), [(2, 4), (2, 5), (8, 5), (8, 1)])
def test_a_flow_rolls_out_the_same_on_any_number_of_devices(devices, rows):
    """Rows that cannot be split are padded; arguments lie on devices of their own."""
    there = jax.devices()
    params, start = jax.device_put(FLOW.init(KEY), there[3]), jax.device_put(starts(rows), there[5])
    one = rollout(FLOW, FLOW.init(KEY), starts(rows), KEY, 4)
    video = rollout(FLOW, params, start, jax.device_put(KEY, there[1]), 4, mesh=mesh_of(devices))
    assert video.shape == (rows, 4, *FRAME) and len(video.sharding.device_set) == devices
    near(video, one)
    if rows > 1:
        assert np.ptp(np.asarray(video) - np.asarray(start)[:, -1:], axis=0).max() > 0.1, "all rows drew the same"


@functools.cache
def evaluated_on(devices):
    mesh, params = mesh_of(devices), FLOW.init(KEY)
    source = Waves()
    wrong = starts(6) + 0.1
    return {
        "judge": fetch(judge(FLOW, MONITOR, params, starts(5), KEY, mesh)),
        "loss": held_out_loss(FLOW, params, source, 10, mesh),
        "probes": None if devices == 2 else probes(FLOW, params, starts(6), (starts(6), wrong), KEY, mesh),
        "strip": strip_frames(FLOW, params, starts(1), KEY, 3, mesh),
        "temperature": choose_temperature(FLOW, params, source.batch(0, 6, 3), mesh=mesh).temperature,
    }


@many
def test_evaluation_makes_the_numbers_of_one_device(devices):
    one, other = evaluated_on(1), evaluated_on(devices)
    jax.tree.map(near, other["judge"], one["judge"])
    assert other["judge"].exit_frame.shape == (5,) and other["judge"].frames["motion"].shape[1] == 5
    near(other["loss"], one["loss"])
    if other["probes"]:
        near(other["probes"]["responses"]["noise"], one["probes"]["responses"]["noise"], rtol=2e-2)
        near(other["probes"]["diversity"], one["probes"]["diversity"], rtol=2e-2)
    assert np.abs(other["strip"].astype(int) - one["strip"]).max() <= 1
    assert other["temperature"] == one["temperature"]


class Own:
    """A user's generator, which says nothing of itself."""

    context_frames, chunk_frames, calls_per_step = 2, 1, 1

    def __init__(self, noise):
        self.noise = noise

    def begin(self, params, context, condition):
        return context

    def step(self, params, carry, keys, condition):
        drawn = jax.vmap(lambda key: jax.random.normal(key, (1, *FRAME)))(keys)
        chunk = params["newest"] * carry[:, -1:] + self.noise * drawn
        return jnp.concatenate([carry[:, 1:], chunk], axis=1), chunk


@many
def test_who_does_not_say_whether_it_draws_is_asked(devices):
    batch, mesh = Waves().batch(0, 3, 3), mesh_of(devices)
    assert is_deterministic(Own(0.0), PREDICTOR.init(KEY), batch, mesh)
    assert not is_deterministic(Own(1e-3), PREDICTOR.init(KEY), batch, mesh)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rows": 24}, r"rows \(batch_size\) is 24, must be a multiple of 16: use 16 or 32"),
        ({"chains": 12}, "chains is 12, must be a multiple of 8: use 8 or 16"),
        ({"capacity": 30}, "capacity is 30, must be a multiple of 8: use 24 or 32"),
        ({"shards": 4}, "shards is 4, must be a multiple of 8: use 8"),
    ],
)
def test_what_eight_devices_cannot_share_is_named_before_anything_is_drawn(changes, said):
    source, rows = Waves(), changes.get("rows", ROWS)
    settings = dataclasses.replace(RECYCLING, **{name: value for name, value in changes.items() if name != "rows"})
    schedule = Schedule(updates=1, rows=rows, frames=3)
    with pytest.raises(ValueError, match=said):
        recycle_phase(PREDICTOR, PREDICTOR.init(KEY), REFERENCE, source, settings, schedule, KEY, mesh_of(8))
    assert not source.asked


def test_rows_that_eight_devices_cannot_share_are_named_by_their_setting():
    source, schedule = Waves(), Schedule(updates=1, rows=12, frames=3)
    with pytest.raises(ValueError, match=r"rows \(batch_size\) is 12, must be a multiple of 8: use 8 or 16"):
        train_phase(PREDICTOR, TeacherForcing(), source, schedule, KEY, mesh_of(8))
    assert not source.asked
