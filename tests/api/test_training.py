"""From clips to a stable generator in calls of one line: what they choose, return and refuse."""

import jax
import numpy as np
import pytest

import recycle_jax as rj
from recycle_jax.api.defaults import as_source, fitting, learning_rate
from recycle_jax.histories.recipe import recycle as recipe

SMALL = rj.Recycling(chains=8, max_age=4, capacity=64, harvest_every=4, harvest_steps=2)


@pytest.fixture(scope="module")
def trained(generator, clips):
    return rj.train(generator, clips, updates=4, batch_size=8)


@pytest.fixture(scope="module")
def recycled(generator, clips, trained):
    return rj.recycle(generator, trained, clips, updates=8, batch_size=8, recycling=SMALL)


def test_training_moves_the_parameters_and_is_repeatable(generator, clips, trained):
    again = rj.train(generator, clips, updates=4, batch_size=8)
    jax.tree.map(np.testing.assert_array_equal, again, trained)
    fresh = generator.init(jax.random.key(0))
    assert any(np.any(a != b) for a, b in zip(jax.tree.leaves(trained), jax.tree.leaves(fresh), strict=True))


def test_recycling_keeps_what_it_was_given(generator, clips, trained, recycled):
    assert all(not leaf.is_deleted() for leaf in jax.tree.leaves(trained))
    assert any(np.any(a != b) for a, b in zip(jax.tree.leaves(trained), jax.tree.leaves(recycled.params), strict=True))


def test_a_result_says_what_happened(recycled):
    assert recycled.log[-1]["step"] == 8
    assert np.isfinite(recycled.log[-1]["loss"])
    said = repr(recycled)
    assert "8 updates" in said
    assert "learning rate 0.008" in said
    assert "cases in the bank" in said


def test_an_interrupted_run_goes_on_from_its_checkpoints(generator, clips, trained, recycled, tmp_path):
    rj.recycle(generator, trained, clips, updates=8, batch_size=8, recycling=SMALL, checkpoints=tmp_path)
    again = rj.recycle(generator, trained, clips, updates=8, batch_size=8, recycling=SMALL, checkpoints=tmp_path)
    assert not again.log, "all updates were done before"
    jax.tree.map(np.testing.assert_array_equal, again.params, recycled.params)


def test_the_rate_is_said_and_falls_with_the_size(generator, clips, capsys):
    rj.train(generator, clips, updates=1, batch_size=8)
    assert "train: learning_rate 0.008" in capsys.readouterr().err
    large = {"w": jax.ShapeDtypeStruct((10_000, 10_000), np.float32)}
    assert learning_rate(large, trained=False) == pytest.approx(8e-4)
    assert learning_rate(large, trained=True) == pytest.approx(8e-5), "a trained large model is not to be wrecked"


def test_arrays_are_clips_and_other_things_are_not():
    clip = np.zeros((9, 16, 16, 3), np.uint8)
    assert as_source([clip, clip]).shape == (16, 16, 3)
    with pytest.raises(TypeError, match=r"rj\.data\.load_folder"):
        as_source("videos/")


def test_ages_are_lowered_to_what_clips_allow(generator):
    reference, recycling = recipe().reference, rj.Recycling()
    short = rj.data.from_arrays([np.zeros((9, 16, 16, 3), np.uint8)])
    assert fitting(recycling, generator, reference, short).max_age == 5
    with pytest.raises(ValueError, match="longest clip has 4 frames, but .* need 5"):
        fitting(recycling, generator, reference, rj.data.from_arrays([np.zeros((4, 16, 16, 3), np.uint8)]))
