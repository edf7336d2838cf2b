"""Patches come back as they were, sizes that cannot be halved are refused, outputs are bounded."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recycle_jax.models.base import parameter_count
from recycle_jax.models.conv import bound, check_size, frame_unet, patchify, unpatchify, velocity_unet

SMALL = {"shape": (8, 8, 2), "context_frames": 2, "chunk_frames": 1, "patch": 2, "width": 8, "levels": 2}


@hypothesis.given(*[st.integers(1, 3)] * 6)
def test_patches_come_back_as_they_were(batch, frames, rows, columns, patch, channels):
    shape = (batch, frames, rows * patch, columns * patch, channels)
    clip = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    grid = patchify(clip, patch)
    assert grid.shape == (batch, rows, columns, frames * patch * patch * channels)
    np.testing.assert_array_equal(unpatchify(grid, patch, frames), clip)


def test_a_tile_stays_together():
    clip = np.arange(2 * 4 * 4, dtype=np.float32).reshape(1, 2, 4, 4, 1)
    tiles = patchify(clip, 2)
    np.testing.assert_array_equal(tiles[0, 0, 1], np.concatenate([clip[0, t, :2, 2:].ravel() for t in range(2)]))


@pytest.mark.parametrize(
    "shape, width, message",
    [
        ((30, 32, 1), 48, r"height 30 .* = 8: .* 32,"),
        ((32, 20, 1), 48, r"width 20 .* = 8: .* (16|24),"),
        ((32, 3, 1), 48, r"width 3 .* 8,"),
        ((32, 32, 1), 20, r"width is 20.*use (16|24)"),
    ],
)
def test_sizes_that_cannot_be_halved_are_refused(shape, width, message):
    with pytest.raises(ValueError, match=message):
        check_size(shape, patch=4, levels=2, width=width)
    with pytest.raises(ValueError, match=message):
        frame_unet(shape=shape, context_frames=2, chunk_frames=1, patch=4, levels=2, width=width)


def test_the_bound_reaches_both_ends_and_passes_neither():
    x = jnp.linspace(-9.0, 9.0, 101)
    assert bound(x).min() == -1.0 and bound(x).max() == 1.0 and bound(jnp.zeros(())) == 0.0


def loud(network):
    """Parameters of every shape that the network has, all away from zero, without compiling its `init`."""
    random = np.random.default_rng(0)
    shapes = jax.eval_shape(network.init, jax.random.key(0))
    return jax.tree.map(lambda s: random.normal(0.1, 0.2, s.shape).astype(s.dtype), shapes)


def test_a_frame_unet_predicts_bounded_frames():
    network = frame_unet(**SMALL, condition_width=3)
    context = 100.0 * np.random.default_rng(1).standard_normal((3, 2, 8, 8, 2), np.float32)
    out = jax.jit(network.apply)(loud(network), context, jnp.zeros(3), jnp.ones((3, 3)))
    assert out.shape == (3, 1, 8, 8, 2) and out.dtype == jnp.float32
    assert np.all(np.abs(out) <= 1.0)


def test_a_velocity_unet_is_told_time_level_and_context():
    network = velocity_unet(**{**SMALL, "chunk_frames": 2}, bounded=False)
    noisy, context = np.random.default_rng(1).standard_normal((2, 2, 2, 8, 8, 2), np.float32)
    params, apply = loud(network), jax.jit(network.apply)
    plain = {"sigma": jnp.full((2, 2), 0.5), "context": context, "level": jnp.zeros(2)}
    out = apply(params, noisy, *plain.values(), None)
    assert out.shape == noisy.shape
    for name, other in {
        "sigma": jnp.full((2, 2), 0.9),
        "context": context + 1.0,
        "level": jnp.ones(2),
    }.items():
        assert np.any(apply(params, noisy, *{**plain, name: other}.values(), None) != out), f"deaf to {name}"


def test_parameters_are_arrays_that_depend_on_the_key_alone():
    network = frame_unet(**{**SMALL, "levels": 1})
    first, again, other = (network.init(jax.random.key(k)) for k in (0, 0, 1))
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(first))
    assert parameter_count(first) == sum(leaf.size for leaf in jax.tree.leaves(first)) > 0
    same = lambda a, b: np.array_equal(a, b)  # noqa: E731
    assert jax.tree.all(jax.tree.map(same, first, again))
    assert not jax.tree.all(jax.tree.map(same, first, other))


def test_a_network_may_be_told_a_level_for_each_context_frame():
    """Each of them counts; one level a row holds for all frames."""
    network = frame_unet(**SMALL, frame_levels=True)
    params, apply = loud(network), jax.jit(network.apply)
    context = np.random.default_rng(1).standard_normal((2, 2, 8, 8, 2), np.float32)
    at = lambda *levels: apply(params, context, jnp.tile(jnp.asarray([levels], jnp.float32), (2, 1)), None)  # noqa: E731
    np.testing.assert_array_equal(apply(params, context, jnp.full(2, 0.5), None), at(0.5, 0.5))
    outs = [at(0.5, 0.5), at(0.1, 0.5), at(0.5, 0.1)]
    assert all(np.any(a != b) for a, b in zip(outs, outs[1:] + outs[:1], strict=True))
    with pytest.raises(ValueError, match=r"level is \[2, 3\], but the context has 2 frames"):
        network.apply(params, context, jnp.zeros((2, 3)), None)


@pytest.mark.parametrize(
    "make, first", [(frame_unet, ()), (velocity_unet, (jnp.zeros((2, 1, 8, 8, 2)), jnp.zeros((2, 1))))]
)
def test_levels_of_frames_are_refused_by_a_network_that_takes_one(make, first):
    network = make(**SMALL)
    shapes = jax.eval_shape(network.init, jax.random.key(0))
    given = (*first, jnp.zeros((2, 2, 8, 8, 2)), jnp.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"level is \[2, 2\], .* build it with frame_levels=True"):
        jax.eval_shape(lambda params: network.apply(params, *given, None), shapes)
    told = make(**SMALL, frame_levels=True)
    shapes = jax.eval_shape(told.init, jax.random.key(0))
    assert jax.eval_shape(lambda params: told.apply(params, *given, None), shapes).shape == (2, 1, 8, 8, 2)
