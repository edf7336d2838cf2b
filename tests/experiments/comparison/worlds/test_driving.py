"""Driving: the loop and its swings, what each domain shows, and reading it back."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.comparison.worlds.driving import Driving, DrivingState
from experiments.comparison.worlds.driving_reading import within_half_a_pixel
from experiments.comparison.worlds.driving_spans import LOOP
from recycle_jax.data.worlds.base import DecodableWorld, oracle_rollout, simulate

ROAD = Driving(size=16)
ROWS, FRAMES = 96, 12


@functools.cache
def run() -> tuple[DrivingState, jax.Array]:
    def one(key: jax.Array) -> tuple[DrivingState, jax.Array]:
        begin, rest = jax.random.split(key)
        return simulate(ROAD, ROAD.initial(begin), rest, FRAMES)

    return jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(7), ROWS))


@functools.cache
def reader():
    return jax.jit(jax.vmap(ROAD.decode))


@functools.cache
def painter():
    return jax.jit(jax.vmap(ROAD.render))


def distance(first: jax.Array, second: jax.Array) -> np.ndarray:
    return np.asarray(jnp.mean(jnp.square(first - second), axis=(1, 2, 3)))


def tolerance() -> np.ndarray:
    return within_half_a_pixel(ROAD.size)[np.asarray(run()[0].scene[:, 0])]


def at(index: int) -> DrivingState:
    return jax.tree.map(lambda leaf: leaf[:, index], run()[0])


def long_run(world: Driving, frames: int) -> DrivingState:
    """The states of eight drives, without their pictures."""

    def drive(key: jax.Array) -> DrivingState:
        begin, rest = jax.random.split(key)

        def step(state: DrivingState, key: jax.Array) -> tuple[DrivingState, DrivingState]:
            state = world.advance(state, key)
            return state, state

        return jax.lax.scan(step, world.initial(begin), jax.random.split(rest, frames))[1]

    return jax.jit(jax.vmap(drive))(jax.random.split(jax.random.key(3), 8))


def test_it_is_a_world_whose_frames_are_in_range():
    states, clips = run()
    assert isinstance(ROAD, DecodableWorld) and ROAD.deterministic
    assert clips.shape == (ROWS, FRAMES, *ROAD.shape) and clips.dtype == jnp.float32
    assert float(clips.min()) >= -1.0 and float(clips.max()) <= 1.0
    assert states.scene.dtype == jnp.int32
    np.testing.assert_array_equal(jax.vmap(ROAD.domain)(at(0)), at(0).scene)


def test_the_key_decides_the_drive_and_a_drive_keeps_its_domain_and_speed():
    states, clips = run()
    assert set(np.asarray(states.scene[:, 0]).tolist()) == set(range(len(ROAD.domains)))
    assert np.ptp(np.asarray(states.scene), axis=1).max() == 0 and np.ptp(np.asarray(states.speed), axis=1).max() == 0
    # No two of these clips are alike.
    flat = np.asarray(clips[:, 0]).reshape(ROWS, -1)
    apart = np.square(flat[:, None] - flat[None]).mean(axis=-1) + np.eye(ROWS)
    assert apart.min() > 1e-4


def test_domains_can_be_chosen_and_keep_their_labels():
    wet = Driving(size=16, places=("rural",), weathers=("rain", "night"))
    assert wet.domains == ROAD.domains
    labels = jax.jit(jax.vmap(lambda key: wet.initial(key).scene))(jax.random.split(jax.random.key(0), 32))
    assert {wet.domains[label] for label in np.asarray(labels)} == {"rural-rain", "rural-night"}


def test_every_domain_moves():
    states, clips = run()
    moved = np.asarray(jnp.mean(jnp.square(jnp.diff(clips, axis=1)), axis=(1, 2, 3, 4)))
    scene = np.asarray(states.scene[:, 0])
    for label, name in enumerate(ROAD.domains):
        assert moved[scene == label].mean() > 0.7 * within_half_a_pixel(16)[label], name


def test_night_is_dark_and_rain_is_pale():
    states, clips = run()
    scene = np.asarray(states.scene[:, 0])
    light = [float(clips[scene == label].mean()) for label in range(6)]
    spread = [float(jnp.std(clips[scene == label])) for label in range(6)]
    for day, night, rain in ((0, 1, 2), (3, 4, 5)):
        assert light[night] < light[day] - 0.4
        assert spread[rain] < 0.85 * spread[day]


def test_the_car_ahead_swings_without_loss_for_ever():
    states = long_run(ROAD, 10_000)
    middle = sum(ROAD.gap) / 2.0
    gap = np.asarray(states.gap)
    assert gap.min() >= ROAD.gap[0] - 1e-2 and gap.max() <= ROAD.gap[1] + 1e-2
    energy = np.square(gap - middle) + np.square(np.asarray(states.closing) * 64.0 / (2.0 * np.pi))
    assert np.abs(energy / energy[:, :1] - 1.0).max() < 0.02
    assert np.asarray(states.along).min() >= 0.0 and np.asarray(states.along).max() <= LOOP


def test_only_the_gusty_road_depends_on_the_key_and_its_speed_stays_in_range():
    gusty = dataclasses.replace(ROAD, gust=0.05)
    assert not gusty.deterministic
    speed = np.asarray(long_run(gusty, 1000).speed)
    assert ROAD.speed[0] <= speed.min() < 0.3 and 0.55 < speed.max() <= ROAD.speed[1]
    state = jax.tree.map(lambda leaf: leaf[0], at(0))
    for world in (ROAD, gusty):
        first, second = (jax.jit(world.advance)(state, jax.random.key(seed)) for seed in (1, 2))
        assert (float(first.speed) == float(second.speed)) == world.deterministic


@pytest.mark.parametrize("last", [3, 10])
def test_decode_reads_the_state_and_the_next_frame(last):
    state, confidence = reader()(run()[1][:, last - 3 : last + 1])
    picture = painter()(state)
    following = painter()(jax.vmap(lambda state: ROAD.advance(state, jax.random.key(0)))(state))
    true = at(last)
    np.testing.assert_array_equal(state.scene, true.scene)
    along = np.abs((np.asarray(state.along - true.along) + LOOP / 2.0) % LOOP - LOOP / 2.0)
    assert np.percentile(along, 95) < 0.1
    assert np.percentile(np.abs(np.asarray(state.speed - true.speed)), 95) < 0.03
    assert (distance(picture, run()[1][:, last]) < tolerance()).mean() >= 0.97
    assert np.median(distance(following, run()[1][:, last + 1]) / tolerance()) < 0.25
    assert float(jnp.median(confidence)) > 0.9


def blurred(clips: jax.Array) -> jax.Array:
    for _ in range(3):
        for axis in (2, 3):
            ends = [jnp.take(clips, jnp.array([end]), axis=axis) for end in (0, -1)]
            padded = jnp.concatenate([ends[0], clips, ends[1]], axis=axis)
            size = clips.shape[axis]
            near = [jax.lax.slice_in_dim(padded, step, step + size, axis=axis) for step in range(3)]
            clips = 0.25 * near[0] + 0.5 * near[1] + 0.25 * near[2]
    return clips


DAMAGE = {
    "blurred": blurred,
    "faded": lambda clips: 0.5 * clips - 0.5,
    "noisy": lambda clips: clips + 0.2 * jax.random.normal(jax.random.key(1), clips.shape),
    "merged": lambda clips: 0.5 * (clips + jnp.roll(clips, 1, axis=0)),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_far_from_any_valid_frame(name):
    damaged = DAMAGE[name](run()[1][:, :4])
    state, confidence = reader()(damaged)
    away = distance(painter()(state), jnp.clip(damaged[:, -1], -1.0, 1.0))
    assert (away > tolerance()).mean() > 0.8, f"median {np.median(away / tolerance()):.2f} of half a pixel"
    assert float(jnp.median(confidence)) < 0.5


@pytest.mark.parametrize("fill", [jnp.nan, -1.0, 1.0, 1e30])
def test_garbage_decodes_to_a_valid_state_of_low_confidence(fill):
    state, confidence = reader()(jnp.full((ROWS, 4, *ROAD.shape), fill, jnp.float32))
    picture = painter()(state)
    for leaf in jax.tree.leaves(state):
        assert np.isfinite(leaf).all()
    assert float(picture.min()) >= -1.0 and float(picture.max()) <= 1.0
    assert float(confidence.min()) >= 0.0 and float(confidence.max()) < 0.3
    assert (np.asarray(state.gap) >= ROAD.gap[0] - 1e-3).all() and (np.asarray(state.gap) <= ROAD.gap[1] + 1e-3).all()


def test_the_oracle_goes_on_driving_from_two_frames():
    _, clips = run()
    two = dataclasses.replace(ROAD, context_frames=2)
    roll = jax.jit(jax.vmap(lambda context: oracle_rollout(two, context, jax.random.key(0), 128)))
    frames = roll(clips[:8, :2])
    state, confidence = reader()(jnp.concatenate([frames[:, -4:]] * (ROWS // 8)))
    np.testing.assert_array_equal(state.scene[:8], at(0).scene[:8])
    assert float(jnp.median(confidence)) > 0.8
    real = float(jnp.mean(jnp.square(jnp.diff(clips[:8], axis=1))))
    assert 0.7 * real < float(jnp.mean(jnp.square(jnp.diff(frames[:, -64:], axis=1)))) < 1.4 * real


def test_the_tolerance_is_half_a_pixel_of_motion():
    scene, clips = np.asarray(run()[0].scene[:, 0]), np.asarray(run()[1][:, 0])
    for label in range(6):
        frames = clips[scene == label]
        changes = [np.square(np.diff(frames, axis=axis) / 2.0).sum() / frames.size for axis in (1, 2)]
        np.testing.assert_allclose(within_half_a_pixel(16)[label], np.mean(changes), rtol=0.15)


def test_any_size_shows_the_same_road():
    states, clips = run()
    shown = jax.jit(jax.vmap(Driving(size=50).render))(jax.tree.map(lambda leaf: leaf[:8, 0], states))
    small, large = (np.asarray(jnp.mean(frames, axis=(1, 2, 3))) for frames in (clips[:8, 0], shown))
    np.testing.assert_allclose(small, large, atol=0.03)


@pytest.mark.parametrize(
    "field",
    [
        {"size": 8},
        {"places": ("moon",)},
        {"places": ()},
        {"weathers": ("day", "day")},
        {"speed": (0.3, 0.9)},
        {"gap": (4.0, 2.0)},
        {"gust": -1.0},
        {"context_frames": 1},
    ],
)
def test_impossible_worlds_are_refused(field):
    with pytest.raises(ValueError, match=next(iter(field))):
        Driving(**field)
