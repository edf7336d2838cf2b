"""Bouncing balls: mechanics, pictures, and reading them back."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recycle_jax.data.worlds.balls import BallsState, BouncingBalls, impact_track
from recycle_jax.data.worlds.base import oracle_rollout, simulate
from recycle_jax.data.worlds.discs import energy
from recycle_jax.data.worlds.measure import mass

ONE = BouncingBalls(size=16)
TWO = BouncingBalls(balls=2, size=24)
WORLDS = pytest.mark.parametrize("world", [ONE, TWO], ids=["one", "two"])
ROWS, FRAMES = 64, 33


@functools.cache
def run(world: BouncingBalls) -> tuple[BallsState, jax.Array]:
    def one(key: jax.Array) -> tuple[BallsState, jax.Array]:
        begin, rest = jax.random.split(key)
        return simulate(world, world.initial(begin), rest, FRAMES)

    return jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(7), ROWS))


@functools.cache
def decoder(world: BouncingBalls):
    def read(frames: jax.Array) -> tuple[BallsState, jax.Array, jax.Array, jax.Array]:
        state, confidence = world.decode(frames)
        following = world.advance(state, jax.random.key(0))
        return state, confidence, world.render(state), following.discs.position

    return jax.jit(jax.vmap(read))


def distances(first: jax.Array, second: jax.Array) -> np.ndarray:
    return np.linalg.norm(np.asarray(first - second), axis=-1).max(axis=-1)


@WORLDS
def test_frames_are_in_range_and_balls_stay_apart_and_inside(world):
    states, clips = run(world)
    assert clips.shape == (ROWS, FRAMES, *world.shape)
    assert float(clips.min()) == -1.0 and float(clips.max()) <= 1.0
    position, radius = np.asarray(states.discs.position), np.asarray(states.discs.radius)
    assert (position >= radius[..., None] - 1e-4).all()
    assert (position <= world.size - radius[..., None] + 1e-4).all()
    for i in range(world.balls):
        for j in range(i):
            gap = np.linalg.norm(position[..., i, :] - position[..., j, :], axis=-1)
            assert (gap - radius[..., i] - radius[..., j]).min() > -0.1


@pytest.mark.parametrize("gravity", [0.0, 0.05])
def test_energy_is_conserved_over_a_long_run(gravity):
    world = dataclasses.replace(TWO, gravity=gravity)

    @jax.jit
    def long(state: BallsState) -> jax.Array:
        def step(state: BallsState, _: None) -> tuple[BallsState, jax.Array]:
            state = world.coast(state)
            return state, energy(state.discs, gravity)

        return jax.lax.scan(step, state, None, length=4096)[1]

    state = jax.jit(world.initial)(jax.random.key(3))
    scale = float(jnp.sum(jnp.square(state.discs.radius))) * world.speed[1] ** 2
    change = np.asarray(long(state)) - float(energy(state.discs, gravity))
    assert np.abs(change).max() < 2e-3 * scale


@WORLDS
def test_decode_reads_positions_and_the_next_frame_within_half_a_pixel(world):
    states, clips = run(world)
    near, following = [], []
    for last in (3, 9, 17, 31):
        state, _, _, position = decoder(world)(clips[:, last - 3 : last + 1])
        near.append(distances(state.discs.position, states.discs.position[:, last]))
        following.append(distances(position, states.discs.position[:, last + 1]))
    assert np.max(near) < 0.5
    assert np.mean(np.array(following) < 0.5) >= 0.95


@WORLDS
def test_projection_keeps_valid_frames(world):
    _, clips = run(world)
    _, confidence, projected, _ = decoder(world)(clips[:, 8:12])
    assert float(jnp.mean(jnp.square(projected - clips[:, 11]))) < 5e-4
    assert float(jnp.median(confidence)) > 0.9
    np.testing.assert_allclose(mass(projected), mass(clips[:, 11]), rtol=0.1)


@pytest.mark.parametrize("fill", ["noise", "black", "white", "nan", "huge"])
def test_garbage_decodes_to_a_valid_state_of_low_confidence(fill):
    shape = (ROWS, 4, *TWO.shape)
    frames = {
        "noise": jax.random.uniform(jax.random.key(1), shape, minval=-1.0),
        "black": jnp.full(shape, -1.0),
        "white": jnp.full(shape, 1.0),
        "nan": jnp.full(shape, jnp.nan),
        "huge": 1e30 * jax.random.normal(jax.random.key(2), shape),
    }[fill]
    state, confidence, picture, _ = decoder(TWO)(frames)
    for leaf in jax.tree.leaves(state):
        assert np.isfinite(leaf).all()
    assert float(picture.min()) >= -1.0 and float(picture.max()) <= 1.0
    assert float(confidence.min()) >= 0.0 and float(confidence.max()) < 0.5
    assert (np.asarray(state.discs.position) >= np.asarray(state.discs.radius)[..., None] - 1e-4).all()


def test_a_faded_or_vanished_ball_lowers_the_confidence():
    states, clips = run(TWO)
    window = clips[:, 8:12]
    whole = decoder(TWO)(window)[1]
    faded = decoder(TWO)(-1.0 + 0.4 * (window + 1.0))[1]
    shrunk = jax.jit(jax.vmap(jax.vmap(_without_first)))(jax.tree.map(lambda x: x[:, 8:12], states))
    erased = decoder(TWO)(shrunk)[1]
    assert float(jnp.median(faded)) < 0.6 * float(jnp.median(whole))
    assert float(jnp.max(erased)) < 0.2


def _without_first(state: BallsState) -> jax.Array:
    discs = state.discs.replace(radius=state.discs.radius.at[0].set(-1.0))
    return TWO.render(state.replace(discs=discs))


def test_the_oracle_stays_valid_on_its_own_frames():
    _, clips = run(ONE)
    roll = jax.jit(jax.vmap(lambda context: oracle_rollout(ONE, context, jax.random.key(0), 256)))
    frames = roll(clips[:8, :4])
    confidence, projected = decoder(ONE)(frames[:, -4:])[1:3]
    assert float(confidence.min()) > 0.8
    assert float(jnp.mean(jnp.square(projected - frames[:, -1]))) < 1e-3
    start, motion = _motion(clips), _motion(frames[:, -64:])
    assert 0.7 * start < motion < 1.4 * start


def _motion(clips: jax.Array) -> float:
    return float(jnp.mean(jnp.square(jnp.diff(clips, axis=1))))


def test_impacts_are_heard_at_bounces_only():
    states, _ = run(ONE)
    track = jax.vmap(impact_track)(states)
    # Without gravity one ball turns at walls only.
    turned = jnp.any(jnp.abs(jnp.diff(states.discs.velocity, axis=1)) > 1e-3, axis=(-2, -1))
    np.testing.assert_array_equal(np.asarray(track.loudness[:, 1:]) > 1e-3, np.asarray(turned))
    assert 0.0 < float(track.loudness.max()) < 3.0
    late = np.asarray(track.time) - np.arange(FRAMES)[None]
    assert late.min() >= -1.0 and late.max() < 0.0


def test_only_the_stochastic_variant_depends_on_the_key():
    state = jax.tree.map(lambda x: x[0, 0], run(TWO)[0])
    for world in (TWO, dataclasses.replace(TWO, kick=0.1)):
        advance = jax.jit(world.advance)
        first, second = (advance(state, jax.random.key(seed)) for seed in (1, 2))
        same = bool(jnp.array_equal(first.discs.velocity, second.discs.velocity))
        assert same == world.deterministic
    speeds = jnp.linalg.norm(first.discs.velocity, axis=-1)
    assert float(speeds.max()) <= world.speed[1] + 1e-5


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ({"balls": 7}, "balls=7"),
        ({"radius": (0.2, 0.1)}, "radius"),
        ({"balls": 6, "radius": (0.15, 0.2)}, "fill"),
        ({"size": 8, "radius": (0.05, 0.1)}, "less than 1 pixel"),
        ({"speed": (1.0, 30.0)}, "speed"),
        ({"gravity": -1.0}, "gravity"),
        ({"context_frames": 1}, "context_frames=1"),
    ],
)
def test_impossible_worlds_are_refused(field, message):
    with pytest.raises(ValueError, match=message):
        BouncingBalls(**field)
