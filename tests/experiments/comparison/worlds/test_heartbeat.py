"""The heartbeat: its period, what a window shows, and reading it back."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.comparison.worlds.heartbeat import Heartbeat, HeartState
from recycle_jax.data.worlds.base import oracle_rollout, simulate

HEART = Heartbeat(size=16)
ROWS, FRAMES = 32, 180


@functools.cache
def run(world: Heartbeat) -> tuple[HeartState, jax.Array]:
    def one(key: jax.Array) -> tuple[HeartState, jax.Array]:
        begin, rest = jax.random.split(key)
        return simulate(world, world.initial(begin), rest, FRAMES)

    return jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(7), ROWS))


@functools.cache
def decoder():
    def read(frames: jax.Array) -> tuple[HeartState, jax.Array, jax.Array, jax.Array]:
        state, confidence = HEART.decode(frames)
        following = HEART.advance(state, jax.random.key(0))
        return state, confidence, HEART.render(state), HEART.render(following)

    return jax.jit(jax.vmap(read))


def circle(difference: jax.Array) -> np.ndarray:
    return np.abs((np.asarray(difference) + 0.5) % 1.0 - 0.5)


def test_the_lumen_beats_with_the_period_of_the_clip():
    states, clips = run(HEART)
    assert float(clips.min()) >= -1.0 and float(clips.max()) <= 1.0
    # The wall keeps its area, so all that is lit grows and shrinks with the lumen.
    area = np.asarray(jnp.sum(jnp.clip((clips.max(axis=-1) + 1.0) / 0.2, 0.0, 1.0), axis=(-2, -1)))
    area = area - area.mean(axis=1, keepdims=True)
    for row in range(ROWS):
        lags = range(40, 100)
        match = [np.corrcoef(area[row, :-lag], area[row, lag:])[0, 1] for lag in lags]
        period = 40 + int(np.argmax(match))
        assert 59 <= period <= 81
        assert abs(period - 1.0 / float(states.rate[row, 0])) < 1.5


def test_decode_reads_the_state_and_the_next_frame():
    states, clips = run(HEART)
    for last in (3, 20, 50, 77):
        state, confidence, picture, following = decoder()(clips[:, last - 3 : last + 1])
        assert circle(state.phase - states.phase[:, last]).max() < 0.005
        assert np.abs(np.asarray(state.rate / states.rate[:, last]) - 1.0).max() < 0.1
        assert np.abs(np.asarray(state.contraction - states.contraction[:, last])).max() < 0.03
        assert float(confidence.min()) > 0.8
        assert float(jnp.mean(jnp.square(picture - clips[:, last]))) < 1e-3
        assert float(jnp.mean(jnp.square(following - clips[:, last + 1]))) < 1e-3


@pytest.mark.parametrize("fill", [jnp.nan, -1.0, 1.0, 1e30])
def test_garbage_decodes_to_a_valid_state_of_low_confidence(fill):
    state, confidence, picture, _ = decoder()(jnp.full((ROWS, 4, *HEART.shape), fill, jnp.float32))
    for leaf in jax.tree.leaves(state):
        assert np.isfinite(leaf).all()
    assert float(picture.min()) >= -1.0 and float(picture.max()) <= 1.0
    assert float(confidence.min()) >= 0.0 and float(confidence.max()) < 0.6


def test_the_oracle_goes_on_beating():
    _, clips = run(HEART)
    roll = jax.jit(jax.vmap(lambda context: oracle_rollout(HEART, context, jax.random.key(0), 256)))
    frames = roll(clips[:8, :4])
    assert float(decoder()(frames[:, -4:])[1].min()) > 0.8
    real = float(jnp.mean(jnp.square(jnp.diff(clips, axis=1))))
    assert 0.6 * real < float(jnp.mean(jnp.square(jnp.diff(frames[:, -128:], axis=1)))) < 1.6 * real


def test_only_the_stochastic_variant_depends_on_the_key():
    states, _ = run(HEART)
    assert np.ptp(np.asarray(states.rate), axis=1).max() == 0.0
    state = jax.tree.map(lambda x: x[0, 0], states)
    for world in (HEART, Heartbeat(size=16, variation=0.2)):
        advance = jax.jit(world.advance)
        first, second = (advance(state, jax.random.key(seed)) for seed in (1, 2))
        assert (float(first.rate) == float(second.rate)) == world.deterministic
    assert world.rate[0] <= float(first.rate) <= world.rate[1]


def test_domains_are_weak_and_normal_hearts():
    states, _ = run(HEART)
    label = jax.vmap(HEART.domain)(jax.tree.map(lambda x: x[:, 0], states))
    assert label.dtype == jnp.int32
    np.testing.assert_array_equal(np.asarray(label), np.asarray(states.contraction[:, 0] >= 0.45))
    assert set(np.asarray(label).tolist()) == {0, 1} and len(HEART.domains) == 2


@pytest.mark.parametrize("size", [12, 21, 32])
def test_any_size_shows_the_same_heart(size):
    world = Heartbeat(size=size)
    state = jax.tree.map(lambda x: x[0, 0], run(HEART)[0])
    lit = [float(jnp.mean(jax.jit(each.render)(state))) for each in (HEART, world)]
    assert abs(lit[0] - lit[1]) < 0.02


@pytest.mark.parametrize(
    "field",
    [
        {"size": 8},
        {"period": (80.0, 60.0)},
        {"contraction": (0.0, 0.5)},
        {"variation": -1.0},
        {"context_frames": 1},
    ],
)
def test_impossible_worlds_are_refused(field):
    with pytest.raises(ValueError, match=next(iter(field))):
        Heartbeat(**field)
