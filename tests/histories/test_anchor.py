"""Anchored history: which frames make it, for which policies; and recycling keeps the anchor too."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recycle_jax.batch import Batch
from recycle_jax.errors.bank.bank import ErrorBank
from recycle_jax.errors.one_step.algebra import ResidualEntry
from recycle_jax.errors.rollout.harvest import Harvest
from recycle_jax.errors.rollout.references import Gate, Recorded
from recycle_jax.errors.rollout.registered import Registered
from recycle_jax.generators.anchored import Anchored
from recycle_jax.generators.predictor import Predictor
from recycle_jax.histories.anchor import AnchoredHistory
from recycle_jax.histories.base import Calls, HistoryPolicy
from recycle_jax.histories.clean import TeacherForcing
from recycle_jax.histories.mixture import Mixture
from recycle_jax.histories.noise import NoiseAugmentation
from recycle_jax.histories.pushforward import Pushforward
from recycle_jax.histories.replay import ReplayCases
from recycle_jax.histories.svi import svi_shot
from recycle_jax.models.base import Network
from recycle_jax.sharding import make_mesh
from recycle_jax.training.harvest_step import make_harvest
from recycle_jax.training.phases import Adam
from recycle_jax.training.state import init_state
from recycle_jax.training.step import make_correct

PARAMS = {"gain": jnp.float32(0.9)}
OPEN = Gate(distance=1e9, mass=1e9)


def anchored(context_frames=3, chunk_frames=1, slope=0.002):
    """Goes on from its newest frame by `slope`, whatever its anchor; the clips' own slope is 0.001."""

    def apply(params, context, level, condition):
        ahead = jnp.arange(1, chunk_frames + 1, dtype=jnp.float32)[None, :, None, None, None]
        return params["gain"] / 0.9 * context[:, -1:] + slope * ahead

    network = Network(init=lambda key: {"gain": jnp.float32(0.9)}, apply=apply)
    inner = Predictor(network=network, context_frames=context_frames, chunk_frames=chunk_frames)
    return Anchored(inner=inner)


@functools.partial(jax.jit, static_argnums=(0, 1))
def examples(policy, generator, batch, keys):
    return policy.examples(PARAMS, generator, None, batch, keys)


def number(frames):
    """Which frame of its clip each frame is, for the clips of `batch_of`."""
    return np.round(np.asarray(frames)[..., 0, 0, 0] * 1000.0).astype(int) % 10


@pytest.mark.parametrize("chunk_frames", [1, 2])
def test_windows_of_all_places_follow_the_first_frame(chunk_frames, batch_of, keys_of):
    generator, policy = anchored(chunk_frames=chunk_frames), AnchoredHistory(inner=TeacherForcing(), max_gap=3)
    frames = policy.clip_frames(generator)
    assert frames == 3 + chunk_frames + 3
    drawn = examples(policy, generator, batch_of(64, frames), keys_of(64))
    context, target = number(drawn.example.context), number(drawn.example.x0)
    np.testing.assert_array_equal(context[:, 0], 0)
    np.testing.assert_array_equal(context[:, 2] - context[:, 1], 1)
    np.testing.assert_array_equal(target, context[:, 2:] + np.arange(1, chunk_frames + 1))
    assert set(context[:, 1]) == {1, 2, 3, 4}
    assert np.all(drawn.clean) and np.all(drawn.found)


def test_rows_keep_their_own_clips(batch_of, keys_of):
    policy = AnchoredHistory(inner=TeacherForcing(), max_gap=2)
    context = examples(policy, anchored(), batch_of(8, 6), keys_of(8)).example.context
    clip = np.round(np.asarray(context)[..., 0, 0, 0] * 1000.0).astype(int) // 10
    np.testing.assert_array_equal(clip, np.broadcast_to(np.arange(8)[:, None], (8, 3)))


