"""How speeds are handed on: all of it by real video; and who is missing is told."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.comparison.domains import WORLDS
from experiments.comparison.speed_retention import UNTRAINED, Config, reader, regressed, small, starts_of, trained
from recycle_jax.generators.predictor import Predictor
from recycle_jax.models.base import Network

ROAD = WORLDS["driving"]


def test_real_video_hands_on_all_of_it():
    clips, speed = starts_of(ROAD, 24, 6)
    steps = np.asarray(reader(ROAD)(clips[:, :-1], clips[:, 1:]))
    assert steps.shape == (24, 5)
    np.testing.assert_allclose(np.median(steps, axis=1), speed, atol=0.01)
    seen = regressed(speed, np.median(steps, axis=1))
    assert seen["correlation"] > 0.99 and abs(seen["slope"] - 1.0) < 0.05


def test_a_regression_knows_how_sure_it_is():
    rng = np.random.default_rng(0)
    speed = rng.uniform(0.2, 0.6, 2000)
    seen = regressed(speed, 0.1 + 0.7 * speed + 0.05 * rng.normal(size=2000))
    assert abs(seen["slope"] - 0.7) < 4 * seen["slope_error"] and 0.005 < seen["slope_error"] < 0.02
    slower = regressed(speed, 0.4 + 0.0 * speed + 0.05 * rng.normal(size=2000))
    assert abs(slower["correlation"]) < 0.1


def test_a_frame_that_is_none_is_read_as_well():
    driven = jax.jit(ROAD.driven)(jnp.full(ROAD.shape, jnp.nan), jax.random.normal(jax.random.key(0), ROAD.shape))
    assert np.isfinite(driven)


def test_missing_parameters_name_the_command_that_trains_them(tmp_path):
    network = Network(init=lambda key: {}, apply=lambda params, context, *rest: context[:, -1:])
    with pytest.raises(FileNotFoundError, match=r"experiments\.compare .* --config\.seeds 2 .* --share\.methods ours`"):
        trained(tmp_path, Predictor(network=network, context_frames=2), "ours", 2)


def test_an_untrained_network_needs_no_folder(tmp_path):
    network = Network(init=lambda key: {"gain": jax.random.normal(key)}, apply=None)
    generator = Predictor(network=network, context_frames=2)
    assert trained(tmp_path, generator, UNTRAINED, 3) == generator.init(jax.random.key(3))


def test_the_preset_may_be_cut_down():
    config = dataclasses.replace(small(), runs=(("ours", 0),))
    assert isinstance(config, Config) and max(config.steps) + config.averaged <= 128
