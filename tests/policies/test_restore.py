"""Damage like drift's, the reference that undoes it, and errors of one clip on another."""

import jax
import jax.numpy as jnp
import numpy as np

from recycle_jax.data.base import Batch
from recycle_jax.errors.bank import ErrorBank
from recycle_jax.errors.harvest import Case
from recycle_jax.errors.references import Gate, Restored
from recycle_jax.policies.recycle import AddErrors
from recycle_jax.policies.restore import RestoreWindows

ROWS = 64


def window(frames=3):
    """A bright square that moves one pixel a frame, the same in every row."""
    clip = -np.ones((ROWS, frames, 16, 16, 1), np.float32)
    for t in range(frames):
        clip[:, t, 5:10, 4 + t : 9 + t] = 0.8
    return jnp.asarray(clip)


def damage(**changes):
    keys = jax.random.split(jax.random.key(0), ROWS)
    return jax.jit(lambda x: RestoreWindows(**changes).damage(x, keys))(window())


def test_damage_is_different_in_every_row_and_of_bounded_strength():
    error = np.square(np.asarray(damage() - window())).mean(axis=(1, 2, 3, 4))
    assert error.max() < 0.3, "no row may lose its picture altogether"
    assert error.min() < 1e-3, "some rows must stay almost as they are: the network must learn to leave them"
    assert np.unique(error).size == ROWS


def test_without_noise_damage_only_takes_contrast_away():
    x = np.asarray(damage(most=0.0))
    assert x.min() >= -1.0 - 1e-6 and x.max() <= 0.8 + 1e-6
    assert np.all(x.std(axis=(1, 2, 3, 4)) <= np.asarray(window()).std() + 1e-6)


def test_the_first_frame_does_not_lag():
    still = jnp.broadcast_to(window()[:, :1], window().shape)
    keys = jax.random.split(jax.random.key(0), ROWS)
    moved = np.asarray(damage(most=0.0))
    stood = np.asarray(RestoreWindows(most=0.0).damage(still, keys))
    np.testing.assert_allclose(moved[:, 0], stood[:, 0], atol=1e-6)


def test_a_restorer_is_trained_on_windows_against_themselves(predictor, batch_of, keys_of):
    policy, batch = RestoreWindows(), batch_of(8)
    drawn = policy.examples({}, predictor, None, batch, keys_of(8))
    np.testing.assert_array_equal(drawn.example.x0, batch.clip[:, : predictor.context_frames])
    assert set(np.asarray(drawn.example.level)) == {np.float32(policy.told)}


def test_restored_answers_with_the_ends_of_the_restored_window():
    real = window()
    reference = Restored(params={"shift": jnp.float32(0.0)}, restore=lambda params, x: real + params["shift"])
    context, chunk = real[:, :2] + 0.01, real[:, 2:] - 0.5
    referred = reference(context, chunk, context[:, :0], jax.random.split(jax.random.key(0), ROWS))
    np.testing.assert_array_equal(referred.target, real[:, 2:])
    np.testing.assert_array_equal(referred.clean_context, real[:, :2])
    np.testing.assert_allclose(referred.score, 1e-4, rtol=1e-3)
    assert np.asarray(referred.accept).all()


def test_the_gate_refuses_what_is_too_far():
    real = window()
    reference = Restored(params={}, restore=lambda params, x: real, gate=Gate(distance=0.01))
    far = real[:, :2] + 0.2
    referred = reference(far, real[:, 2:], far[:, :0], jax.random.split(jax.random.key(0), ROWS))
    assert not np.asarray(referred.accept).any()


def test_errors_of_a_case_are_put_on_another_clip(predictor):
    bank, real = ErrorBank(capacity=4), window()[:4]
    case = Case(
        context=real[:, :2] + 0.25,
        clean_context=real[:, :2],
        target=real[:, 2:],
        ages=jnp.ones((4, 2), jnp.int32),
        domain=jnp.zeros(4, jnp.int32),
        step=jnp.zeros(4, jnp.int32),
        score=jnp.zeros(4),
    )
    entry = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), case)
    stored = bank.insert(bank.init(entry), case, jnp.zeros(4, jnp.int32), jnp.ones(4, bool))
    other = Batch(clip=jnp.zeros((4, 3, 16, 16, 1)), domain=jnp.zeros(4, jnp.int32))
    keys = jax.random.split(jax.random.key(0), 4)
    example = AddErrors(bank=bank).examples({}, predictor, stored, other, keys).example
    np.testing.assert_allclose(example.context, 0.25, atol=1e-6)
    np.testing.assert_array_equal(example.x0, 0.0)
