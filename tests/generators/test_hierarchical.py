"""Keyframes and the frames between, on steady motion, where both are known exactly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recycle_jax.batch import Batch
from recycle_jax.generators.anchored import Anchored
from recycle_jax.generators.base import Generator, clean_example
from recycle_jax.generators.hierarchical import Hierarchical
from recycle_jax.generators.predictor import Predictor
from recycle_jax.generators.rectified_flow import RectifiedFlow
from recycle_jax.models.base import Network
from recycle_jax.rollout.scan import rollout
from recycle_jax.rollout.stream import stream
from recycle_jax.training.cost import harvest_flops

ROWS, FRAME, STRIDE = 3, (2, 2, 1), 4
KEY = jax.random.key(3)
KEYS = jax.random.split(KEY, ROWS)
EXACT = {"key": {"newest": jnp.float32(2.0), "older": jnp.float32(-1.0)}, "between": {"end": jnp.float32(1.0)}}


def extrapolate(params, context, level, condition):
    """`newest x[t] + older x[t-s]`: exact motion at 2 and -1."""
    return params["newest"] * context[:, -1:] + params["older"] * context[:, :1]


def interpolate(params, context, level, condition):
    """From the newest frame of the past `end` of the way to the keyframe, in even steps."""
    part = (jnp.arange(1, STRIDE, dtype=jnp.float32) / STRIDE)[None, :, None, None, None]
    return context[:, -2:-1] + params["end"] * part * (context[:, -1:] - context[:, -2:-1])


def hierarchical(init=EXACT, history=2):
    """Both ends of the loss in reach: three numbers."""
    key = Network(init=lambda key: init["key"], apply=extrapolate)
    between = Network(init=lambda key: init["between"], apply=interpolate)
    return Hierarchical(
        key=Predictor(network=key, context_frames=2),
        between=Predictor(network=between, context_frames=history + 1, chunk_frames=STRIDE - 1),
        stride=STRIDE,
    )


def motion(frames, rows=ROWS):
    """Every pixel moves steadily from its own value at its own speed."""
    rng = np.random.default_rng(0)
    start, speed = rng.uniform(-0.5, 0.5, (2, rows, 1, *FRAME))
    return jnp.asarray(start + 0.1 * speed * np.arange(frames).reshape(1, -1, 1, 1, 1), jnp.float32)


def example_of(generator, clip):
    return clean_example(generator, Batch(clip=clip, domain=jnp.zeros(len(clip), jnp.int32)), KEYS[: len(clip)])


def echo(weights, frames):
    """A network that answers with the weighed sum of the levels that it is told."""

    def apply(params, context, level, condition):
        told = (level * jnp.asarray([weights])).sum(axis=1)[:, None, None, None, None]
        return jnp.broadcast_to(told, (len(level), frames, *FRAME))

    return Network(init=lambda key: {}, apply=apply)


def test_levels_of_single_frames_go_with_their_frames():
    """The keyframe that the frames between end with is told to have no noise."""
    generator = Hierarchical(
        key=Predictor(network=echo([1.0, 10.0], 1), context_frames=2),
        between=Predictor(network=echo([1.0, 10.0, 100.0], 3), context_frames=3, chunk_frames=3),
        stride=STRIDE,
    )
    level = jnp.asarray([[0.1, 0.2, 0.3, 0.4, 0.5]] * ROWS)
    example = example_of(generator, jnp.zeros((ROWS, 9, *FRAME))).replace(level=level)
    told = generator.fit({"key": {}, "between": {}}, example).prediction[:, :, 0, 0, 0]
    np.testing.assert_allclose(told, [[5.4, 5.4, 5.4, 5.1]] * ROWS, rtol=1e-6)


class Newest:
    """A metric that keeps the newest frame."""

    def init(self, context):
        return context[:, -1]

    def update(self, state, frame):
        return frame

    def result(self, state):
        return state


@pytest.mark.parametrize("history", [2, 7])
def test_steady_motion_is_reproduced(history):
    generator = hierarchical(history=history)
    assert isinstance(generator, Generator)
    assert (generator.context_frames, generator.chunk_frames) == (max(5, history), 4)
    clip = motion(generator.context_frames + 12)
    start, truth = clip[:, : generator.context_frames], clip[:, generator.context_frames :]
    np.testing.assert_allclose(rollout(generator, EXACT, start, KEY, 12), truth, atol=1e-5)
    np.testing.assert_allclose(stream(generator, EXACT, start, KEY, 12, Newest()), truth[:, -1], atol=1e-5)
    fit = generator.fit(EXACT, example_of(generator, clip))
    np.testing.assert_allclose(fit.loss, 0.0, atol=1e-10)


def test_one_loss_trains_both():
    start = {"key": {"newest": jnp.float32(1.0), "older": jnp.float32(0.0)}, "between": {"end": jnp.float32(0.2)}}
    generator = hierarchical(start)
    example = example_of(generator, motion(9))

    def descend(params, _):
        gradient = jax.grad(lambda p: generator.fit(p, example).loss.mean())(params)
        return jax.tree.map(lambda p, g: p - jnp.float32(2.0) * g, params, gradient), None

    params, _ = jax.jit(lambda p: jax.lax.scan(descend, p, None, length=4000))(generator.init(KEY))
    jax.tree.map(lambda got, want: np.testing.assert_allclose(got, want, atol=0.02), params, EXACT)


def test_frames_between_do_not_reach_the_keyframes():
    """An error there is forgotten; a keyframe's is not."""
    generator, start = hierarchical(), motion(5)
    keyframes = lambda context: rollout(generator, EXACT, context, KEY, 8)[:, STRIDE - 1 :: STRIDE]  # noqa: E731
    np.testing.assert_array_equal(keyframes(start.at[:, 1:4].add(0.5)), keyframes(start))
    assert np.abs(np.asarray(keyframes(start.at[:, 0].add(0.5)) - keyframes(start))).min() > 0.4


