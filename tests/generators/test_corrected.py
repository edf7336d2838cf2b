"""Cleaning while generating: what a perfect cleaner removes, what is billed, and what washing does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recycle_jax.batch import Batch
from recycle_jax.generators.anchored import Anchored
from recycle_jax.generators.base import Generator, clean_example
from recycle_jax.generators.corrected import Cleaner, Corrected, corrector, washing
from recycle_jax.generators.predictor import Predictor
from recycle_jax.generators.rectified_flow import RectifiedFlow, velocity_head
from recycle_jax.models.base import Network
from recycle_jax.rollout.scan import rollout
from recycle_jax.rollout.stream import stream

ROWS, FRAME = 3, (2, 2, 1)
KEY = jax.random.key(3)
SLIP = 0.125


def drifting(chunk_frames=1):
    """Still video, to which every frame adds an error that is the same everywhere."""
    slips = SLIP * jnp.arange(1, chunk_frames + 1, dtype=jnp.float32)[None, :, None, None, None]
    network = Network(
        init=lambda key: {"slip": jnp.float32(1.0)},
        apply=lambda params, context, level, condition: context[:, -1:] + params["slip"] * slips,
    )
    return Predictor(network=network, context_frames=2, chunk_frames=chunk_frames)


def perfect(chunk_frames=1):
    """Knows that video stands still: the newest frames are the one before them."""
    network = Network(
        init=lambda key: {},
        apply=lambda params, window, level, condition: jnp.repeat(
            window[:, -chunk_frames - 1 : -chunk_frames], chunk_frames, axis=1
        ),
    )
    return corrector(Predictor(network=network, context_frames=chunk_frames + 2, chunk_frames=chunk_frames))


IDLE = Cleaner(init=lambda key: {}, clean=lambda params, window, keys, condition: window[:, -1:], frames=2)


def still(frames, rows=ROWS):
    picture = np.random.default_rng(0).uniform(-0.5, 0.5, (rows, 1, *FRAME))
    return jnp.asarray(np.repeat(picture, frames, axis=1), jnp.float32)


class Newest:
    """A metric that keeps the newest frame."""

    def init(self, context):
        return context[:, -1]

    def update(self, state, frame):
        return frame

    def result(self, state):
        return state


@pytest.mark.parametrize("chunk_frames", [1, 2])
def test_a_perfect_corrector_removes_every_error_before_it_is_seen(chunk_frames):
    inner = drifting(chunk_frames)
    generator = Corrected(inner=inner, cleaner=perfect(chunk_frames))
    assert isinstance(generator, Generator)
    params = generator.init(KEY)
    drifted = rollout(inner, params["inner"], still(2), KEY, 8)
    np.testing.assert_allclose(drifted[:, -1] - still(1)[:, 0], 8 * SLIP, rtol=1e-5)
    np.testing.assert_array_equal(rollout(generator, params, still(2), KEY, 8), still(8))
    np.testing.assert_array_equal(stream(generator, params, still(2), KEY, 8, Newest()), still(1)[:, 0])


def test_an_idle_cleaner_changes_nothing():
    generator = Corrected(inner=drifting(), cleaner=IDLE)
    params = generator.init(KEY)
    here = rollout(generator, params, still(2), KEY, 5)
    np.testing.assert_array_equal(here, rollout(drifting(), params["inner"], still(2), KEY, 5))


def test_training_trains_the_inner_generator_alone():
    """Its context is longer where the cleaner looks further back, and the example is cut to what it sees."""
    long = Cleaner(init=lambda key: {"gain": jnp.float32(1.0)}, clean=IDLE.clean, frames=6)
    generator = Corrected(inner=drifting(), cleaner=long)
    assert generator.context_frames == 5
    batch = Batch(clip=still(6), domain=jnp.zeros(ROWS, jnp.int32))
    example = clean_example(generator, batch, jax.random.split(KEY, ROWS))
    params = generator.init(KEY)
    np.testing.assert_allclose(generator.fit(params, example).loss, SLIP**2, rtol=1e-6)
    np.testing.assert_allclose(
        generator.fit(params, example.replace(level=jnp.zeros((ROWS, 5)))).loss, SLIP**2, rtol=1e-6
    )
    gradient = jax.grad(lambda p: generator.fit(p, example).loss.mean())(params)
    assert gradient["corrector"]["gain"] == 0.0 and gradient["inner"]["slip"] != 0.0


def test_the_cleaner_is_billed():
    network = Network(init=lambda key: {}, apply=lambda params, noisy, *rest: noisy)
    flow = RectifiedFlow(network=network, context_frames=2, steps=3, head=velocity_head)
    assert Corrected(inner=drifting(), cleaner=perfect()).calls_per_step == 2
    assert Corrected(inner=drifting(), cleaner=corrector(flow)).calls_per_step == 1 + 3
    assert Corrected(inner=flow, cleaner=corrector(flow, calls=5)).calls_per_step == 3 + 5
    two_levels = washing(network, frames=3, levels=(0.3, 0.1))
    assert Corrected(inner=flow, cleaner=two_levels).calls_per_step == 3 + 2


def test_washing_with_the_best_denoiser_pulls_towards_real_video():
    """For windows of mean 0 and standard deviation s it is a shrinking by `s^2 / (l^2 + s^2)`."""
    spread = 0.2

    def shrink(params, window, level, condition):
        return window * (spread**2 / (jnp.square(level) + spread**2))[:, None, None, None, None]

    cleaner = washing(Network(init=lambda key: {}, apply=shrink), frames=2, levels=(0.2,))
    keys = jax.random.split(KEY, 500)
    window = jnp.full((500, 2, *FRAME), 0.8)
    washed = cleaner.clean({}, window, keys, None)
    assert washed.shape == (500, 1, *FRAME)
    assert np.mean(washed) == pytest.approx(0.4, abs=0.01), "half of the way, since level and spread are alike"
    assert np.std(washed) == pytest.approx(0.1, rel=0.1), "of the noise, half is left"
    generator = Corrected(inner=drifting(), cleaner=cleaner)
    params = generator.init(KEY)
    rolled = np.asarray(rollout(generator, params, still(2, 64), KEY, 64))
    assert abs(rolled[:, -1].mean() - SLIP) < 0.05, "the fixed point of x -> (x + slip) / 2, where plain drifts to 8"


def test_more_stations_end_on_the_manifold_as_well():
    known = jnp.full((1, 1, 1, 1, 1), 0.25)
    network = Network(init=lambda key: {}, apply=lambda params, window, level, condition: 0.0 * window + known)
    cleaner = washing(network, frames=3, levels=(0.5, 0.2, 0.1))
    washed = cleaner.clean({}, still(3), jax.random.split(KEY, ROWS), None)
    np.testing.assert_allclose(washed, 0.25, atol=1e-6)


def test_what_does_not_fit_together_is_refused():
    for levels in ((), (0.1, 0.3), (0.1, 0.0)):
        with pytest.raises(ValueError, match="must fall and stay above 0"):
            washing(drifting().network, frames=3, levels=levels)
    with pytest.raises(ValueError, match="inner keeps 1 anchors, .* put Anchored around Corrected"):
        Corrected(inner=Anchored(inner=drifting()), cleaner=IDLE)
    with pytest.raises(ValueError, match="the cleaner sees 2 frames, fewer than the 3 that a step makes"):
        Corrected(inner=drifting(3), cleaner=IDLE)
    with pytest.raises(AssertionError):
        rollout(Corrected(inner=drifting(2), cleaner=IDLE), {"inner": {"slip": 1.0}, "corrector": {}}, still(2), KEY, 2)
