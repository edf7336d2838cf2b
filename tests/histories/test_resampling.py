"""Resampling: what it leaves of the history, how errors build on each other, what it costs and who cannot do it."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recycle_jax import flow_matching as fm
from recycle_jax import rng
from recycle_jax.generators.base import slide
from recycle_jax.generators.rectified_flow import RectifiedFlow, data_head
from recycle_jax.histories import resampling
from recycle_jax.histories.base import HistoryPolicy
from recycle_jax.histories.resampling import Resampler, ResamplingForcing, resampling_level
from recycle_jax.models.base import Network
from recycle_jax.sharding import make_mesh
from recycle_jax.training.phases import Adam
from recycle_jax.training.state import init_state
from recycle_jax.training.step import make_correct

PARAMS = {"gain": jnp.float32(0.9)}
IN_TURN, AT_ONCE = ResamplingForcing(), ResamplingForcing(one_pass=True)


@functools.partial(jax.jit, static_argnums=(0, 1))
def examples(policy, generator, batch, keys):
    return policy.examples(PARAMS, generator, None, batch, keys).example


def drifting(context_frames=2, chunk_frames=1):
    """Denoises in the end to `gain` times its newest frame of history, plus one."""

    def apply(params, noisy, sigma, context, level, condition):
        return jnp.broadcast_to(params["gain"] * context[:, -1:] + 1.0, noisy.shape)

    network = Network(init=lambda key: {"gain": jnp.float32(0.9)}, apply=apply)
    return RectifiedFlow(network=network, context_frames=context_frames, chunk_frames=chunk_frames, head=data_head)


@pytest.mark.parametrize("policy", [IN_TURN, AT_ONCE])
@pytest.mark.parametrize("chunk_frames", [1, 2, 3])
def test_a_little_noise_leaves_the_clip_as_it_is(policy, chunk_frames, batch_of, keys_of):
    """At a vanishing shift levels vanish; the target then follows the context as it does in the clip."""
    generator = drifting(3, chunk_frames)
    policy = dataclasses.replace(policy, shift=1e-12)
    frames = policy.clip_frames(generator)
    batch = batch_of(4, frames)
    example = examples(policy, generator, batch, keys_of(4))
    end = frames - chunk_frames
    np.testing.assert_allclose(example.context, batch.clip[:, end - 3 : end], atol=1e-6)
    np.testing.assert_array_equal(example.x0, batch.clip[:, end:])


def test_in_turn_errors_build_on_each_other_and_at_once_they_do_not(batch_of, keys_of):
    """From near pure noise each frame is what the network says of the one before it."""
    batch, keys, generator = batch_of(4, 5), keys_of(4), drifting()
    in_turn, at_once = (
        examples(dataclasses.replace(policy, shift=1e9), generator, batch, keys).context
        for policy in (IN_TURN, AT_ONCE)
    )
    said = 0.9 * batch.clip[:, 1:2] + 1.0
    np.testing.assert_allclose(in_turn[:, :1], said, atol=1e-4)
    np.testing.assert_allclose(in_turn[:, 1:], 0.9 * said + 1.0, atol=1e-4)
    np.testing.assert_allclose(at_once[:, :1], said, atol=1e-4)
    np.testing.assert_allclose(at_once[:, 1:], 0.9 * batch.clip[:, 2:3] + 1.0, atol=1e-4)


def test_the_first_chunk_is_the_same_in_both_variants(flow, batch_of, keys_of):
    batch, keys = batch_of(4, 5), keys_of(4)
    in_turn, at_once = (examples(policy, flow, batch, keys).context for policy in (IN_TURN, AT_ONCE))
    np.testing.assert_allclose(in_turn[:, 0], at_once[:, 0], rtol=1e-5, atol=1e-6)
    assert np.abs(np.asarray(in_turn[:, 1] - at_once[:, 1])).max() > 1e-3


def test_in_turn_is_a_rollout_by_hand_from_noised_frames(flow, batch_of, keys_of):
    batch, keys = batch_of(4, 5), keys_of(4)
    _, of_level, of_noise = rng.split_rows(keys, 3)
    sigma, history = resampling_level(of_level, 0.6), batch.clip[:, :2]
    for i in range(2):
        noise = rng.normal_rows(jax.vmap(jax.random.fold_in, (0, None))(of_noise, i), (1, 2, 2, 1))
        noisy = fm.interpolate(batch.clip[:, 2 + i : 3 + i], noise, sigma[:, None])
        history = slide(history, flow.denoise(PARAMS, noisy, sigma, history, None))
    np.testing.assert_allclose(examples(IN_TURN, flow, batch, keys).context, history, rtol=1e-5, atol=1e-6)


def test_conditions_stay_with_their_rows(batch_of, keys_of):
    def apply(params, noisy, sigma, context, level, condition):
        return jnp.zeros_like(noisy) + condition["value"][:, None, None, None, :]

    network = Network(init=lambda key: {}, apply=apply)
    generator = RectifiedFlow(network=network, context_frames=2, head=data_head)
    batch = batch_of(3, 5).replace(condition={"value": jnp.asarray([[1.0], [2.0], [3.0]])})
    for policy in (IN_TURN, AT_ONCE):
        context = examples(dataclasses.replace(policy, shift=1e9), generator, batch, keys_of(3)).context
        np.testing.assert_allclose(context[:, :, 0, 0, 0], [[1.0] * 2, [2.0] * 2, [3.0] * 2], atol=1e-4)


def test_levels_are_logit_normal_and_shifted(keys_of):
    level = np.asarray(jax.jit(resampling_level, static_argnums=1)(keys_of(4000), 0.6))
    odds = np.log(level / (1.0 - level))
    assert np.mean(odds) == pytest.approx(np.log(0.6), abs=0.05)  # a shift moves the logarithm of odds
    assert np.std(odds) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("policy", [IN_TURN, AT_ONCE])
def test_no_gradient_runs_through_the_resampling(policy, flow, batch_of, keys_of):
    def total(params):
        return policy.examples(params, flow, None, batch_of(4, 5), keys_of(4)).example.context.sum()

    assert jax.grad(total)(PARAMS)["gain"] == 0.0


@pytest.mark.parametrize("context_frames,chunk_frames,chunks", [(2, 1, 2), (4, 2, 2), (3, 2, 2), (1, 3, 1)])
def test_the_bill_is_the_calls_that_are_made(context_frames, chunk_frames, chunks, batch_of, keys_of, monkeypatch):
    generator = drifting(context_frames, chunk_frames)
    calls = IN_TURN.calls(generator)
    assert (calls.forward, calls.backward) == (chunks * generator.steps, 1.0) == (4.0 * chunks, 1.0)
    made = []
    denoise = RectifiedFlow.denoise
    monkeypatch.setattr(RectifiedFlow, "denoise", lambda self, *a: made.append(a[1].shape[0]) or denoise(self, *a))
    AT_ONCE.examples(PARAMS, generator, None, batch_of(2, AT_ONCE.clip_frames(generator)), keys_of(2))
    assert sum(made) == 2 * chunks, "rows that were denoised"


def test_a_predictor_is_refused(predictor, flow, batch_of, keys_of):
    assert isinstance(flow, Resampler) and isinstance(IN_TURN, HistoryPolicy)
    for ask in (
        lambda: IN_TURN.calls(predictor),
        lambda: IN_TURN.examples(PARAMS, predictor, None, batch_of(2, 5), keys_of(2)),
    ):
        with pytest.raises(TypeError, match="Predictor cannot resample .* no `denoise` .*: use RectifiedFlow"):
            ask()


def test_short_clips_and_senseless_shifts_are_refused(flow, batch_of, keys_of):
    assert IN_TURN.clip_frames(flow) == 5
    with pytest.raises(ValueError, match="clips of 4 frames .* resampling a context: draw clips of 5"):
        examples(IN_TURN, flow, batch_of(2, 4), keys_of(2))
    with pytest.raises(ValueError, match="shift is 0.0, must be positive"):
        ResamplingForcing(shift=0.0)


def test_it_trains(flow, batch_of):
    adam = Adam(learning_rate=0.01).build(4)
    program = make_correct(flow, IN_TURN, adam, make_mesh(jax.devices()[:1]))
    state, _, metrics = program(init_state(flow, adam, jax.random.key(0)), None, batch_of(4, 5))
    assert np.isfinite(metrics["loss"]) and metrics["rows_recycled"] == 4.0 and state.refused == 0
    assert resampling.ResamplingForcing().begin(flow, batch_of(4, 5), 1, jax.random.key(0)) is None
