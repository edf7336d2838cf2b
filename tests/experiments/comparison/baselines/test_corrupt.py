"""Corrupted history: one kind a history or a frame, at the rates and strengths that are asked for."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.comparison.baselines.corrupt import CorruptedHistory, down_up, resample, tint
from recycle_jax.histories.base import HistoryPolicy
from recycle_jax.histories.clean import TeacherForcing

NEVER = {"noised": 0.0, "resampled": 0.0, "tinted": 0.0}
ROWS, FRAMES, SIZE = 256, 3, 10


@pytest.fixture(scope="module")
def context():
    """Coloured checks, which every kind of corruption changes."""
    check = np.add.outer(np.arange(SIZE), np.arange(SIZE)) % 2 * 1.0 - 0.5
    frame = np.stack([check, -0.5 * check, 0.2 * check], axis=-1)
    return jnp.asarray(np.broadcast_to(frame, (ROWS, FRAMES, SIZE, SIZE, 3)), jnp.float32)


@functools.partial(jax.jit, static_argnums=0)
def corrupted(policy, context, keys):
    return policy.corrupt(context, keys)


def test_with_nothing_asked_for_it_is_teacher_forcing(predictor, batch_of, keys_of):
    batch, keys, policy = batch_of(4), keys_of(4), CorruptedHistory(**NEVER)
    assert isinstance(policy, HistoryPolicy)
    drawn = policy.examples(None, predictor, None, batch, keys)
    plain = TeacherForcing().examples(None, predictor, None, batch, keys)
    jax.tree.map(np.testing.assert_array_equal, drawn, plain)


def test_frames_are_corrupted_one_by_one_at_the_rates_asked_for(context, keys_of):
    policy = CorruptedHistory(noised=0.5, resampled=0.2, tinted=0.0, smallest=0.5, by_frame=True)
    out, touched = corrupted(policy, context, keys_of(ROWS))
    changed = np.any(out != context, axis=(2, 3, 4))
    # A factor that rounds to the full side shrinks nothing.
    assert np.mean(touched) == pytest.approx(0.7, abs=0.06) and np.all(touched | ~changed)
    columns = np.asarray(out).std(axis=2).mean(axis=(2, 3))  # checks that were blurred are paler than any noise
    assert np.mean(columns < 0.9 * columns[~np.asarray(touched)].mean()) == pytest.approx(0.2, abs=0.08)
    assert len(np.unique(touched, axis=0)) == 2**FRAMES, "frames of one history are drawn independently"


def test_a_history_is_corrupted_in_one_way_and_one_in_ten_in_none(context, keys_of):
    out, touched = corrupted(CorruptedHistory(tinted=0.0), context, keys_of(ROWS))
    assert np.all(touched == touched[:, :1]), "what is done is drawn once for all frames of a history"
    assert np.mean(~touched[:, 0]) == pytest.approx(0.1, abs=0.06)
    levels = np.abs(out - context).mean(axis=(2, 3, 4))
    assert len(np.unique(levels[0])) == FRAMES, "how much of it, frame by frame"
    of_frames, _ = corrupted(CorruptedHistory(tinted=0.0, by_frame=True), context, keys_of(ROWS))
    np.testing.assert_array_equal(out[:, 0], of_frames[:, 0])  # a history's kind is its first frame's


def test_noise_has_levels_up_to_the_strongest(keys_of):
    policy = CorruptedHistory(**{**NEVER, "noised": 1.0})
    grey = jnp.full((ROWS, FRAMES, SIZE, SIZE, 3), 0.5)
    out, _ = corrupted(policy, grey, keys_of(ROWS))
    strength, mean = np.asarray(out).std(axis=(2, 3, 4)), np.asarray(out).mean(axis=(2, 3, 4))
    assert 0.3 < strength.max() < 0.37 and strength.min() < 0.01
    np.testing.assert_allclose(strength.mean(), 1.0 / 6.0, atol=0.01)
    np.testing.assert_allclose(mean, 0.5 * (1.0 - strength), atol=0.08)


def test_a_tint_moves_colours_and_no_brightness(context, keys_of):
    policy = CorruptedHistory(**{**NEVER, "tinted": 1.0})
    out, _ = corrupted(policy, context, keys_of(ROWS))
    np.testing.assert_allclose(out.mean(axis=-1), context.mean(axis=-1), atol=1e-6)
    factor = np.asarray(
        (out - out.mean(-1, keepdims=True))[:, :, 0, 0, 0] / (context[0, 0, 0, 0] - context[0, 0, 0, 0].mean())[0]
    )
    assert factor.min() >= 0.3 and factor.max() <= 1.7
    assert np.mean(factor < 1.0) == pytest.approx(0.5, abs=0.06)
    grey = jnp.ones((4, 4, 1)) * 0.3
    np.testing.assert_array_equal(tint(grey, jnp.float32(0.3)), grey)


@pytest.mark.parametrize("size, factor", [(10, 0.9), (16, 0.93), (8, 0.5), (7, 1.0)])
def test_resampling_is_a_resize_down_and_up(size, factor):
    frame = jax.random.normal(jax.random.key(0), (size, size, 2))
    side = round(size * factor)
    small = jax.image.resize(frame, (side, side, 2), "linear", antialias=True)
    want = jax.image.resize(small, frame.shape, "linear", antialias=True)
    np.testing.assert_allclose(resample(frame, jnp.float32(factor)), want, atol=1e-5)


@pytest.mark.parametrize("factor", [0.01, 0.5, 0.9, 1.0])
def test_resampling_leaves_what_is_even_even(factor):
    np.testing.assert_allclose(down_up(jnp.float32(factor), 9).sum(axis=1), 1.0, atol=1e-6)


def test_clean_rows_are_those_whose_frames_are_all_clean(predictor, batch_of, keys_of):
    policy, batch = CorruptedHistory(noised=0.3, resampled=0.0, tinted=0.0), batch_of(64)
    drawn = jax.jit(lambda b, k: policy.examples(None, predictor, None, b, k))(batch, keys_of(64))
    same = np.all(drawn.example.context == batch.clip[:, :2], axis=(1, 2, 3, 4))
    np.testing.assert_array_equal(drawn.clean, same)
    np.testing.assert_array_equal(drawn.example.x0, batch.clip[:, 2:])
    assert not np.any(drawn.example.level)


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"noised": 0.8, "resampled": 0.3}, "exceed 1 together"),
        ({"tinted": 1.5}, r"tinted=1.5"),
        ({"smallest": 0.0}, "smallest is 0.0"),
        ({"max_saturation": 0.5}, "max_saturation is 0.5"),
    ],
)
def test_what_cannot_be_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        CorruptedHistory(**fields)
