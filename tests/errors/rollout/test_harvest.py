"""Chains on a world that is a brightening grey: frame `i` of every clip has the value `-1 + i / 100`."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recycle_jax.batch import Batch
from recycle_jax.errors.bank.bank import ErrorBank
from recycle_jax.errors.rollout.harvest import Harvest
from recycle_jax.errors.rollout.references import Gate, Recorded
from recycle_jax.generators.predictor import Predictor
from recycle_jax.models.base import Network
from recycle_jax.sharding import make_mesh
from recycle_jax.training.harvest_step import make_harvest

ROWS, FRAME = 8, (2, 2, 1)
OPEN = Recorded(gate=Gate(distance=10.0, mass=1e9))


def brightening(slope, context_frames=3, chunk_frames=1):
    """A predictor that goes on at `slope` a frame; 0.01 is the world's."""

    def apply(params, context, level, condition):
        ahead = jnp.arange(1, chunk_frames + 1, dtype=jnp.float32)[None, :, None, None, None]
        return context[:, -1:] + slope * ahead

    network = Network(init=lambda key: {}, apply=apply)
    return Predictor(network=network, context_frames=context_frames, chunk_frames=chunk_frames)


def clips(frames, rows=ROWS):
    values = -1.0 + jnp.arange(frames, dtype=jnp.float32) / 100.0
    return jnp.broadcast_to(values[None, :, None, None, None], (rows, frames, *FRAME))


def harvested(harvest, steps, reference=OPEN, rows=ROWS):
    """Yields `(chains before, case, write)` of each step, and checks nothing."""
    clip = clips(harvest.clip_frames(reference), rows)
    fresh = harvest.start(Batch(clip=clip, domain=jnp.arange(rows, dtype=jnp.int32)))
    chains, advance = fresh, jax.jit(harvest.advance)
    for step in range(steps):
        keys = jax.random.split(jax.random.fold_in(jax.random.key(0), step), rows)
        moved, case, write = advance({}, reference, chains, fresh, keys, jnp.int32(step))
        yield chains, case, write
        chains = moved


@pytest.mark.parametrize("chunk", [1, 2])
def test_a_perfect_generator_has_no_errors(chunk):
    """So the recorded frames are those of the same place, at every age."""
    harvest = Harvest(generator=brightening(0.01, chunk_frames=chunk), max_age=5)
    for _, case, _ in harvested(harvest, 9):
        assert np.max(case.score) < 1e-10
        ahead = 0.01 * np.arange(1, chunk + 1)[None, :, None, None, None]
        np.testing.assert_allclose(
            case.target, np.broadcast_to(case.context[:, -1:] + ahead, case.target.shape), atol=1e-5
        )


