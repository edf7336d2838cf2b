"""The whole training step, and the harvest, on 1, 2 and 8 devices: one result, one reduction, no copy of the bank.

Draws and the first step's losses cannot depend on the number of devices. Parameters can, in their last bits, from
the first update on: the mean of a gradient over eight devices is summed in another order than over one.
"""

import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.comparison.baselines.relay import Relay
from recycle_jax.batch import Batch
from recycle_jax.errors.bank.bank import ErrorBank
from recycle_jax.errors.bank.capacity import allocate
from recycle_jax.errors.one_step.algebra import ResidualEntry
from recycle_jax.errors.one_step.inject import Gates
from recycle_jax.errors.rollout.harvest import Harvest
from recycle_jax.errors.rollout.references import Gate, Recorded
from recycle_jax.generators.predictor import Predictor
from recycle_jax.histories.clean import TeacherForcing
from recycle_jax.histories.memories import with_bank
from recycle_jax.histories.mixture import Mixture
from recycle_jax.histories.one_step import OneStepErrors
from recycle_jax.histories.replay import ReplayCases
from recycle_jax.models.conv import frame_unet
from recycle_jax.rng import row_keys
from recycle_jax.sharding import ROLES, first_row, make_mesh, place, shard_over_data
from recycle_jax.training.harvest_step import make_harvest
from recycle_jax.training.phases import Adam
from recycle_jax.training.state import init_state
from recycle_jax.training.step import make_correct

pytestmark = pytest.mark.devices8

FRAME, ROWS, STEPS, CAPACITY = (8, 8, 1), 16, 4, 33
NETWORK = frame_unet(shape=FRAME, context_frames=2, chunk_frames=1, patch=4, width=8, levels=1)
PREDICTOR = Predictor(network=NETWORK, context_frames=2)
BANK = ErrorBank(shards=8, capacity=CAPACITY)
HARVEST = Harvest(generator=PREDICTOR, max_age=3)
REFERENCE = Recorded(gate=Gate(distance=10.0, mass=10.0))
OPTIMIZER = Adam(learning_rate=0.01).build(STEPS)
KINDS = {
    "one-step errors": (
        Mixture(
            parts=(
                (1, TeacherForcing()),
                (1, OneStepErrors(bank=BANK, gates=Gates(data=0.5, noise=0.0, context=0.9, clean=0.2))),
            )
        ),
        ResidualEntry.entry(1, FRAME),
    ),
    "cases": (
        Mixture(parts=((1, TeacherForcing()), (1, ReplayCases(bank=BANK, noise=0.05)))),
        HARVEST.entry(FRAME),
    ),
}
COLLECTIVES = re.compile(r"\b(all-reduce|all-gather|all-to-all|reduce-scatter|collective-\w+)(-start)?\(")


def clips(number, rows=ROWS, frames=3):
    phase = np.random.default_rng(number).uniform(0.0, 2.0 * np.pi, (rows, 1, *FRAME))
    clip = 0.8 * np.sin(phase + 0.5 * np.arange(frames).reshape(1, -1, 1, 1, 1))
    return Batch(clip=jnp.asarray(clip, jnp.float32), domain=jnp.arange(rows, dtype=jnp.int32))


@functools.cache
def mesh_of(devices):
    return make_mesh(jax.devices()[:devices])


def train_state(devices):
    return place(init_state(PREDICTOR, OPTIMIZER, jax.random.key(1)), mesh_of(devices), ROLES.params)


def batch_on(devices, number):
    return place(clips(number), mesh_of(devices), ROLES.rows)


def chains_on(devices):
    first = clips(100, frames=HARVEST.clip_frames(REFERENCE))
    return place(HARVEST.start(first), mesh_of(devices), ROLES.rows)


def harvest_arguments(devices, params, chains, bank, number):
    fresh = clips(200 + number, frames=HARVEST.clip_frames(REFERENCE))
    key, step = place((jax.random.key(2), jnp.int32(number)), mesh_of(devices), ROLES.params)
    return params, REFERENCE, chains, bank, place(fresh, mesh_of(devices), ROLES.rows), key, step


@functools.cache
def harvest_on(devices):
    """Compiled once: what it returns must fit what it takes, or the next call is refused."""
    chains, bank = chains_on(devices), allocate(BANK, KINDS["cases"][1], mesh_of(devices))
    given = harvest_arguments(devices, train_state(devices).params, chains, bank, 0)
    return make_harvest(HARVEST, BANK, mesh_of(devices), steps=3).lower(*given).compile()


@functools.cache
def correct_on(devices, kind):
    """Compiled once: what it returns must fit what it takes, or the next call is refused."""
    policy, entry = KINDS[kind]
    bank = allocate(BANK, entry, mesh_of(devices))
    program = make_correct(PREDICTOR, policy, OPTIMIZER, mesh_of(devices))
    return program.lower(train_state(devices), bank, batch_on(devices, 0)).compile()