def test_without_reach_it_is_the_inner_policy_on_the_clip(batch_of, keys_of):
    generator, batch = anchored(), batch_of(4, 4)
    with_anchor = examples(AnchoredHistory(inner=TeacherForcing(), max_gap=0), generator, batch, keys_of(4))
    plain = examples(TeacherForcing(), generator, batch, keys_of(4))
    jax.tree.map(np.testing.assert_array_equal, with_anchor, plain)


def test_bill_and_memory_are_the_inner_policys(batch_of):
    mixture = Mixture(parts=((1, TeacherForcing()), (1, NoiseAugmentation(most=0.1))))
    policy = AnchoredHistory(inner=mixture, max_gap=1)
    assert isinstance(policy, HistoryPolicy) and policy.calls(anchored()) == Calls()
    assert policy.begin(anchored(), batch_of(2), 1, jax.random.key(0)) is None


def test_policies_that_would_lose_the_anchor_are_refused(predictor, batch_of, keys_of):
    with pytest.raises(ValueError, match="Pushforward asks for clips of 5 frames, .* 4 frames, hold the anchors"):
        AnchoredHistory(inner=Pushforward(steps=1), max_gap=2).clip_frames(anchored())
    with pytest.raises(TypeError, match="Predictor keeps no anchors.*wrap it in .*Anchored"):
        examples(AnchoredHistory(inner=TeacherForcing(), max_gap=2), predictor, batch_of(2, 8), keys_of(2))
    with pytest.raises(ValueError, match="clips of 5 frames .* anchors 2 frames back: draw clips of 6"):
        examples(AnchoredHistory(inner=TeacherForcing(), max_gap=2), anchored(), batch_of(2, 5), keys_of(2))
    with pytest.raises(ValueError, match="max_gap is -1"):
        AnchoredHistory(inner=TeacherForcing(), max_gap=-1)


def test_what_is_written_is_what_was_injected(flow, batch_of, keys_of):
    """A bank that has something for every gate and takes from no clean row: it gets the injected rows and no others."""
    rows, shot = 64, svi_shot(capacity=64)
    gates = dataclasses.replace(shot.gates, context=1.0)  # else all gates may be closed on a row that is not clean
    shot = dataclasses.replace(shot, gates=gates, clean_write=0.0)
    policy, generator = AnchoredHistory(inner=shot, max_gap=2), Anchored(inner=flow)
    batch, keys, number = batch_of(rows, policy.clip_frames(generator)), keys_of(rows), jnp.int32(0)
    bank = policy.begin(generator, batch, 1, jax.random.key(0))
    old = ResidualEntry(
        residual=jnp.full((1, 1, 2, 2, 1), 0.1),
        sigma=jnp.full((1, 1), 0.5),
        age=jnp.full(1, 5, jnp.int32),
        domain=jnp.full(1, -1, jnp.int32),
        step=jnp.zeros(1, jnp.int32),
    )
    bank = shot.bank.insert(bank, old, jnp.zeros(1, jnp.int32), jnp.ones(1, bool))
    _, aux = jax.jit(policy.loss, static_argnums=1)(PARAMS, generator, bank, batch, keys)
    after = jax.jit(policy.record)(bank, aux, keys, number, jnp.asarray(True))
    kept = np.arange(64) < np.asarray(after.count)[0, :, None]
    entries = jax.tree.map(lambda leaf: np.asarray(leaf)[0][kept], shot.bank.read(after))
    new = entries.domain >= 0
    injected = np.flatnonzero(~np.asarray(aux.clean))
    assert 0 < len(injected) < rows, "rows of both kinds are needed"
    np.testing.assert_array_equal(np.sort(entries.domain[new]), injected)
    np.testing.assert_array_equal(entries.age[new], 6, "one more than that of the error on its context")


def clips(rows, frames):
    time = jnp.arange(frames, dtype=jnp.float32)[None, :, None, None, None] / 1000.0
    return Batch(clip=jnp.broadcast_to(time, (rows, frames, 4, 4, 1)), domain=jnp.zeros(rows, jnp.int32))