def test_the_error_of_a_residual_is_what_the_prediction_misses_also_with_a_flow_inside():
    flow = RectifiedFlow(
        network=Network(init=lambda key: {}, apply=lambda params, noisy, *rest: 0.5 * noisy), context_frames=2, steps=3
    )
    predictor = hierarchical().between
    generator = Hierarchical(key=flow, between=predictor, stride=STRIDE)
    params = {"key": {}, "between": EXACT["between"]}
    example = example_of(generator, motion(9))
    assert np.all(example.sigma[:, :-1] == 1.0) and np.all(example.sigma[:, -1] < 1.0)
    fit = generator.fit(params, example)
    error = generator.to_error(fit.residual, example.sigma)
    np.testing.assert_allclose(error, fit.prediction - example.x0, atol=1e-5)
    assert rollout(generator, params, motion(5), KEY, 8).shape == (ROWS, 8, *FRAME)


def test_a_call_is_one_of_each_network():
    """The bill multiplies calls by the FLOPs of a fit, which runs both."""
    generator = hierarchical()
    assert generator.calls_per_step == 1
    assert harvest_flops(generator, 10.0, 0.0, 1, 1) == 10.0
    flow = RectifiedFlow(network=generator.key.network, context_frames=2, steps=3)
    assert Hierarchical(key=flow, between=generator.between, stride=STRIDE).calls_per_step == 3


def test_what_does_not_fit_together_is_refused():
    key, between = hierarchical().key, hierarchical().between
    with pytest.raises(ValueError, match="between makes 3 frames, but 4 lie between keyframes 5 apart"):
        Hierarchical(key=key, between=between, stride=5)
    with pytest.raises(ValueError, match="key makes 3 frames a step, must make 1"):
        Hierarchical(key=between, between=between, stride=4)
    with pytest.raises(ValueError, match="put Anchored around Hierarchical"):
        Hierarchical(key=Anchored(inner=key), between=between, stride=4)
    with pytest.raises(ValueError, match="stride is 1"):
        Hierarchical(key=key, between=between, stride=1)
    with pytest.raises(ValueError, match="a context of 3 frames was given, but keyframes 4 apart need 5"):
        rollout(hierarchical(), EXACT, motion(3), KEY, 4)
    with pytest.raises(ValueError, match="a rollout of 6 frames is no multiple of chunk_frames = 4"):
        rollout(hierarchical(), EXACT, motion(5), KEY, 6)