def filled_bank(devices, kind):
    """An empty bank, or one harvest's cases."""
    bank = allocate(BANK, KINDS[kind][1], mesh_of(devices))
    if kind == "cases":
        given = harvest_arguments(devices, train_state(devices).params, chains_on(devices), bank, 0)
        _, bank, _ = harvest_on(devices)(*given)
    return bank


@dataclasses.dataclass(frozen=True)
class Seen:
    """What a run left, on the host, after its first step and after its last."""

    losses: list
    empty: list
    first_bank: object
    bank: object
    params: object


@functools.cache
def trained_on(devices, kind):
    program, state, bank = correct_on(devices, kind), train_state(devices), filled_bank(devices, kind)
    metrics, first = [], None
    for number in range(STEPS):
        state, bank, measured = program(state, bank, batch_on(devices, number))
        metrics.append(jax.device_get(measured))
        first = host(bank) if first is None else first
    losses, empty = ([m[name] for m in metrics] for name in ("loss", "empty_draws"))
    return Seen(losses, empty, first, host(bank), host(state.params))


def host(tree):
    """Copies: what is donated next must not change them."""
    return jax.tree.map(np.array, tree)


def values(bank):
    """Entries as numbers, counters apart."""
    return jax.tree.map(np.asarray, BANK.read(bank)), (bank.count, bank.cursor, bank.inserted, bank.empty_draws)


many = pytest.mark.parametrize("devices", [2, 8])
each = pytest.mark.parametrize("kind", list(KINDS))


def assert_close(one, other, **tolerance):
    def close(a, b):
        np.testing.assert_allclose(np.asarray(a, np.float64), np.asarray(b, np.float64), **tolerance)

    jax.tree.map(close, one, other)


def beside_on(devices):
    """A relay's memory and the bank after some steps of both in one batch."""
    mesh, relay = mesh_of(devices), Relay(max_age=2, capacity=64)
    bank = ErrorBank(shards=8, capacity=8)
    policy = Mixture(parts=((1, TeacherForcing()), (1, ReplayCases(bank=bank)), (2, relay)))
    given = clips(0, frames=policy.clip_frames(PREDICTOR))
    memory = with_bank(policy.begin(PREDICTOR, given, 8, jax.random.key(0)), bank.init(HARVEST.entry(FRAME)))
    program = make_correct(PREDICTOR, policy, OPTIMIZER, mesh)
    memory, state = place(memory, mesh, ROLES.bank), train_state(devices)
    for number in range(STEPS):
        batch = place(clips(number, 32, frames=policy.clip_frames(PREDICTOR)), mesh, ROLES.rows)
        state, memory, measured = program(state, memory, batch)
    return jax.device_get(measured["loss"]), host(memory)


@many
def test_a_memory_beside_the_bank_is_the_same_on_any_number_of_devices(devices):
    (loss, one), (other_loss, other) = beside_on(1), beside_on(devices)
    np.testing.assert_allclose(other_loss, loss, rtol=1e-6)
    relay, other_relay = one.own[-1], other.own[-1]
    np.testing.assert_array_equal(other_relay.count, relay.count)
    np.testing.assert_array_equal(BANK.read(other_relay).age, BANK.read(relay).age)
    assert_close(BANK.read(other_relay).context, BANK.read(relay).context, rtol=1e-3, atol=1e-4)
    assert relay.count.sum() > 0 and one.bank.count.sum() == 0, "the relay wrote into the bank"


@many
@each
def test_the_first_step_is_the_same_on_any_number_of_devices(devices, kind):
    one, other = trained_on(1, kind), trained_on(devices, kind)
    np.testing.assert_allclose(other.losses[0], one.losses[0], rtol=1e-6)
    entries, counters = values(one.first_bank)
    other_entries, other_counters = values(other.first_bank)
    jax.tree.map(np.testing.assert_array_equal, other_counters, counters)
    for name in ("age", "sigma", "domain", "step", "ages"):
        if hasattr(entries, name):
            np.testing.assert_array_equal(getattr(other_entries, name), getattr(entries, name))
    # Networks of 16, 8 and 2 rows are different programs: their outputs agree to a rounding of the storage.
    assert_close(other_entries, entries, rtol=1e-2, atol=1e-5)


@many
@each
def test_losses_and_banks_stay_together(devices, kind):
    one, other = trained_on(1, kind), trained_on(devices, kind)
    np.testing.assert_allclose(other.losses, one.losses, rtol=1e-6)
    entries, counters = values(one.bank)
    other_entries, other_counters = values(other.bank)
    jax.tree.map(np.testing.assert_array_equal, other_counters, counters)
    assert_close(other_entries, entries, rtol=1e-2, atol=1e-4)
    assert_close(other.params, one.params, rtol=1e-3, atol=1e-5)
    assert one.bank.inserted.sum() > 0 and len({float(loss) for loss in one.losses}) == STEPS


