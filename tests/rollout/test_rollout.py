"""Rollouts: a scan is stepping by hand, a stream sees what a scan keeps, and rows mind their own keys."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recycle_jax.generators.predictor import Predictor
from recycle_jax.generators.rectified_flow import RectifiedFlow, velocity_head
from recycle_jax.models.base import Network
from recycle_jax.rollout.scan import rollout, rollout_keys, steps_of
from recycle_jax.rollout.stream import stream

FRAME = (2, 2, 1)
PARAMS = {"gain": jnp.float32(0.9)}
KEY = jax.random.key(5)


def flow(chunk_frames=1):
    """A stochastic generator of one line."""

    def apply(params, noisy, sigma, context, level, condition):
        return params["gain"] * noisy - context[:, -1:]

    network = Network(init=lambda key: PARAMS, apply=apply)
    return RectifiedFlow(network=network, context_frames=2, chunk_frames=chunk_frames, steps=2, head=velocity_head)


def predictor(chunk_frames=2):
    """Two frames out, each a little less than the newest."""
    falls = 0.1 * (1.0 + jnp.arange(chunk_frames, dtype=jnp.float32))[None, :, None, None, None]
    network = Network(
        init=lambda key: PARAMS,
        apply=lambda params, context, level, condition: params["gain"] * context[:, -1:] - falls,
    )
    return Predictor(network=network, context_frames=2, chunk_frames=chunk_frames)


def context(rows=3, frames=2):
    values = np.random.default_rng(0).uniform(-1.0, 1.0, (rows, frames, *FRAME))
    return jnp.asarray(values, jnp.float32)


GENERATORS = pytest.mark.parametrize(
    "generator", [predictor(), flow(), flow(3)], ids=["predictor", "flow", "flow of 3"]
)


@GENERATORS
def test_a_scan_is_stepping_by_hand(generator):
    start, frames = context(frames=4), 4 * generator.chunk_frames
    rolled = rollout(generator, PARAMS, start, KEY, frames)
    assert rolled.shape == (3, frames, *FRAME)
    carry, chunks = generator.begin(PARAMS, start[:, -2:], None), []
    for i in range(4):
        carry, chunk = generator.step(PARAMS, carry, rollout_keys(KEY, jnp.int32(i), 3), None)
        chunks.append(chunk)
    np.testing.assert_allclose(rolled, jnp.concatenate(chunks, axis=1), rtol=1e-5, atol=1e-6)


class Newest:
    """A metric that keeps the newest frame and counts."""

    def init(self, context):
        return context[:, -1], jnp.int32(0)

    def update(self, state, frame):
        return frame, state[1] + 1

    def result(self, state):
        return state


def test_a_second_rollout_of_the_same_shapes_traces_nothing():
    traced = []

    def apply(params, context, level, condition):
        traced.append(context.shape)
        return params["gain"] * context[:, -1:]

    generator = Predictor(network=Network(init=lambda key: PARAMS, apply=apply), context_frames=2)
    first = rollout(generator, PARAMS, context(), KEY, 4)
    once = len(traced)
    second = rollout(generator, PARAMS, context(), jax.random.key(6), 4)
    assert once and len(traced) == once
    np.testing.assert_array_equal(first, second)


@GENERATORS
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_a_rollout_keeps_the_dtype_of_its_context(generator, dtype):
    frames = 2 * generator.chunk_frames
    rolled = rollout(generator, PARAMS, context().astype(dtype), KEY, frames)
    assert rolled.dtype == dtype
    wide = rollout(generator, PARAMS, np.asarray(context(), np.float64), KEY, frames)
    assert wide.dtype == np.float32
    np.testing.assert_allclose(rolled.astype(np.float32), wide, atol=0.1)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (np.full((1, 2, *FRAME), 200, np.uint8), r"context is uint8, must be floats .*: x / 127.5 - 1"),
        (np.ones((1, 2, *FRAME), np.int32), "context is int32, must be floats"),
        (np.zeros((1, 1, *FRAME), np.float32), "at least 2 frames, the generator's context_frames"),
        (np.zeros((2, *FRAME), np.float32), r"must be \[rows, frames, height, width, channels\]"),
    ],
)
def test_contexts_that_no_rollout_can_begin_on_are_named(wrong, said):
    with pytest.raises(ValueError, match=said):
        rollout(predictor(), PARAMS, wrong, KEY, 2)
    with pytest.raises(ValueError, match=said):
        stream(predictor(), PARAMS, wrong, KEY, 2, Newest())


def test_frames_of_another_size_than_the_generator_makes_are_named():
    network = Network(
        init=lambda key: PARAMS, apply=lambda params, seen, *rest: jnp.zeros((len(seen), 1, 4, 4, 1), seen.dtype)
    )
    generator = Predictor(network=network, context_frames=2)
    with pytest.raises(ValueError, match=r"frames of \(2, 2, 1\) .* generator makes \(4, 4, 1\): resize the context"):
        rollout(generator, PARAMS, context(), KEY, 2)


@GENERATORS
def test_a_stream_sees_what_a_scan_keeps(generator):
    start, frames = context(frames=3), 4 * generator.chunk_frames
    newest, count = jax.jit(lambda c: stream(generator, PARAMS, c, KEY, frames, Newest()))(start)
    assert count == frames
    kept = jax.jit(lambda c: rollout(generator, PARAMS, c, KEY, frames))(start)
    np.testing.assert_allclose(newest, kept[:, -1], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("frames,near", [(5, 4), (1, 2), (0, 2), (-2, 2), (7, 8)])
def test_frames_that_no_number_of_steps_makes_are_refused(frames, near):
    with pytest.raises(ValueError, match=f"rollout of {frames} frames is no multiple of chunk_frames = 2: ask for"):
        rollout(predictor(), PARAMS, context(), KEY, frames)
    with pytest.raises(ValueError, match=f"ask for {near}"):
        steps_of(predictor(), frames)


def test_keys_depend_on_row_and_step_only():
    data = lambda step, rows: np.asarray(jax.random.key_data(rollout_keys(KEY, jnp.int32(step), rows)))  # noqa: E731
    np.testing.assert_array_equal(data(7, 8)[:3], data(7, 3))
    every = np.concatenate([data(step, 8) for step in range(16)])
    assert len(np.unique(every, axis=0)) == len(every), "two rows or steps share a key"


def test_a_row_does_not_notice_its_neighbours_or_the_length():
    start = context(rows=4)
    long = rollout(flow(), PARAMS, start, KEY, 8)
    np.testing.assert_allclose(rollout(flow(), PARAMS, start[:2], KEY, 3), long[:2, :3], rtol=1e-5, atol=1e-6)
    other = rollout(flow(), PARAMS, start.at[2].set(0.5), KEY, 8)
    np.testing.assert_allclose(other[:2], long[:2], rtol=1e-5, atol=1e-6)
    assert np.abs(np.asarray(other[2] - long[2])).max() > 1e-3
