"""Scheduled sampling: which frames are own ones, how many, and what they cost."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recycle_jax import rng
from recycle_jax.batch import Batch
from recycle_jax.generators.predictor import Predictor
from recycle_jax.histories.base import Aux, HistoryPolicy
from recycle_jax.histories.clean import TeacherForcing
from recycle_jax.histories.mixture import Mixture
from recycle_jax.histories.scheduled import ScheduledSampling, one_step_history
from recycle_jax.models.base import Network
from recycle_jax.models.conv import frame_unet
from recycle_jax.training.cost import flops_of, forward_flops

PARAMS = {"gain": jnp.float32(0.9)}


@functools.partial(jax.jit, static_argnums=(0, 1))
def examples(policy, generator, memory, batch, keys):
    return policy.examples(PARAMS, generator, memory, batch, keys)


@pytest.mark.parametrize("kind", ["predictor", "flow"])
def test_without_a_share_it_is_teacher_forcing_on_the_clips_last_frames(kind, request, batch_of, keys_of):
    generator, batch, keys = request.getfixturevalue(kind), batch_of(4, 5), keys_of(4)
    policy = ScheduledSampling(share=0.0)
    assert isinstance(policy, HistoryPolicy) and policy.clip_frames(generator) == 5
    drawn = examples(policy, generator, None, batch, keys)
    last = batch.replace(clip=batch.clip[:, 2:])
    plain = TeacherForcing().examples(PARAMS, generator, None, last, rng.split_rows(keys, 3)[0])
    jax.tree.map(np.testing.assert_array_equal, drawn, plain)


@pytest.mark.parametrize("kind", ["predictor", "flow"])
def test_own_frames_are_one_step_from_recorded_ones(kind, request, batch_of, keys_of):
    generator, batch, keys = request.getfixturevalue(kind), batch_of(64, 5), keys_of(64)
    drawn = examples(ScheduledSampling(share=0.5), generator, None, batch, keys)
    own = one_step_history(PARAMS, generator, batch, rng.split_rows(keys, 3)[2])
    if kind == "predictor":
        np.testing.assert_allclose(own, 0.9 * batch.clip[:, 1:3] + 0.01, rtol=1e-6)
    context, recorded = np.asarray(drawn.example.context), np.asarray(batch.clip[:, 2:4])
    replaced = np.any(context != recorded, axis=(2, 3, 4))
    np.testing.assert_allclose(context[replaced], np.asarray(own)[replaced], rtol=1e-6, atol=1e-7)
    assert 0.35 < replaced.mean() < 0.65, f"{replaced.mean():.0%} of the frames were replaced, 50% asked for"
    assert len(np.unique(replaced, axis=0)) == 4, "frames of a row are replaced independently"
    np.testing.assert_array_equal(drawn.clean, ~replaced.any(axis=1))
    np.testing.assert_array_equal(drawn.example.x0, batch.clip[:, 4:5])


def test_long_chunks_cover_the_context_from_its_end(batch_of, keys_of):
    """Context 3, chunk 2: two chunks, of whose four frames the first is not needed."""
    network = Network(init=None, apply=lambda params, context, *rest: context[:, -2:] + 1.0)
    generator = Predictor(network=network, context_frames=3, chunk_frames=2)
    policy = ScheduledSampling(share=1.0)
    assert policy.clip_frames(generator) == 3 + 3 * 2 and policy.calls(generator).forward == 2.0
    batch = batch_of(2, 9)
    drawn = examples(policy, generator, None, batch, keys_of(2))
    of_frame = np.asarray(batch.clip)[:, [2, 3, 4]] + 1.0  # frame 4 is made of frame 2, 5 of 3 and 6 of 4
    np.testing.assert_allclose(drawn.example.context, of_frame, rtol=1e-6)
    np.testing.assert_array_equal(drawn.example.x0, batch.clip[:, 7:9])


def test_own_frames_carry_no_gradient_and_follow_their_rows_condition(batch_of, keys_of):
    network = Network(init=None, apply=lambda p, context, level, told: p["gain"] * context[:, -1:] + told)
    generator = Predictor(network=network, context_frames=2)
    told = jnp.arange(3.0).reshape(3, 1, 1, 1, 1)
    batch, keys = batch_of(3, 5).replace(condition=told), keys_of(3)
    own = one_step_history(PARAMS, generator, batch, keys)
    np.testing.assert_allclose(own, 0.9 * batch.clip[:, 1:3] + told, rtol=1e-6)
    slope = jax.grad(lambda params: one_step_history(params, generator, batch, keys).sum())(PARAMS)
    assert slope["gain"] == 0.0


def test_the_share_rises_with_the_updates_that_were_made(predictor, batch_of, keys_of):
    policy, batch, keys = ScheduledSampling(share=1.0, ramp=4), batch_of(256, 5), keys_of(256)
    memory = policy.begin(predictor, batch, 2, jax.random.key(0))
    np.testing.assert_array_equal(memory, [0, 0])
    assert memory.dtype == jnp.int32
    aux = Aux(residual=None, sigma=None, clean=None, domain=None, metrics={}, empty_draws=jnp.int32(0))
    recorded, shares = np.asarray(batch.clip[:, 2:4]), []
    for i in range(6):
        drawn = examples(policy, predictor, memory, batch, keys)
        shares.append(np.any(drawn.example.context != recorded, axis=(2, 3, 4)).mean())
        memory = policy.record(memory, aux, keys, jnp.int32(i), jnp.asarray(True))
    np.testing.assert_allclose(shares, [0.0, 0.25, 0.5, 0.75, 1.0, 1.0], atol=0.08)
    np.testing.assert_array_equal(policy.record(memory, aux, keys, jnp.int32(6), jnp.asarray(False)), memory)


def test_without_a_ramp_nothing_is_remembered_and_a_mixture_may_hold_it(predictor, batch_of, keys_of):
    policy = ScheduledSampling(share=0.5)
    assert policy.begin(predictor, batch_of(2, 5), 1, jax.random.key(0)) is None
    mixed = Mixture(parts=((1, policy), (1, TeacherForcing())))
    drawn = examples(
        mixed, predictor, mixed.begin(predictor, batch_of(4, 5), 1, jax.random.key(0)), batch_of(4, 5), keys_of(4)
    )
    assert drawn.example.context.shape[:2] == (4, 2) and np.all(drawn.clean[1::2])


def test_the_bill_is_what_xla_counts():
    frame = (8, 8, 1)
    network = frame_unet(shape=frame, context_frames=2, chunk_frames=1, patch=4, width=32, levels=1)
    generator, policy = Predictor(network=network, context_frames=2), ScheduledSampling(share=0.5)
    shapes = jax.eval_shape(generator.init, jax.random.key(0))
    clip = jax.ShapeDtypeStruct((2, policy.clip_frames(generator), *frame), jnp.float32)
    batch = Batch(clip=clip, domain=jax.ShapeDtypeStruct((2,), jnp.int32))
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(1), 2))
    counted = flops_of(lambda params, *given: one_step_history(params, generator, *given), shapes, batch, keys)
    charged = 2 * policy.calls(generator).forward * forward_flops(generator, shapes, batch)
    assert charged == pytest.approx(counted, rel=0.15)


def test_what_cannot_be_is_refused(predictor, batch_of, keys_of):
    with pytest.raises(ValueError, match=r"share=1.5, .* \[0, 1\]"):
        ScheduledSampling(share=1.5)
    with pytest.raises(ValueError, match="ramp is -1"):
        ScheduledSampling(share=0.5, ramp=-1)
    with pytest.raises(ValueError, match="clips of 4 frames .* scheduled sampling: draw clips of 5"):
        examples(ScheduledSampling(share=0.5), predictor, None, batch_of(2, 4), keys_of(2))