@many
@each
def test_rows_that_found_nothing_are_counted_once_each(devices, kind):
    one, other = trained_on(1, kind), trained_on(devices, kind)
    np.testing.assert_array_equal(other.empty, one.empty)
    assert (one.empty[0] > 0) == (kind == "one-step errors"), "the bank of cases is filled beforehand, the other is not"


@each
def test_draws_are_equal_to_the_bit(kind):
    """The contexts and targets that the policy makes of one bank, on 1, 2 and 8 devices."""
    policy, _ = KINDS[kind]
    full = trained_on(1, kind).bank
    made = []
    for devices in (1, 2, 8):
        bank = place(full, mesh_of(devices), ROLES.bank)
        made.append(host(examples_on(devices, policy)(train_state(devices).params, bank, batch_on(devices, 7))))
    for other in made[1:]:
        jax.tree.map(np.testing.assert_array_equal, other, made[0])
    assert not np.all(made[0].clean), "nothing was drawn"


def examples_on(devices, policy):
    def make(params, bank, batch):
        rows = batch.clip.shape[0]
        keys = row_keys(jax.random.key(3), rows, first_row(rows))
        return policy.examples(params, PREDICTOR, bank, batch, keys)

    roles = (ROLES.params, ROLES.bank, ROLES.rows)
    return jax.jit(shard_over_data(make, mesh_of(devices), roles, ROLES.rows))


def collectives(compiled):
    return {name for name, _ in COLLECTIVES.findall(compiled.as_text())}


def bank_copies(compiled):
    """Copies of anything with a device's part of the bank in its shape: `[1, 1, capacity, ...]`."""
    text = compiled.as_text()
    assert f"[1,1,{CAPACITY}," in text, "the search looks for the wrong shape"
    return [line for line in text.splitlines() if re.search(rf"= \w+\[1,1,{CAPACITY},[^=]* copy\(", line)]


def pointers(tree):
    shards = [shard for leaf in jax.tree.leaves(tree) if leaf.size for shard in leaf.addressable_shards]
    return [shard.data.unsafe_buffer_pointer() for shard in shards]


@each
def test_a_step_communicates_its_mean_and_nothing_else(kind):
    assert collectives(correct_on(8, kind)) == {"all-reduce"}


@each
def test_a_step_writes_the_bank_in_place(kind):
    assert not bank_copies(correct_on(8, kind))
    bank = filled_bank(8, kind)
    before = pointers(bank)
    _, bank, _ = correct_on(8, kind)(train_state(8), bank, batch_on(8, 0))
    assert pointers(bank) == before


def test_a_harvest_communicates_its_metrics_and_writes_in_place():
    assert collectives(harvest_on(8)) == {"all-reduce"}
    assert not bank_copies(harvest_on(8))
    bank = allocate(BANK, KINDS["cases"][1], mesh_of(8))
    before = pointers(bank)
    _, bank, metrics = harvest_on(8)(*harvest_arguments(8, train_state(8).params, chains_on(8), bank, 0))
    assert pointers(bank) == before and metrics["banked"] > 0


@many
def test_a_harvest_is_the_same_on_any_number_of_devices(devices):
    banks, chains, metrics = zip(*(harvested_on(d) for d in (1, devices)), strict=True)
    (entries, counters), (other_entries, other_counters) = map(values, banks)
    jax.tree.map(np.testing.assert_array_equal, other_counters, counters)
    for name in ("ages", "domain", "step"):
        np.testing.assert_array_equal(getattr(other_entries, name), getattr(entries, name))
    assert_close(other_entries, entries, rtol=1e-2, atol=1e-5)
    for name in ("ages", "position", "limit", "domain", "lost"):
        np.testing.assert_array_equal(getattr(chains[1], name), getattr(chains[0], name))
    assert_close(chains[1].context, chains[0].context, rtol=1e-4, atol=1e-5)
    assert_close(metrics[1], metrics[0], rtol=1e-5)
    assert entries.ages[..., -1].max() > 1, "two harvests in a row make old cases"


@functools.cache
def harvested_on(devices):
    """Bank, chains and metrics after two harvests."""
    chains, bank = chains_on(devices), allocate(BANK, KINDS["cases"][1], mesh_of(devices))
    for number in range(2):
        given = harvest_arguments(devices, train_state(devices).params, chains, bank, number)
        chains, bank, metrics = harvest_on(devices)(*given)
    return host(bank), host(chains), jax.device_get(metrics)