@pytest.mark.parametrize("chunk_frames", [1, 2])
def test_a_recycled_chain_keeps_its_anchor_and_references_see_what_is_behind_it(chunk_frames):
    harvest, rows = Harvest(generator=anchored(4, chunk_frames), max_age=5), 4
    reference = Recorded(gate=OPEN)
    fresh = harvest.start(clips(rows, harvest.clip_frames(reference)))
    chains, advance = fresh, jax.jit(harvest.advance)
    for step in range(8):
        keys = jax.random.split(jax.random.key(step), rows)
        position = np.asarray(chains.position)[:, None]
        chains, case, _ = advance(PARAMS, reference, chains, fresh, keys, jnp.int32(step))
        np.testing.assert_array_equal(case.context[:, 0], clips(rows, 1).clip[:, 0])
        np.testing.assert_array_equal(case.ages[:, 0], 0)
        at = position * chunk_frames + np.arange(1, 4)
        np.testing.assert_allclose(case.clean_context[:, 1:, 0, 0, 0], at / 1000.0, atol=1e-6)
        np.testing.assert_array_equal(case.clean_context[:, 0], case.context[:, 0])
        after = position * chunk_frames + 4 + np.arange(chunk_frames)
        np.testing.assert_allclose(case.target[..., 0, 0, 0], after / 1000.0, atol=1e-6)
        steps = np.maximum(position - np.arange(3)[::-1] // chunk_frames, 0)
        np.testing.assert_array_equal(case.ages[:, 1:], steps)


def test_a_reference_that_moves_the_chain_leaves_the_anchor_alone():
    harvest = Harvest(generator=anchored(4), max_age=4)
    reference = Registered(gate=OPEN)
    ramp = jnp.arange(4, dtype=jnp.float32)[None, None, None, :, None] / 8.0
    batch = clips(4, harvest.clip_frames(reference))
    fresh = harvest.start(batch.replace(clip=batch.clip + ramp))
    chains = fresh
    for step in range(3):
        keys = jax.random.split(jax.random.key(step), 4)
        chains, case, _ = jax.jit(harvest.advance)(PARAMS, reference, chains, fresh, keys, jnp.int32(step))
        np.testing.assert_array_equal(chains.context[:, 0], fresh.context[:, 0])
        assert case.clean_context.shape == case.context.shape == (4, 4, 4, 4, 1)


def test_an_anchored_generator_is_recycled(batch_of):
    """Harvest and correction, through the programs that training runs."""
    generator, bank, mesh = anchored(), ErrorBank(capacity=32), make_mesh(jax.devices()[:1])
    harvest, reference = Harvest(generator=generator, max_age=3), Recorded(gate=OPEN)
    batch = batch_of(4, harvest.clip_frames(reference))
    state = bank.init(harvest.entry((2, 2, 1)))
    program = make_harvest(harvest, bank, mesh, 3)
    chains = harvest.start(jax.tree.map(jnp.copy, batch))
    _, state, _ = program(PARAMS, reference, chains, state, batch, jax.random.key(0), jnp.int32(0))
    cases = bank.read(state)
    kept = int(state.count.sum())
    assert kept > 4
    np.testing.assert_array_equal(number(np.asarray(cases.context, np.float32)[0, 0, :kept, 0]), 0)
    adam = Adam(learning_rate=0.01).build(4)
    mixture = Mixture(parts=((1, TeacherForcing()), (1, ReplayCases(bank=bank))))
    policy = AnchoredHistory(inner=mixture, max_gap=2)
    correct = make_correct(generator, policy, adam, mesh)
    train, _, metrics = correct(init_state(generator, adam, jax.random.key(0)), state, batch_of(4, 6))
    assert metrics["rows_recycled"] == 2.0 and np.isfinite(metrics["loss"]) and train.refused == 0
    assert dataclasses.replace(policy, max_gap=0).clip_frames(generator) == 4
