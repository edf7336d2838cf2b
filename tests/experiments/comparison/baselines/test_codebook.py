"""Codes: found, kept, given back exactly, and a dead zone around each."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.comparison.baselines.codebook import Codebook, cut, make_codebook, quantise

CENTRES = np.asarray([[-0.8, -0.8], [-0.8, 0.8], [0.0, 0.0], [0.8, -0.8], [0.8, 0.8]], np.float32)


def clips(noise=0.02, seed=0):
    """Two channels, each pixel near one of five centres."""
    random = np.random.default_rng(seed)
    centre = CENTRES[random.integers(0, 5, (4, 3, 6, 6))]
    return jnp.asarray(centre + noise * random.standard_normal(centre.shape), jnp.float32)


def test_k_means_finds_the_centres_whatever_the_key():
    for seed in range(3):
        codebook = make_codebook(clips(), jax.random.key(seed), codes=5)
        apart = np.abs(np.asarray(codebook.codes)[:, None] - CENTRES[None]).max(axis=2)
        assert sorted(np.argmin(apart, axis=1)) == [0, 1, 2, 3, 4] and np.all(apart.min(axis=1) < 0.02)


def test_the_same_key_gives_the_same_codes():
    first, again = (make_codebook(clips(), jax.random.key(3), codes=16, patches=64) for _ in range(2))
    np.testing.assert_array_equal(first.codes, again.codes)


@pytest.mark.parametrize("patch", [1, 2, 3])
def test_quantising_twice_is_quantising_once(patch):
    codebook = make_codebook(clips(0.3), jax.random.key(0), codes=32, patch=patch)
    once = quantise(codebook, clips(0.3, seed=1))
    np.testing.assert_array_equal(quantise(codebook, once), once)
    codes = {tuple(code) for code in np.asarray(codebook.codes)}
    assert {tuple(tile) for tile in np.asarray(cut(once, patch)).reshape(-1, codebook.codes.shape[1])} <= codes


def test_errors_inside_the_dead_zone_vanish():
    codebook = Codebook(codes=jnp.asarray(CENTRES))
    clean = clips(0.0)
    error = jax.random.uniform(jax.random.key(0), clean.shape, minval=-0.39, maxval=0.39)
    np.testing.assert_array_equal(quantise(codebook, clean + error), clean)
    assert np.any(quantise(codebook, clean + 3.0 * error) != clean), "and larger ones do not"


def test_every_patch_gets_its_nearest_code():
    codebook = make_codebook(clips(0.3), jax.random.key(0), codes=8, patch=2)
    tiles = np.asarray(cut(clips(0.3, seed=1), 2)).reshape(-1, 8)
    got = np.asarray(cut(quantise(codebook, clips(0.3, seed=1)), 2)).reshape(-1, 8)
    distance = ((tiles[:, None] - np.asarray(codebook.codes)[None]) ** 2).sum(-1)
    np.testing.assert_allclose(((got - tiles) ** 2).sum(-1), distance.min(1), rtol=1e-5)


def test_fewer_distinct_patches_than_codes_do_no_harm():
    codebook = make_codebook(jnp.zeros((1, 1, 4, 4, 2)), jax.random.key(0), codes=8)
    np.testing.assert_array_equal(codebook.codes, jnp.zeros((8, 2)))


def test_no_gradient_passes():
    codebook = Codebook(codes=jnp.asarray(CENTRES))
    assert not np.any(jax.grad(lambda frames: quantise(codebook, frames).sum())(clips()))


def test_a_codebook_is_a_constant_to_jit_and_a_pytree_to_the_rest():
    codebook = Codebook(codes=jnp.asarray(CENTRES), patch=1)
    assert hash(codebook) == hash(codebook) and codebook == codebook
    assert [leaf.shape for leaf in jax.tree.leaves(codebook)] == [(5, 2)]


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="codes is 200, must lie in 1..144"):
        make_codebook(clips()[:2, :2], jax.random.key(0), codes=200)
    with pytest.raises(ValueError, match="patch is 4, but must divide frames of 6 x 6"):
        make_codebook(clips(), jax.random.key(0), codes=2, patch=4)
    with pytest.raises(ValueError, match=r"1 x 1 x 3 = 3 numbers do not fit codes of 2"):
        quantise(Codebook(codes=jnp.asarray(CENTRES)), jnp.zeros((1, 1, 6, 6, 3)))