@pytest.mark.parametrize("chunk", [1, 2])
def test_ages_count_the_steps_behind_each_frame(chunk):
    harvest = Harvest(generator=brightening(0.02, chunk_frames=chunk), max_age=4)
    for chains, case, write in harvested(harvest, 9):
        position = np.asarray(chains.position)
        back = -(np.arange(3)[::-1] // chunk)  # the newest chunk first
        np.testing.assert_array_equal(case.ages, np.maximum(position[:, None] + back, 0))
        np.testing.assert_array_equal(write, position >= 1)
        error = np.asarray(case.context - case.clean_context)[:, -1, 0, 0, 0]
        np.testing.assert_allclose(error, 0.01 * position * chunk, atol=1e-5)


def test_every_age_is_banked_and_none_beyond_the_oldest():
    harvest = Harvest(generator=brightening(0.01), max_age=6, min_age=2)
    newest = []
    for chains, case, write in harvested(harvest, 40):
        newest.extend(np.asarray(case.ages)[np.asarray(write), -1])
        assert np.all(chains.position <= chains.limit)
    assert set(newest) == {2, 3, 4, 5, 6}


def test_limits_are_staggered_from_the_start_and_drawn_anew():
    harvest = Harvest(generator=brightening(0.01), max_age=8, min_age=1)
    steps = list(harvested(harvest, 12))
    np.testing.assert_array_equal(steps[0][0].limit, np.arange(1, 9))
    limits = np.stack([chains.limit for chains, _, _ in steps])
    assert limits.min() >= 1 and limits.max() <= 8
    assert np.any(limits[-1] != limits[0])


def test_a_chain_past_its_limit_starts_on_a_fresh_clip():
    harvest = Harvest(generator=brightening(0.02), max_age=3)
    chains = [c for c, _, _ in harvested(harvest, 6)]
    for before, after in zip(chains, chains[1:], strict=False):
        over = np.asarray(before.position + 1 > before.limit)
        np.testing.assert_array_equal(after.position, np.where(over, 0, before.position + 1))
        np.testing.assert_array_equal(np.asarray(after.ages)[over], 0)
        np.testing.assert_allclose(np.asarray(after.context)[over], np.asarray(clips(3))[over])
        np.testing.assert_array_equal(after.lost, 0)


def test_a_lost_chain_is_counted_refused_and_started_anew():
    """Errors of 0.1 a step pass a gate of 0.15 rms at age 1 only."""
    harvest = Harvest(generator=brightening(0.11, context_frames=1), max_age=8)
    strict = Recorded(gate=Gate(distance=0.15**2, mass=1e9))
    positions, lost = [], []
    for chains, case, write in harvested(harvest, 5, strict):
        assert np.all(np.asarray(case.score)[np.asarray(write)] <= 0.15**2)
        positions.append(int(chains.position[-1]))
        lost.append(int(chains.lost[-1]))
    assert positions == [0, 1, 2, 0, 1]
    assert lost == [0, 0, 0, 1, 1]


def test_cases_fit_the_bank_that_is_made_for_them():
    harvest = Harvest(generator=brightening(0.02, context_frames=2, chunk_frames=2), max_age=4)
    entry = harvest.entry(FRAME)
    bank = ErrorBank(shards=2, capacity=16)
    state = bank.init(entry)
    for _, case, write in harvested(harvest, 4):
        like = jax.tree.map(lambda leaf: leaf.shape[1:], case)
        assert like == jax.tree.map(lambda spec: spec.shape, entry)
        state = bank.insert(state, case, jnp.zeros(ROWS, jnp.int32), write)
    stored = bank.read(state)
    assert stored.context.dtype == jnp.float16
    np.testing.assert_array_equal(state.inserted.sum(), state.count.sum())
    filled = np.arange(16)[None, None] < np.asarray(state.count)[..., None]
    assert np.all(np.asarray(stored.ages)[filled][:, -1] >= 1)
    assert set(np.asarray(stored.domain)[filled]) <= set(range(ROWS))


@pytest.mark.parametrize("ages", [{"max_age": 0}, {"max_age": 4, "min_age": 5}, {"min_age": 0}])
def test_ages_must_be_in_order(ages):
    with pytest.raises(ValueError, match="min_age=.* max_age=.*: need 1 <= min_age <= max_age"):
        dataclasses.replace(Harvest(generator=brightening(0.01)), **ages)


def test_clips_are_as_long_as_the_reference_needs():
    harvest = Harvest(generator=brightening(0.01, context_frames=3, chunk_frames=2), max_age=4)
    assert harvest.clip_frames(Recorded()) == 3 + 5 * 2 + 1


def test_a_chain_rolls_out_under_the_condition_of_its_clip_and_banks_it():
    """Told slopes: with each row's own condition a generator has no errors, over restarts and in the bank too."""

    def apply(params, context, level, condition):
        return context[:, -1:] + condition["slope"][:, None, None, None, :]

    generator = Predictor(network=Network(init=lambda key: {}, apply=apply), context_frames=2)
    harvest = Harvest(generator=generator, max_age=3)
    slope = jnp.arange(ROWS, dtype=jnp.float32)[:, None] / 1000.0
    time = jnp.arange(harvest.clip_frames(OPEN), dtype=jnp.float32)[None, :, None, None, None]
    clip = jnp.broadcast_to(slope[:, :, None, None, None] * time, (ROWS, time.shape[1], *FRAME))
    fresh = Batch(clip=clip, domain=jnp.zeros(ROWS, jnp.int32), condition={"slope": slope})
    bank = ErrorBank(capacity=64)
    state = bank.init(harvest.entry(FRAME, fresh.condition))
    program = make_harvest(harvest, bank, make_mesh(jax.devices()[:1]), 4)
    chains = harvest.start(jax.tree.map(jnp.copy, fresh))
    for step in range(2):
        chains, state, metrics = program({}, OPEN, chains, state, fresh, jax.random.key(0), jnp.int32(step))
        assert metrics["banked"] > 0 and metrics["score"] < 1e-10
    kept = int(state.count.sum())
    cases = bank.read(state)
    told = np.asarray(cases.condition["slope"])[0, 0, :kept, 0]
    assert len(np.unique(told)) > 2
    pace = np.asarray(cases.target - cases.context[..., -1:, :, :, :], np.float32)[0, 0, :kept, 0, 0, 0, 0]
    np.testing.assert_allclose(pace, told, atol=1e-4)


@pytest.mark.parametrize(("max_displacement_px", "banked"), [(None, 4), (4.5, 2), (1.0, 0)])
def test_a_chain_farther_away_than_a_displacement_is_lost(max_displacement_px, banked):
    """A ramp of .02 a pixel, a generator that stands still under .03 a frame: off by .03 n, and a pixel makes .014."""
    ramp = 0.02 * jnp.arange(4.0)
    frames = -1.0 + 0.03 * jnp.arange(16.0)[None, :, None, None, None] + ramp[None, None, None, :, None]
    clip = jnp.broadcast_to(frames, (ROWS, 16, 4, 4, 1))
    harvest = Harvest(generator=brightening(0.0, context_frames=1), max_age=4, max_displacement_px=max_displacement_px)
    fresh = dataclasses.replace(
        harvest.start(Batch(clip=clip, domain=jnp.zeros(ROWS, jnp.int32))), limit=jnp.full(ROWS, 99, jnp.int32)
    )
    chains, written = fresh, []
    for step in range(5):
        keys = jax.random.split(jax.random.key(step), ROWS)
        chains, case, write = harvest.advance({}, OPEN, chains, fresh, keys, jnp.int32(step))
        written += np.asarray(case.ages[write]).max(axis=1).tolist() if write.any() else []
    assert max(written, default=0) == banked


def test_no_displacement_at_all_is_refused():
    with pytest.raises(ValueError, match="max_displacement_px is 0"):
        Harvest(generator=brightening(0.0), max_displacement_px=0.0)
